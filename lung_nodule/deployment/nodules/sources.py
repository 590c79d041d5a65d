"""Read nodule centres from a table, label map, DICOM object or detection file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.core import LARGEST_DIAMETER_MM, SMALLEST_DIAMETER_MM
from lung_nodule.deployment.nodules.label_map import DIAMETER, from_label_map
from lung_nodule.errors import InputError
from lung_nodule.io import CENTER, Series, printable, read_nifti, read_nodules
from pydicom.misc import is_dicom

logger = logging.getLogger(__name__)

SMALLEST_SCORE = 0.5
"""Default minimum score of a detection."""
LABEL_MAPS, DETECTIONS = (".nii", ".nii.gz"), (".json",)
BOX_MODE = "cccwhd"
"""MONAI's name for boxes given by centre and size."""
IMAGE = "image"
"""Column of detections: the image that they were made in."""
OTHER_FILES = (".zip", ".xlsx", ".xls", ".ods", ".nrrd", ".mha", ".mhd")
_TO_RAS = np.array([-1.0, -1.0, 1.0])


def read_nodule_source(
    path: str | Path,
    *,
    keep: Mapping[str, str | int | None] | None = None,
    series_of: str | Path | None = None,
    threshold: float = SMALLEST_SCORE,
    series: Callable[[], Series | None] = lambda: None,
) -> pd.DataFrame:
    """Read ``nodule_id`` and centre (RAS, mm) of every nodule and, if known, ``diameter_mm``, ``series_uid``,
    ``patient_id``.

    Args:
        path: table (:func:`~lung_nodule.io.read_nodules`); label map (NIfTI), in which every connected component of a
            label is a nodule; a DICOM segmentation or structured report of the CT
            (:func:`~lung_nodule.deployment.nodules.dicom_object.from_dicom`); or the JSON that MONAI's
            ``lung_nodule_ct_detection`` writes.
        keep: row filter of a table, as in ``read_nodules``.
        series_of: CT, as in ``read_nodules``; selects the image of the same name in a JSON with several images.
        threshold: minimum score of a detection.
        series: function that reads the CT's series, for a DICOM object; returns None if the CT is not a DICOM series.

    Raises:
        InputError: as ``read_nodules``; the map has no label; the DICOM object does not belong to the CT; the file has
            no detections, none of this CT or none above the threshold.
    """
    name = Path(path).name.lower()
    if Path(path).is_dir() or name.endswith(OTHER_FILES):
        raise InputError(
            f"{path} holds no nodules: give a table (CSV, Parquet), a label map (NIfTI), a DICOM segmentation or "
            "structured report, or a JSON of detections, each as one file"
        )
    if name.endswith(LABEL_MAPS):
        return _drop_odd_diameters(from_label_map(read_nifti(path), path), path)
    if name.endswith(DETECTIONS):
        return _drop_odd_diameters(from_detections(Path(path), ct=series_of, threshold=threshold), path)
    if Path(path).is_file() and is_dicom(path):
        return _drop_odd_diameters(_from_dicom(Path(path), series(), series_of), path)
    return read_nodules(path, keep=keep, series_of=series_of, optional=[DIAMETER, "series_uid", "patient_id"])


