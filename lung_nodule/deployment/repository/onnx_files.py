"""Export the served nets to ONNX and check the files against torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from lung_nodule.deployment.repository.served import ServedNet
from lung_nodule.errors import InputError

logger = logging.getLogger(__name__)
OPSET = 18
MAX_ERROR = 1e-4
_BATCHES = (1, 2, 5)


@dataclass(frozen=True)
class Parity:
    """Maximum absolute difference between ONNX Runtime and torch, and the number of compared images."""

    max_abs_error: float
    images: int


def write_onnx(net: ServedNet, path: Path, *, image_shape: tuple[int, ...]) -> None:
    """Export a served net with named tensors, dynamic batch, opset 18 and weights inside the file.

    Args:
        net: net in evaluation mode.
        path: file to write.
        image_shape: shape of one image, ``(C, H, W)`` or ``(C, D, H, W)``.
    """
    batch = torch.export.Dim("batch", min=1)
    example = tuple(torch.zeros(2, *image_shape) for _ in net.inputs)
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            net,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(net.inputs),
            output_names=list(net.outputs),
            dynamic_shapes=tuple({0: batch} for _ in net.inputs),
            verbose=False,
        )
    assert program is not None, "torch's dynamo exporter returns a program"
    model = program.model_proto
    _strip_notes(model.graph)
    onnx.save(model, str(path))


def _strip_notes(graph: onnx.GraphProto) -> None:
    """Remove the exporter's metadata (stack traces with local paths), so that the same weights give the same file."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def check_parity(net: ServedNet, path: Path, *, image_shape: tuple[int, ...], seed: int = 0) -> Parity:
    """Compare torch and ONNX Runtime on noise and on lung-like images in batches of several sizes.

    Raises:
        InputError: the answers differ by more than ``MAX_ERROR``.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    worst, images = 0.0, 0
    for size in _BATCHES:
        for draw in (noise, lung_like):
            feeds = {"IMAGE": draw(rng, size, image_shape), "COARSE": noise(rng, size, image_shape) ** 4}
            feeds = {name: feeds[name] for name in net.inputs}
            with torch.inference_mode():
                expected = net(*(torch.from_numpy(value) for value in feeds.values())).numpy()
            (found,) = session.run(list(net.outputs), feeds)
            error = np.nan_to_num(np.abs(found - expected), nan=np.inf)  # max() could ignore a NaN
            worst, images = max(worst, float(error.max())), images + size
    if not worst <= MAX_ERROR:
        raise InputError(f"{path.name}: ONNX Runtime differs from torch by {worst:.1e}, more than {MAX_ERROR:.0e}")
    return Parity(worst, images)


def noise(rng: np.random.Generator, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Images ``[size, *shape]``, float32, uniform in 0..1."""
    return rng.random((size, *shape), dtype=np.float32)


def lung_like(rng: np.random.Generator, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Images ``[size, *shape]``, float32 in 0..1: dark parenchyma, a bright disc or ball at the centre, a bright wall.

    The channels of an image differ only in their noise.
    """
    _, *spatial = shape
    grid = np.indices(spatial, dtype=np.float32) / spatial[-1] - 0.5
    per_image = (size, *[1] * len(shape))
    radius = rng.uniform(0.03, 0.3, per_image).astype(np.float32)
    disc = 0.3 * (1 - np.tanh((np.linalg.norm(grid, axis=0) - radius) * spatial[-1] / 2))
    wall = np.where(grid[-1] > rng.uniform(0.2, 0.6, per_image), 0.75, 0.0)
    grain = 0.02 * rng.standard_normal((size, *shape))
    return np.clip(0.1 + np.maximum(disc, wall) + grain, 0, 1).astype(np.float32)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Suppress the exporter's messages except errors."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
