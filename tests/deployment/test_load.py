"""The server under load, and what it leaves behind."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from lung_nodule.deployment.client import request_inputs
from lung_nodule.deployment.server.server import TritonServer
from tests.deployment.conftest import ball_voi

VOIS = [ball_voi("a" * (number + 1), (24, 26, 3 + number), (1.0, 1.0, 2.5)) for number in range(4)]


def _answer(client: InferenceServerClient, number: int) -> np.ndarray:
    return client.infer("mtnet", request_inputs(VOIS[number % 4]), client_timeout=300).as_numpy(
        "MALIGNANCY_PROBABILITY"
    )


@pytest.mark.parametrize(
    "requests", [pytest.param(40, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.long)]
)
def test_answers_side_by_side_equal_those_one_after_the_other(requests: int, server: TritonServer) -> None:
    with InferenceServerClient(server.grpc_url) as client:
        wanted = [_answer(client, number) for number in range(4)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda number: _answer(client, number), range(requests)))
    for number, answer in enumerate(found):
        np.testing.assert_allclose(answer, wanted[number % 4], atol=1e-5)
    assert len({float(answer[0]) for answer in wanted}) == 4, "equal answers would prove nothing"


@pytest.mark.slow
def test_a_server_killed_under_load_fails_every_request_and_a_new_one_answers(repository: Path) -> None:
    with TritonServer(repository) as server, InferenceServerClient(server.grpc_url) as client:
        wanted = _answer(client, 0)
        with ThreadPoolExecutor(4) as pool:
            pending = [pool.submit(_answer, client, number) for number in range(12)]
            pending[0].result()
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            ended = [request.exception(timeout=60) for request in pending]
        assert server._triton is not None
        prefix = server._triton.memory_prefix
        failed = [error for error in ended if error is not None]
        assert failed
        assert all(isinstance(error, InferenceServerException) for error in failed)
        assert all("UNAVAILABLE" in str(error) for error in failed), [str(error) for error in failed]
    assert not list(Path("/dev/shm").glob(f"{prefix}*"))
    with TritonServer(repository) as again, InferenceServerClient(again.grpc_url) as client:
        np.testing.assert_array_equal(_answer(client, 0), wanted)
