"""Implementation of package_bundles.py and verify_bundles.py."""
