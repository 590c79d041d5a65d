"""The launcher: what it refuses, and that it cleans up."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lung_nodule.deployment.server import health_watch, triton_runtime
from lung_nodule.deployment.server import server as server_module
from lung_nodule.deployment.server.canary import CanaryError, answered_requests, ask_canary
from lung_nodule.deployment.server.memory_regions import region_bytes, remove_abandoned
from lung_nodule.deployment.server.ports import choose_ports
from lung_nodule.deployment.server.served_exports import read_exports
from lung_nodule.deployment.server.server import ServerEndedError, TritonServer
from lung_nodule.deployment.server.triton_process import TritonProcess
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256

ROOT = Path(__file__).resolve().parents[3]


def _living(parent: int | None = None, group: int | None = None) -> list[int]:
    """Living processes that a process started, or of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, of_parent, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if state != "Z" and (int(of_parent) == parent or int(of_group) == group):
            found.append(int(stat.parent.name))
    return found


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _shared_memory(starter: int | None = None) -> set[str]:
    """Shared-memory regions of the servers that a process (by default this one) started."""
    return {path.name for path in Path("/dev/shm").glob(f"lung_nodule_{starter or os.getpid()}_*")}


def _homes(starter: int) -> list[Path]:
    """Temporary folders of the servers that a process started."""
    return [Path(path.read_text()) for path in Path("/dev/shm").glob(f"lung_nodule_{starter}_*_lock")]


