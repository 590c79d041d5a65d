"""Canary images on which every exported net is tested: in half precision, with OpenVINO and as a TensorRT plan."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from lung_nodule.deployment.repository.build_plans import CANARY, SPECIFICATION, TOLERANCES, Arrays, Difference, compare
from lung_nodule.deployment.repository.engines import ENGINES, HINTS, profile_of
from lung_nodule.deployment.repository.model_repository import read_config
from lung_nodule.deployment.repository.onnx_files import lung_like
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256, write_json

logger = logging.getLogger(__name__)
_IMAGES = 2
_GREYS = 255
_FLOAT16_MAX = float(np.finfo(np.float16).max)
OPENVINO = "openvino==2026.4.1"


def canary_images(inputs: tuple[str, ...], image_shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Two lung-like images by input, ``[2, *image_shape]``, float32 in 0..1, in 255 grey levels for compression."""
    rng = np.random.default_rng(0)
    images = {name: lung_like(rng, _IMAGES, image_shape) for name in inputs}
    return {name: np.round(image * _GREYS) / np.float32(_GREYS) for name, image in images.items()}


def check_difference(
    path: Path, images: Arrays, expected: Arrays, *, engine: str, precision: str, name: str
) -> Difference:
    """Compare the answers of an exported net in its engine with those of ONNX Runtime in float32.

    Args:
        path: ONNX file.
        images: images of :func:`canary_images`.
        expected: answers of :func:`answers` before the file was cast.
        engine: engine that will serve the net.
        precision: precision of the file.
        name: name of the net, for the message.

    Raises:
        InputError: the difference exceeds the tolerance, or OpenVINO is needed and not installed.
    """
    difference = compare(answers(path, images, engine=engine, precision=precision), expected)
    tolerance = TOLERANCES[precision]
    if tolerance.refuses(difference):
        instead = "--engine onnxruntime" if precision == "fp32" else "--precision fp32"
        raise InputError(
            f"{name}: in {precision} scores differ from float32 by {difference.score:.1e} (at most "
            f"{tolerance.score:.0e}), the Dice is {difference.dice:.4f} (at least {tolerance.dice}): "
            f"export this bundle with {instead}"
        )
    return difference


def answers(
    path: Path, images: Arrays, *, engine: str = "onnxruntime", precision: str = "fp32"
) -> dict[str, np.ndarray]:
    """Answers of an ONNX file on this CPU, by output.

    TensorRT needs a GPU; it is replaced by ONNX Runtime, or by OpenVINO for a precision that ONNX Runtime lacks.

    Raises:
        InputError: OpenVINO is needed and not installed.
    """
    if engine == "openvino" or precision not in ENGINES["onnxruntime"]:
        return _openvino_answers(path, images, HINTS[precision])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, dict(images))), strict=True))


def check_range(path: Path, images: Arrays, *, name: str) -> float:
    """Return the maximum absolute value within a net, as float16 would not overflow in the engines on a CPU.

    Args:
        path: float32 file.
        images: images of :func:`canary_images`.
        name: name of the net, for the message.

    Raises:
        InputError: a value is beyond float16's range.
    """
    model = onnx.load(str(path))
    given = {output.name for output in model.graph.output}
    within = (output for node in model.graph.node for output in node.output if output and output not in given)
    model.graph.output.extend(onnx.ValueInfoProto(name=output) for output in within)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = map(np.asarray, session.run(None, dict(images)))
    largest = max(float(np.abs(value).max()) for value in values if value.dtype == np.float32)
    if not largest < _FLOAT16_MAX:
        raise InputError(
            f"{name}: a value of {largest:.1e} within the net is beyond float16 ({_FLOAT16_MAX:.0f}): export this "
            "bundle with --precision bf16 or fp32"
        )
    return largest


def prepare_plan(folder: Path, images: Arrays, expected: Arrays, *, precision: str) -> None:
    """Write the canary and the profile for :mod:`lung_nodule.deployment.repository.build_plans`.

    Args:
        folder: folder of the model, with its config and ``1/model.onnx``.
        images: images of :func:`canary_images`.
        expected: answers in float32.
        precision: precision of the file.
    """
    arrays: dict[str, np.ndarray] = {f"input_{name}": value for name, value in images.items()}
    arrays |= {f"output_{name}": value for name, value in expected.items()}
    np.savez_compressed(folder / CANARY, **arrays)  # pyright: ignore[reportArgumentType] # it takes arrays by name
    specification = {
        "precision": precision,
        "onnx_sha256": file_sha256(folder / "1" / "model.onnx"),
        "profile": profile_of(read_config(folder / "config.pbtxt")),
    }
    write_json(folder / SPECIFICATION, specification)


def _openvino_answers(path: Path, images: Mapping[str, np.ndarray], hint: str) -> dict[str, np.ndarray]:
    try:
        import openvino
    except ImportError:
        raise InputError(f"OpenVINO is not installed: pip install {OPENVINO}, or choose another engine") from None
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if taken != hint:
        logger.warning("this CPU computes %s in %s: only the rounding of the weights is measured", hint, taken)
    found = compiled(dict(images))
    return {output.get_any_name(): np.array(found[output]) for output in compiled.outputs}
