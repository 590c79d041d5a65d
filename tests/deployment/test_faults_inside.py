"""A fault of one method, as the models that ask it inside the server pass it on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from lung_nodule.deployment.answers import PANEL
from lung_nodule.deployment.client import NoduleClient, request_inputs
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.errors import InputError
from lung_nodule.io import Voi
from tests.deployment.conftest import ball_voi

VOI = ball_voi("ball", (64, 64, 24), (0.9, 0.9, 2.0))
FAR = ball_voi("far", (30, 30, 10), (1.0, 1.0, 2.0), shift=90.0)


def refusal(server: TritonServer, model: str, voi: Voi) -> tuple[str, str]:
    """Status and message with which a model refuses a VOI without a diameter."""
    with InferenceServerClient(server.grpc_url) as client, pytest.raises(InferenceServerException) as refused:
        client.infer(model, request_inputs(voi), client_timeout=120)
    return str(refused.value.status()).removeprefix("StatusCode."), str(refused.value.message())


def kill_step(server: TritonServer, name: str) -> None:
    """Kill the process of a model."""
    assert server.pid is not None
    of_group = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _group(path) == server.pid]
    (pid,) = (pid for pid in of_group if name in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(pid, signal.SIGKILL)


def _group(process: Path) -> int:
    try:
        return os.getpgid(int(process.name))
    except ProcessLookupError:
        return 0


@pytest.mark.slow
def test_a_dead_method_is_unavailable_and_a_bad_request_refused(all_repository: Path) -> None:
    with TritonServer(all_repository) as server:
        for model in ("mtmrnet", PANEL):
            status, message = refusal(server, model, FAR)
            assert status == "INVALID_ARGUMENT", message
            assert "lies outside the VOI" in message
        kill_step(server, "mtnet_postprocess")
        for model in ("mtmrnet", PANEL):
            status, message = refusal(server, model, VOI)
            assert status == "UNAVAILABLE", message
            assert "is not healthy" in message
            with (
                NoduleClient(server.grpc_url, model=model, retries=1) as client,
                pytest.raises(InputError, match=r"is busy .*is not healthy"),
            ):
                list(client.ask([VOI]))
        with NoduleClient(server.grpc_url, model="mtmrnet") as client:
            ((_, answer),) = client.ask([VOI], [16.0])
        assert np.isfinite(answer.malignancy)
