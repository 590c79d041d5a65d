"""Kinds of all options of all bundles, by name."""

from __future__ import annotations

import math

from lung_nodule.core import SQUARES, CubeView, PlanesView, SlicesView, SquareView, checked_window, feature_names
from lung_nodule.data import LoadVOI
from lung_nodule.data.channels import CHANNELS
from lung_nodule.data.tasks import TASKS
from lung_nodule.lidc import ATTRIBUTES, FOLDS
from lung_nodule.losses.e2emtl import MALIGNANCY_LOSSES, MASK_LOSSES
from lung_nodule.networks import LAYOUTS
from lung_nodule.networks.e2emtl import NORMS
from lung_nodule.training.options.option_kinds import (
    DEVICE,
    FILE,
    FLAG,
    INNER_SHARE,
    LARGEST_SEED,
    NAMES,
    PATH,
    PATIENT,
    POSITIVE,
    SHARE,
    TEXT,
    Kind,
    checked_by,
    evaluated_fold_of,
    fold_of,
    folds,
    nonempty_subset_of,
    number,
    one_of,
    subset_of,
    whole,
)
from lung_nodule.training.readout.file import read_readout

SHARED: dict[str, Kind] = {
    "bundle_root": PATH,
    "repository": PATH,
    "dataset_dir": PATH,
    "output_dir": PATH,
    "results_dir": PATH,
    "model_path": PATH,
    "cache_dir": PATH.or_none(),
    "device": DEVICE,
    "num_workers": whole(least=0),
    "seed": whole(least=0, most=LARGEST_SEED),
    "amp": FLAG,
    "small_version": TEXT.or_none(),
    "min_readers": whole(),
    "max_slice_thickness_mm": POSITIVE,
    "consensus": checked_by(lambda value: LoadVOI(consensus=value), "a share of the readers"),
    "hu_window": checked_by(checked_window, "two numbers in HU, the lower one first"),
    "patch_mm": POSITIVE,
    "z_patch_mm": POSITIVE,
    "activation_maps": FLAG,
    "reconstructions": FLAG,
    "slices": one_of("patch", "mask"),
    "split": one_of("test", "validation"),
    "width": POSITIVE,
    "image_size": whole(least=32, multiple_of=16),
    "crop_variants": whole(),
    "crop_margin_prob": SHARE,
    "crop_margin_mm": number(),
    "pad_parenchyma_prob": SHARE,
    "pad_parenchyma_mm": number(),
    "center_shift_mm": number(),
    "flip_prob": SHARE,
    "slices_per_nodule": whole(),
    "max_epochs": whole(),
    "val_interval": whole(),
    "flips": FLAG,
    "mask_threshold": INNER_SHARE,
    "readout_features": NAMES,
    "readout_attributes": subset_of(*ATTRIBUTES),
    "readout_file": checked_by(read_readout, "a file with a read-out").or_none(),
    "kept_epoch": one_of("best", "last"),
    "average_decay": INNER_SHARE.or_none(),
    "learning_rate": POSITIVE,
    "batch_size": whole(),
}
"""Options that mean the same wherever they are found."""

OF_BUNDLE: dict[str, dict[str, Kind]] = {
    "mtnet": {
        "readout_features": subset_of(*feature_names(SlicesView)),
        "middle_blocks": whole(),
        "coarse_mask": FLAG,
        "encoder_weights": FILE.or_none(),
        "encoder_layout": one_of(*LAYOUTS),
        "classifier_weights": FILE.or_none(),
        "segmentation_max_epochs": whole(),
        "classifier_max_epochs": whole(),
        "segmentation_batch_size": whole(least=2),
        "classifier_batch_size": whole(least=2),
        "fine_learning_rate": POSITIVE,
        "classifier_learning_rate": POSITIVE,
        "zoom_prob": SHARE,
        "affine_prob": SHARE,
        "rotate_radians": number(most=math.pi),
        "shear": number(),
        "translate": SHARE,
        "scale": number(most=0.9),
        "rank_gamma": number(),
        "rank_k": whole(),
        "rank_margin": number(),
    },
    "mtmrnet": {
        "readout_features": subset_of(*feature_names(SquareView)),
        "width": number(least=1 / 64),
        "image_size": whole(),
        "regression": FLAG,
        "bidirectional": FLAG,
        "dropout": SHARE,
        "trunk_weights": FILE.or_none(),
        "crop": one_of(*SQUARES),
        "batch_size": whole(least=2),
        "trunk_factor": POSITIVE,
        "printed_learning_rates": FLAG,
        "trunk_learning_rate": POSITIVE,
        "heads_learning_rate": POSITIVE,
        "learning_rate_step": whole(),
        "weight_decay": number(),
        "regression_weight": number(),
        "rank_weight": number(),
        "rank_margin": number(),
        "rank_pairs": one_of("halves", "all"),
        "soft_target": FLAG,
    },
    "mtcnn": {
        "readout_features": subset_of(*feature_names(PlanesView)),
        "image_size": whole(),
        "malignancy": one_of("mean", "median"),
        "task": one_of(*TASKS),
        "cache_rate": SHARE,
        "conv_layers": whole(most=4),
        "spline_order": one_of(1, 3),
        "alpha": number(),
        "draws_per_nodule": whole(),
        "augment_prob": SHARE,
        "shift_pixels": whole(least=0),
        "patience": whole(),
    },
    "e2emtl": {
        "readout_features": subset_of(*feature_names(CubeView)),
        "malignancy_threshold": number(least=1, most=5),
        "exclude_score": Kind(
            "a rating from 1 to 5, or False", lambda v: v is None or v is False or number(least=1, most=5).accepts(v)
        ),
        "norm": one_of(*NORMS),
        "multi_task": FLAG,
        "channels": nonempty_subset_of(*CHANNELS),
        "slic_segments": whole(),
        "slic_compactness": POSITIVE,
        "rotate90_prob": SHARE,
        "cache_workers": whole(),
        "cycles": whole(),
        "malignancy_loss": one_of(*MALIGNANCY_LOSSES),
        "mask_loss": one_of(*MASK_LOSSES),
        "mask_weight": POSITIVE,
        "soft_label": FLAG,
    },
}
"""Options of one bundle, and shared options with other allowed values."""


def kinds_of(bundle: str, workflow: str, *, folds_in_all: int = FOLDS) -> dict[str, Kind]:
    """Kind of each option of a bundle's ``train``, ``evaluate`` or ``inference`` configuration.

    Args:
        bundle: name of the bundle.
        workflow: name of the configuration.
        folds_in_all: number of folds of the task's data.
    """
    fold, tested = fold_of(folds_in_all), evaluated_fold_of(folds_in_all)
    of_workflow = {
        "train": {"fold": fold.or_("all"), "validation_fold": fold.or_none(), "training_folds": folds(fold)},
        "evaluate": {"fold": tested, "crop_margin_mm": number().or_none(), "center_error_mm": number()},
        "inference": {
            "folds": folds(tested),
            "nodules": PATH.or_none(),
            "ct": PATH.or_none(),
            "patient_id": PATIENT.or_none(),
            "series_uid": TEXT.or_none(),
        },
    }
    return {**SHARED, **of_workflow[workflow], **OF_BUNDLE.get(bundle, {})}
