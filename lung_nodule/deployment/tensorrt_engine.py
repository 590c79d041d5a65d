"""ONNX files through TensorRT's builder, and plans that are refused on another machine.

TensorRT is optional: it is imported when an engine is asked for. The builder takes the API module as an argument, so
that TensorRT for RTX, which builds without a GPU, can use the same code.
"""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from lung_nodule.errors import InputError
from lung_nodule.io import atomic_path, file_sha256, write_json

logger = logging.getLogger(__name__)
PRECISION = "fp32"


def load_tensorrt() -> ModuleType:
    """TensorRT's Python module.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise InputError(
            f"TensorRT is not installed ({error}): use --engine onnxruntime, or pip install tensorrt on a machine with "
            "an NVIDIA GPU (in NVIDIA's container it is there)"
        ) from None


def compute_capability() -> str:
    """Compute capability of the first GPU, as "8.6".

    Raises:
        InputError: no NVIDIA GPU answers.
    """
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    except (OSError, subprocess.SubprocessError):
        listing = []
    if not listing:
        raise InputError("no NVIDIA GPU answers (nvidia-smi): a TensorRT plan is built on the GPU that will run it")
    return listing[0]


def build_plan(onnx_file: Path, plan_file: Path, *, max_batch: int, api: ModuleType, capability: str) -> None:
    """Build the plan of one net and write ``<plan>.json`` next to it.

    The network is strongly typed: its precision is the ONNX file's. One optimisation profile spans the batches 1 to
    ``max_batch``, the bounds of the model's config.

    Args:
        onnx_file: a file of :func:`lung_nodule.deployment.onnx_files.write_onnx`.
        plan_file: plan to write, atomically.
        max_batch: largest batch that the config allows.
        api: ``tensorrt``, or a module with the same API.
        capability: compute capability of the GPU that the plan is for.

    Raises:
        InputError: the parser or the builder refuses the file; the message carries its reason.
    """
    log = _make_log(api)
    builder = api.Builder(log)
    network = builder.create_network(_network_flags(api))
    parser = api.OnnxParser(network, log)
    if not parser.parse(onnx_file.read_bytes()):
        reasons = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise InputError(f"{onnx_file.name}: TensorRT's parser refuses it: {reasons}")
    profile, shapes = _batch_profile(builder, network, max_batch)
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise InputError(f"{onnx_file.name}: TensorRT's builder failed: {log.last_error or 'no reason given'}")
    with atomic_path(plan_file) as part:
        part.write_bytes(bytes(plan))
    write_json(_side_file(plan_file), _identity(onnx_file, api, capability) | {"shapes": shapes})
    logger.info("%s: TensorRT %s plan for compute capability %s", plan_file.name, api.__version__, capability)


def check_plan(plan_file: Path, onnx_file: Path, *, api: ModuleType, capability: str) -> None:
    """Refuse a plan that was built by another TensorRT, for another GPU or from another ONNX file.

    Raises:
        InputError: the plan or its side file is missing, or they do not fit; every difference is named.
    """
    side_file = _side_file(plan_file)
    for path in (plan_file, side_file, onnx_file):
        if not path.is_file():
            raise InputError(f"{path} is missing: export again with --engine tensorrt")
    built, here = json.loads(side_file.read_text()), _identity(onnx_file, api, capability)
    differences = [f"{key} {built.get(key)} (here {value})" for key, value in here.items() if built.get(key) != value]
    if differences:
        raise InputError(
            f"{plan_file} was built for {', '.join(differences)}: export again with --engine tensorrt on this machine"
        )


def check_plans(repository: Path) -> int:
    """Check every plan of a model repository against this machine's TensorRT and GPU; the number of plans.

    Raises:
        InputError: no plan is there, TensorRT or the GPU is missing, or a plan does not fit.
    """
    plans = sorted(repository.glob("*/*/model.plan"))
    if not plans:
        raise InputError(f"{repository} holds no TensorRT plan: export with --engine tensorrt")
    api, capability = load_tensorrt(), compute_capability()
    for plan in plans:
        check_plan(plan, plan.with_name("model.onnx"), api=api, capability=capability)
    return len(plans)


def _side_file(plan_file: Path) -> Path:
    return plan_file.with_name(plan_file.name + ".json")


def _identity(onnx_file: Path, api: ModuleType, capability: str) -> dict[str, Any]:
    """What a plan depends on."""
    return {
        "builder": api.__name__,
        "version": api.__version__,
        "compute_capability": capability,
        "precision": PRECISION,
        "onnx_sha256": file_sha256(onnx_file),
    }


def _network_flags(api: ModuleType) -> int:
    """Strong typing where it is a choice; in TensorRT 11 and TensorRT for RTX it is the only way."""
    flag = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _batch_profile(builder: Any, network: Any, max_batch: int) -> tuple[Any, dict[str, list[list[int]]]]:
    """The optimisation profile and, for the side file, each input's smallest, usual and largest shape."""
    profile = builder.create_optimization_profile()
    shapes = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = list(tensor.shape)[1:]
        bounds = [[batch, *rest] for batch in (1, max(1, max_batch // 4), max_batch)]
        profile.set_shape(tensor.name, *bounds)
        shapes[tensor.name] = bounds
    return profile, shapes


def _make_log(api: ModuleType) -> Any:
    """TensorRT's messages into ``logging``, the last error kept for the exception."""

    class Log(api.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.last_error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (api.ILogger.INTERNAL_ERROR, api.ILogger.ERROR):
                self.last_error = message
            elif severity == api.ILogger.WARNING:
                logger.debug("TensorRT: %s", message)

    return Log()
