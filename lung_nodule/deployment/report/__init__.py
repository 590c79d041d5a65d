"""The HTML report: pictures, outlines, calibration, composition, side."""
