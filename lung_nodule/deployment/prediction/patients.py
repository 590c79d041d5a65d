"""Patient IDs of a case and warnings that depend on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.io import Ct, patient_name

logger = logging.getLogger(__name__)

LIDC = "LIDC-IDRI-"


def named_patient(given: str | None, table: pd.DataFrame) -> str | None:
    """The patient ID given, else the table's."""
    if given is not None or "patient_id" not in table:
        return given
    named = table["patient_id"].dropna()
    return str(named.iloc[0]) if len(named) else None


def patients_of(given: str | None, ct: Ct) -> list[str]:
    """Patient IDs of this case: that of the DICOM series and the one given by the caller or the table.

    IDs of LIDC-IDRI are written as the archive writes them. A number is expanded to one if the series names such a
    patient or no patient: elsewhere 306 may be an ID as it is.
    """
    named = "" if ct.series is None else ct.series.patient_id
    of_lidc = named.upper().startswith(LIDC)
    named = (patient_name(named) or named) if of_lidc else named
    given = None if given is None else given.strip()
    if given is not None and (not named or of_lidc):
        given = patient_name(given) or given
    return list(dict.fromkeys(name for name in (named, given) if name))


def invalidating_warnings(served: ServedModel, patients: Sequence[str]) -> list[str]:
    """Reasons why the answers must not be used as results."""
    warnings = (
        ["The model was trained on a synthetic phantom: its answers are not results."] if served.synthetic else []
    )
    for patient in filter(served.has_seen, patients):
        warnings.append(f"The model was trained on a patient with this ID, {patient}: its answers are not results.")
    if warnings:  # the log names no patient
        kind = "on a synthetic phantom" if served.synthetic else "on a patient with this ID"
        logger.warning("the model was trained %s: its answers are not results (see the report)", kind)
    return warnings


def mismatch_warnings(patients: Sequence[str]) -> list[str]:
    """Warnings if the CT and the nodules name different patients; the log does not name the patients."""
    if len(patients) < 2:
        return []
    logger.warning("the CT and the nodules name different patients: check that they belong together")
    return [f"The CT is of patient {patients[0]}, the nodules are of {patients[1]}: check that they belong together."]
