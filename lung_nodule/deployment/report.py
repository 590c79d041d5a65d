"""The report: one HTML file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.findings import Finding
from lung_nodule.deployment.panels import PIXELS, close_ups, overview
from lung_nodule.io import Volume, write_text
from lung_nodule.lidc import HIGHEST_RATING, LUNG_WINDOW, READERS_ERROR

TITLES = {"mtnet": "MT-Net", "mtmrnet": "MTMR-Net", "mtcnn": "MT-CNN", "e2emtl": "End-to-end"}
"""What a reader calls the methods; other names are shown as they are."""
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    path: Path,
    findings: Sequence[Finding],
    ct: Volume,
    *,
    ct_name: str,
    model: ServedModel,
    settings: Mapping[str, str],
    now: datetime,
    notes: Sequence[str] = (),
) -> None:
    """Write ``report.html``.

    Args:
        path: file to write.
        findings: the nodules, in the order of the table.
        ct: the canonical CT.
        ct_name: what to call the CT (a name, no path).
        model: what the server said about its model.
        settings: what else the reader should know, by name.
        now: date of the report.
        notes: what else the reader must know, shown at the top; empty ones are left out.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = [{"finding": finding, "panels": [overview(finding, ct), *close_ups(finding)]} for finding in findings]
    html = environment.get_template("report.html.j2").render(
        cards=cards,
        ct=ct,
        ct_name=ct_name,
        model=model,
        settings=settings,
        now=now,
        notes=[note for note in notes if note],
        titles=TITLES,
        highest=HIGHEST_RATING,
        readers_error=READERS_ERROR,
        pixels=PIXELS,
        lung_window=LUNG_WINDOW,
    )
    write_text(path, html)
