"""A repository for NVIDIA's container is refused by a server that lacks its backend."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lung_nodule.deployment.repository.model_repository import TEMPLATES
from lung_nodule.deployment.server.backend_check import check_backends
from lung_nodule.errors import InputError

PLAN = 'name: "mtcnn_net" platform: "tensorrt_plan"'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The configs of every model, as the templates have them."""
    for path in TEMPLATES.glob("*/config.pbtxt"):
        shutil.copytree(path.parent, tmp_path / path.parent.name)
    return tmp_path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_servers_own_backends_pass(engine: str, repository: Path) -> None:
    if engine == "openvino":
        (repository / "mtcnn_net" / "config.pbtxt").write_text('name: "mtcnn_net" backend: "openvino"')
    check_backends(repository, None)


def test_a_plan_needs_another_server(repository: Path) -> None:
    configs = repository / "mtcnn_net" / "configs"
    configs.mkdir()
    (configs / "tensorrt.pbtxt").write_text(PLAN)
    check_backends(repository, None)
    check_backends(repository, "ort_tensorrt")  # of no model here, which the server refuses by itself
    with pytest.raises(InputError, match=r"model mtcnn_net needs the backend tensorrt, .* NVIDIA's container"):
        check_backends(repository, "tensorrt")
    shutil.copy(configs / "tensorrt.pbtxt", repository / "mtcnn_net" / "config.pbtxt")
    with pytest.raises(InputError, match="model mtcnn_net needs the backend tensorrt"):
        check_backends(repository, None)
