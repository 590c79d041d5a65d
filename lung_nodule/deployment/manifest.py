"""``nodules.json``: the answers of a prediction with what they were made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.findings import Finding, as_row
from lung_nodule.io import Ct, file_sha256
from lung_nodule.io.software import this_software

JSON = "nodules.json"


def manifest(
    findings: Sequence[Finding],
    *,
    model: ServedModel,
    ct: Ct,
    ct_path: Path,
    nodules_path: Path,
    warnings: Sequence[str],
    now: datetime,
) -> dict[str, Any]:
    """The content of ``nodules.json``.

    Args:
        findings: in the table's order.
        model: as the server described it.
        ct: as it was read.
        ct_path: the file or folder that it was read from.
        nodules_path: the table, or another source of nodules.
        warnings: what makes the answers no result.
        now: date of the prediction.
    """
    return {
        "date": now.isoformat(timespec="seconds"),
        "software": this_software().as_dict(),
        "model": {
            "name": model.name,
            "version": model.version,
            "weights_sha256": list(model.names("weights_sha256")),
            "methods": list(model.names("methods")) or [model.name],
            "trained_on_phantom": model.synthetic,
        },
        "inputs": {
            "ct": {"name": ct_path.resolve().name, **_of_ct(ct, ct_path)},
            "nodules": {"name": nodules_path.name, "sha256": file_sha256(nodules_path)},
        },
        "warnings": list(warnings),
        "nodules": [_plain(as_row(finding)) for finding in findings],
    }


def _of_ct(ct: Ct, path: Path) -> dict[str, str | int]:
    """Of a DICOM series its UIDs and the hash of its files' hashes, in the order of the slices."""
    if ct.series is None:
        return {"sha256": file_sha256(path)}
    digest = hashlib.sha256("".join(file_sha256(file) for file in ct.series.paths).encode()).hexdigest()
    series = ct.series
    uids = {"patient_id": series.patient_id, "study_uid": series.study_uid, "series_uid": series.series_uid}
    return {**uids, "files": len(series.paths), "sha256": digest}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: None."""
    return {name: None if isinstance(value, float) and value != value else value for name, value in row.items()}
