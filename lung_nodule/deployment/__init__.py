"""Deployment: model repository, Triton server, client and the files of a prediction."""
