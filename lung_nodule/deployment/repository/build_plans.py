"""Build the TensorRT plans of an exported model repository and test each on a canary before it is kept.

    python3 build_plans.py [--repository FOLDER] [--tf32] [--check]

``python -m lung_nodule export --engine tensorrt`` copies this file into the repository. It needs numpy, TensorRT's
Python package, CUDA's runtime library and the GPU that will serve, but neither torch nor lung_nodule, so it runs in
NVIDIA's TensorRT container with the same tag as the Triton container. ``--check`` builds nothing and compares the
plans' records with this machine.

The API module is an argument, so that TensorRT for RTX, which builds without a GPU, can use the same code.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

logger = logging.getLogger("build_plans")
SPECIFICATION, CANARY, PLAN, RECORD = "tensorrt.json", "canary.npz", "model.plan", "model.plan.json"
Profile = dict[str, list[list[int]]]
"""By input, minimum, optimum and maximum shape, including the batch."""
Arrays = Mapping[str, np.ndarray]
_CUDART = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
_TO_DEVICE, _TO_HOST = 1, 2
_MAJOR, _MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor and -Minor


class PlanError(ValueError):
    """A plan that cannot be built, does not fit this machine, or gives other answers; the message is one line."""


class Difference(NamedTuple):
    """Difference of two answers to the same images.

    ``score``: maximum absolute difference of a channel's probability; for a map, of its mean over the image.
    ``dice``: Dice of the masks, channel 0 of a map at 0.5; 1 if the answer has no map.
    ``largest``: maximum absolute difference of any value.
    """

    score: float
    dice: float
    largest: float


class Tolerance(NamedTuple):
    """Maximum accepted difference of a score and minimum accepted Dice."""

    score: float
    dice: float

    def refuses(self, difference: Difference) -> bool:
        """Whether the difference is too large or not finite."""
        return not (difference.score <= self.score and difference.dice >= self.dice)


TOLERANCES = {"fp32": Tolerance(1e-4, 0.999), "fp16": Tolerance(5e-3, 0.995), "bf16": Tolerance(3e-2, 0.99)}
"""By precision, relative to the same net in float32; TF32 has the tolerance of float16 (both: 10-bit mantissa)."""


def compare(found: Arrays, expected: Arrays) -> Difference:
    """Compare two answers, by output ``[N, C]`` or, for a map, ``[N, C, ...]``."""
    score = largest = 0.0
    masks = overlap = 0
    for name, wanted in expected.items():
        given = found[name]
        if given.shape != wanted.shape or not np.all(np.isfinite(given)):
            return Difference(np.inf, 0.0, np.inf)
        space = tuple(range(2, wanted.ndim))
        score = max(score, float(np.abs(given.mean(axis=space) - wanted.mean(axis=space)).max()))
        largest = max(largest, float(np.abs(given - wanted).max()))
        if space:
            pair = given[:, 0] > 0.5, wanted[:, 0] > 0.5
            overlap += 2 * int((pair[0] & pair[1]).sum())
            masks += int(pair[0].sum() + pair[1].sum())
    return Difference(score, overlap / masks if masks else 1.0, largest)


def load_tensorrt() -> ModuleType:
    """Import TensorRT.

    Raises:
        PlanError: TensorRT is not installed.
    """
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise PlanError(
            f"TensorRT is not installed ({error}): run this in NVIDIA's TensorRT container, or pip install tensorrt on "
            "a machine with an NVIDIA GPU"
        ) from None


def compute_capability() -> str:
    """Compute capability of CUDA's current GPU, on which TensorRT builds, such as "8.6".

    ``nvidia-smi`` lists the GPUs in another order than CUDA, and knows no CUDA_VISIBLE_DEVICES.

    Raises:
        PlanError: no NVIDIA GPU is found.
    """
    try:
        return ".".join(str(number) for number in _Cuda().compute_capability())
    except PlanError as error:
        raise PlanError(
            f"no NVIDIA GPU answers ({error}): a TensorRT plan is built on the GPU that will run it"
        ) from None


def build_plans(repository: Path, *, tf32: bool = False) -> int:
    """Build, test and write the plan of every net exported for TensorRT; return the number of plans.

    Args:
        repository: folder written by ``export --engine tensorrt``.
        tf32: whether float32 may be computed as TF32 (faster; 10-bit mantissa, as float16).

    Raises:
        PlanError: nothing was exported for TensorRT, TensorRT or the GPU is missing, or a plan cannot be built or
            gives other answers; plans built before it are kept.
    """
    folders, api, capability = _nets(repository), load_tensorrt(), compute_capability()
    for folder in folders:
        build_plan(folder, api=api, capability=capability, tf32=tf32)
    return len(folders)


def build_plan(
    folder: Path,
    *,
    api: ModuleType,
    capability: str,
    tf32: bool = False,
    run: Callable[[bytes, Arrays, ModuleType], Arrays] | None = None,
) -> Difference:
    """Build the plan of one net, test it on the canary's images, and write it with its record if it passes.

    Args:
        folder: folder of the model, with ``tensorrt.json``, ``canary.npz`` and ``1/model.onnx``.
        api: ``tensorrt``, or a module with the same API.
        capability: compute capability of the GPU that the plan is for.
        tf32: whether float32 may be computed as TF32.
        run: function that runs a plan; :func:`run_plan` by default.

    Returns:
        Difference between the answers of the plan and of ONNX Runtime.

    Raises:
        PlanError: the ONNX file has changed, the parser or the builder refuses it, or the plan's answers differ from
            ONNX Runtime's by more than the tolerance; nothing is written.
    """
    specification = _specification(folder)
    precision, version = specification["precision"], folder / "1"
    onnx_file = (version / "model.onnx").read_bytes()
    if hashlib.sha256(onnx_file).hexdigest() != specification["onnx_sha256"]:
        raise PlanError(f"{folder.name}: model.onnx has changed since the export: export the bundle again")
    plan = serialize_plan(onnx_file, specification["profile"], api=api, tf32=tf32, name=folder.name)
    images, expected = read_canary(folder / CANARY)
    difference = compare((run or run_plan)(plan, images, api), expected)
    tolerance = TOLERANCES["fp16" if tf32 and precision == "fp32" else precision]
    if tolerance.refuses(difference):
        raise PlanError(
            f"{folder.name}: the plan's scores differ from ONNX Runtime's by {difference.score:.1e} (at most "
            f"{tolerance.score:.0e}), the Dice is {difference.dice:.4f} (at least {tolerance.dice}): not written"
        )
    _write(version / PLAN, plan)
    record = _identity(onnx_file, api, capability) | {"precision": precision, "tf32": tf32}
    record |= {"shapes": specification["profile"], "plan_sha256": hashlib.sha256(plan).hexdigest()}
    record |= {"difference": difference._asdict(), "tolerance": tolerance._asdict()}
    _write(version / RECORD, (json.dumps(record, indent=2) + "\n").encode())
    logger.info("%s: plan built, Dice %.4f, scores within %.1e", folder.name, difference.dice, difference.score)
    return difference


def serialize_plan(onnx_file: bytes, profile: Profile, *, api: ModuleType, tf32: bool, name: str) -> bytes:
    """Build a plan with one optimisation profile; the network is strongly typed, so its precision is the ONNX file's.

    Raises:
        PlanError: the parser or the builder refuses the file; the message carries its reason.
    """
    log = _make_log(api)
    builder = api.Builder(log)
    network = builder.create_network(_network_flags(api))
    parser = api.OnnxParser(network, log)
    if not parser.parse(onnx_file):
        reasons = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise PlanError(f"{name}: TensorRT's parser refuses the ONNX file: {reasons}")
    config, shapes = builder.create_builder_config(), builder.create_optimization_profile()
    (config.set_flag if tf32 else config.clear_flag)(api.BuilderFlag.TF32)
    for tensor, bounds in profile.items():
        shapes.set_shape(tensor, *bounds)
    config.add_optimization_profile(shapes)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise PlanError(f"{name}: TensorRT's builder failed: {log.last_error or 'no reason given'}")
    return bytes(plan)


def run_plan(plan: bytes, images: Arrays, api: ModuleType) -> dict[str, np.ndarray]:
    """Run a plan and return its answers by output, float32.

    Raises:
        PlanError: the plan cannot be loaded or run, or CUDA reports an error.
    """
    engine = api.Runtime(_make_log(api)).deserialize_cuda_engine(plan)
    context = None if engine is None else engine.create_execution_context()
    if engine is None or context is None:
        raise PlanError("TensorRT does not load the plan that it has built")
    cuda, found = _Cuda(), {}
    with ExitStack() as memory:
        for name, value in images.items():
            context.set_input_shape(name, value.shape)
            context.set_tensor_address(name, memory.enter_context(cuda.copied_to_gpu(np.ascontiguousarray(value))))
        for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
            if name not in images:
                found[name] = np.zeros(tuple(context.get_tensor_shape(name)), dtype=np.float32)
                context.set_tensor_address(name, memory.enter_context(cuda.copied_to_gpu(found[name])))
        if not context.execute_async_v3(0):
            raise PlanError("TensorRT does not run the plan that it has built")
        cuda("cudaDeviceSynchronize")
        for name, value in found.items():
            cuda.fetch(value, context.get_tensor_address(name))
    return found


class _Cuda:
    """Calls of CUDA's runtime library that are needed to run a plan."""

    def __init__(self) -> None:
        for name in _CUDART:
            try:
                self._library = ctypes.CDLL(name)
                return
            except OSError:
                continue
        raise PlanError(f"CUDA's runtime library is missing (none of {', '.join(_CUDART)})")

    def __call__(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            self._library.cudaGetErrorString.restype = ctypes.c_char_p
            raise PlanError(f"{function} failed: {self._library.cudaGetErrorString(status).decode()}")

    def compute_capability(self) -> tuple[int, int]:
        """Major and minor compute capability of the current device."""
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self("cudaGetDevice", ctypes.byref(device))
        self("cudaDeviceGetAttribute", ctypes.byref(major), ctypes.c_int(_MAJOR), device)
        self("cudaDeviceGetAttribute", ctypes.byref(minor), ctypes.c_int(_MINOR), device)
        return major.value, minor.value

    @contextmanager
    def copied_to_gpu(self, value: np.ndarray) -> Iterator[int]:
        """Copy an array to the GPU and yield its address; freed on exit."""
        address, size = ctypes.c_void_p(), ctypes.c_size_t(value.nbytes)
        self("cudaMalloc", ctypes.byref(address), size)
        try:
            self("cudaMemcpy", address, ctypes.c_void_p(value.ctypes.data), size, ctypes.c_int(_TO_DEVICE))
            yield int(address.value or 0)
        finally:
            self._library.cudaFree(address)

    def fetch(self, value: np.ndarray, address: int) -> None:
        """Copy from the GPU into an array."""
        size = ctypes.c_size_t(value.nbytes)
        self("cudaMemcpy", ctypes.c_void_p(value.ctypes.data), ctypes.c_void_p(address), size, ctypes.c_int(_TO_HOST))


def check_plans(repository: Path) -> int:
    """Check every plan of a model repository against this machine's TensorRT and GPU; return the number of plans.

    Raises:
        PlanError: there is no plan, TensorRT or the GPU is missing, or a plan does not fit.
    """
    folders, api, capability = _nets(repository), load_tensorrt(), compute_capability()
    for folder in folders:
        check_plan(folder, api=api, capability=capability)
    return len(folders)


def check_plan(folder: Path, *, api: ModuleType, capability: str) -> None:
    """Refuse a plan that was built by another TensorRT, for another GPU or from another ONNX file.

    Raises:
        PlanError: the plan or its record is missing, or does not match; the message lists every difference.
    """
    plan, record, onnx_file = (folder / "1" / name for name in (PLAN, RECORD, "model.onnx"))
    for path in (plan, record, onnx_file):
        if not path.is_file():
            raise PlanError(f"{path} is missing: build the plans again on this machine")
    here = _identity(onnx_file.read_bytes(), api, capability)
    here["plan_sha256"] = hashlib.sha256(plan.read_bytes()).hexdigest()
    built = json.loads(record.read_text())
    differences = [f"{key} {built.get(key)} (here {value})" for key, value in here.items() if built.get(key) != value]
    if differences:
        raise PlanError(f"{plan} was built for {', '.join(differences)}: build the plans again on this machine")


def trtexec(folder: Path, *, tf32: bool = False) -> str:
    """Command that builds the same plan with NVIDIA's ``trtexec``, to be run in the model's folder."""
    profile = _specification(folder)["profile"]
    command = ["trtexec", "--onnx=1/model.onnx", f"--saveEngine=1/{PLAN}", "--stronglyTyped"]
    command += [] if tf32 else ["--noTF32"]
    return " ".join([*command, *(f"--{bound}Shapes={shapes}" for bound, shapes in shapes_text(profile).items())])


def shapes_text(profile: Profile) -> dict[str, str]:
    """Format a profile as in NVIDIA's tools, ``IMAGE:1x1x224x224,COARSE:...`` by ``min``, ``opt`` and ``max``."""
    return {
        bound: ",".join(f"{name}:{'x'.join(map(str, shapes[index]))}" for name, shapes in profile.items())
        for index, bound in enumerate(("min", "opt", "max"))
    }


def read_canary(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read the canary's images by input and ONNX Runtime's float32 answers by output."""
    with np.load(path) as stored:
        return tuple(  # pyright: ignore[reportReturnType]
            {name.removeprefix(kind): stored[name] for name in stored.files if name.startswith(kind)}
            for kind in ("input_", "output_")
        )


def _nets(repository: Path) -> list[Path]:
    folders = sorted(path.parent for path in repository.glob(f"*/{SPECIFICATION}"))
    if not folders:
        raise PlanError(f"{repository} holds no net for TensorRT: export with --engine tensorrt")
    return folders


def _specification(folder: Path) -> dict[str, Any]:
    return json.loads((folder / SPECIFICATION).read_text(encoding="utf-8"))


def _identity(onnx_file: bytes, api: ModuleType, capability: str) -> dict[str, Any]:
    """Versions and hashes that a plan depends on."""
    return {
        "builder": api.__name__,
        "version": api.__version__,
        "compute_capability": capability,
        "onnx_sha256": hashlib.sha256(onnx_file).hexdigest(),
    }


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def _network_flags(api: ModuleType) -> int:
    """Flag for strong typing; 0 for TensorRT 11 and TensorRT for RTX, where it is always on."""
    flag = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _make_log(api: ModuleType) -> Any:
    """Logger that passes TensorRT's messages to ``logging`` and keeps the last error."""

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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description="Build and test the TensorRT plans of an exported model repository.")
    parser.add_argument("--repository", type=Path, default=Path(__file__).resolve().parent, help="default: its folder")
    parser.add_argument(
        "--tf32", action="store_true", help="compute float32 as TF32: faster; 10-bit mantissa, as float16"
    )
    parser.add_argument("--check", action="store_true", help="build nothing; check the existing plans")
    parser.add_argument("--trtexec", action="store_true", help="build nothing; print the trtexec commands")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if given.trtexec:
            for folder in _nets(given.repository):
                logger.info("cd %s && %s", folder, trtexec(folder, tf32=given.tf32))
        elif given.check:
            logger.info("%d plans fit this machine", check_plans(given.repository))
        else:
            logger.info("%d plans built", build_plans(given.repository, tf32=given.tf32))
    except PlanError as error:
        logger.error("build_plans: %s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
