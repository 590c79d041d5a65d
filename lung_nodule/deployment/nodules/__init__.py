"""Sources of nodules: tables, label maps, detections, DICOM objects."""
