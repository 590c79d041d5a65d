"""Facts of LIDC-IDRI that every package here shares: folds, rating scales, HU windows, consensus policies.

How many of a nodule's readers must have marked a voxel for it to belong to the consensus mask is a policy:

=========== ========================================================================================================
0.5         at least half of the readers, the literature's default: the union for two readers, two of four
majority    more than half of the readers: both of two, two of three, three of four
2/3         at least two thirds of the readers: both of two, two of three, three of four, four of six
any         at least one reader (the union); ``all`` or 1: every reader (the intersection)
=========== ========================================================================================================
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

FOLDS = 5
"""Folds by patient of ``folds.csv``; a patient of the hold-out is in none of them."""
LUNA16_FOLDS = 10
"""Folds of LUNA16, which are its subsets."""

CHARACTERISTICS = (
    "subtlety",
    "internal_structure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
"""Characteristics that a reader rates, from 1 to :data:`HIGHEST_RATING`."""
HIGHEST_RATING = {**dict.fromkeys(CHARACTERISTICS, 5), "internal_structure": 4, "calcification": 6}
ATTRIBUTES = CHARACTERISTICS[:-1]
"""The characteristics besides malignancy."""
READERS_ERROR = {
    "subtlety": 0.73,
    "internal_structure": 0.01,
    "calcification": 0.21,
    "sphericity": 0.76,
    "margin": 0.73,
    "lobulation": 0.72,
    "spiculation": 0.60,
    "texture": 0.41,
}
"""Mean distance of one reader's rating from the mean of the others, of 663 nodules (``docs/benchmark.md``)."""
ATTRIBUTE_THRESHOLDS = {
    "texture": 3.5,
    "spiculation": 3.5,
    "lobulation": 3.5,
    "margin": 3.5,
    "sphericity": 3.5,
    "calcification": 5.5,
    "subtlety": 3.5,
}
"""The mean rating from which the end-to-end network calls an attribute high, in the order of its slides' Table III.

The slides show 0/1 and print no threshold; these are the ones of the same laboratory's public code. A high
calcification means that there is none (6 is "absent").
"""

NETWORK_WINDOW = (-1000.0, 400.0)
"""HU that a network's images show, scaled to 0..1: MT-CNN's (section III-A), used by every bundle."""
LUNG_WINDOW = (-1350.0, 150.0)
"""HU that a picture for a reader shows."""
SOFT_TISSUE_WINDOW = (-160.0, 240.0)
"""HU that a reader sees on request: mediastinum, chest wall, solid parts of a nodule."""

AIR_BELOW_HU = -500.0
"""Air and aerated lung lie below, tissue above."""
MASK_ABOVE_HU = -400.0
"""Threshold of the baseline masks, between lung and soft tissue."""

ANY, MAJORITY, ALL = "any", "majority", "all"
LARGEST_DENOMINATOR = 8
FLOAT_ERROR = Fraction(1, 10**9)


def consensus_policy(policy: object) -> float | str:
    """A consensus policy in the form that settings and tables use.

    Args:
        policy: a number above 0 and at most 1, a fraction such as ``"2/3"``, ``"majority"``, ``"any"`` or ``"all"``; a
            number as text counts as that number. A number of two or more decimals is taken as the nearest fraction with
            a denominator of at most 8 where it lies within half a unit of its own last decimal: 0.67 and 0.667 are 2/3,
            0.33 is 1/3; 0.66, 0.7 and 0.501 are taken as they are.

    Returns:
        ``"majority"``, ``"any"``, a float, or ``"p/q"`` where no short decimal is that fraction.

    Raises:
        ValueError: it is not one of these. The message is one line for the option ``--consensus``.
    """
    text = str(policy).strip().lower() if isinstance(policy, str | int | float | Fraction) else ""
    if text in (ANY, MAJORITY):
        return text
    level = Fraction(1) if text == ALL else _level(text)
    if level is None or not 0 < level <= 1:
        raise ValueError(
            "--consensus is a fraction of the readers, above 0 and at most 1 (0.5, 2/3, 0.667), or any, majority or "
            f"all; got {policy!r}"
        )
    return _written(level)


def votes_needed(policy: float | str, readers: int) -> int:
    """How many of a nodule's readers must have marked a voxel; at least 1.

    Args:
        policy: policy as :func:`consensus_policy` takes it.
        readers: number of readers of the nodule, at least 1.

    Raises:
        ValueError: no such policy.
    """
    written = consensus_policy(policy)
    if written == ANY:
        return 1
    if written == MAJORITY:
        return readers // 2 + 1
    return math.ceil(Fraction(str(written)) * readers)


def _level(text: str) -> Fraction | None:
    """The fraction that a text denotes; None for any other text."""
    try:
        if "/" in text:
            return Fraction(text.replace(" ", ""))
        number = Decimal(text)
        return _unrounded(number) if number.is_finite() else None
    except (ValueError, ZeroDivisionError, InvalidOperation):
        return None


def _unrounded(number: Decimal) -> Fraction:
    """The fraction of which a number is the rounded form, or the number itself."""
    value, decimals = Fraction(number), -int(number.as_tuple().exponent)
    nearest = value.limit_denominator(LARGEST_DENOMINATOR)
    tolerance = max(Fraction(1, 2 * 10**decimals), FLOAT_ERROR) if decimals >= 2 else 0
    return nearest if abs(value - nearest) <= tolerance else value


def _written(level: Fraction) -> float | str:
    """A float where it is exactly the fraction as it prints, else ``p/q``."""
    number = float(level)
    return number if Fraction(str(number)) == level else f"{level.numerator}/{level.denominator}"
