"""Baselines without a network: names, descriptions and whether they use the readers' annotations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Baseline:
    """A method without a network.

    Attributes:
        name: name in ``predictions.csv``; ``<bundle> mask: ...`` for a baseline on a network's own mask.
        title: description for the tables.
        readers: whether the baseline uses the readers' outlines or ratings.
    """

    name: str
    title: str
    readers: bool = False


CONSTANT = Baseline("constant", "always the training nodules' more frequent class, median rating")
CROP_EXTENT = Baseline(
    "crop extent", "the crop's extent along z alone; a tight crop ends at the readers' outlines", readers=True
)
DIAMETER = Baseline(
    "diameter", "the readers' mean diameter, measured by the same readers who gave the label", readers=True
)
RADIOMICS = Baseline(
    "radiomics", "about fifty measurements (scikit-image, scipy) on the readers' consensus mask: logistic and support "
    "vector regression", readers=True,
)  # fmt: skip
RADIOMICS_FOUR = Baseline(
    "radiomics, four folds", "the same, fitted on the validation fold as well, as the networks' read-outs are; "
    "thresholds of the fit on three", readers=True,
)  # fmt: skip
BALL = Baseline(
    "ball: radiomics", "the ten measurements that evaluation writes, within the ball of the readers' mean diameter",
    readers=True,
)  # fmt: skip
LASSO = Baseline("LASSO", "LASSO on the same measurements (MTMR-Net, Table 2)", readers=True)
ELASTIC_NET = Baseline("elastic net", "elastic net on the same measurements (MTMR-Net, Table 2)", readers=True)
ATTRIBUTES_ONLY = Baseline("attributes", "the readers' mean ratings of the eight attributes", readers=True)
ATTRIBUTES_DIAMETER = Baseline("attributes, diameter", "these ratings and the readers' diameter", readers=True)
ONE_READER = Baseline(
    "one reader", "each reader against the mean, or the consensus mask, of the others; its references are theirs",
    readers=True,
)  # fmt: skip
THRESHOLD = Baseline("threshold", "everything above -400 HU that is connected to the centre")
REGION = Baseline("region growing", "from the centre, half way between its HU and lung, vessels cut by an opening")

WITHOUT_NETWORK = (
    CONSTANT, CROP_EXTENT, THRESHOLD, REGION, DIAMETER, RADIOMICS, RADIOMICS_FOUR, BALL, LASSO, ELASTIC_NET,
    ATTRIBUTES_ONLY, ATTRIBUTES_DIAMETER, ONE_READER,
)  # fmt: skip


def own_size(bundle: str) -> Baseline:
    """Baseline on a network's own mask with size and calcification only."""
    return Baseline(f"{bundle} mask: volume, calcium", f"log volume and calcified share of the mask of {bundle}")


def own_radiomics(bundle: str) -> Baseline:
    """Baseline on a network's own mask with all ten measurements that an evaluation writes."""
    return Baseline(
        f"{bundle} mask: radiomics", f"the ten measurements that evaluation writes of the mask of {bundle}; fitted on "
        "the same measurements of the readers' masks in the training folds",
    )  # fmt: skip
