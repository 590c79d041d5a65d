"""The Triton server: its launcher, health check, gRPC proxy and CPU backends."""
