"""Where the nodules of a CT come from: tables, label maps, detections, DICOM objects."""
