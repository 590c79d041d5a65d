"""Multi-task lung-nodule networks as MONAI bundles: segmentation and malignancy on LIDC-IDRI."""

__version__ = "0.1.0"
