"""Baselines without a network, fitted inside the folds, and the agreement of the readers."""
