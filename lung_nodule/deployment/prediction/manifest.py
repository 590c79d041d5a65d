"""``nodules.json``: answers of a prediction with the hashes of its inputs, so that a later run can detect a finished
prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.findings import Finding, as_row
from lung_nodule.io import Ct, file_sha256, files_sha256, only_series, printable
from lung_nodule.runtime.software import this_software

JSON = "nodules.json"
"""Written last; a folder without it is incomplete."""
Options = Mapping[str, str | float | bool | None]


def manifest(
    findings: Sequence[Finding],
    *,
    model: ServedModel,
    ct: Ct,
    ct_path: Path,
    nodules_path: Path,
    options: Options,
    files: Sequence[str],
    warnings: Sequence[str],
    now: datetime,
) -> dict[str, Any]:
    """Return the content of ``nodules.json``.

    Args:
        findings: findings in the order of the table.
        model: served model.
        ct: CT.
        ct_path: file or folder of the CT.
        nodules_path: table or other source of nodules.
        options: other options that the answers depend on.
        files: other files of the prediction, relative to the folder of ``nodules.json``.
        warnings: warnings about the answers.
        now: date of the prediction.
    """
    return {
        "date": now.isoformat(timespec="seconds"),
        "software": this_software().as_dict(),
        "model": _of_model(model),
        "inputs": {
            "ct": {"name": printable(ct_path.resolve().name), **_of_ct(ct, ct_path)},
            "nodules": {"name": printable(nodules_path.name), "sha256": file_sha256(nodules_path)},
        },
        "options": dict(options),
        "warnings": list(warnings),
        "files": list(files),
        "nodules": [_plain(as_row(finding)) for finding in findings],
    }


def is_complete(out: Path, *, model: ServedModel, ct_path: Path, nodules_path: Path, options: Options) -> bool:
    """Whether a folder holds a finished prediction with the same inputs (by hash), model and options."""
    try:
        record = json.loads((out / JSON).read_text(encoding="utf-8"))
        inputs = record["inputs"]
        return (
            record["model"] == _of_model(model)
            and record["options"] == dict(options)
            and all((out / name).is_file() for name in record["files"])
            and inputs["nodules"]["sha256"] == file_sha256(nodules_path)
            and inputs["ct"]["sha256"] == _ct_sha256(ct_path, options.get("series_uid"))
        )
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _of_model(model: ServedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "weights_sha256": list(model.names("weights_sha256")),
        "methods": list(model.names("methods")) or [model.name],
        "trained_on_phantom": model.synthetic,
    }


def _of_ct(ct: Ct, path: Path) -> dict[str, str | int]:
    """Hash of the file or of the files of a DICOM folder; for a DICOM series also its UIDs."""
    if ct.series is None:
        return {"sha256": file_sha256(path)}
    series = ct.series
    uids = {"patient_id": series.patient_id, "study_uid": series.study_uid, "series_uid": series.series_uid}
    uids["study_date"] = series.study_date
    digest = file_sha256(path) if path.is_file() else files_sha256(series.files)
    return {**uids, "files": len(series.files), "sha256": digest}


def _ct_sha256(path: Path, series_uid: str | float | None) -> str:
    if path.is_file():
        return file_sha256(path)
    return files_sha256(only_series(path, series_uid=None if series_uid is None else str(series_uid)).paths)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN by None, as JSON has no NaN."""
    return {name: None if isinstance(value, float) and value != value else value for name, value in row.items()}
