"""LIDC-IDRI: from a TCIA download to NIfTI volumes, consensus masks, tables and folds (``python -m preprocessing``)."""
