"""The read-out of a model: regressions that join a network's scores with measurements."""
