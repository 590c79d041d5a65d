"""The served ensemble against the same computation in torch, on a real Triton server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tritonclient.grpc import InferenceServerClient, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from lung_nodule.core import SlicePatch, cut_at_half, nodule_score, slice_weights, window
from lung_nodule.deployment.answers import Answer
from lung_nodule.deployment.client import NoduleClient, request_inputs
from lung_nodule.deployment.connection.voi_memory import PREFIX
from lung_nodule.deployment.server.canary import ask_canary
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.errors import InputError
from lung_nodule.io import Voi, Volume
from lung_nodule.methods import load_network
from tests.deployment.conftest import ball_voi

TOLERANCE = 1e-4  # probabilities: ONNX Runtime and torch add in different orders


VOIS = [
    ball_voi("thin", (70, 64, 50), (0.75, 0.75, 0.625)),
    ball_voi("thick", (64, 64, 9), (0.5, 0.5, 5.0)),
    ball_voi("one_slice", (40, 50, 1), (1.0, 1.0, 2.5)),
    ball_voi("tight", (22, 20, 6), (0.75, 0.5, 2.5), shift=2.25),
    ball_voi("coarse_grid", (12, 14, 9), (4.0, 3.5, 5.0)),
]


@pytest.fixture(scope="module")
def expected(bundle: Path, settings: dict) -> Callable[[Voi], Answer]:
    """MT-Net in torch and the core, without any of the deployment's code."""
    network = load_network(bundle / "models" / "model.pt")

    def compute(voi: Voi) -> Answer:
        volume = voi.volume
        patch = SlicePatch(volume.shape, tuple(volume.spacing), tuple(voi.center), **settings["patch"])
        image = torch.from_numpy(patch.sample(window(volume.data, *settings["window"])))[:, None]
        copies = []
        for axes in ((), (2,), (3,), (2, 3)):
            with torch.inference_mode():
                maps = {name: logits.sigmoid() for name, logits in network(image.flip(axes)).items()}
            copies.append({name: (m.flip(axes) if m.ndim == 4 else m).numpy()[:, 0] for name, m in maps.items()})
        draws = [nodule_score(copy["malignancy"], slice_weights(copy["coarse"], patch)) for copy in copies]
        mean = {name: np.mean([copy[name] for copy in copies], axis=0) for name in copies[0]}
        score = nodule_score(mean["malignancy"], slice_weights(mean["coarse"], patch))
        mean["fine"] = cut_at_half(mean["fine"], settings["mask_threshold"])
        maps = {name: patch.restore(mean[name]) for name in ("fine", "coarse")}
        return Answer(score, (min(draws), max(draws)), maps)

    return compute


@pytest.fixture
def grpc(server: TritonServer):
    with InferenceServerClient(server.grpc_url) as client:
        yield client


def _assert_equal(found: Answer, wanted: Answer) -> None:
    assert list(found.maps) == list(wanted.maps) == ["fine", "coarse"]
    for name, wanted_map in wanted.maps.items():
        np.testing.assert_allclose(found.maps[name], wanted_map, atol=TOLERANCE)
    assert found.malignancy == pytest.approx(wanted.malignancy, abs=TOLERANCE)
    assert found.interval == pytest.approx(wanted.interval, abs=TOLERANCE)


@pytest.mark.parametrize("voi", VOIS, ids=lambda voi: voi.nodule_id)
def test_the_server_answers_what_torch_computes(server: TritonServer, expected, voi: Voi) -> None:
    with NoduleClient(server.grpc_url) as client:
        ((index, found),) = client.ask([voi])
    wanted = expected(voi)
    assert index == 0
    assert found.maps["fine"].shape == voi.volume.shape
    assert min(np.ptp(wanted_map) for wanted_map in wanted.maps.values()) > 0.1, "a constant map would prove nothing"
    _assert_equal(found, wanted)


