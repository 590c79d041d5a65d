"""DICOM results: a segmentation and a structured report of the nodules."""
