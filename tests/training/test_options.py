"""Options that no training could run with are refused by name."""

import pytest

from lung_nodule.io import InputError
from lung_nodule.training import require_folds, require_positive, require_validation, require_whole


@pytest.mark.parametrize("folds", [(0, 1, [2, 3, 4]), (4, 0, [2]), (0, 1, 2)])
def test_folds_that_share_none_pass(folds: tuple) -> None:
    test, validation, training = folds
    assert require_folds(test=test, validation=validation, training=training) is None


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ((9, 0, [1, 2]), r"--fold takes folds 0 to 4, got 9"),
        ((0, "holdout", [1, 2]), r"--validation_fold takes folds 0 to 4, got 'holdout'"),
        ((0, 1, [2, "holdout"]), r"--training_folds takes folds 0 to 4, got \[2, 'holdout'\]"),
        ((0, 1, []), r"--training_folds takes folds 0 to 4, got \[\]"),
        ((0, 0, [1, 2]), "fold 0 stands in two of --fold 0, --validation_fold 0"),
        ((0, 1, [1, 2]), r"fold 1 stands in two of .* --training_folds \[1, 2\]"),
    ],
)
def test_other_folds_are_refused(folds: tuple, message: str) -> None:
    test, validation, training = folds
    with pytest.raises(InputError, match=message):
        require_folds(test=test, validation=validation, training=training)


def test_a_stage_without_a_validation_is_refused() -> None:
    require_validation(val_interval=5, segmentation_max_epochs=5, class_max_epochs=7)
    with pytest.raises(InputError, match="--val_interval 6 is above --segmentation_max_epochs 5"):
        require_validation(val_interval=6, class_max_epochs=7, segmentation_max_epochs=5)


def test_counts() -> None:
    require_whole(batch_size=1)
    require_whole(least=32, multiple_of=16, image_size=48)
    for bad in (0, 1.5, True, "many", None):
        with pytest.raises(InputError, match="--batch_size must be a whole number of at least 1, got"):
            require_whole(batch_size=bad)
    for bad in (16, 40):
        with pytest.raises(InputError, match="must be a whole number, a multiple of 16, of at least 32, got"):
            require_whole(least=32, multiple_of=16, image_size=bad)


def test_measures() -> None:
    require_positive(field_mm=64, learning_rate=1e-4)
    for bad in (0, -1.0, float("nan"), True, "x", None):
        with pytest.raises(InputError, match="--field_mm must be a number above 0, got"):
            require_positive(field_mm=bad)
