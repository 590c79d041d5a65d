"""Cells of a benchmark (bundle, seed, test fold): plan, commands, parallel runs."""