@pytest.mark.parametrize("shared_memory", [False, True], ids=["sent", "shared"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_every_way_gives_the_same_answer_and_the_same_errors(
    server: TritonServer, protocol: str, shared_memory: bool
) -> None:
    url = f"http://{server.http_url}" if protocol == "http" else server.grpc_url
    with NoduleClient(server.grpc_url, shared_memory=False) as client:
        wanted, served = dict(client.ask(VOIS)), client.describe()
    with NoduleClient(url, in_flight=1, shared_memory=shared_memory) as client:
        assert client.describe() == served
        found = dict(client.ask(VOIS))
        assert len(list(Path("/dev/shm").glob(f"{PREFIX}{os.getpid()}_*"))) == shared_memory
        with pytest.raises(InputError, match=rf"^nodule LIDC-1: the server at {url} refused: .*1 voxels that are NaN"):
            list(client.ask([NAN]))
    for index, answer in found.items():
        assert answer.malignancy == pytest.approx(wanted[index].malignancy, abs=1e-6)
        np.testing.assert_allclose(answer.maps["fine"], wanted[index].maps["fine"], atol=1e-6)
    with NoduleClient(url, model="mtcnn") as client, pytest.raises(InputError, match=r"'mtcnn'.*mtnet \(ready\)"):
        client.describe()
    assert not list(Path("/dev/shm").glob(f"{PREFIX}{os.getpid()}_*"))


@pytest.mark.slow
def test_nodules_of_different_slice_counts_do_not_mix(server: TritonServer, expected) -> None:
    vois = VOIS * 4
    with NoduleClient(server.grpc_url, in_flight=8) as client:
        answers = dict(client.ask(vois))
    assert sorted(answers) == list(range(len(vois)))
    wanted = [expected(voi) for voi in VOIS]
    for index, found in answers.items():
        _assert_equal(found, wanted[index % len(VOIS)])


@pytest.mark.parametrize(
    "names", [["MALIGNANCY_PROBABILITY"], ["COARSE_PROBABILITY"], ["FINE_PROBABILITY"], ["MALIGNANCY_INTERVAL"]]
)
def test_a_subset_of_the_outputs_is_answered(grpc: InferenceServerClient, names: list[str]) -> None:
    outputs = [InferRequestedOutput(name) for name in names]
    answer = grpc.infer("mtnet", request_inputs(VOIS[1]), outputs=outputs, client_timeout=120)
    assert [output.name for output in answer.get_response().outputs] == names


def _with(voi: Voi, *, data: np.ndarray | None = None, center: tuple | None = None, spacing: tuple | None = None):
    inputs = request_inputs(voi)
    values = {
        "VOI": voi.volume.data if data is None else data,
        "SPACING": voi.volume.spacing if spacing is None else spacing,
        "CENTER": voi.center if center is None else center,
    }
    for tensor in inputs:
        value = np.ascontiguousarray(values[tensor.name()], dtype=np.float32)
        tensor.set_shape(list(value.shape))
        tensor.set_data_from_numpy(value)
    return inputs


def _spoiled(value: float) -> np.ndarray:
    data = VOIS[3].volume.data.copy()
    data[3, 2, 1] = value
    return data


NAN = Voi("LIDC-1", Volume(_spoiled(np.nan), VOIS[3].volume.affine), VOIS[3].box, VOIS[3].center)
BAD = {
    "nan": ({"data": _spoiled(np.nan)}, "1 voxels that are NaN"),
    "infinite": ({"data": _spoiled(np.inf)}, "1 voxels that are NaN or infinite"),
    "two_axes": ({"data": np.zeros((8, 8))}, "shape"),
    "empty": ({"data": np.zeros((8, 8, 0))}, "VOI"),
    "zero_spacing": ({"spacing": (1, 1, 0)}, "spacing must be positive"),
    "huge_spacing": ({"spacing": (1e9, 1, 1)}, "spacing must be"),
    "spacing_in_metres": ({"spacing": (7e-4, 7e-4, 1e-3)}, "spacing must be in mm"),
    "scaled_to_1": ({"data": np.linspace(0, 1, 2640).reshape(22, 20, 6)}, "no voxel below -500 HU.*not scaled"),
    "scaled_up": ({"data": np.full((22, 20, 6), -850e30)}, "are not HU"),
    "very_large": ({"data": np.full((330, 330, 330), -850.0)}, "35937000 voxels, at most 33554432"),
    "nan_spacing": ({"spacing": (1, np.nan, 1)}, "spacing must be three finite numbers"),
    "center_outside": ({"center": (3, 3, 40)}, "lies outside the VOI"),
    "too_many_slices": (
        {"data": np.full((4, 4, 400), -850.0), "spacing": (1, 1, 0.1), "center": (2, 2, 200)},
        "400 slices .* this server takes 160",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_answered_with_its_reason(server: TritonServer, grpc: InferenceServerClient, case: str) -> None:
    changes, message = BAD[case]
    with pytest.raises(InferenceServerException, match=message) as caught:
        grpc.infer("mtnet", _with(VOIS[3], **changes), client_timeout=120)
    text = str(caught.value)
    assert "INVALID_ARGUMENT" in text
    assert "/" not in text.replace("n/a", "")
    assert "Traceback" not in text
    assert ask_canary(server.grpc_url) == ["mtnet"]


def test_the_clients_error_names_the_nodule(server: TritonServer) -> None:
    with NoduleClient(server.grpc_url) as client, pytest.raises(InputError, match=r"^nodule LIDC-1: .*NaN"):
        list(client.ask([VOIS[1], NAN]))


@pytest.mark.slow
def test_clients_that_leave_early_leave_a_server_that_answers(bare_server: TritonServer) -> None:
    """Triton 2.51 outlives less than two dozen clients that leave with requests of the ensemble under way."""
    for _ in range(30):
        with NoduleClient(bare_server.grpc_url) as client:
            next(client.ask(VOIS))
    assert ask_canary(bare_server.grpc_url) == ["mtnet"]


def test_the_server_describes_its_model(server: TritonServer, settings: dict) -> None:
    with NoduleClient(server.grpc_url) as client:
        served = client.describe()
    assert (served.name, served.version) == ("mtnet", settings["version"])
    shown = {name: served.parameters[name] for name in ("patch_mm", "z_patch_mm", "image_size", "window")}
    assert shown == {"patch_mm": "48.0", "z_patch_mm": "40.0", "image_size": "64", "window": "-1000.0 400.0"}
    assert (served.reach_mm, served.edge_mm(), served.edge_mm(90.0)) == (48.0, 80.0, 80.0)


def test_an_unknown_model_is_named_with_what_is_there(server: TritonServer) -> None:
    with NoduleClient(server.grpc_url, model="mtcnn") as client, pytest.raises(InputError, match=r"'mtcnn'.*mtnet"):
        client.describe()
