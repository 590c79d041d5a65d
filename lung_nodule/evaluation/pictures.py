"""Pictures of MT-CNN's reconstructions (its Fig. 4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from lung_nodule.errors import InputError
from lung_nodule.evaluation.rows import nodule_of
from lung_nodule.io import atomic_path
from lung_nodule.networks import MTCNN

logger = logging.getLogger(__name__)

ZOOM, GAP, CAPTION = 2, 4, 16  # pixels


class SaveReconstructions:
    """Write ``<nodule_id>_reconstruction.png``: the nine views, their reconstructions, and the network's probabilities.

    Args:
        output_dir: folder to write to.
        network: the nine networks.
        alpha: weight of the reconstruction that the network was trained with.

    Raises:
        InputError: the network was not trained to reconstruct.
    """

    def __init__(self, *, output_dir: str | Path, network: MTCNN, alpha: float) -> None:
        if alpha == 0:
            raise InputError("this model was trained with --alpha 0, so it reconstructs nothing: leave pictures out")
        self.output_dir = Path(output_dir)
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Called by the evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Write the picture of one iteration's nodule."""
        nodule = nodule_of(engine)
        image = torch.as_tensor(nodule["image"]).to(next(self.network.parameters()).device)
        with torch.no_grad():
            pixels = torch.sigmoid(self.network.outputs(image)["reconstruction"])
        scores = torch.as_tensor(nodule["pred"])[0].tolist()
        path = self.output_dir / f"{nodule['nodule_id']}_reconstruction.png"
        write_picture(path, views=image[0].cpu().numpy(), reconstructions=pixels[0].cpu().numpy(), scores=scores)


def write_picture(path: Path, *, views: np.ndarray, reconstructions: np.ndarray, scores: Sequence[float]) -> None:
    """Views above their reconstructions above each view's malignancy probability.

    Args:
        path: path of the PNG.
        views: ``[V, H, W]`` in 0..1.
        reconstructions: reconstructions of the views, likewise.
        scores: ``[V]``.
    """
    from PIL import Image, ImageDraw

    rows = [np.concatenate([_tile(tile) for tile in stack], axis=1) for stack in (views, reconstructions)]
    canvas = Image.fromarray(np.pad(np.concatenate(rows), ((GAP, CAPTION), (GAP, 0)), constant_values=255))
    draw = ImageDraw.Draw(canvas)
    step = views.shape[2] * ZOOM + GAP
    for view, score in enumerate(scores):
        draw.text((GAP + view * step, canvas.height - CAPTION), f"{view + 1}: {score:.3f}", fill=0)
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG")


def _tile(image: np.ndarray) -> np.ndarray:
    """uint8, enlarged, with white below and to the right."""
    grey = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.pad(grey.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1), ((0, GAP), (0, GAP)), constant_values=255)
