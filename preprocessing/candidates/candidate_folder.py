"""An existing folder ``candidates/``: refuse one of other origin, and clean up after an interrupted run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lung_nodule.errors import InputError
from lung_nodule.io import unfinished_writes
from preprocessing.candidates.candidate_scan import FOLDER, CandidateTask, voi_path

TABLES = ("candidates", "nodules", "scans", "left_out")
FILES = (*(f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")), "candidates.json", "MANIFEST.sha256")
VOI = re.compile(rf"{FOLDER}/voi/[\w-]+_c\d{{6}}_ct\.nii\.gz")


def check_folder(dataset: Path) -> None:
    """Refuse a folder ``candidates`` with tables that this program did not write.

    Raises:
        InputError: it holds files of these names, but neither a candidates.json nor a scan's record that this program
            wrote.
    """
    folder = dataset / FOLDER
    taken = [name for name in FILES if (folder / name).exists()]
    if taken and not (_is_ours(folder / "candidates.json", "settings") or _holds_a_record(folder)):
        raise InputError(
            f"{folder} holds {', '.join(taken[:3])}, which `candidates` did not write: move them away, they would be "
            "overwritten"
        )


def _holds_a_record(folder: Path) -> bool:
    return any(_is_ours(path, "drawn") for path in (folder / "scans").glob("*.json"))


def _is_ours(path: Path, key: str) -> bool:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(found, dict) and key in found
    return False


def remove_unfinished(tasks: Sequence[CandidateTask], kept: dict[str, dict[str, Any]]) -> None:
    """Remove VOIs that no record of ``kept`` lists, and half-written files, and nothing else.

    Args:
        tasks: tasks of all scans.
        kept: records of the finished scans, by scan.
    """
    dataset = tasks[0].dataset
    vois = {voi_path(task.scan, row) for task in tasks for row in task.candidates["row"]}
    vois |= {name for task in tasks for name in _listed(task.record_path)}
    finals = [dataset / name for name in vois]
    finals += [task.record_path for task in tasks] + [dataset / FOLDER / name for name in FILES]
    wanted = {name for record in kept.values() for name in record["files"]}
    left = [dataset / name for name in vois - wanted]
    for path in unfinished_writes(finals) + [path for path in left if path.is_file()]:
        path.unlink()


def _listed(record_path: Path) -> list[str]:
    """The VOIs that a record lists, whatever its settings; none if it cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return [
            name for name in json.loads(record_path.read_text(encoding="utf-8"))["files"] if name.startswith(FOLDER)
        ]
    return []
