"""Figures of a method and its comparison with the baselines."""
