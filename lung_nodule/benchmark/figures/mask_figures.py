"""Figures of masks: mean over nodules, pooled, and by the nodule's size."""

from __future__ import annotations

import pandas as pd
from lung_nodule.evaluation import Overlap
from lung_nodule.evaluation.rows import COUNTS

SIZES = ("small", "middle", "large")


def size_tertiles(rows: pd.DataFrame) -> pd.Series:
    """``small``, ``middle`` or ``large`` for each row: thirds of the nodules by the readers' diameter.

    Args:
        rows: table with ``nodule_id`` and ``diameter_mm``; a nodule may have several rows.
    """
    rank = rows.groupby("nodule_id", sort=False)["diameter_mm"].first().rank(method="first")
    size = pd.cut(rank, [0, len(rank) / 3, 2 * len(rank) / 3, len(rank)], labels=list(SIZES)).astype(str)
    return rows["nodule_id"].map(size)


def mask_figures(rows: pd.DataFrame) -> dict[str, float]:
    """Figures of one method and seed.

    Args:
        rows: table with ``dice_voi`` (on the VOI's own voxels, where all masks are compared) and ``diameter_mm``; for a
            network also with ``dice``, ``jaccard`` and counts on its own patch.

    Returns:
        ``dice_voi``, ``jaccard_voi`` and ``dice_voi_<size>``; if available ``dice``, ``jaccard``, ``dice_pooled``,
        ``jaccard_pooled``, ``dice_<size>``.
    """
    known = rows[rows["dice_voi"].notna()]
    size = size_tertiles(known)
    figures = {
        "dice_voi": known["dice_voi"].mean(),
        "jaccard_voi": (known["dice_voi"] / (2 - known["dice_voi"])).mean(),
        **{f"dice_voi_{name}": known.loc[size == name, "dice_voi"].mean() for name in SIZES},
    }
    if "dice" in rows and rows["dice"].notna().any():
        pooled = Overlap.pooled(Overlap(*map(int, counts)) for counts in rows[list(COUNTS)].dropna().to_numpy())
        figures |= {
            "dice": rows["dice"].mean(),
            "jaccard": rows["jaccard"].mean(),
            "dice_pooled": pooled.measure("f1_score"),
            "jaccard_pooled": pooled.measure("threat_score"),
            **{f"dice_{name}": known.loc[size == name, "dice"].mean() for name in SIZES},
        }
    if "threshold_dice" in rows and rows["threshold_dice"].notna().any():
        figures["threshold_dice"] = rows["threshold_dice"].mean()
    return {name: float(value) for name, value in figures.items()}
