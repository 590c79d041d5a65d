"""DICOM results: segmentation and structured report of the nodules."""
