"""A user's CTs and centres as a datalist: no masks, no ratings, no folds."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.core import NoduleView, check_voi
from lung_nodule.data.datalist import nodule_datalist, require_dataset
from lung_nodule.data.load_voi import make_item
from lung_nodule.data.nodule_view import unfit
from lung_nodule.errors import InputError
from lung_nodule.io import LABELS, Volume, center_of, check_hu, cut_voi, line_of, read_ct, read_nodules, voi_edge_mm
from tqdm import tqdm

logger = logging.getLogger(__name__)

NO_CLASS = float("nan")


@dataclass(frozen=True)
class Scan:
    """A CT and the rows of the table that belong to it.

    Attributes:
        path: NIfTI file or DICOM folder.
        series_uid: UID of the series in the folder; None where it holds only one.
        labels: name of its label map among the results.
        rows: ``nodule_id``, centre and what the method needs, one dict per nodule.
    """

    path: Path
    series_uid: str | None
    labels: str
    rows: list[dict[Any, Any]]


def inference_datalist(
    *,
    dataset_dir: str | Path,
    nodules: str | Path | None = None,
    ct: str | Path | None = None,
    patient_id: str | None = None,
    series_uid: str | None = None,
    view: NoduleView,
    folds: Sequence[int | str],
    min_readers: int,
    max_slice_thickness_mm: float,
) -> list[dict[Any, Any]]:
    """The nodules that a bundle's inference runs on: those of a user's table of centres, else of a dataset.

    Args:
        dataset_dir: dataset as ``python -m preprocessing convert`` writes it, where no table is given.
        nodules: see :func:`scan_datalist`, as are ``ct``, ``patient_id``, ``series_uid`` and ``view``.
        folds: folds of the dataset; ``min_readers`` and ``max_slice_thickness_mm`` also apply to a dataset.

    Raises:
        InputError: see :func:`scan_datalist` and :func:`~lung_nodule.data.nodule_datalist`.
    """
    require_inputs(dataset_dir=dataset_dir, nodules=nodules, ct=ct)
    if nodules is not None:
        return scan_datalist(nodules, ct=ct, patient_id=patient_id, series_uid=series_uid, view=view)
    return nodule_datalist(
        dataset_dir, folds=folds, min_readers=min_readers, max_slice_thickness_mm=max_slice_thickness_mm
    )


def require_inputs(*, dataset_dir: str | Path, nodules: str | Path | None, ct: str | Path | None) -> None:
    """Refuse inputs that inference cannot use, before anything is built.

    Raises:
        InputError: a CT without a table; a table or CT that is not there; with neither, no dataset.
    """
    if nodules is None:
        if ct is not None:
            raise InputError(
                f"--ct {ct} needs --nodules TABLE with nodule_id, center_x_ras, center_y_ras, center_z_ras (mm)"
            )
        require_dataset(dataset_dir)
        return
    for option, path in (("--nodules", nodules), ("--ct", ct)):
        if path is not None and not Path(path).exists():
            raise InputError(f"{option}: no such file or folder: {path}")


def scan_datalist(
    nodules: str | Path,
    *,
    ct: str | Path | None = None,
    patient_id: str | None = None,
    series_uid: str | None = None,
    view: NoduleView,
) -> list[dict[Any, Any]]:
    """The VOIs around a table's centres, cut out of the CTs, each of which is read once.

    Everything is checked here, before a network is built. The VOIs stay in memory, some 5 MB a nodule.

    Args:
        nodules: table with ``nodule_id``, ``center_x_ras``, ``center_y_ras``, ``center_z_ras`` and what the view
            needs; without ``ct`` also a column ``ct``, a path per row, relative to the table's folder (and
            ``series_uid`` where that is a folder of several DICOM series).
        ct: the CT of all rows: a NIfTI file in HU or the folder of a DICOM series.
        patient_id: patient whose rows alone are taken.
        series_uid: series whose rows alone are taken, and which is read from a folder that holds several.
        view: view of the method, which says how much of the CT it samples.

    Returns:
        per nodule what :class:`~lung_nodule.data.LoadVOI` gives without a mask, ``malignant`` (NaN), and for writing
        masks: ``box`` (slices in the canonical CT), ``grid`` (of the CT as it was read), ``number`` (within its CT,
        from 1), ``labels`` (the label map's name) and ``scan`` (the CT's path as text). Nodules of one CT are
        consecutive.

    Raises:
        InputError: the table or a CT cannot be used, or a centre lies outside; the message says why.
    """
    nodules = Path(nodules)
    table = _table(nodules, ct=ct, patient_id=patient_id, series_uid=series_uid, view=view)
    scans = _scans(table, nodules, ct=ct, series_uid=series_uid)
    for row in (row for scan in scans for row in scan.rows):
        _reach_mm(view, row)
    items: list[dict[Any, Any]] = []
    for scan in tqdm(scans, desc="CTs", unit="CT", disable=None):
        items += _items(scan, view)
    logger.info(f"{nodules}: {len(items)} nodules of {len(scans)} CTs")
    return items


def _table(
    nodules: Path, *, ct: str | Path | None, patient_id: str | None, series_uid: str | None, view: NoduleView
) -> pd.DataFrame:
    keep = {"patient_id": patient_id, "series_uid": series_uid}
    if ct is None:  # rows of several patients have several CTs
        keep = {column: value for column, value in keep.items() if value is not None}
    return read_nodules(nodules, keep=keep, columns=view.needs, optional=("ct", "series_uid"), series_of=ct)


def _scans(table: pd.DataFrame, nodules: Path, *, ct: str | Path | None, series_uid: str | None) -> list[Scan]:
    """The table's CTs in the order in which they appear."""
    if ct is not None:
        return [Scan(Path(ct), series_uid, LABELS, table.to_dict("records"))]
    if "ct" not in table.columns:
        raise InputError(f"{nodules} has no column ct: add one (a path per row), or give the CT of all rows with --ct")
    found: dict[tuple[Path, str | None], list[dict[Any, Any]]] = {}
    for index, row in zip(table.index, table.to_dict("records"), strict=True):
        if not isinstance(row["ct"], str) or not row["ct"].strip():
            line = line_of(index, nodules)
            raise InputError(f"{nodules}, line {line}: column ct is empty; give the path of the row's CT")
        path, uid = nodules.parent / row["ct"].strip(), row.get("series_uid")
        if not path.exists():
            raise InputError(f"{nodules}, line {line_of(index, nodules)}: no such CT: {path}")
        found.setdefault((path, uid if path.is_dir() and isinstance(uid, str) else None), []).append(row)
    names = [LABELS] if len(found) == 1 else _label_maps([path for path, _ in found])
    return [Scan(*key, labels, rows) for (key, rows), labels in zip(found.items(), names, strict=True)]


