"""What the files for NVIDIA's container ask of a server, tried on the real one: the canary, the metrics, the proxy."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tritonclient import grpc as of_grpc
from tritonclient import http as of_http
from tritonclient.utils import InferenceServerException

from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.repository.model_repository import TEMPLATES
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.errors import InputError
from lung_nodule.io import Voi
from tests.deployment.conftest import ball_voi

DEPLOY = TEMPLATES / "deploy"
TOKEN = "0123456789abcdef"
SCORE = "MALIGNANCY_PROBABILITY"
OF_A_GPU = {
    "nv_gpu_utilization",
    "nv_gpu_memory_total_bytes",
    "nv_gpu_memory_used_bytes",
    "nv_gpu_power_usage",
}
"""As docs/user_guide/metrics.md of triton-inference-server/server names them; absent without a GPU."""


def asked(server: TritonServer, *models: str) -> subprocess.CompletedProcess[str]:
    """The canary script as a container runs it."""
    command = [sys.executable, "-I", "-S", str(DEPLOY / "canary.py"), "--url", f"http://{server.http_url}", *models]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def inputs(voi: Voi, protocol: ModuleType) -> list:
    """A VOI as the inputs of one of tritonclient's protocols."""
    values = {"VOI": voi.volume.data, "SPACING": voi.volume.spacing, "CENTER": voi.center}
    tensors = {name: protocol.InferInput(name, list(np.shape(value)), "FP32") for name, value in values.items()}
    for name, tensor in tensors.items():
        tensor.set_data_from_numpy(np.ascontiguousarray(values[name], dtype=np.float32))
    return list(tensors.values())


def metric_names(server: TritonServer) -> set[str]:
    """The metrics that a server exposes."""
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics", timeout=10) as answer:
        return set(re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.MULTILINE))


def test_the_canary_is_answered(panel_server: TritonServer) -> None:
    assert (asked(panel_server).returncode, asked(panel_server, "mtnet", "mtmrnet").returncode) == (0, 0)


@pytest.mark.parametrize(
    ("model", "reason"), [("nowhere", "unknown model: 'nowhere'"), ("mtnet_fine", "name a model that scores a VOI")]
)
def test_the_canary_names_what_is_wrong(panel_server: TritonServer, model: str, reason: str) -> None:
    answer = asked(panel_server, model)
    assert answer.returncode == 1
    assert reason in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["grafana/dashboard.json", "kubernetes/prometheus-adapter-values.yaml"])