def _serving(repository: Path) -> tuple[subprocess.Popen[str], str]:
    """A running ``serve`` command, and the ``host:port`` of its gRPC endpoint."""
    command = [sys.executable, "-m", "lung_nodule", "serve", f"--repository={repository}"]
    command += ["--http_port=0", "--grpc_port=0", "--metrics_port=0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    url = re.match(r"ready: gRPC (\S+),", line)
    assert url is not None, line
    return process, url[1]


def _answers(url: str, deadline: float) -> list[str]:
    """The canary's answer, once the server is there again; empty after the deadline."""
    while time.monotonic() < deadline:
        with contextlib.suppress(CanaryError):
            return ask_canary(url)
        time.sleep(0.2)
    return []


@pytest.mark.slow
def test_stop_leaves_no_process_and_no_file(repository: Path) -> None:
    before = _shared_memory()
    with TritonServer(repository) as server:
        assert _shared_memory() > before
        assert server._triton is not None
        group, home = server.pid, server._triton.home
        assert group is not None
        assert home.is_dir()
        assert sum("stub" in _command(pid) for pid in _living(group=group)) >= 5
        assert ask_canary(server.grpc_url) == ["mtnet"]
        victim = next(pid for pid in _living(group=group) if "mtnet_postprocess" in _command(pid))
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(CanaryError, match="mtnet"):
            ask_canary(server.grpc_url, timeout_s=120)
    assert _living(group=group) == []
    assert not home.exists()
    assert _shared_memory() == before
    assert server.pid is None
    server.stop()


@pytest.mark.slow
def test_a_crash_is_reported_with_status_1_and_leaves_no_process_and_no_memory(repository: Path) -> None:
    process, _ = _serving(repository)
    (server,) = _living(parent=process.pid)
    assert _shared_memory(process.pid)
    os.kill(server, signal.SIGSEGV)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 1, rest
    line = "lung_nodule: the Triton server was killed by signal 11 (Segmentation fault; a client that cancelled "
    assert rest.startswith(line)
    assert "Traceback" not in rest
    assert _living(group=server) == []
    assert _shared_memory(process.pid) == set()


@pytest.mark.slow
def test_a_killed_launcher_takes_the_server_with_it_and_the_next_start_its_memory(
    server: TritonServer, repository: Path
) -> None:
    process, _ = _serving(repository)
    (group,) = _living(parent=process.pid)
    remove_abandoned()
    assert _shared_memory(process.pid), "it runs"
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 60
    while _living(group=group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _living(group=group) == []
    left, own = _shared_memory(process.pid), _shared_memory()
    assert len(left) > 1
    (home,) = _homes(process.pid)
    assert home.is_dir()
    remove_abandoned()
    assert not home.exists()
    assert _shared_memory(process.pid) == set()
    assert _shared_memory() == own
    assert ask_canary(server.grpc_url) == ["mtnet"]


@pytest.mark.slow
def test_a_dead_step_is_noticed_and_the_server_restarted(repository: Path) -> None:
    with TritonServer(repository, check_s=0.5) as server:
        before, url = server.pid, server.grpc_url
        waiting = threading.Thread(target=server.wait)
        waiting.start()
        victim = next(pid for pid in _living(group=before) if "mtnet_postprocess" in _command(pid))
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while server.pid in (before, None) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert _answers(url, deadline) == ["mtnet"]
        assert server.pid != before
        assert server.grpc_url == url
        server.interrupt()
        waiting.join(30)
        assert not waiting.is_alive()


@pytest.mark.slow
def test_the_answers_of_a_model_are_counted(server: TritonServer) -> None:
    """The watch tells a busy model by them."""
    before = answered_requests(server.grpc_url)
    assert ask_canary(server.grpc_url) == ["mtnet"]
    assert answered_requests(server.grpc_url)["mtnet"] > before["mtnet"]
    assert answered_requests("127.0.0.1:9", timeout_s=1.0) == {}


@pytest.mark.slow
@pytest.mark.parametrize("stopped", ["tritonserver", "mtnet_preprocess"])
def test_a_server_or_a_step_that_hangs_is_noticed_and_the_server_restarted(
    stopped: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_watch, "HANGS_S", 6.0)
    monkeypatch.setattr(health_watch, "CANARY_S", 3.0)
    with TritonServer(repository, check_s=0.5) as server:
        before, url = server.pid, server.grpc_url
        waiting = threading.Thread(target=server.wait)
        waiting.start()
        victim = (
            before if stopped == "tritonserver" else next(p for p in _living(group=before) if stopped in _command(p))
        )
        os.kill(victim, signal.SIGSTOP)
        deadline = time.monotonic() + 120
        while server.pid in (before, None) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert server.pid != before
        assert _answers(url, deadline) == ["mtnet"]
        assert _living(group=before) == []
        server.interrupt()
        waiting.join(30)
        assert not waiting.is_alive()


def _warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The launcher's warnings."""
    of_server = [record for record in caplog.records if record.name == server_module.__name__]
    return [record.getMessage() for record in of_server if record.levelno == logging.WARNING]


def _restarted(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a restart starts Triton, which is not there in this test."""
    starts: list[TritonServer] = []
    monkeypatch.setattr(TritonServer, "_start_triton", lambda self: starts.append(self))
    server._exports = server._exports or read_exports(server.repository)
    server._restart()
    return len(starts)


def test_a_restart_does_not_load_changed_files(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(repository, tmp_path / "copy")
    server = TritonServer(tmp_path / "copy")
    assert _restarted(server, monkeypatch) == 1
    assert _warned(caplog) == []
    changed = tmp_path / "copy" / "mtnet_postprocess" / "1" / "model.py"
    changed.write_text(changed.read_text() + "# changed\n")
    with pytest.raises(ServerEndedError, match=r"cannot be restarted: .*mtnet_postprocess/1/model\.py has changed"):
        _restarted(server, monkeypatch)
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(ServerEndedError, match=r"cannot be restarted: .*copy does not exist"):
        _restarted(server, monkeypatch)


def _export_again(repository: Path, version: str) -> None:
    """Change a file of MT-Net with its record, as an export of other weights does."""
    name, path = "mtnet_postprocess/1/model.py", repository / "export_mtnet.json"
    (repository / name).write_text((repository / name).read_text() + f"# {version}\n")
    record = json.loads(path.read_text())
    record["files"][name] = file_sha256(repository / name)
    record["client"]["version"] = version
    path.write_text(json.dumps(record))


def test_a_restart_loads_a_new_export_with_a_warning(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(repository, tmp_path / "copy")
    server = TritonServer(tmp_path / "copy")
    _restarted(server, monkeypatch)
    _export_again(tmp_path / "copy", "9.9.9")
    assert _restarted(server, monkeypatch) == 1
    assert _warned(caplog) == ["the repository was exported again since the start: mtnet 0.0.1 -> 9.9.9"]
    (tmp_path / "copy" / "export_mtnet.json").rename(tmp_path / "copy" / "export_other.json")
    assert _restarted(server, monkeypatch) == 1
    assert _warned(caplog)[1:] == [
        "the repository was exported again since the start: mtnet 9.9.9 -> none, other none -> 9.9.9"
    ]


@pytest.mark.slow
def test_a_server_whose_files_have_changed_ends_where_it_would_be_restarted(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "copy")
    with TritonServer(tmp_path / "copy", check_s=0.5) as server:
        group, changed = server.pid, tmp_path / "copy" / "mtnet_postprocess" / "1" / "model.py"
        changed.write_text(changed.read_text() + "# changed\n")
        os.kill(next(pid for pid in _living(group=group) if "mtnet_postprocess" in _command(pid)), signal.SIGKILL)
        with pytest.raises(ServerEndedError, match=r"model\.py has changed since the export"):
            server.wait()
        assert server.pid is None
    assert group is not None
    assert _living(group=group) == []


@pytest.mark.parametrize("changed", ["mtnet_fine/1/model.onnx", "mtnet_preprocess/1/lung_nodule/core/intensity.py"])
def test_a_file_that_has_changed_since_the_export_is_named(changed: str, repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "copy")
    content = bytearray((tmp_path / "copy" / changed).read_bytes())
    content[len(content) // 2] ^= 3
    (tmp_path / "copy" / changed).write_bytes(content)
    with pytest.raises(InputError, match=rf"{changed} has changed since the export: export the bundle again"):
        TritonServer(tmp_path / "copy").start()
    (tmp_path / "copy" / changed).unlink()
    with pytest.raises(InputError, match=rf"{changed} is missing"):
        TritonServer(tmp_path / "copy").start()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line_stops_in_order(repository: Path, number: signal.Signals) -> None:
    process, url = _serving(repository)
    assert ask_canary(url) == ["mtnet"]
    process.send_signal(number)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 0, rest
    assert "stopped" in rest
    with pytest.raises(CanaryError):
        ask_canary(url, timeout_s=2)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["kill -ABRT $$", "sleep 600"])
def test_a_server_that_is_killed_or_hangs_while_it_loads_is_started_again(
    first: str, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands, starts = TritonProcess._command, []

    def first_fails(self: TritonProcess, *arguments: Path) -> list[str]:
        starts.append(commands(self, *arguments))
        return starts[-1] if len(starts) > 1 else ["/bin/sh", "-c", first]

    monkeypatch.setattr(TritonProcess, "_command", first_fails)
    monkeypatch.setattr(server_module, "LONGEST_SILENCE_S", 1.0)
    log = tmp_path / "server.log"
    log.write_text("of an earlier start")
    os.utime(log, (0, 0))
    with TritonServer(repository, log_file=log) as server:
        assert len(starts) == 2
        assert ask_canary(server.grpc_url) == ["mtnet"]


@pytest.mark.parametrize(
    ("free", "size"),
    [(2**36, 16 * 2**20), (2**30, 16 * 2**20), (5 * 2**26 + 999, 5 * 2**20), (2**26, 2**20), (0, 2**20)],
)
def test_regions_start_as_large_as_shared_memory_allows(free: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert region_bytes() == size


@pytest.mark.parametrize(("written", "silence_s"), [(-50, 20), (-8, 8)])
def test_the_silence_of_a_server_begins_with_its_start_or_a_line(
    written: int, silence_s: int, repository: Path, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    log.touch()
    now = time.time()
    os.utime(log, (now + written, now + written))
    triton = TritonProcess(repository, {"grpc": ("127.0.0.1", 1)}, log_file=log)
    triton._started = now - 20
    assert triton.silence_s == pytest.approx(silence_s, abs=5)
    triton.stop()


def test_an_interrupt_while_starting_ends_the_start(repository: Path) -> None:
    before, server = _shared_memory(), TritonServer(repository)
    server.interrupt()
    started = time.monotonic()
    with server:
        group = server.pid
        server.wait()
    assert group is not None
    assert _living(group=group) == []
    assert _shared_memory() == before
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("name", ["http", "grpc", "metrics"])
def test_a_port_in_use_is_named(repository: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} \(--{name}_port\)"):
            TritonServer(repository, **{f"{name}_port": port}).start()


@pytest.mark.parametrize("port", [70000, "grpc"])
def test_a_port_that_is_none_is_named(repository: Path, port: object) -> None:
    with pytest.raises(InputError, match=f"--grpc_port must be a whole number from 0 to 65535, got {port!r}"):
        TritonServer(repository, grpc_port=port).start()


@pytest.mark.parametrize(
    ("ports", "address", "message"),
    [
        ({"http": 18600, "grpc": 18600, "metrics": 0}, "127.0.0.1", "--http_port and --grpc_port are all 18600"),
        ({"http": 99999}, "127.0.0.1", "--http_port must be a whole number from 0 to 65535, got 99999"),
        ({"http": 0}, "no.such.host.example", "--address 'no.such.host.example' is not an IPv4 address or a host name"),
        ({"http": 0}, "::1", "--address '::1' is not an IPv4 address or a host name"),
        ({"http": 0}, "192.0.2.1", "--address 192.0.2.1 is not an address of this machine"),
    ],
)
def test_an_address_or_a_port_that_cannot_be_bound(ports: dict[str, int], address: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        choose_ports(ports, address)


def test_a_missing_or_empty_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist.*export"):
        TritonServer(tmp_path / "nowhere").start()
    with pytest.raises(InputError, match=r"holds no model.*export"):
        TritonServer(tmp_path).start()


def test_a_model_that_does_not_load_shows_the_servers_reason(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "mtnet_classifier", tmp_path / "mtnet_classifier")
    config = tmp_path / "mtnet_classifier" / "config.pbtxt"
    config.write_text(config.read_text().replace('"MALIGNANCY"', '"BENIGNITY"'))
    server = TritonServer(tmp_path)
    with pytest.raises(InputError, match=r"config\.pbtxt has output BENIGNITY"):
        server.start()
    assert server.pid is None


@pytest.mark.parametrize("version", ["2.0.0", "2.3.1"])
def test_numpy_2_is_refused(version: str) -> None:
    with pytest.raises(InputError, match=rf"numpy {version} corrupts.*numpy==1\.26\.4"):
        triton_runtime._check_numpy(version)


def test_a_missing_libpython_is_named(tmp_path: Path) -> None:
    stub = triton_runtime.find_runtime().stub
    fake = tmp_path / "ldd"
    fake.write_text("#!/bin/sh\necho 'libpython3.11.so.1.0 => not found'\n")
    fake.chmod(0o755)
    with pytest.raises(InputError, match=r"libpython3\.11\.so\.1\.0 not found: .*apt-get install libpython"):
        triton_runtime._check_libraries(stub, {"PATH": str(tmp_path)})