def _label_maps(paths: Sequence[Path]) -> list[str]:
    """``nodules_<name of the CT>.nii.gz``, numbered where two CTs have one name."""
    names: list[str] = []
    for path in paths:
        plain = re.sub(r"[^A-Za-z0-9._+-]", "_", re.sub(r"\.nii(\.gz)?$", "", path.resolve().name))[:100]
        number = 2
        name = plain
        while name in names:
            name, number = f"{plain}_{number}", number + 1
        names.append(name)
    return [f"nodules_{name}.nii.gz" for name in names]


def _items(scan: Scan, view: NoduleView) -> list[dict[Any, Any]]:
    original = read_ct(scan.path, series_uid=scan.series_uid).volume
    check_hu(original, scan.path)
    canonical = original.canonical()
    return [_item(scan, row, number, original, canonical, view) for number, row in enumerate(scan.rows, start=1)]


def _item(
    scan: Scan, row: dict[Any, Any], number: int, original: Volume, canonical: Volume, view: NoduleView
) -> dict[Any, Any]:
    voi = cut_voi(canonical, row["nodule_id"], center_of(row), edge_mm=voi_edge_mm(_reach_mm(view, row)))
    try:
        check_voi(voi.volume.data, voi.volume.spacing, voi.center)
    except ValueError as error:
        raise InputError(f"{scan.path}, nodule {voi.nodule_id}: {error}") from error
    return {
        **make_item({**row, "malignant": NO_CLASS}, voi.volume, voi.center),
        "box": voi.box,
        "grid": original.grid,
        "number": number,
        "labels": scan.labels,
        "scan": str(scan.path),
    }


def _reach_mm(view: NoduleView, row: Mapping[str, Any]) -> float:
    try:
        return view.reach_mm(row.get("diameter_mm"))
    except ValueError as error:
        raise unfit(row, error) from error
