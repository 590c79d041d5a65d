"""Cross-validated comparison of the bundles with each other and with what needs no network."""