def test_every_metric_exists(panel_server: TritonServer, name: str) -> None:
    read = set(re.findall(r"\bnv_\w+", (DEPLOY / name).read_text()))
    assert read
    assert read - OF_A_GPU <= metric_names(panel_server)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def proxy(panel_server: TritonServer, tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """``host:port`` for HTTP and for gRPC of nginx with the configuration, and its certificate."""
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    ports = free_port(), free_port()
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in {
        "/etc/nginx/tls/server.crt": str(certificate),
        "/etc/nginx/tls/server.key": str(key),
        "REPLACE_ME": TOKEN,
        "listen 443 ": f"listen 127.0.0.1:{ports[0]} ",
        "listen 8443 ": f"listen 127.0.0.1:{ports[1]} ",
        "127.0.0.1:8000": panel_server.http_url,
        "127.0.0.1:8001": panel_server.grpc_url,
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "nginx.conf").write_text(text)
    own = f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
    process = subprocess.Popen(["nginx", "-c", tmp_path / "nginx.conf", "-g", own])
    try:
        _wait_for(ports)
        yield f"localhost:{ports[0]}", f"localhost:{ports[1]}", str(certificate)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(ports: tuple[int, ...], seconds: float = 10.0) -> None:
    """Return when all ports are listened on."""
    deadline = time.monotonic() + seconds
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"nothing listens on {port}"
                time.sleep(0.05)


@pytest.mark.parametrize("token", ["", "wrong"])
def test_the_proxy_refuses_who_has_no_token(proxy: tuple[str, str, str], token: str) -> None:
    http_url, grpc_url, certificate = proxy
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with of_http.InferenceServerClient(http_url, ssl=True, ssl_options={"ca_certs": certificate}) as client:
        assert not client.is_server_live(headers=headers)
    with of_grpc.InferenceServerClient(grpc_url, ssl=True, root_certificates=certificate) as client:
        given = {name.lower(): value for name, value in headers.items()}
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            client.is_server_live(headers=given)


def test_the_proxy_passes_inferences_of_any_size_on_and_nothing_of_the_machine(proxy: tuple[str, str, str]) -> None:
    http_url, grpc_url, certificate = proxy
    token = {"authorization": f"Bearer {TOKEN}"}
    voi = ball_voi("large", (256, 256, 40), (0.7, 0.7, 1.0))
    with of_http.InferenceServerClient(
        http_url, ssl=True, ssl_options={"ca_certs": certificate}, network_timeout=120
    ) as client:
        outputs = [of_http.InferRequestedOutput(SCORE)]
        over_http = client.infer("mtnet", inputs(voi, of_http), outputs=outputs, headers={**token})
        with pytest.raises(InferenceServerException, match="403"):
            client.get_system_shared_memory_status(headers=token)
        with pytest.raises(InferenceServerException, match="403"):
            client.unload_model("mtnet", headers=token)
    with of_grpc.InferenceServerClient(grpc_url, ssl=True, root_certificates=certificate) as client:
        outputs = [of_grpc.InferRequestedOutput(SCORE)]
        over_grpc = client.infer("mtnet", inputs(voi, of_grpc), outputs=outputs, headers={**token})
        with pytest.raises(InferenceServerException, match="PERMISSION_DENIED"):
            client.get_system_shared_memory_status(headers=token)
    assert over_http.as_numpy(SCORE) == pytest.approx(over_grpc.as_numpy(SCORE), abs=1e-6)
    assert 0 < over_http.as_numpy(SCORE)[0] < 1


def test_the_client_comes_through_the_proxy_with_its_token(
    proxy: tuple[str, str, str], panel_server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    voi, found = ball_voi("small", (32, 32, 6), (1.0, 1.0, 2.5)), []
    monkeypatch.setenv("SSL_CERT_FILE", proxy[2])
    urls = (f"https://{proxy[0]}", f"grpcs://{proxy[1]}")
    for url in urls:
        with NoduleClient(url, model="mtnet", token=TOKEN) as client:
            found += [answer.malignancy for _, answer in client.ask([voi])]
        with NoduleClient(url, token="wrong") as client, pytest.raises(InputError, match=f"{url} refused"):
            client.describe()
    with NoduleClient(panel_server.grpc_url, model="mtnet") as client:
        found += [answer.malignancy for _, answer in client.ask([voi])]
    assert found == pytest.approx([found[-1]] * 3, abs=1e-6)
    monkeypatch.delenv("SSL_CERT_FILE")
    with NoduleClient(urls[0], token=TOKEN) as client, pytest.raises(InputError, match="certificate is not trusted"):
        client.describe()


@pytest.mark.slow
def test_the_canary_fails_where_a_step_is_dead_and_the_server_says_ready(repository: Path) -> None:
    with TritonServer(repository) as server:
        assert asked(server, "mtnet").returncode == 0
        steps = [path for path in Path("/proc").glob("[0-9]*") if _is_step(path, server.pid, "mtnet_postprocess")]
        for step in steps:
            os.kill(int(step.name), signal.SIGKILL)
        answer = asked(server, "mtnet")
        assert steps
        assert answer.returncode == 1
        assert "mtnet" in answer.stderr
        with urllib.request.urlopen(f"http://{server.http_url}/v2/health/ready", timeout=10) as ready:
            assert ready.status == 200


def _is_step(process: Path, group: int | None, model: str) -> bool:
    try:
        return os.getpgid(int(process.name)) == group and model in (process / "cmdline").read_bytes().decode()
    except (OSError, ValueError):
        return False
