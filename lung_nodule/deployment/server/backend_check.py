"""Whether the server of the wheel has the backends that a repository needs."""

from __future__ import annotations

from pathlib import Path

from lung_nodule.deployment.repository.model_repository import read_config
from lung_nodule.deployment.server.triton_runtime import BACKENDS
from lung_nodule.errors import InputError

OF_PLATFORM = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt", "ensemble": ""}
"""Backend of a config that names a platform; an ensemble needs none."""


def check_backends(repository: Path, config_name: str | None) -> None:
    """Refuse models whose backend is not among the server's: Python, ONNX Runtime and OpenVINO, on the CPU.

    Args:
        repository: model repository.
        config_name: name of the configs in ``configs/`` that replace a model's own, as Triton takes it.

    Raises:
        InputError: a backend is missing; the message names the first such model.
    """
    known = {"", "python", *(path.parent.name for path in BACKENDS.glob("*/model.py"))}
    for path in sorted(repository.glob("*/config.pbtxt")):
        other = path.parent / "configs" / f"{config_name}.pbtxt"
        config = read_config(other if config_name is not None and other.is_file() else path)
        backend = config.backend or OF_PLATFORM.get(config.platform, config.platform)
        if backend not in known:
            raise InputError(
                f"model {path.parent.name} needs the backend {backend}, which this server does not have: serve "
                f"{repository} in NVIDIA's container (triton_repo/README.md), or export with --engine onnxruntime"
            )
