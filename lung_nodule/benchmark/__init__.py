"""Cross-validated comparison of the bundles with each other and with baselines without a network."""
