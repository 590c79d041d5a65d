"""What ``metrics.json`` says of the data that were evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEPT = ("name", "consensus", "licence", "source")


def describe_dataset(dataset_dir: Path) -> dict[str, Any]:
    """Name, consensus, licence and source from ``dataset.json``, the folder, and whether the data are synthetic."""
    path = dataset_dir / "dataset.json"
    described = json.loads(path.read_text()) if path.is_file() else {}
    described = {**described.get("settings", {}), **described}
    kept = {key: described[key] for key in KEPT if key in described}
    return {**kept, "dataset_dir": str(dataset_dir), "synthetic": bool(described.get("synthetic_scans"))}
