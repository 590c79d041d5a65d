"""Options of a training: their kinds and values, unknown ones, errors on the command line."""
