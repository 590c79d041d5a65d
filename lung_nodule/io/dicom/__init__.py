"""DICOM CT series: find the files, check them, read them as one volume in HU."""