def _drop_odd_diameters(nodules: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """Treat implausible measured diameters, such as that of a single voxel, as unknown."""
    if DIAMETER not in nodules:
        return nodules
    odd = nodules[DIAMETER].notna() & ~nodules[DIAMETER].between(SMALLEST_DIAMETER_MM, LARGEST_DIAMETER_MM)
    for row in nodules[odd].to_dict("records"):
        logger.warning("%s: %s has a diameter of %.1f mm, treated as unknown", path, row["nodule_id"], row[DIAMETER])
    return nodules.assign(**{DIAMETER: nodules[DIAMETER].mask(odd)})


def _from_dicom(path: Path, series: Series | None, ct: str | Path | None) -> pd.DataFrame:
    if series is None:
        raise InputError(f"{path} refers to a DICOM series: give that as the CT (its folder, or a zip of it), not {ct}")
    # Imported here because highdicom takes a second to import.
    from lung_nodule.deployment.nodules.dicom_object import from_dicom

    return from_dicom(path, series)


def from_detections(path: Path, *, ct: str | Path | None, threshold: float = SMALLEST_SCORE) -> pd.DataFrame:
    """Read one row per box: centre, and mean of the axial edges as the diameter.

    Args:
        path: JSON list with, per image, ``box`` (centre x, y, z and size w, h, d in mm, LPS), ``label_scores`` and
            ``image``; or a single such entry.
        ct: CT, as ``series_of`` of :func:`read_nodule_source`.
        threshold: minimum score.

    Raises:
        InputError: as :func:`read_nodule_source`.
    """
    entry = _entry_of(_entries(path), path, ct)
    boxes, scores = _numbers(entry, path)
    _require_sizes(boxes, entry, path)
    order = [index for index in np.argsort(-scores, kind="stable") if scores[index] >= threshold]
    if not order:
        best = f", the highest score is {scores.max():.2f}" if len(scores) else ""
        raise InputError(f"{path} holds no detection of at least {threshold:g}{best}: give a lower --threshold")
    centers, diameters = boxes[order, :3] * _TO_RAS, boxes[order, 3:5].mean(axis=1)
    names = [f"nodule_{number + 1}" for number in range(len(order))]
    columns = dict(zip(CENTER, centers.T, strict=True))
    image = str(entry.get("image", "")) or None
    return pd.DataFrame({"nodule_id": names, **columns, DIAMETER: diameters, IMAGE: image})


def other_image_warnings(nodules: pd.DataFrame, ct: Path) -> list[str]:
    """A warning if detections name another image than the CT; a DICOM series has no file name to compare."""
    image = nodules[IMAGE].iloc[0] if IMAGE in nodules and ct.name.lower().endswith(LABEL_MAPS) else None
    if image is None or _stem(image) == _stem(ct.resolve()):
        return []
    logger.warning("the detections were made in %s, and the CT is %s: check that they belong together", image, ct)
    names = printable(Path(image).name), printable(ct.name)
    return [f"The nodules were detected in {names[0]}, the CT is {names[1]}: check that they belong together."]


def _stem(path: str | Path) -> str:
    """File name without its endings."""
    return Path(str(path).replace("\\", "/")).name.lower().removesuffix(".gz").removesuffix(".nii")


def _numbers(entry: Mapping[str, Any], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Boxes ``[N, 6]`` and scores ``[N]`` of an image."""
    try:
        boxes = np.asarray(entry["box"], dtype=float).reshape(-1, 6)
        scores = np.asarray(entry["label_scores"], dtype=float).ravel()
    except (TypeError, ValueError):
        raise InputError(f"{path}: a box needs six numbers (centre and size, mm, LPS), and one score") from None
    if len(boxes) != len(scores) or not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        raise InputError(f"{path}: {len(boxes)} boxes with {len(scores)} scores; each box needs six numbers, one score")
    return boxes, scores


def _require_sizes(boxes: np.ndarray, entry: Mapping[str, Any], path: Path) -> None:
    """Raise InputError for boxes given by corners, as far as that shows, or of impossible sizes."""
    mode = str(entry.get("box_mode", BOX_MODE))
    if mode != BOX_MODE:
        raise InputError(f"{path} holds boxes of mode {mode}: convert them to {BOX_MODE} (centre and size, mm, LPS)")
    odd = ((boxes[:, 3:] <= 0) | (boxes[:, 3:] > LARGEST_DIAMETER_MM)).any(axis=1)
    if odd.any():
        shown = ", ".join(f"{value:g}" for value in boxes[odd][0])
        raise InputError(
            f"{path}: the box ({shown}) has a size of 0 mm or less, or of more than {LARGEST_DIAMETER_MM:g} mm: give "
            f"centre and size ({BOX_MODE}, mm, LPS), not two corners"
        )


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    entries = content if isinstance(content, list) else [content]
    if not all(isinstance(entry, dict) and {"box", "label_scores"} <= set(entry) for entry in entries) or not entries:
        raise InputError(f"{path} holds no detections: each image needs box and label_scores")
    return entries


def _entry_of(entries: list[dict[str, Any]], path: Path, ct: str | Path | None) -> dict[str, Any]:
    """The only entry, or that of the CT."""
    if len(entries) == 1:
        return entries[0]
    wanted = None if ct is None else Path(ct).resolve().name
    found = [entry for entry in entries if Path(str(entry.get("image", ""))).name == wanted]
    if len(found) != 1:
        raise InputError(
            f"{path} holds {len(entries)} images, {len(found)} of them named {wanted}: keep the CT's alone"
        )
    return found[0]
