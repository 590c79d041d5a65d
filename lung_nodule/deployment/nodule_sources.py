"""Where the nodules of a CT are, from what else than a table other tools write: label maps, detections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.core import size_of
from lung_nodule.errors import InputError
from lung_nodule.io import CENTER, Volume, read_nifti, read_nodules
from scipy.ndimage import find_objects

DIAMETER = "diameter_mm"
SMALLEST_SCORE = 0.5
"""From which a detection is taken by default."""
LABEL_MAPS, DETECTIONS = (".nii", ".nii.gz"), (".json",)
_TO_RAS = np.array([-1.0, -1.0, 1.0])


def read_nodule_source(
    path: str | Path,
    *,
    keep: Mapping[str, str | int | None] | None = None,
    series_of: str | Path | None = None,
    threshold: float = SMALLEST_SCORE,
) -> pd.DataFrame:
    """``nodule_id``, the centre (RAS, mm) and, where it is known, ``diameter_mm`` of every nodule.

    Args:
        path: a table (:func:`~lung_nodule.io.read_nodules`); a label map (NIfTI), whose every value above 0 is a
            nodule; or the JSON that MONAI's ``lung_nodule_ct_detection`` writes.
        keep: as ``read_nodules``, for a table.
        series_of: the CT, as ``read_nodules``; of a JSON with several images, the one whose name it has is taken.
        threshold: detections of a lower score are left out.

    Raises:
        InputError: as ``read_nodules``; the map holds no label; the file holds no detections, none of the CT or none
            above the threshold.
    """
    name = Path(path).name.lower()
    if name.endswith(LABEL_MAPS):
        return from_label_map(read_nifti(path), path)
    if name.endswith(DETECTIONS):
        return from_detections(Path(path), ct=series_of, threshold=threshold)
    return read_nodules(path, keep=keep, series_of=series_of, optional=[DIAMETER])


def from_label_map(labels: Volume, path: str | Path) -> pd.DataFrame:
    """A row per label: the centre of mass of its voxels and the largest axial diameter.

    Args:
        labels: whole numbers; 0 is no nodule.
        path: for errors.

    Raises:
        InputError: values are no whole numbers, or all are 0.
    """
    values = np.asarray(labels.canonical().data)
    whole = np.rint(values).astype(np.int64)
    if values.ndim != 3 or not np.array_equal(whole, values) or whole.min() < 0:
        raise InputError(f"{path} is no label map: its voxels must be whole numbers, 0 where there is no nodule")
    rows = [_of_label(labels.canonical(), whole, label, box) for label, box in enumerate(find_objects(whole), 1) if box]
    if not rows:
        raise InputError(f"{path} holds no label above 0, so no nodule")
    return pd.DataFrame(rows)


def _of_label(volume: Volume, labels: np.ndarray, label: int, box: tuple[slice, ...]) -> dict[str, object]:
    mask = labels[box] == label
    low = np.array([part.start for part in box])
    center = volume.to_world(np.argwhere(mask).mean(axis=0) + low)
    diameter = size_of(mask, volume.spacing).axial_diameter_mm
    return {"nodule_id": f"nodule_{label}", **dict(zip(CENTER, center.tolist(), strict=True)), DIAMETER: diameter}


def from_detections(path: Path, *, ct: str | Path | None, threshold: float = SMALLEST_SCORE) -> pd.DataFrame:
    """A row per box: its centre, and the mean of its axial edges as the diameter.

    Args:
        path: a list with, per image, ``box`` (centre x, y, z and size w, h, d in mm, LPS), ``label_scores`` and
            ``image``; or a single such entry.
        ct: as ``series_of`` of :func:`read_nodule_source`.
        threshold: smallest score.

    Raises:
        InputError: as :func:`read_nodule_source`.
    """
    entry = _entry_of(_entries(path), path, ct)
    boxes, scores = _numbers(entry, path)
    order = [index for index in np.argsort(-scores, kind="stable") if scores[index] >= threshold]
    if not order:
        best = f", the highest score is {scores.max():.2f}" if len(scores) else ""
        raise InputError(f"{path} holds no detection of at least {threshold:g}{best}: give a lower --threshold")
    centers, diameters = boxes[order, :3] * _TO_RAS, boxes[order, 3:5].mean(axis=1)
    names = [f"nodule_{number + 1}" for number in range(len(order))]
    columns = dict(zip(CENTER, centers.T, strict=True))
    return pd.DataFrame({"nodule_id": names, **columns, DIAMETER: diameters})


def _numbers(entry: Mapping[str, Any], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Boxes ``[N, 6]`` and scores ``[N]`` of an image."""
    try:
        boxes = np.asarray(entry["box"], dtype=float).reshape(-1, 6)
        scores = np.asarray(entry["label_scores"], dtype=float).ravel()
    except (TypeError, ValueError):
        raise InputError(f"{path}: a box needs six numbers (centre and size, mm, LPS), and one score") from None
    if len(boxes) != len(scores) or not np.isfinite(boxes).all():
        raise InputError(f"{path}: {len(boxes)} boxes with {len(scores)} scores; each box needs six numbers, one score")
    return boxes, scores


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    entries = content if isinstance(content, list) else [content]
    if not all(isinstance(entry, dict) and {"box", "label_scores"} <= set(entry) for entry in entries) or not entries:
        raise InputError(f"{path} holds no detections: each image needs box and label_scores")
    return entries


def _entry_of(entries: list[dict[str, Any]], path: Path, ct: str | Path | None) -> dict[str, Any]:
    """The one entry, or that of the CT."""
    if len(entries) == 1:
        return entries[0]
    wanted = None if ct is None else Path(ct).resolve().name
    found = [entry for entry in entries if Path(str(entry.get("image", ""))).name == wanted]
    if len(found) != 1:
        raise InputError(
            f"{path} holds {len(entries)} images, {len(found)} of them named {wanted}: keep the CT's alone"
        )
    return found[0]
