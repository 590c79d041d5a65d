"""Triton server: launcher, health check, gRPC proxy and CPU backends."""
