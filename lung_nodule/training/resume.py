"""Options that a stage must be resumed with because they decide what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lung_nodule.data import fingerprint
from lung_nodule.training.initial_weights import pretrained_hash
from lung_nodule.training.options.check_options import current_parser, option_value
from lung_nodule.training.options.option_table import kinds_of

NOT_COMPARED: dict[str, dict[str, set[str]]] = {
    "every bundle": {
        "where files lie": {"bundle_root", "repository", "dataset_dir", "output_dir", "model_path", "cache_dir"},
        "the fingerprints of the lists know which nodules they select, with which labels": {
            "fold", "validation_fold", "training_folds", "min_readers", "max_slice_thickness_mm", "malignancy",
            "malignancy_threshold", "exclude_score",
        },
        "how the work is done; more or fewer workers draw other random numbers, as other devices round differently": {
            "device", "num_workers", "cache_rate", "cache_workers",
        },
        "logged advice only": {"small_version"},
        "used for prediction, not for training": {"flips"},
        "fitted when the training is done": {"readout_features", "readout_attributes", "readout_file"},
        "a stage may go on with another number of epochs": {
            "max_epochs", "segmentation_max_epochs", "classifier_max_epochs",
        },
    },
    "mtnet": {
        "which of the validated epochs are compared, not what is learnt": {"val_interval"},
        "how a file is read whose hash is compared": {"encoder_layout"},
    },
    "mtmrnet": {
        "which of the validated epochs are compared, not what is learnt": {"val_interval"},
        "the rates of trunk and heads follow from them, and are compared": {
            "learning_rate", "trunk_factor", "printed_learning_rates",
        },
        "it may follow from the number of epochs: see the stage's schedule": {"learning_rate_step"},
    },
    "mtcnn": {},
    "e2emtl": {"which of the validated epochs are compared, not what is learnt": {"val_interval"}},
}  # fmt: skip
"""By bundle and reason: options that a resumed run may have other values of. All others are compared."""

OF_STAGE: dict[str, dict[str, set[str]]] = {
    "mtnet": {
        "coarse": {"learning_rate", "encoder_weights"},
        "fine": {"fine_learning_rate"},
        "classifier": {"classifier_learning_rate", "classifier_weights"},
    }
}
"""Options of one stage of several: the others are resumed whatever these are."""

WEIGHT_FILES = {"encoder_weights", "classifier_weights", "trunk_weights"}
"""Options that name a file, which is known by its SHA-256 wherever it lies."""


def resume_settings(bundle: str, stage: str, **others: Any) -> dict[str, Any]:
    """Everything in the calling configuration that decides what a stage learns: its options and its nodules.

    Args:
        bundle: name of the bundle.
        stage: name of the stage.
        others: further settings that decide what the stage learns.

    Returns:
        by name; what a :class:`~lung_nodule.training.Stage` compares before it is resumed.
    """
    parser, _ = current_parser()
    options = sorted(compared_options(bundle, stage) & parser.get().keys())
    lists = {name: fingerprint(option_value(parser, f"{name}_list")) for name in ("training", "validation")}
    return {**{name: _compared(name, option_value(parser, name)) for name in options}, **lists, **others}


def compared_options(bundle: str, stage: str) -> set[str]:
    """The names of the options of a bundle that a stage is resumed with."""
    left_out = {
        name for key in ("every bundle", bundle) for names in NOT_COMPARED.get(key, {}).values() for name in names
    }
    of_others = {name for key, names in OF_STAGE.get(bundle, {}).items() if key != stage for name in names}
    return kinds_of(bundle, "train").keys() - left_out - of_others


def _compared(name: str, value: Any) -> Any:
    if name in WEIGHT_FILES:
        return pretrained_hash(value)
    if isinstance(value, list | tuple):
        return [_compared("", item) for item in value]
    return str(value) if isinstance(value, Path) else value
