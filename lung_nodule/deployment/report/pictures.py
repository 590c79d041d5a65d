"""Pictures of a report: a nodule in three planes with its outlines, and its position in the chest."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from lung_nodule.core import window
from lung_nodule.deployment.findings import Finding
from lung_nodule.deployment.report.outlines import nodule_probability, outline
from lung_nodule.io import Volume
from lung_nodule.lidc import LUNG_WINDOW
from PIL import Image
from scipy.ndimage import map_coordinates

PIXELS = 320
_HU_AIR = -1024.0
PLANES = {"axial": ((0, 1, 1), "RLAP"), "coronal": ((0, 2, -1), "RLSI"), "sagittal": ((1, 2, -1), "APSI")}
"""Plane: (array axis to the right, array axis downwards, its direction), letters at left, right, top, bottom."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture: the CT as a PNG and its overlays, in a square of ``PIXELS``.

    Attributes:
        title: name of the plane.
        position: text on the position of the plane.
        hu: float32 ``[rows, columns]``, HU of the picture, which the PNG shows in the lung window.
        alt: alternative text.
        png: base64 of the PNG.
        outlines: SVG path of each mask, "" if it does not cross the plane.
        letters: patient directions at left, right, top, bottom.
        bar: length of 10 mm in pixels (of 50 mm in the overview).
        box: x, y and edge of the close-up in the overview; None in close-ups.
    """

    title: str
    position: str
    hu: np.ndarray
    alt: str
    png: str
    outlines: tuple[str, ...]
    letters: str
    bar: float
    box: tuple[float, float, float] | None = None


def close_ups(finding: Finding) -> list[Picture]:
    """The nodule in the axial, coronal and sagittal plane through its centre, in the lung window."""
    volume, edge = finding.voi.volume, view_edge_mm(finding)
    pictures = []
    for title, (axes, letters) in PLANES.items():
        grid = _plane_grid(_within(finding.voi.center, volume, axes), volume.spacing, axes, edge)
        hu = map_coordinates(volume.data, grid, order=3, mode="constant", cval=_HU_AIR)
        drawn = {name: _outline(finding.answer.maps[name], mask, grid) for name, mask in finding.masks.items()}
        outlines = tuple(drawn.values())
        alt = f"{title} CT slice through {finding.nodule_id}, {edge:.0f} mm wide, {_outlines_in_words(drawn)}"
        pictures.append(
            Picture(title, _through(finding, axes), hu, alt, _png(hu), outlines, letters, 10 / edge * PIXELS)
        )
    return pictures


def overview(finding: Finding, ct: Volume) -> Picture:
    """The whole axial slice of the canonical CT with the position of the close-up."""
    center = finding.center
    z = int(np.clip(np.rint(center[2]), 0, ct.shape[2] - 1))
    spacing = ct.spacing[:2]
    edge = float((np.array(ct.shape[:2]) * spacing).max())
    middle = np.array([(ct.shape[0] - 1) / 2, (ct.shape[1] - 1) / 2, 0.0])
    grid = _plane_grid(middle, ct.spacing, PLANES["axial"][0], edge)[:2]
    plane = np.nan_to_num(ct.data[:, :, z].astype(np.float32), nan=_HU_AIR)  # a resampled CT may be NaN at its border
    hu = map_coordinates(plane, grid, order=1, mode="constant", cval=_HU_AIR)
    size = view_edge_mm(finding) / edge * PIXELS
    x, y = ((center[:2] - middle[:2]) * spacing / edge + 0.5) * PIXELS - size / 2
    alt = f"Whole axial slice with the place of {finding.nodule_id}"
    own = "" if finding.numbers is None else finding.numbers.in_words(2, z)
    position = f"{own + ', ' if own else ''}axial slice {ct.shape[2] - z} of {ct.shape[2]} from the top"
    return Picture("overview", position, hu, alt, _png(hu), (), PLANES["axial"][1], 50 / edge * PIXELS, (x, y, size))


def view_edge_mm(finding: Finding) -> float:
    """Edge of the close-ups: three diameters, between 36 and 64 mm."""
    diameter = 0.0 if finding.size is None else finding.size.axial_diameter_mm
    return float(np.clip(3 * diameter, 36.0, 64.0))


def _through(finding: Finding, axes: tuple[int, int, int]) -> str:
    """Position of a plane through the centre, in world coordinates."""
    normal = 3 - axes[0] - axes[1]
    return f"{in_words(normal, float(finding.voi.volume.to_world(finding.voi.center)[normal]))}, through the centre"


def in_words(axis: int, position: float) -> str:
    """Position along a world axis as text, with non-breaking spaces and a minus sign."""
    return f"{'xyz'[axis]}\N{NO-BREAK SPACE}{position:.1f}\N{NO-BREAK SPACE}mm".replace("-", "\N{MINUS SIGN}")


def _plane_grid(center: np.ndarray, spacing: np.ndarray, axes: tuple[int, int, int], edge: float) -> np.ndarray:
    """Voxel indices ``[3, PIXELS, PIXELS]`` of a square plane through a centre; rows run down the picture."""
    right, down, direction = axes
    offset = ((np.arange(PIXELS) + 0.5) / PIXELS - 0.5) * edge
    grid = np.broadcast_to(np.asarray(center, dtype=float)[:, None, None], (3, PIXELS, PIXELS)).copy()
    grid[right] += offset[None, :] / spacing[right]
    grid[down] += direction * offset[:, None] / spacing[down]
    return grid


def _within(center: np.ndarray, volume: Volume, axes: tuple[int, int, int]) -> np.ndarray:
    """The centre in the nearest plane of voxels: it may lie in the outer half of the first or last slice."""
    normal, inside = 3 - axes[0] - axes[1], np.array(center, dtype=float)
    inside[normal] = np.clip(inside[normal], 0, volume.shape[normal] - 1)
    return inside


def _outline(probability: np.ndarray, mask: np.ndarray, grid: np.ndarray) -> str:
    plane = map_coordinates(nodule_probability(probability, mask), grid, order=1, mode="constant", cval=0.0)
    return outline(plane, origin=(0.5, 0.5), scale=(1.0, 1.0))


def _outlines_in_words(outlines: Mapping[str, str]) -> str:
    drawn = [name for name, path in outlines.items() if path]
    return f"with the {' and '.join(drawn)} outline" if drawn else "without an outline"


def _png(hu: np.ndarray) -> str:
    image = Image.fromarray((window(hu, *LUNG_WINDOW) * 255).round().astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
