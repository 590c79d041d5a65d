"""Write the report as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from lung_nodule.deployment.answers import TITLES, ServedModel
from lung_nodule.deployment.findings import Finding
from lung_nodule.deployment.report import composition, slices
from lung_nodule.deployment.report.calibration import Bin, Calibration, calibrations
from lung_nodule.deployment.report.composition import Composition, composition_of
from lung_nodule.deployment.report.pictures import PIXELS, Picture, close_ups, overview
from lung_nodule.deployment.report.side import MARGIN_MM, side_of
from lung_nodule.io import Volume, write_text
from lung_nodule.lidc import HIGHEST_RATING, READERS_ERROR

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
    scan: Mapping[str, str] | None = None,
) -> None:
    """Write ``report.html``.

    Args:
        path: file to write.
        findings: findings in the order of the table.
        ct: canonical CT.
        ct_name: name of the CT (not a path).
        model: served model.
        settings: settings to list, by name.
        now: date of the report.
        notes: notes and warnings at the top of the report; empty ones are left out.
        scan: facts of the scan by name (patient, study date, series UID), shown in the header.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("report.html.j2").render(
        cards=[_card(finding, ct, model) for finding in findings],
        numbers=findings[0].numbers if findings else None,
        ct=ct,
        ct_name=ct_name,
        model=model,
        settings=settings,
        now=now,
        notes=[note for note in notes if note],
        scan=scan or {},
        titles=TITLES,
        order=("first", "second", "third"),
        highest=HIGHEST_RATING,
        readers_error=READERS_ERROR,
        pixels=PIXELS,
        windows=slices.WINDOWS,
        rule=composition,
        side_margin_mm=MARGIN_MM,
    )
    write_text(path, html)


@dataclass(frozen=True)
class Reliability:
    """Calibration of a method in cross-validation, for one nodule.

    Attributes:
        title: displayed name of the method.
        probability: predicted probability of this nodule.
        calibration: calibration of the method.
        bin: bin of the probability.
    """

    title: str
    probability: float
    calibration: Calibration
    bin: Bin


@dataclass(frozen=True, eq=False)
class _Card:
    """Content of the page for one nodule; ``viewer`` is the data of its script, as JSON."""

    finding: Finding
    pictures: list[Picture]
    composition: Composition | None
    side: str
    reliabilities: list[Reliability]
    viewer: dict[str, Any]


def _card(finding: Finding, ct: Volume, model: ServedModel) -> _Card:
    whole = overview(finding, ct)
    hu, mask = finding.voi.volume.data, finding.mask
    blocks = {
        "nodule": slices.pack(hu[slices.nodule_box(finding)], slices.NODULE_BYTES),
        "overview": slices.pack(whole.hu.T[:, :, np.newaxis], slices.OVERVIEW_BYTES),
    }
    stacks = {"overview": slices.overview_stack(whole.position), **slices.stacks(finding, ct.shape)}
    viewer = {
        "blocks": {name: asdict(block) for name, block in blocks.items()},
        "stacks": {name: asdict(stack) for name, stack in stacks.items()},
        "occlusion": None if finding.occlusion is None else asdict(slices.occlusion_cubes(finding, finding.occlusion)),
    }
    rule = None if mask is None else composition_of(hu, mask)
    side = side_of(ct, finding.center)
    return _Card(finding, [whole, *close_ups(finding)], rule, side, _reliabilities(finding, model), viewer)


def _reliabilities(finding: Finding, model: ServedModel) -> list[Reliability]:
    """Reliability of each cross-validated method and of the panel's mean."""
    known = calibrations(model.parameters.get("calibration", ""))
    scores = {name: score for name, (score, _) in finding.answer.methods.items()}
    scores[model.name] = finding.answer.malignancy
    found = {name: known[name].bin_of(score) for name, score in scores.items() if name in known}
    return [
        Reliability(TITLES.get(name, name), scores[name], known[name], bin_)
        for name, bin_ in found.items()
        if bin_ is not None
    ]
