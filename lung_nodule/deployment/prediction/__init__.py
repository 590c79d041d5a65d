"""From a CT, or a list of CTs, and their nodules to the files of a prediction."""
