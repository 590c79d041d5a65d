"""Class activation maps of a nodule's slices, as volumes and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from lung_nodule.errors import InputError
from lung_nodule.evaluation.rows import nodule_of
from lung_nodule.io import Volume, atomic_path, write_nifti
from monai.visualize import GradCAM, default_upsampler
from torch import nn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SLICES_AT_ONCE = 8
BAR_MM = 10.0


class SaveActivationMaps:
    """Write a Grad-CAM of every nodule's slices (MT-Net, Fig. 6): ``<nodule_id>_activation.nii.gz`` and ``.png``.

    The map of a slice is the positive part of ``sum over channels of (mean gradient of the logit) x (activation)`` at
    the target layer, upsampled linearly to the slice (Selvaraju et al. 2017). It shows the evidence *for* the class of
    the logit; evidence against it is 0. All slices of a nodule are divided by their common maximum, so the values 0..1
    compare positions within one nodule, not two nodules.

    Args:
        network: network from slices ``[N, 1, H, W]`` to logits ``[N, classes]``; put in evaluation mode.
        target_layers: name of the layer within ``network`` whose activations are weighted, as a rule the last one with
            a spatial extent.
        output_dir: folder to write to.
        class_idx: index of the logit: 0 for one logit (malignancy), 1 for two (benign, malignant).

    Raises:
        InputError: the network has no such layer.
    """

    def __init__(self, *, network: nn.Module, target_layers: str, output_dir: str | Path, class_idx: int = 0) -> None:
        if target_layers not in dict(network.named_modules()):
            known = ", ".join(name for name, _ in network.named_children())
            raise InputError(
                f"the network has no layer {target_layers!r} for activation maps; its top-level modules are {known}"
            )
        self.network = network.eval()
        self.target_layers = target_layers
        self.output_dir = Path(output_dir)
        self.class_idx = class_idx

    def attach(self, engine: Engine) -> None:
        """Called by the evaluator."""
        self.cam = GradCAM(self.network, self.target_layers)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Write the map and the picture of one iteration's nodule."""
        nodule = nodule_of(engine)
        slices = len(nodule["patch"].slices)  # their mirrored copies come after them
        image = np.moveaxis(np.asarray(nodule["image"])[0, 0, ..., :slices], 2, 0)
        device = next(self.network.parameters()).device
        maps = activation_maps(self.cam, torch.as_tensor(image, device=device)[:, None], class_idx=self.class_idx)
        path = self.output_dir / f"{nodule['nodule_id']}_activation"
        write_nifti(path.with_name(path.name + ".nii.gz"), Volume(nodule["patch"].restore(maps), nodule["affine"]))
        write_picture(path.with_name(path.name + ".png"), nodule, image, maps)


def activation_maps(cam: GradCAM, slices: torch.Tensor, *, class_idx: int = 0) -> np.ndarray:
    """The Grad-CAM of a nodule's slices, a few at a time, on one scale.

    Args:
        cam: MONAI's Grad-CAM of a network in evaluation mode.
        slices: ``[S, 1, H, W]``, on the network's device.
        class_idx: index of the logit.

    Returns:
        float32 ``[S, H, W]`` in 0..1; 0 everywhere if there is no evidence for the class.
    """
    upsample = default_upsampler(slices.shape[2:])
    with torch.enable_grad():
        raw = [cam.compute_map(part, class_idx=class_idx).detach() for part in slices.split(SLICES_AT_ONCE)]
    cam.nn_module.model.zero_grad(set_to_none=True)
    maps = upsample(torch.cat(raw).float())[:, 0].cpu().numpy()
    return maps / maps.max() if maps.max() > 0 else maps


def write_picture(path: Path, nodule: dict[str, Any], image: np.ndarray, maps: np.ndarray) -> None:
    """The central slice as the network saw it, and the same with the map over it, both with the mask's outline.

    Args:
        path: path of the PNG.
        nodule: item with ``nodule_id``, ``patch``, ``malignancy_prob`` and, where there is one, ``segmentation``.
        image: ``[S, H, W]`` in 0..1.
        maps: ``[S, H, W]`` in 0..1.
    """
    from matplotlib.figure import Figure

    patch = nodule["patch"]
    z, half = patch.central_pixel[0], patch.pixel_spacing[1] * image.shape[1] / 2
    view = {"extent": (-half, half, half, -half), "interpolation": "bilinear", "vmin": 0, "vmax": 1}
    figure = Figure(figsize=(7.2, 3.9), dpi=200, layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, title in zip(axes, ("CT, central slice", _in_words(maps, z)), strict=True):
        axis.imshow(image[z].T, cmap="gray", **view)
        axis.set_title(title, fontsize=9)
        _outline(axis, nodule.get("segmentation"), z, half)
        _annotate_axes(axis, half)
    shown = axes[1].imshow(maps[z].T, cmap="inferno", alpha=0.8 * maps[z].T ** 0.75, zorder=1, **view)
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.01)
    bar.set_label("Grad-CAM, share of the nodule's maximum", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    probability = float(nodule["malignancy_prob"][0])
    figure.suptitle(f"{nodule['nodule_id']}: malignancy probability {probability:.2f}", fontsize=10)
    figure.supxlabel("Research use only, not for diagnosis", fontsize=7, color="0.4")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def _in_words(maps: np.ndarray, z: int) -> str:
    if not maps.any():
        return "no evidence for malignancy (the map is 0)"
    return "evidence for malignancy" if maps[z].any() else "evidence for malignancy: none in this slice"


def _outline(axis: Axes, mask: np.ndarray | None, z: int, half: float) -> None:
    if mask is not None and 0 < mask[z].sum() < mask[z].size:
        centres = ((np.arange(mask.shape[1]) + 0.5) / mask.shape[1] * 2 - 1) * half
        axis.contour(centres, centres, mask[z].T.astype(float), levels=[0.5], colors="#35d0ff", linewidths=1.0)


def _annotate_axes(axis: Axes, half: float) -> None:
    """Draw the patient's directions and a bar of 10 mm instead of ticks, white on black for any background."""
    from matplotlib.patheffects import withStroke

    edged = {"color": "white", "path_effects": [withStroke(linewidth=2, foreground="black")]}
    axis.set(xticks=[], yticks=[], xlim=(-half, half), ylim=(half, -half))
    places = (("R", 0.02, 0.5, "left", "center"), ("L", 0.98, 0.5, "right", "center"),
              ("A", 0.5, 0.98, "center", "top"), ("P", 0.5, 0.02, "center", "bottom"))  # fmt: skip
    for letter, x, y, across, along in places:
        axis.text(x, y, letter, transform=axis.transAxes, fontsize=8, ha=across, va=along, **edged)
    start = -0.9 * half
    stroke = [withStroke(linewidth=4, foreground="black")]
    axis.plot([start, start + BAR_MM], [0.86 * half] * 2, color="white", linewidth=2, path_effects=stroke)
    axis.text(start + BAR_MM / 2, 0.83 * half, "10 mm", fontsize=7, ha="center", va="bottom", **edged)
