"""Whose nodules are predicted, and what that means for the answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.io import Ct, patient_name

logger = logging.getLogger(__name__)


def named_patient(given: str | None, table: pd.DataFrame) -> str | None:
    """Whom the caller named, else the table of nodules."""
    if given is not None or "patient_id" not in table:
        return given
    named = table["patient_id"].dropna()
    return str(named.iloc[0]) if len(named) else None


def patients_of(given: str | None, ct: Ct) -> list[str]:
    """Who is predicted: whom the DICOM series names, and whom the caller or the table named.

    A number is short for a patient of LIDC-IDRI where the series names such a patient, or none.
    """
    named = "" if ct.series is None else ct.series.patient_id
    if given is not None and (not named or patient_name(named)):
        given = patient_name(given) or given
    return list(dict.fromkeys(name for name in (named, given) if name))


def no_result(served: ServedModel, patients: Sequence[str]) -> list[str]:
    """What makes an answer of this model for these patients no result."""
    warnings = ["The model was trained on a synthetic phantom: its answers are no result."] if served.synthetic else []
    for patient in filter(served.has_seen, patients):
        warnings.append(f"The training of this model saw a patient of this name, {patient}: its answers are no result.")
    if warnings:  # the log names no patient
        kind = "on a synthetic phantom" if served.synthetic else "on a patient of this name"
        logger.warning("the model was trained %s: its answers are no result (see the report)", kind)
    return warnings


def of_two_patients(patients: Sequence[str]) -> list[str]:
    """What to say where the CT and the nodules name different patients; the log names none."""
    if len(patients) < 2:
        return []
    logger.warning("the CT and the nodules name different patients: check that they belong together")
    return [f"The CT is of patient {patients[0]}, the nodules are of {patients[1]}: check that they belong together."]
