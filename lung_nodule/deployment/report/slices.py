"""Slice stacks of the report's viewer: native voxels around a nodule and the outlines of each slice."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from lung_nodule.deployment.findings import Finding
from lung_nodule.deployment.occlusion import Occlusion
from lung_nodule.deployment.report.outlines import nodule_probability, outline
from lung_nodule.deployment.report.pictures import PIXELS, PLANES, in_words, view_edge_mm
from lung_nodule.lidc import LUNG_WINDOW, SOFT_TISSUE_WINDOW

WINDOWS = {"lung": LUNG_WINDOW, "soft tissue": SOFT_TISSUE_WINDOW}
"""Selectable windows in HU."""
NODULE_BYTES = 750_000
OVERVIEW_BYTES = 120_000
LEAST_SCALE = 0.05
"""Minimum change of the probability that maps to the full colour of an occlusion map."""
_LOWER, _UPPER = (bound(hu for window in WINDOWS.values() for hu in window) for bound in (min, max))
_STEPS_HU = (1, 2, 4, 8, 16)
# Plane: end of the patient at the first slice, and whether the array axis starts there too.
_BEGINNING = {"axial": ("top", False), "coronal": ("front", True), "sagittal": ("right", True)}


@dataclass(frozen=True)
class HuBlock:
    """Compressed voxels for the page's script, which renders every window from them.

    Attributes:
        shape: number of voxels along x, y, z.
        lower: HU of the value 0; lower HU are black in every window.
        step: HU between neighbouring values.
        values: base64 of a zlib stream. Each voxel (x fastest, z slowest) is stored as the difference d from the
            previous one, as the 16-bit number 2 d or, if negative, -2 d - 1; first all low bytes, then all high bytes.
    """

    shape: tuple[int, int, int]
    lower: int
    step: int
    values: str


@dataclass(frozen=True)
class Slice:
    """One slice of a stack.

    Attributes:
        at: index in the block.
        label: slice number in the CT and position.
        outlines: SVG path of each mask, "" if it does not cross the slice.
    """

    at: int
    label: str
    outlines: tuple[str, ...]


@dataclass(frozen=True)
class Stack:
    """Slices of one plane in scrolling order.

    Attributes:
        right: block axis to the right of the picture.
        down: block axis downwards.
        flipped: whether the axis ``down`` is reversed.
        normal: block axis across the slices.
        place: x, y, width, height of a slice in the picture's square of ``PIXELS``.
        start: index in ``slices`` of the slice nearest to the nodule's centre.
        slices: slices from the top, the front or the right of the patient.
    """

    right: int
    down: int
    flipped: bool
    normal: int
    place: tuple[float, float, float, float]
    start: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class OcclusionCubes:
    """Occlusion map for the page's script.

    Attributes:
        edges: by axis, first voxel of each cube in the block and the end of the last one.
        change: change of the malignancy probability by each cube, x slowest and z fastest.
        scale: change that maps to the full colour.
    """

    edges: tuple[list[int], ...]
    change: list[float]
    scale: float


def pack(hu: np.ndarray, limit: int) -> HuBlock:
    """Compress HU with the finest step whose stream fits into a number of bytes, or else the coarsest step.

    Args:
        hu: ``[x, y, z]`` in HU.
        limit: maximum number of bytes before base64.
    """
    step, stream = 0, b""
    for step in _STEPS_HU:
        values = np.rint((np.clip(hu, _LOWER, _UPPER) - _LOWER) / step).astype(np.int32)
        steps = np.diff(values.ravel(order="F"), prepend=0)
        codes = ((steps << 1) ^ (steps >> 31)).astype("<u2")
        stream = zlib.compress(codes.view(np.uint8).reshape(-1, 2).T.tobytes(), 9)
        if len(stream) <= limit:
            break
    x, y, z = hu.shape
    return HuBlock((x, y, z), int(_LOWER), step, base64.b64encode(stream).decode())


def nodule_box(finding: Finding) -> tuple[slice, slice, slice]:
    """Part of the VOI shown in the close-ups, in voxels of the VOI."""
    voi = finding.voi
    half = view_edge_mm(finding) / 2 / voi.volume.spacing
    low = np.maximum(np.floor(voi.center - half), 0).astype(int)
    high = np.minimum(np.ceil(voi.center + half) + 1, voi.volume.shape).astype(int)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z


def stacks(finding: Finding, ct_shape: tuple[int, int, int]) -> dict[str, Stack]:
    """Slice stacks of the three planes by name, in voxels of :func:`nodule_box`."""
    box = nodule_box(finding)
    maps = [nodule_probability(finding.answer.maps[name], mask)[box] for name, mask in finding.masks.items()]
    return {title: _stack(title, finding, ct_shape, box, maps) for title in PLANES}


def occlusion_cubes(finding: Finding, occlusion: Occlusion) -> OcclusionCubes:
    """Occlusion cubes in voxels of :func:`nodule_box`; cubes that extend beyond it are not cropped."""
    edges = tuple((edge - part.start).tolist() for edge, part in zip(occlusion.edges, nodule_box(finding), strict=True))
    scale = max(float(np.abs(occlusion.change).max()), LEAST_SCALE)
    return OcclusionCubes(edges, occlusion.change.ravel().round(4).tolist(), scale)


def overview_stack(label: str) -> Stack:
    """Stack of the overview, a single slice."""
    return Stack(0, 1, False, 2, (0.0, 0.0, float(PIXELS), float(PIXELS)), 0, (Slice(0, label, ()),))


def _stack(
    title: str,
    finding: Finding,
    ct_shape: tuple[int, int, int],
    box: tuple[slice, slice, slice],
    maps: list[np.ndarray],
) -> Stack:
    (right, down, direction), _ = PLANES[title]
    normal = 3 - right - down
    (x, width), (y, height) = (_to_picture(finding, box, *axis) for axis in ((right, 1), (down, direction)))
    shape = [part.stop - part.start for part in box]
    order = range(shape[normal]) if _BEGINNING[title][1] else range(shape[normal])[::-1]
    slices = []
    for at in order:
        planes = [np.take(map_, at, axis=normal).T for map_ in maps]
        # Padding closes the outline of a mask at the block's border half a voxel outside.
        drawn = (outline(np.pad(plane, 1), (y - height, x - width), (height, width)) for plane in planes)
        slices.append(Slice(at, _label(title, finding, ct_shape, normal, box[normal].start + at), tuple(drawn)))
    start = min(range(len(slices)), key=lambda i: abs(slices[i].at + box[normal].start - finding.voi.center[normal]))
    top = y - height / 2 if direction > 0 else y + height * (shape[down] - 0.5)
    place = (x - width / 2, top, width * shape[right], abs(height) * shape[down])
    return Stack(right, down, direction < 0, normal, place, start, tuple(slices))


def _to_picture(finding: Finding, box: tuple[slice, slice, slice], axis: int, direction: int) -> tuple[float, float]:
    """Position of the box's first voxel centre in the picture and step to the next voxel, in pixels."""
    scale = direction * float(finding.voi.volume.spacing[axis]) / view_edge_mm(finding) * PIXELS
    return PIXELS / 2 + scale * (box[axis].start - float(finding.voi.center[axis])), scale


def _label(title: str, finding: Finding, ct_shape: tuple[int, int, int], normal: int, index: int) -> str:
    """Label of a slice: its original number, its number in the CT, and its position on the line through the centre."""
    end, begins_there = _BEGINNING[title]
    whole, number = ct_shape[normal], index + finding.voi.box[normal].start
    own = "" if finding.numbers is None else finding.numbers.in_words(normal, number)
    at = finding.voi.center.copy()
    at[normal] = index
    position = float(finding.voi.volume.to_world(at)[normal])
    number = number + 1 if begins_there else whole - number
    words = (own, f"slice {number} of {whole} from the {end}", in_words(normal, position))
    return ", ".join(word for word in words if word)
