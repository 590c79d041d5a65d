"""LUNA16's ten subsets as folds: grouped by patient, without the patients of the hold-out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import pandas as pd

from lung_nodule.holdout import HOLDOUT

logger = logging.getLogger(__name__)


def scan_folds(scans: pd.DataFrame, subsets: Mapping[str, int], *, holdout: Collection[str]) -> pd.DataFrame:
    """The scans that have a subset, with ``subset`` (0-9, LUNA16's own) and ``fold`` (text: 0-9 or ``holdout``).

    The fold is the subset, with two exceptions. A patient of the hold-out is in no numbered fold. A patient with scans
    in several subsets (LUNA16's 888 scans are of 887 patients: LIDC-IDRI-0332 has two) has all of them in the lowest.

    Args:
        scans: table of scans with ``patient_id`` and ``series_uid``.
        subsets: subset of every series.
        holdout: patients that no numbered fold may hold.
    """
    chosen = scans[scans["series_uid"].isin(list(subsets))].copy()
    chosen["subset"] = chosen["series_uid"].map(subsets).astype(int)
    lowest = chosen.groupby("patient_id")["subset"].transform("min")
    held = chosen["patient_id"].isin(list(holdout))
    for row in chosen[(chosen["subset"] != lowest) & ~held].itertuples():
        logger.warning(
            "%s is of %s, who has another scan in a lower subset: it is in that scan's fold instead of %d",
            row.series_uid,
            row.patient_id,
            row.subset,
        )
    chosen["fold"] = lowest.astype(str).mask(held, HOLDOUT)
    return chosen.reset_index(drop=True)
