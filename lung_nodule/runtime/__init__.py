"""What long runs and command lines share: flags, locks, progress, worker processes, Dask, software versions."""
