"""A picture per scan to check that contours and voxels match."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lung_nodule.io import Series, Volume, atomic_path
from lung_nodule.lidc import LUNG_WINDOW
from preprocessing.lidc.nodule_volume import NoduleVolume
from preprocessing.lidc.records import ScanRecord

PICTURE_MM = 48.0
PANEL_INCHES, COLUMNS = 2.9, 4
CONSENSUS_COLOUR = "#ffd400"
READER_COLOURS = ("#4cc9f0", "#f72585", "#80ed99", "#ff9f1c", "#b388ff", "#e0e0e0", "#c08552", "#00b4a0")


def write_picture(path: Path, scan: ScanRecord, series: Series, nodules: list[NoduleVolume]) -> None:
    """Write the scan's picture: a panel per nodule, or the middle slice of a scan without nodules.

    A panel shows the axial slice nearest the nodule's centre in the lung window, in radiological convention,
    with the consensus and every reader's outline, the nodule's id, readers, diameter and mean malignancy.
    """
    panels = max(len(nodules), 1)
    columns = min(panels, COLUMNS)
    rows = -(-panels // columns)
    height = rows * (PANEL_INCHES + 0.45) + 0.65
    figure = Figure(figsize=(max(columns, 2) * PANEL_INCHES, height), dpi=110, facecolor="black")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    shown = series.volume.canonical()
    for axis, nodule in zip(axes, nodules, strict=False):
        _draw_nodule(axis, shown, nodule, series.volume)
    if not nodules:
        _draw_middle(axes[0], shown)
    spacing = " x ".join(f"{mm:.3g}" for mm in series.volume.spacing)
    title = f"{scan.name}   {series.volume.shape[2]} slices, {spacing} mm   {len(nodules)} nodules"
    title += f"\n{', '.join(series.remarks)}" if series.remarks else ""
    figure.suptitle(title, color="white", fontsize=10, y=1 - 0.12 / height, va="top")
    _legend(figure, nodules)
    figure.subplots_adjust(left=0.02, right=0.98, top=1 - 0.72 / height, bottom=0.4 / height, wspace=0.05, hspace=0.2)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def _draw_nodule(axis: Axes, shown: Volume, nodule: NoduleVolume, native: Volume) -> None:
    """One panel; outlines are computed on the scan's own grid and reoriented with it to LPS."""
    center = shown.to_index(native.to_world(nodule.center_index))
    k = int(np.clip(round(float(center[2])), 0, shown.shape[2] - 1))
    _draw_slice(axis, shown, k)
    readers = [(nodule.readers[..., reader], *_reader_style(reader)) for reader in range(nodule.readers.shape[-1])]
    for mask, colour, width in [*readers, (nodule.mask, CONSENSUS_COLOUR, 1.6)]:
        tight = Volume(mask, native.crop(nodule.box).affine).canonical()
        offset = np.rint(shown.to_index(tight.to_world(np.zeros(3)))).astype(int)
        if 0 <= k - offset[2] < tight.shape[2]:
            _outline(axis, tight.data[:, :, k - offset[2]], offset[:2], colour, width)
    half = 0.5 * PICTURE_MM / shown.spacing[:2]
    axis.set_xlim(center[0] - half[0], center[0] + half[0])
    axis.set_ylim(center[1] + half[1], center[1] - half[1])
    axis.set_title(_caption(nodule), color="white", fontsize=7.5, pad=3)


def _reader_style(reader: int) -> tuple[str, float]:
    return READER_COLOURS[reader % len(READER_COLOURS)], 0.9


def _outline(axis: Axes, plane: np.ndarray, offset: np.ndarray, colour: str, width: float) -> None:
    """Draw the border of a mask [x, y] along its voxels' edges."""
    if not plane.any():
        return
    padded = np.pad(plane, 1).astype(float)
    x = np.arange(padded.shape[0]) - 1 + offset[0]
    y = np.arange(padded.shape[1]) - 1 + offset[1]
    axis.contour(x, y, padded.T, levels=[0.5], colors=[colour], linewidths=width)


def _draw_slice(axis: Axes, shown: Volume, k: int) -> None:
    low, high = LUNG_WINDOW
    aspect = shown.spacing[1] / shown.spacing[0]
    axis.imshow(shown.data[:, :, k].T, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="nearest")


def _draw_middle(axis: Axes, shown: Volume) -> None:
    _draw_slice(axis, shown, shown.shape[2] // 2)
    axis.set_title("no nodule of 3 mm or more was marked", color="white", fontsize=7.5, pad=3)


def _caption(nodule: NoduleVolume) -> str:
    annotations = nodule.nodule.annotations
    diameter = np.mean([annotation.diameter_mm for annotation in annotations])
    malignancy = np.mean([annotation.ratings["malignancy"] for annotation in annotations])
    readers = f"{len(annotations)} reader{'s' if len(annotations) > 1 else ''}"
    return f"{nodule.nodule.nodule_id}\n{readers}   {diameter:.1f} mm   malignancy {malignancy:.2f}"


def _legend(figure: Figure, nodules: list[NoduleVolume]) -> None:
    most = max((nodule.readers.shape[-1] for nodule in nodules), default=0)
    if most == 0:
        return
    entries = [("consensus", CONSENSUS_COLOUR, 1.6)]
    entries += [(f"reader {reader}", *_reader_style(reader)) for reader in range(most)]
    handles = [Line2D([], [], color=colour, linewidth=width, label=label) for label, colour, width in entries]
    figure.legend(
        handles=handles, loc="lower center", ncols=min(len(handles), 5), fontsize=7, frameon=False, labelcolor="white"
    )
