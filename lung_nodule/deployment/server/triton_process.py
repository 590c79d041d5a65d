"""Triton process: command, log, exit status and clean-up."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from lung_nodule.deployment.server.memory_regions import HOME_PREFIX, MemoryRegions, region_bytes, remove_abandoned
from lung_nodule.deployment.server.parent_death import dies_with_parent
from lung_nodule.deployment.server.process_groups import kill_group, wait_for_group
from lung_nodule.deployment.server.triton_runtime import find_runtime

_EXIT_TIMEOUT_S = 5
_LOG_TAIL_LINES = 15


class TritonProcess:
    """One run of Triton and its stubs in a process group that ends with the thread that started it.

    Args:
        repository: model repository.
        endpoints: address and port by ``http``, ``grpc`` and ``metrics``.
        log_file: file to which the log is appended; None keeps it in the temporary folder ``home``.
        config_name: value of ``--model-config-name``.
    """

    def __init__(
        self,
        repository: Path,
        endpoints: Mapping[str, tuple[str, int]],
        *,
        log_file: Path | None = None,
        config_name: str | None = None,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
        self.memory_prefix = f"lung_nodule_{os.getpid()}_{endpoints['grpc'][1]}_"
        self._memory: MemoryRegions | None = None
        self._repository, self._endpoints, self._config_name = repository, endpoints, config_name
        self._log = self.home / "server.log" if log_file is None else log_file
        self._log_start, self._started = 0, math.inf
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, also of the process group; None before the start and after the stop."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start Triton, which then loads its models. Shared memory of killed servers is removed.

        Raises:
            InputError: a part of Triton is missing.
        """
        runtime = find_runtime()
        remove_abandoned()
        self._memory = MemoryRegions(self.memory_prefix, self.home)
        command = dies_with_parent(self._command(runtime.server, runtime.make_backends(self.home)))
        with open(self._log, "ab") as log:  # a restart keeps the earlier log
            self._log_start, self._started = log.tell(), time.time()
            # In its own session, Ctrl-C reaches only this process, and the stubs can be killed as a group.
            self._process = subprocess.Popen(
                command, env=runtime.environment(), stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """Stop Triton and all its processes, and remove its temporary folder and shared memory."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_EXIT_TIMEOUT_S + 5)
            kill_group(self._process.pid)
            self._process.wait()
            wait_for_group(self._process.pid)
            self._process = None
        if self._memory is not None:
            self._memory.remove()  # killed stubs leave their regions
            self._memory = None
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def was_killed(self) -> bool:
        """Whether Triton was killed by a signal."""
        return self._process is not None and (self._process.poll() or 0) < 0

    @property
    def silence_s(self) -> float:
        """Time in seconds since the start or the last line of the log."""
        return time.time() - max(self._started, self._log.stat().st_mtime)

    @property
    def ending(self) -> str | None:
        """Cause of an unexpected end with the end of the log; None while Triton runs."""
        if self._process is None or self._process.poll() is None:
            return None
        return f"the Triton server {_in_words(self._process.returncode)}:\n{self.log_tail}"

    @property
    def log_tail(self) -> str:
        """Last errors of the log (except for a missing GPU), or else its last lines."""
        written = self._log.read_bytes()[self._log_start :] if self._log.is_file() else b""
        lines = written.decode(errors="replace").splitlines()
        errors = [line for line in lines if (line.startswith("E") or "error:" in line) and "CUDA" not in line.upper()]
        return "\n".join(f"  {line}" for line in (errors or lines)[-_LOG_TAIL_LINES:])

    def _command(self, server: Path, backends: Path) -> list[str]:
        size = region_bytes()
        command = [
            str(server),
            f"--model-repository={self._repository.resolve()}",
            f"--backend-directory={backends}",
            "--disable-auto-complete-config",  # else every model's stub would be started twice
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            "--backend-config=python,stub-timeout-seconds=120",
            f"--backend-config=python,shm-region-prefix-name={self.memory_prefix}",
            f"--backend-config=python,shm-default-byte-size={size}",
            f"--backend-config=python,shm-growth-byte-size={size}",
            f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
        ]
        command += [] if self._config_name is None else [f"--model-config-name={self._config_name}"]
        for name, (address, port) in self._endpoints.items():
            command += [f"--{name}-address={address}", f"--{name}-port={port}"]
        return command


def _in_words(status: int) -> str:
    """Describe an exit status; negative if a signal killed the process."""
    if status >= 0:
        return f"ended with status {status}"
    cause = "; a client that cancelled its request can cause this" if -status == signal.SIGSEGV else ""
    return f"was killed by signal {-status} ({signal.strsignal(-status)}{cause})"
