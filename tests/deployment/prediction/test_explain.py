"""predict --explain against a gRPC service of the test's own, whose answer depends on the voxels at the centre."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pandas as pd
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from lung_nodule.__main__ import main
from lung_nodule.deployment.repository.model_repository import TEMPLATES, read_config
from lung_nodule.io import read_nifti, write_nifti

SHAPE = (72, 64, 30)
AFFINE = np.array([[0, 0.9, 0, -57.0], [0.8, 0, 0, -57.0], [0, 0, -2.0, 168.0], [0, 0, 0, 1.0]])
CENTER = np.array([-20.0, -24.0, 150.0])
LOOKED_AT_MM = 2.5


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    """MT-CNN's tensors; the probability rises with the mean HU of the voxels within 2.5 mm of the centre."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []

    def ModelInfer(
        self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        self.asked.append({output.name for output in request.outputs})
        sent = [np.frombuffer(content, np.float32) for content in request.raw_input_contents]
        hu, spacing, center = sent[0].reshape(tuple(request.inputs[0].shape)), *sent[1:]
        distance = np.linalg.norm((np.moveaxis(np.indices(hu.shape), 0, -1) - center) * spacing, axis=-1)
        score = np.float32(0.5 + hu[distance < LOOKED_AT_MM].mean() / 2000)
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for output in request.outputs:
            value = np.full(2 if output.name.endswith("INTERVAL") else 1, score)
            response.outputs.add(name=output.name, datatype="FP32", shape=value.shape)
            response.raw_output_contents.append(value.tobytes())
        return response

    def ModelReady(self, request: object, context: grpc.ServicerContext) -> service_pb2.ModelReadyResponse:
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelConfig(self, request: object, context: grpc.ServicerContext) -> service_pb2.ModelConfigResponse:
        return service_pb2.ModelConfigResponse(config=read_config(TEMPLATES / "mtcnn" / "config.pbtxt"))

    def RepositoryIndex(self, request: object, context: grpc.ServicerContext) -> service_pb2.RepositoryIndexResponse:
        held = service_pb2.RepositoryIndexResponse.ModelIndex(name="mtcnn", version="1", state="READY")
        return service_pb2.RepositoryIndexResponse(models=[held])

    def SystemSharedMemoryRegister(self, request: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "no shared memory")


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    """The service and its ``host:port``."""
    options = [("grpc.max_receive_message_length", -1)]
    servicer, server = Service(), grpc.server(ThreadPoolExecutor(4), options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


@pytest.mark.slow
def test_the_map_is_written_on_the_cts_own_grid_where_the_answer_comes_from(
    service: tuple[Service, str], ball_ct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CT is turned and flipped; a second prediction without the option removes the map of the first."""
    servicer, url = service
    ct, out = ball_ct(SHAPE, AFFINE, CENTER, 7.0), tmp_path / "out"
    write_nifti(tmp_path / "scan.nii.gz", ct)
    row = {"nodule_id": "n", **dict(zip(("center_x_ras", "center_y_ras", "center_z_ras"), CENTER, strict=True))}
    pd.DataFrame([row]).to_csv(tmp_path / "n.csv", index=False)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    command = ["predict", "--ct", str(tmp_path / "scan.nii.gz"), "--nodules", str(tmp_path / "n.csv")]
    command += ["--out", str(out), "--url", url, "--model", "mtcnn"]
    assert main([*command, "--explain", "True"]) == 0
    table = pd.read_csv(out / "nodules.csv").loc[0]
    written = read_nifti(out / table["occlusion_map"])
    assert written.data.dtype == np.float32
    np.testing.assert_allclose(written.affine, ct.affine, atol=1e-5)
    assert written.data.shape == SHAPE
    world = ct.to_world(np.moveaxis(np.indices(SHAPE), 0, -1))
    looked_at = np.linalg.norm(world - CENTER, axis=-1) < LOOKED_AT_MM - 0.1
    assert (written.data[looked_at] < 0).all()
    furthest = np.linalg.norm(world[written.data != 0] - CENTER, axis=-1).max()
    assert furthest < LOOKED_AT_MM + np.sqrt(3) * (table["occlusion_cube_mm"] + 2.0)
    assert written.data.min() == pytest.approx(table["occlusion_lowest"], abs=1e-6)
    assert len(servicer.asked) <= 1 + 125
    assert set.union(*servicer.asked[1:]) == {"MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL"}
    assert 'id="occlusion"' in (out / "report.html").read_text(encoding="utf-8")
    assert main(command) == 0
    assert not (out / table["occlusion_map"]).exists()
    assert 'id="occlusion"' not in (out / "report.html").read_text(encoding="utf-8")
    assert "occlusion_map" not in pd.read_csv(out / "nodules.csv")
