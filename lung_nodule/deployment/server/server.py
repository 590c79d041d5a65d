"""Launcher of the Triton server: start, wait for the canary's answer, watch, stop."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from lung_nodule.deployment.repository.file_record import check_files
from lung_nodule.deployment.server.backend_check import check_backends
from lung_nodule.deployment.server.canary import CanaryError, ask_canary
from lung_nodule.deployment.server.grpc_guard import GrpcGuard
from lung_nodule.deployment.server.health_watch import HealthWatch
from lung_nodule.deployment.server.ports import choose_ports
from lung_nodule.deployment.server.served_exports import ServedExport, changes, read_exports
from lung_nodule.deployment.server.triton_process import TritonProcess
from lung_nodule.errors import InputError

logger = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"


LONGEST_SILENCE_S = 60.0
"""Time in seconds without a line in Triton's log after which loading is taken to hang."""


class _LoadingError(InputError):
    """Triton was killed or hangs while it loads its models; a second start can succeed."""


class ServerEndedError(RuntimeError):
    """A server that had answered ended unexpectedly or could not be restarted; the message has the cause."""


class TritonServer:
    """A Triton server on this machine, as a context manager.

    It is ready when every ensemble of the repository and every stand-alone net has answered an inference, which
    Triton's own ``/ready`` does not guarantee. It ends with the thread that started it and with this process, even on
    SIGKILL. A port of 0 selects a free port; read it from ``grpc_url``, ``http_url``, ``metrics_url``.

    Args:
        repository: model repository written by ``python -m lung_nodule export``.
        http_port: port of the HTTP endpoint.
        grpc_port: port of the gRPC endpoint.
        metrics_port: port of the Prometheus metrics.
        log_file: file of the server's own log; None keeps it with the server's temporary files.
        start_timeout_s: timeout in seconds until the models are loaded and answer.
        address: address to bind; any address other than loopback exposes the server without encryption or password.
        guard: whether gRPC clients are served through :mod:`.grpc_guard`, which this version of Triton needs.
        check_s: interval in seconds at which ``wait`` sends the canary.
        config_name: name of the alternative configs, ``configs/<name>.pbtxt`` of each model that has one.

    Raises:
        InputError: on entering, if a part is missing, a port is in use or the server does not start.
    """

    def __init__(
        self,
        repository: str | Path,
        *,
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        log_file: str | Path | None = None,
        start_timeout_s: float = 300.0,
        address: str = LOOPBACK,
        guard: bool = True,
        check_s: float = 30.0,
        config_name: str | None = None,
    ) -> None:
        self.repository = Path(repository)
        self._address, self._guarded, self._check_s = address, guard, check_s
        self._config_name = config_name
        self._guard: GrpcGuard | None = None
        self._wanted = {"http": http_port, "grpc": grpc_port, "metrics": metrics_port}
        self._ports: dict[str, int] = {}
        self._log_file = None if log_file is None else Path(log_file)
        self._start_timeout_s = start_timeout_s
        self._triton: TritonProcess | None = None
        self._exports: dict[str, ServedExport] = {}
        self._interrupted = False

    @property
    def _reached(self) -> str:
        """Host under which this machine reaches the endpoints."""
        return LOOPBACK if self._address == "0.0.0.0" else self._address

    @property
    def grpc_url(self) -> str:
        """``host:port`` of the gRPC endpoint."""
        return f"{self._reached}:{self._ports['grpc']}"

    @property
    def http_url(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return f"{self._reached}:{self._ports['http']}"

    @property
    def metrics_url(self) -> str:
        """``host:port`` of the Prometheus metrics."""
        return f"{self._reached}:{self._ports['metrics']}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, and of its process group; None when stopped."""
        return None if self._triton is None else self._triton.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it answers; on failure no process is left running."""
        _check_repository(self.repository, self._config_name)
        check_files(self.repository)
        self._exports = read_exports(self.repository)
        self._ports = choose_ports(self._wanted, self._address)
        try:
            if self._guarded:
                self._ports["upstream"] = choose_ports({"upstream": 0}, LOOPBACK)["upstream"]
                self._guard = _start_guard(f"{self._address}:{self._ports['grpc']}", self._ports["upstream"])
            self._start_triton()
        except BaseException:
            self.stop()
            raise
        if not self._interrupted:
            logger.info(
                "ready: gRPC %s, HTTP http://%s, metrics http://%s/metrics",
                self.grpc_url,
                self.http_url,
                self.metrics_url,
            )

    def _start_triton(self) -> None:
        """Start Triton, with one retry if it was killed or hangs while loading, which its stubs can do under load."""
        try:
            self._start_once(longest_silence_s=LONGEST_SILENCE_S)
        except _LoadingError as error:
            logger.warning("starting again: %s", str(error).partition("\n")[0].rstrip(":"))
            self._stop_triton()
            self._start_once()

    def _start_once(self, longest_silence_s: float = math.inf) -> None:
        self._triton = TritonProcess(
            self.repository, self._endpoints(), log_file=self._log_file, config_name=self._config_name
        )
        self._triton.start()
        self._wait_until_answering(self._triton, longest_silence_s)

    def _endpoints(self) -> dict[str, tuple[str, int]]:
        """Address and port of Triton's own endpoints; behind the proxy the gRPC endpoint is on loopback."""
        endpoints = {name: (self._address, self._ports[name]) for name in self._wanted}
        return endpoints | ({"grpc": (LOOPBACK, self._ports["upstream"])} if self._guarded else {})

    def stop(self) -> None:
        """End the server and every process it started; harmless when it is not running."""
        if self._guard is not None:
            self._guard.stop()
            self._guard = None
        self._stop_triton()

    def _stop_triton(self) -> None:
        if self._triton is not None:
            self._triton.stop()
            self._triton = None

    def interrupt(self) -> None:
        """Make a running ``start`` or ``wait`` return soon; safe in a signal handler."""
        self._interrupted = True  # an Event has a lock, which the interrupted thread may hold

    def wait(self, interval_s: float = 0.5) -> None:
        """Block until ``interrupt`` is called; restart the server if a model no longer answers.

        Raises:
            ServerEndedError: the server ended unexpectedly, or it cannot be restarted, as its files have changed.
        """
        headers = None if self._guard is None else self._guard.canary_headers
        with HealthWatch(self.grpc_url, self._check_s, headers=headers) as watch:
            while not self._interrupted_within(interval_s):
                if self._triton is not None and (ending := self._triton.ending):
                    raise ServerEndedError(ending)
                if watch.failure is not None:
                    logger.error("a model no longer answers (%s): restarting the server", watch.failure)
                    self._restart()
                    logger.info("the server answers again")
                    watch.resume()

    def _interrupted_within(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self._interrupted

    def _restart(self) -> None:
        """Stop Triton, and start it if the repository is unchanged or was exported again.

        Raises:
            ServerEndedError: a file differs from the record of its export, or the server does not start.
        """
        self._stop_triton()
        try:
            _check_repository(self.repository, self._config_name)
            check_files(self.repository)
            exports = read_exports(self.repository)
            if changed := changes(self._exports, exports):
                logger.warning("the repository was exported again since the start: %s", ", ".join(changed))
            self._exports = exports
            self._start_triton()
        except InputError as error:
            raise ServerEndedError(f"the server cannot be restarted: {error}") from None

    def _wait_until_answering(self, triton: TritonProcess, longest_silence_s: float) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        reason = "it did not answer"
        while time.monotonic() < deadline and not self._interrupted:
            if ending := triton.ending:
                raise (_LoadingError if triton.was_killed else InputError)(ending)
            try:
                ask_canary(self.grpc_url, timeout_s=max(1.0, deadline - time.monotonic()))
                return
            except CanaryError as error:
                if error.final:
                    raise InputError(
                        f"the Triton server runs but does not answer: {error}\n{triton.log_tail}"
                    ) from None
                reason = str(error)
            if triton.silence_s > longest_silence_s:
                raise _LoadingError(f"the Triton server has loaded nothing for {longest_silence_s:.0f} s")
            time.sleep(0.2)
        if not self._interrupted:
            raise InputError(
                f"the Triton server was not ready in {self._start_timeout_s:.0f} s: {reason}\n{triton.log_tail}"
            )


def serve_until_interrupted(server: TritonServer) -> None:
    """Run a server until Ctrl-C or SIGTERM, then stop it cleanly.

    Raises:
        InputError: the server cannot start.
        ServerEndedError: the server ended unexpectedly after its start.
    """
    with _interrupting(server), server:
        server.wait()
    logger.info("stopped")


@contextlib.contextmanager
def _interrupting(server: TritonServer) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM interrupt the server's waiting, so that it is always stopped cleanly."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: server.interrupt()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_repository(repository: Path, config_name: str | None) -> None:
    if not repository.is_dir():
        raise InputError(f"model repository {repository} does not exist: make it with python -m lung_nodule export")
    if not any(repository.glob("*/config.pbtxt")):
        raise InputError(f"model repository {repository} holds no model: make it with python -m lung_nodule export")
    if config_name is not None and not any(repository.glob(f"*/configs/{config_name}.pbtxt")):
        known = sorted({path.stem for path in repository.glob("*/configs/*.pbtxt")})
        raise InputError(
            f"no model of {repository} has a config {config_name!r}: there is {', '.join(known) or 'none'}"
        )
    check_backends(repository, config_name)


def _start_guard(address: str, upstream: int) -> GrpcGuard:
    guard = GrpcGuard(address, f"{LOOPBACK}:{upstream}")
    try:
        guard.start()
    except OSError as error:
        raise InputError(str(error)) from None
    return guard
