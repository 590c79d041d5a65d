"""What the command lines package_bundles.py and verify_bundles.py do."""
