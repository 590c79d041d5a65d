"""Predict the nodules of a CT, or of a list of CTs, and write the results."""
