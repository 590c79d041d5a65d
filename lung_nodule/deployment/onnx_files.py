"""MT-Net's three networks as ONNX files, and the proof that they compute what torch computes."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from lung_nodule.io import InputError
from lung_nodule.networks import MTNet

LOGGER = logging.getLogger(__name__)
OPSET = 18
MAX_ERROR = 1e-4
_BATCHES = (1, 2, 5)


class ServedNet(nn.Module):
    """One of the network's parts as it is served: named tensors, probabilities instead of logits.

    Args:
        part: takes slices, and perhaps their coarse probability, and gives logits.
        inputs: names of the tensors that it takes.
        output: name of the probability that it gives.
    """

    def __init__(self, part: nn.Module, inputs: tuple[str, ...], output: str) -> None:
        super().__init__()
        self.part = part
        self.inputs, self.outputs = inputs, (output,)

    def forward(self, image: torch.Tensor, coarse: torch.Tensor | None = None) -> torch.Tensor:
        """The probability of slices ``[N, 1, H, W]``, with their coarse probability where the part takes one."""
        return torch.sigmoid(self.part(image) if coarse is None else self.part(image, coarse))


SERVED_NETS: dict[str, Callable[[MTNet], ServedNet]] = {
    "mtnet_coarse": lambda network: ServedNet(network.coarse, ("IMAGE",), "COARSE"),
    "mtnet_fine": lambda network: ServedNet(network.fine, ("IMAGE", "COARSE"), "FINE"),
    "mtnet_class": lambda network: ServedNet(network.classifier, ("IMAGE", "COARSE"), "MALIGNANCY"),
}


@dataclass(frozen=True)
class Parity:
    """Largest absolute difference between ONNX Runtime and torch, and over how many images it was taken."""

    max_abs_error: float
    images: int


def write_onnx(net: nn.Module, path: Path, *, image_size: int) -> None:
    """Export one served net: named tensors, the batch dynamic, opset 18, weights inside the file.

    Args:
        net: one of :data:`SERVED_NETS`, in evaluation mode.
        path: file to write.
        image_size: H and W in pixels.
    """
    batch = torch.export.Dim("batch", min=1)
    example = tuple(torch.zeros(2, 1, image_size, image_size) for _ in net.inputs)
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
    model = program.model_proto
    _strip_notes(model.graph)
    onnx.save(model, str(path))


def _strip_notes(graph: onnx.GraphProto) -> None:
    """Drop the exporter's notes (stack traces with this machine's paths): the same weights give the same file."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def check_parity(net: nn.Module, path: Path, *, image_size: int, seed: int = 0) -> Parity:
    """Run torch and ONNX Runtime on noise and on lung-like slices in batches of several sizes.

    Raises:
        InputError: the answers differ by more than ``MAX_ERROR``.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    worst, images = 0.0, 0
    for size in _BATCHES:
        for draw in (_noise, _lung_like):
            feeds = {"IMAGE": draw(rng, size, image_size), "COARSE": _noise(rng, size, image_size) ** 4}
            feeds = {name: feeds[name] for name in net.inputs}
            with torch.inference_mode():
                expected = net(*(torch.from_numpy(value) for value in feeds.values())).numpy()
            (found,) = session.run(list(net.outputs), feeds)
            worst, images = max(worst, float(np.abs(found - expected).max())), images + size
    if not worst <= MAX_ERROR:
        raise InputError(f"{path.name}: ONNX Runtime differs from torch by {worst:.1e}, more than {MAX_ERROR:.0e}")
    return Parity(worst, images)


def _noise(rng: np.random.Generator, size: int, edge: int) -> np.ndarray:
    return rng.random((size, 1, edge, edge), dtype=np.float32)


def _lung_like(rng: np.random.Generator, size: int, edge: int) -> np.ndarray:
    """Dark parenchyma with a bright disc at the centre and a bright wall at one side, as the 0..1 window shows them."""
    y, x = np.mgrid[:edge, :edge].astype(np.float32) / edge - 0.5
    radius = rng.uniform(0.03, 0.3, (size, 1, 1, 1)).astype(np.float32)
    disc = 0.3 * (1 - np.tanh((np.hypot(x, y) - radius) * edge / 2))
    wall = np.where(x > rng.uniform(0.2, 0.6, (size, 1, 1, 1)), 0.75, 0.0)
    noise = 0.02 * rng.standard_normal((size, 1, edge, edge))
    return np.clip(0.1 + np.maximum(disc, wall) + noise, 0, 1).astype(np.float32)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter reports each of its passes; only its errors matter here."""
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
