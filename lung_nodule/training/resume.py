"""Options that a stage must be resumed with because they decide what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lung_nodule.data import fingerprint
from lung_nodule.training.initial_weights import pretrained_hash
from lung_nodule.training.options.check_options import current_parser, option_value
from lung_nodule.training.options.nested_values import (
    FILE_OPTIONS,
    WORK_OPTIONS,
    overrides,
    refuse_values_of_options,
    shipped_config,
)
from lung_nodule.training.options.option_table import kinds_of

NOT_COMPARED: dict[str, dict[str, set[str]]] = {
    "every bundle": {
        "where files lie": FILE_OPTIONS,
        "the fingerprints of the lists know which nodules they select, with which labels": {
            "fold", "validation_fold", "training_folds", "min_readers", "max_slice_thickness_mm", "malignancy",
            "malignancy_threshold", "exclude_score",
        },
        "how the work is done; more or fewer workers draw other random numbers, as other devices round differently": (
            WORK_OPTIONS
        ),
        "logged advice only": {"small_version"},
        "used for prediction, not for training": {"flips"},
        "used for prediction and validation, not for what is learnt": {"mask_threshold"},
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

OF_MASKS = {"segmentation", "segmentation_batch_size", "rank_gamma", "rank_k", "rank_margin"}
"""Of both stages of MT-Net that learn masks; the classifier's loss ranks nothing."""

OF_STAGE: dict[str, dict[str, set[str]]] = {
    "mtnet": {
        "coarse": {"coarse", "learning_rate", "encoder_weights", *OF_MASKS},
        "fine": {"fine", "fine_learning_rate", *OF_MASKS},
        "classifier": {
            "train", "validate", "aggregate", "classifier_batch_size", "classifier_learning_rate", "classifier_weights",
        },
    }
}  # fmt: skip
"""Options, and sections of the configuration, of some of several stages: the others are resumed whatever they are."""

WEIGHT_FILES = {"encoder_weights", "classifier_weights", "trunk_weights"}
"""Options that name a file, which is known by its SHA-256 wherever it lies."""


def resume_settings(bundle: str, stage: str, **others: Any) -> dict[str, Any]:
    """Everything in the calling configuration that decides what a stage learns: options, nested values, nodules.

    Args:
        bundle: name of the bundle.
        stage: name of the stage.
        others: further settings that decide what the stage learns.

    Returns:
        by name, ``overrides`` for the nested values that are not the bundle's own, by id; what a
        :class:`~lung_nodule.training.Stage` compares before it is resumed.

    Raises:
        InputError: a nested value was given in the place of an option's.
    """
    parser, _ = current_parser()
    known = kinds_of(bundle, "train").keys()
    shipped = shipped_config(option_value(parser, "bundle_root"))
    refuse_values_of_options(parser.get(), shipped, options=known)
    options = {
        name: _compared(name, option_value(parser, name))
        for name in sorted(compared_options(bundle, stage) & parser.get().keys())
    }
    left_out = _not_compared(bundle) | _of_other_stages(bundle, stage)
    nested = overrides(parser.get(), shipped, options=known, left_out=left_out)
    lists = {name: fingerprint(option_value(parser, f"{name}_list")) for name in ("training", "validation")}
    return {**options, "overrides": nested, **lists, **others}


def compared_options(bundle: str, stage: str) -> set[str]:
    """The names of the options of a bundle that a stage is resumed with."""
    return kinds_of(bundle, "train").keys() - _not_compared(bundle) - _of_other_stages(bundle, stage)


def _not_compared(bundle: str) -> set[str]:
    return {name for key in ("every bundle", bundle) for names in NOT_COMPARED.get(key, {}).values() for name in names}


def _of_other_stages(bundle: str, stage: str) -> set[str]:
    """Options and sections of other stages alone."""
    stages = OF_STAGE.get(bundle, {})
    return {name for names in stages.values() for name in names} - stages.get(stage, set())


def _compared(name: str, value: Any) -> Any:
    if name in WEIGHT_FILES:
        return pretrained_hash(value)
    if isinstance(value, list | tuple):
        return [_compared("", item) for item in value]
    return str(value) if isinstance(value, Path) else value
