"""Write the panel, the model that combines all methods of a repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lung_nodule import __version__
from lung_nodule.deployment.answers import PANEL
from lung_nodule.deployment.repository.file_record import RECORD, recorded_files
from lung_nodule.deployment.repository.model_repository import (
    STEPS,
    TEMPLATES,
    as_text,
    copy_core,
    read_config,
    write_config,
)
from lung_nodule.io import write_json
from lung_nodule.lidc import ATTRIBUTES

CALIBRATION = "calibration.json"
"""Next to the panel's template: calibration of the mean of ``methods`` in cross-validation."""


def write_panel(repository: Path) -> None:
    """Write the panel if all of its methods are in the repository with a score; otherwise remove it.

    Args:
        repository: repository with the records of its exports.
    """
    shutil.rmtree(repository / PANEL, ignore_errors=True)
    (repository / RECORD.format(bundle=PANEL)).unlink(missing_ok=True)
    methods = read_config(TEMPLATES / PANEL / "config.pbtxt").parameters["methods"].string_value.split()
    records = {method: repository / RECORD.format(bundle=method) for method in methods}
    if not all(record.is_file() for record in records.values()):
        return
    clients = {name: json.loads(record.read_text(encoding="utf-8"))["client"] for name, record in records.items()}
    rated_by = [name for name, client in clients.items() if client["attributes"] == list(ATTRIBUTES)]
    if rated_by and all(client["has_score"] for client in clients.values()):
        _fill(repository, {**merge_clients(list(clients.values())), "rated_by": rated_by})


def merge_clients(clients: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the client parameters of several models to those of the panel."""
    return {
        "version": ", ".join(dict.fromkeys(client["version"] for client in clients)),
        "weights_sha256": [client["weights_sha256"] for client in clients],
        "reach_mm": max(client["reach_mm"] for client in clients),
        "reach_diameters": max(client["reach_diameters"] for client in clients),
        "synthetic": any(client["synthetic"] for client in clients),
        "patients_seen": sorted({patient for client in clients for patient in client["patients_seen"]}),
        "calibration": _calibrations([client.get("calibration", {}) for client in clients]),
    }


def _calibrations(of_methods: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Calibration of every method that has one, and the panel's own if it is the mean of exactly these methods."""
    known = {name: table for one in of_methods for name, table in one.items()}
    path = TEMPLATES / PANEL / CALIBRATION
    own = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"methods": []}
    same = all(of_methods) and set(own["methods"]) == set(known)
    return {**known, PANEL: own["calibration"]} if same else known


def _fill(repository: Path, parameters: Mapping[str, Any]) -> None:
    """Write the config with its parameters, the step, and their record."""
    folder = repository / PANEL
    (folder / "1").mkdir(parents=True)
    config = read_config(TEMPLATES / PANEL / "config.pbtxt")
    for name, value in parameters.items():
        config.parameters[name].string_value = as_text(value)
    write_config(folder / "config.pbtxt", config)
    shutil.copyfile(STEPS / "panel.py", folder / "1" / "model.py")
    shutil.copyfile(STEPS / "step_errors.py", folder / "1" / "step_errors.py")
    copy_core(folder / "1")
    record = {"library": __version__, "files": recorded_files(repository, [PANEL])}
    write_json(repository / RECORD.format(bundle=PANEL), record)
