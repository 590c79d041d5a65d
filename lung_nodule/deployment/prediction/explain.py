"""Occlusion maps from repeated requests, each with another part of the nodule replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from lung_nodule.deployment.answers import Answer
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.findings import Finding
from lung_nodule.deployment.occlusion import OccludedVois, occlusion_of
from lung_nodule.errors import InputError
from lung_nodule.io import Grid, occlusion_path, paste, write_nifti
from tqdm import tqdm

SCORE = "MALIGNANCY_PROBABILITY"
_SCORES = (SCORE, "MALIGNANCY_INTERVAL", "MALIGNANCY_BY_METHOD", "INTERVAL_BY_METHOD")


def add_occlusion_maps(client: NoduleClient, findings: Sequence[Finding]) -> list[Finding]:
    """Add an occlusion map to each finding.

    A method that needs a diameter gets the one used for the whole nodule. For the panel, the change is the mean over
    the methods that answered for the whole nodule.

    Args:
        client: client of the server that produced the findings.
        findings: findings without occlusion maps.

    Raises:
        InputError: the model gives no malignancy probability, or the server stops answering.
    """
    served = client.describe()
    outputs = [name for name in served.outputs if name in _SCORES]
    if SCORE not in outputs:
        raise InputError(f"model {served.name!r} gives no malignancy probability: leave --explain out")
    occlusions = [occlusion_of(finding.voi, finding.mask, _diameter(finding)) for finding in findings]
    done = []
    with tqdm(total=sum(o.change.size for o in occlusions), desc="occlusion maps", unit="request") as bar:
        for finding, occlusion in zip(findings, occlusions, strict=True):
            change = np.full(occlusion.change.size, np.nan)
            whole = _score(finding.answer, finding.answer)
            diameters = [_diameter(finding)] * len(change)
            for index, answer in client.ask(OccludedVois(finding.voi, occlusion), diameters, outputs=outputs):
                change[index] = _score(answer, finding.answer) - whole
                bar.update()
            found = replace(occlusion, change=change.reshape(occlusion.change.shape))
            done.append(replace(finding, occlusion=found))
    return done


def write_occlusions(out: Path, findings: Sequence[Finding], grid: Grid) -> None:
    """Write ``occlusion/<nodule_id>.nii.gz`` for the findings with a map.

    The files hold float32 changes of the probability, 0 outside the cubes.

    Args:
        out: output folder.
        findings: findings.
        grid: grid of the original CT.
    """
    for finding in findings:
        if finding.occlusion is not None:
            change = finding.occlusion.on_voxels(finding.voi.volume.shape)
            write_nifti(out / occlusion_path(finding.nodule_id), paste(change, finding.voi.box, grid))


def _diameter(finding: Finding) -> float | None:
    """Diameter used by a method; None if no method takes one or it is unknown."""
    return finding.answer.diameter_mm if finding.answer.diameter_mm > 0 else None


def _score(answer: Answer, whole: Answer) -> float:
    """Malignancy of an answer; for the panel, over the methods that answered for the whole nodule."""
    methods = [name for name, (score, _) in whole.methods.items() if np.isfinite(score)]
    return float(np.mean([answer.methods[name][0] for name in methods])) if methods else answer.malignancy
