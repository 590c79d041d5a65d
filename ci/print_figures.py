"""Print the quickstart's figures with their meaning, and the path of the report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fire

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's library, whatever is installed

from lung_nodule.evaluation import summary
from lung_nodule.io import read_table


def figures(out: str) -> str:
    """The evaluation's figures next to their baselines, the report's nodules, and the report's path.

    Args:
        out: the quickstart's folder.
    """
    metrics = json.loads((Path(out) / "evaluation" / "metrics.json").read_text())
    lines = ["evaluation on the test fold: " + summary(metrics), "report, probability that readers call it malignant:"]
    for row in read_table(Path(out) / "nodules.csv").itertuples():
        size = f"{row.volume_mm3:.0f} mm3, {row.axial_diameter_mm:.1f} mm" if row.volume_mm3 else "no mask"
        lines.append(f"  {row.nodule_id}  {row.malignancy_prob:.2f}  {size}")
    return "\n".join([*lines, f"{Path(out) / 'report.html'}  (research use only, not for diagnosis)"])


if __name__ == "__main__":
    fire.Fire(figures)
