"""Connections to a Triton server, over gRPC and HTTP: retries, threads, shared memory."""
