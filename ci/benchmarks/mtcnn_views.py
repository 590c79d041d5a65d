"""Nine views of MT-CNN in one training step: a loop, grouped convolutions, a vectorised map.

    python ci/benchmarks/mtcnn_views.py [--batch_size 32] [--repeats 7] [--device cpu] [--amp]

All compute the same numbers (checked first, in float32) without dropout. Prints the median seconds of a step (forward
and backward) and their ratio to the loop, which is what the bundle does.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fire
import torch
from torch import nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's library, whatever is installed

from lung_nodule.networks import MTCNN
from lung_nodule.networks.mtcnn import VIEWS

logger = logging.getLogger(__name__)
Answers = tuple[torch.Tensor, torch.Tensor]
Step = Callable[[torch.Tensor], Answers]
PARTS = ("share", "classify", "reconstruct")


def loop(network: MTCNN) -> Step:
    """The loop over the views, as in the bundle."""

    def step(image: torch.Tensor) -> Answers:
        outputs = [view(image[:, i : i + 1]) for i, view in enumerate(network.views)]
        return torch.stack([logits for logits, _ in outputs], 1), torch.cat([pixels for _, pixels in outputs], 1)

    return step


def vectorised(network: MTCNN) -> Step:
    """``torch.func.vmap`` over the stacked weights."""
    weights, buffers = stack_module_state(list(network.views))

    def one(weights: dict, buffers: dict, view: torch.Tensor) -> Answers:
        return functional_call(network.views[0], (weights, buffers), (view,))

    def step(image: torch.Tensor) -> Answers:
        logits, pixels = torch.vmap(one)(weights, buffers, image.transpose(0, 1)[:, :, None])
        return logits.transpose(0, 1), pixels[:, :, 0].transpose(0, 1)

    return step


def grouped(network: MTCNN) -> Step:
    """One network of nine groups."""
    share, classify, mirror = ([getattr(view, part) for view in network.views] for part in PARTS)
    layers = {id(stack): [_stacked(same) for same in zip(*stack, strict=True)] for stack in (share, classify, mirror)}

    def run(stack: list[nn.Sequential], x: torch.Tensor) -> torch.Tensor:
        for layer, (weight, bias) in zip(stack[0], layers[id(stack)], strict=True):
            if isinstance(layer, nn.Conv2d):
                x = functional.conv2d(x, weight.flatten(0, 1), bias.flatten(), groups=VIEWS)
            elif isinstance(layer, nn.ConvTranspose2d):
                x = functional.conv_transpose2d(x, weight.flatten(0, 1), bias.flatten(), groups=VIEWS)
            elif isinstance(layer, nn.Linear):
                x = torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
            elif isinstance(layer, nn.Flatten):
                x = x.unflatten(1, (VIEWS, -1)).flatten(2).transpose(0, 1)
            else:
                x = layer(x)
        return x

    def step(image: torch.Tensor) -> Answers:
        features = run(share, image)
        return run(classify, features).transpose(0, 1), run(mirror, features)

    return step


def _stacked(same: tuple[nn.Module, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The nine weights and biases of one layer, as one leaf each; two empty tensors for a layer without."""
    if not list(same[0].parameters()):
        return torch.empty(0), torch.empty(0)
    weight, bias = (torch.stack([getattr(layer, name).detach() for layer in same]) for name in ("weight", "bias"))
    return weight.requires_grad_(), bias.requires_grad_()


def measure(step: Step, image: torch.Tensor, *, repeats: int, amp: bool) -> float:
    """Median seconds of a forward and a backward pass."""
    seconds = []
    for _ in range(repeats + 2):
        _wait(image.device)
        started = time.perf_counter()
        with torch.autocast(image.device.type, torch.bfloat16, enabled=amp):
            logits, pixels = step(image)
            loss = logits.float().square().mean() + functional.binary_cross_entropy_with_logits(pixels.float(), image)
        loss.backward()
        _wait(image.device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main(batch_size: int = 32, repeats: int = 7, device: str = "cpu", amp: bool = False) -> None:
    """Measure the three on one machine.

    Args:
        batch_size: number of nodules per batch.
        repeats: number of measured steps of each variant, after two warm-up steps.
        device: cpu or cuda.
        amp: whether to run under bfloat16 autocast.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(0)
    network = MTCNN().to(device).eval()
    image = torch.rand(batch_size, VIEWS, 64, 64, device=device)
    ways = {"loop": loop(network), "grouped": grouped(network), "vmap": vectorised(network)}
    with torch.no_grad():
        expected = ways["loop"](image)
        for step in ways.values():
            torch.testing.assert_close(step(image), expected, rtol=1e-3, atol=1e-4)
    seconds = {name: measure(step, image, repeats=repeats, amp=amp) for name, step in ways.items()}
    for name, value in seconds.items():
        logger.info(
            "%-8s %.3f s a step of %d nodules, %.2f x the loop", name, value, batch_size, value / seconds["loop"]
        )


if __name__ == "__main__":
    fire.Fire(main)
