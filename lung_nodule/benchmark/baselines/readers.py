"""Agreement of each reader with the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from lung_nodule.benchmark.baselines.methods_without_network import ONE_READER
from lung_nodule.benchmark.predictions import KEYS
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES, CHARACTERISTICS

BENIGN_MALIGNANT = 3.0


def reader_rows(nodules: pd.DataFrame, annotations: pd.DataFrame) -> pd.DataFrame:
    """One row per nodule and reader: the reader's ratings and mask as predictions, those of the others as references.

    The class is that of the others' mean, restricted to nodules that have a class by all readers, as for the networks.
    A rating is a ranking score (``malignancy_score``), not a probability.

    Args:
        nodules: table with ``malignant`` and, if the readers' masks are known, ``reader<i>_dice``.
        annotations: one row per reader and nodule with the nine ratings.
    """
    chosen = annotations[annotations["nodule_id"].isin(nodules["nodule_id"])]
    groups = chosen.groupby("nodule_id")
    count, total = groups["malignancy"].transform("size"), groups[list(CHARACTERISTICS)].transform("sum")
    several = count > 1
    own, others = chosen[several], total[several].sub(chosen.loc[several, list(CHARACTERISTICS)])
    others = others.div(count[several] - 1, axis=0)
    mean = others["malignancy"]
    undecided = own["nodule_id"].isin(nodules.loc[nodules["malignant"].isna(), "nodule_id"])
    rated = pd.DataFrame(
        {
            "nodule_id": own["nodule_id"],
            "reader": own["reader"].astype(int),
            "malignancy_mean": mean,
            "malignant": (mean > BENIGN_MALIGNANT).astype(float).mask((mean == BENIGN_MALIGNANT) | undecided),
            "malignancy_prob": np.nan,
            "malignancy_score": own["malignancy"].astype(float),
            **{f"{name}_mean": others[name] for name in ATTRIBUTES},
            **{f"{name}_pred": own[name] for name in ATTRIBUTES},
            **{f"{name}_prob": (own[name] >= least).astype(float) for name, least in ATTRIBUTE_THRESHOLDS.items()},
            **{f"{name}_score": own[name].astype(float) for name in ATTRIBUTE_THRESHOLDS},
        }
    )
    kept = nodules[[*(key for key in KEYS if key in nodules), "readers", "diameter_mm"]]
    rows = kept.merge(rated, on="nodule_id", how="inner").merge(_dice(nodules), on=["nodule_id", "reader"], how="left")
    return rows.assign(method=ONE_READER.name, seed=np.nan)


def rating_spread(annotations: pd.DataFrame) -> pd.Series:
    """Standard deviation of a nodule's malignancy ratings over its readers, by ``nodule_id``."""
    return annotations.groupby("nodule_id")["malignancy"].std(ddof=0)


def _dice(nodules: pd.DataFrame) -> pd.DataFrame:
    columns: Sequence[str] = [str(column) for column in nodules if _number(str(column)) is not None]
    long = nodules.melt("nodule_id", columns, var_name="reader", value_name="dice_voi")
    return long.assign(reader=long["reader"].map(_number).astype(int))


def _number(column: str) -> int | None:
    number = column.removeprefix("reader").removesuffix("_dice")
    return int(number) if column.startswith("reader") and number.isdigit() else None
