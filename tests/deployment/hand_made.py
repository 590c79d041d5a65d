"""Answers for nodules of a CT without a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from lung_nodule.core import MASK_THRESHOLD, size_of
from lung_nodule.deployment.answers import Answer, ServedModel
from lung_nodule.deployment.findings import Finding
from lung_nodule.io import Series, Voi, cut_voi, patient_hash, read_ct
from tests.io.dicom_series import UID_ROOT
from tests.user_ct import CENTERS

FRAME = {"FrameOfReferenceUID": UID_ROOT + "9"}
SERVED = ServedModel("nodule_panel", "0.1.0", 32.0, 0.0, ("VOI",), ("MALIGNANCY_PROBABILITY",), {})
ANSWER = Answer(
    malignancy=0.625,
    interval=(0.25, 0.875),
    attributes={"internal_structure": 1.5, "calcification": 5.75, "texture": 4.25},
    high={"calcification": 0.125},
    methods={"mtnet": (0.875, (0.75, 0.9375)), "mtcnn": (0.375, (0.3125, 0.5))},
)


def lopsided(voi: Voi, radius_mm: float) -> np.ndarray:
    """A ball at the centre without one octant, so that a mirrored or shifted copy differs from it."""
    offset = (np.moveaxis(np.indices(voi.volume.shape), 0, -1) - voi.center) * voi.volume.spacing
    return (np.linalg.norm(offset, axis=-1) < radius_mm) & ~(offset > 0).all(axis=-1)


def found_in(
    series: Series, *, centers: Sequence[Sequence[float]] = CENTERS, radius_mm: float | None = 7.0
) -> list[Finding]:
    """Nodules of one answer; a radius of None is a model without masks."""
    findings, canonical = [], series.volume.canonical()
    for index, (x, y, z) in enumerate(centers):
        voi = cut_voi(canonical, f"nodule_{index}", (x, y, z), edge_mm=30.0)
        masks = {} if radius_mm is None else {"fine": lopsided(voi, radius_mm + index)}
        sizes = {name: size_of(mask, voi.volume.spacing).rounded() for name, mask in masks.items()}
        findings.append(Finding(index + 1, (x, y, z), voi, ANSWER, masks, sizes))
    return findings


def series_in(folder: Path) -> Series:
    series = read_ct(folder).series
    assert series is not None
    return series


class HandMadeAnswers:
    """Answers in place of a server's: a ball at the centre of every VOI."""

    asked: ClassVar[list[str]] = []
    """The nodules asked about, of all clients."""

    def __init__(self, url: str, *, model: str | None = None, **_: object) -> None:
        patients = {"patients_seen": patient_hash("SYNTHETIC")} if url == "has seen the patient" else {}
        self.served = ServedModel("mtnet", "0.1.0", 32.0, 0.0, ("VOI",), ("FINE_PROBABILITY",), patients)

    def __enter__(self) -> HandMadeAnswers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def describe(self, *, again: bool = False) -> ServedModel:
        return self.served

    def ask(self, vois: Sequence[Voi], diameters: Sequence[float | None]) -> Iterator[tuple[int, Answer]]:
        for index, voi in enumerate(vois):
            self.asked.append(voi.nodule_id)
            ball = lopsided(voi, 6.0).astype(np.float32)
            yield index, Answer(0.5 + MASK_THRESHOLD / 2, (0.5, 1.0), maps={"fine": ball})
