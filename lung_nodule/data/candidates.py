"""LUNA16's candidates as a datalist, and a candidate's VOI from the file or from the whole CT."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.core import check_voi
from lung_nodule.data.datalist import patient_folds, refuse_numbered_holdout
from lung_nodule.data.load_voi import make_item
from lung_nodule.errors import InputError
from lung_nodule.holdout import HOLDOUT
from lung_nodule.io import CENTER, Volume, cut_voi, read_nifti, read_table, voi_edge_mm
from monai.transforms import Transform

logger = logging.getLogger(__name__)

FOLDER = "candidates"
CLASSES = {0.0: "non-nodules", 1.0: "nodules"}


def require_candidates(dataset_dir: str | Path) -> None:
    """Refuse a dataset without candidates, before anything is built.

    Raises:
        InputError: the folder ``candidates`` or its tables are missing.
    """
    folder = Path(dataset_dir) / FOLDER
    if not (folder / "candidates.csv").is_file() or not (folder / "candidates.json").is_file():
        raise InputError(
            f"no candidates in {dataset_dir} (it has no {FOLDER}/candidates.csv): make them with `python -m "
            f"preprocessing candidates --dataset {dataset_dir} --table candidates_V2.csv --subsets DIR`"
        )


def candidate_datalist(
    dataset_dir: str | Path, *, folds: Sequence[int | str] | int | str, with_voi: bool, patch_mm: float | None = None
) -> list[dict[str, Any]]:
    """The candidates of some folds as MONAI datalist items, those of one scan together.

    Args:
        dataset_dir: a dataset with the folder that ``python -m preprocessing candidates`` writes.
        folds: 0 to 9, LUNA16's subsets, or ``"holdout"``; one or several.
        with_voi: whether to take only candidates with a VOI file (training): all nodules and the drawn others. Without
            it all candidates are taken, and ``ct`` is the whole CT.
        patch_mm: edge of the cube that will be sampled.

    Returns:
        one dict per candidate: ``nodule_id`` (the candidate's), ``patient_id``, ``series_uid``, ``fold``, the centre,
        ``nodule`` (1.0 or 0.0), ``ct`` (a path) and ``edge_mm`` (of the VOI).

    Raises:
        InputError: the tables are missing or broken, a patient is in two folds, a patient of the hold-out is in a
            numbered one, the patch is larger than the VOIs were written for, or no candidate is left.
    """
    require_candidates(dataset_dir)
    dataset_dir = Path(dataset_dir)
    table = _read(dataset_dir, "candidates", ["candidate_id", "label", *CENTER, "ct", "voi"], ["label", *CENTER])
    written = _written_patch(dataset_dir)
    if patch_mm is not None and patch_mm > written:
        raise InputError(
            f"--patch_mm {patch_mm:g} is larger than the {written:g} mm that the candidates of {dataset_dir} were cut "
            f"for: run `python -m preprocessing candidates --patch_mm {patch_mm:g}` again"
        )
    folds = [folds] if isinstance(folds, int | str) else list(folds)
    chosen = table[table["fold"].isin([str(fold) for fold in folds])]
    if with_voi:
        chosen = chosen[chosen["voi"].notna()]
    if chosen.empty:
        kind = " with a VOI" if with_voi else ""
        raise InputError(f"{dataset_dir}: none of its {len(table)} candidates{kind} is in folds {folds}")
    found = int((chosen["label"] == 1).sum())
    logger.info(
        f"{dataset_dir}: {len(chosen)} candidates of {chosen['series_uid'].nunique()} scans, {found} of nodules, "
        f"folds {folds}"
    )
    edge = voi_edge_mm(written)
    column = "voi" if with_voi else "ct"
    return [
        {
            "nodule_id": row["candidate_id"],
            "patient_id": row["patient_id"],
            "series_uid": row["series_uid"],
            "fold": int(row["fold"]) if row["fold"].isdigit() else row["fold"],
            **{name: row[name] for name in CENTER},
            "nodule": float(row["label"]),
            "ct": str(dataset_dir / row[column]),
            "edge_mm": edge,
        }
        for row in chosen.to_dict("records")
    ]


def both_classes(datalist: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The datalist itself, unless a class is missing.

    Raises:
        InputError: there are only nodules, or only others.
    """
    classes = {item["nodule"] for item in datalist}
    if len(classes) < 2:
        folds = sorted({item["fold"] for item in datalist})
        raise InputError(
            f"folds {folds} hold only {CLASSES[classes.pop()]} ({len(datalist)} candidates): a classifier needs both; "
            "add scans or choose another --fold"
        )
    return list(datalist)


def evaluated_scans(dataset_dir: str | Path, folds: Sequence[int | str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All scans of some folds, also those without candidates, and what is annotated in them.

    Returns:
        ``scan``, ``patient_id``, ``series_uid``, ``fold``; and ``finding_id``, ``series_uid``, the centre,
        ``diameter_mm``, ``excluded`` (0 for a nodule, 1 for a finding to ignore).
    """
    names = [str(fold) for fold in folds]
    scans = _read(Path(dataset_dir), "scans", ["scan"], [])
    findings = _read(
        Path(dataset_dir), "nodules", ["finding_id", *CENTER, "diameter_mm", "excluded"], [*CENTER, "diameter_mm"]
    )
    scans, findings = (table[table["fold"].isin(names)].reset_index(drop=True) for table in (scans, findings))
    return scans, findings


def _read(dataset_dir: Path, name: str, columns: Sequence[str], numeric: Sequence[str]) -> pd.DataFrame:
    path = dataset_dir / FOLDER / f"{name}.csv"
    table = read_table(path, ["patient_id", "series_uid", "fold", *columns], numeric=numeric)
    folds = table[["patient_id", "fold"]].drop_duplicates()
    refuse_numbered_holdout(folds, path)
    marked = patient_folds(dataset_dir).query("fold == @HOLDOUT")["patient_id"]
    wrong = folds[(folds["patient_id"].isin(marked) & (folds["fold"] != HOLDOUT)) | folds["patient_id"].duplicated()]
    if not wrong.empty:
        patient = wrong["patient_id"].iloc[0]
        own = folds.loc[folds["patient_id"] == patient, "fold"].tolist()
        held = ", and folds.csv marks the patient as holdout" if patient in set(marked) else ""
        raise InputError(
            f"{path} puts {patient} into fold {' and '.join(own)}{held}: patients must not cross a split; run `python "
            "-m preprocessing candidates` again"
        )
    return table


def _written_patch(dataset_dir: Path) -> float:
    path = dataset_dir / FOLDER / "candidates.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["settings"]["patch_mm"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not name its patch_mm: run `python -m preprocessing candidates` again"
        ) from error


class CutVOI(Transform):
    """From an item of the datalist to a candidate's VOI, cut from the whole CT: what its VOI file would hold.

    The CT that was read last is kept, so candidates of one scan that come one after the other cost one reading. Adds
    what :class:`~lung_nodule.data.LoadVOI` adds without a mask.

    Raises:
        InputError: the CT cannot be read, or the candidate lies outside of it.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        center = [float(data[name]) for name in CENTER]
        cut = cut_voi(_whole(str(data["ct"])), data["nodule_id"], center, edge_mm=float(data["edge_mm"]))
        try:
            check_voi(cut.volume.data, cut.volume.spacing, cut.center)
        except ValueError as error:
            raise InputError(f"{data['ct']}, candidate {data['nodule_id']}: {error}") from error
        return make_item(data, cut.volume, cut.center)


@functools.lru_cache(maxsize=1)
def _whole(path: str) -> Volume:
    """The CT in canonical order; one is kept in each process."""
    return read_nifti(path).canonical()


def candidate_cohort(dataset_dir: str | Path) -> dict[str, Any]:
    """Settings and LUNA16 files that the candidates of a dataset were made with, for a model's side file.

    Raises:
        InputError: ``candidates.json`` is missing or broken.
    """
    require_candidates(dataset_dir)
    path = Path(dataset_dir) / FOLDER / "candidates.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        return {"settings": described["settings"], "sources": described["sources"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: run `python -m preprocessing candidates` again") from error
