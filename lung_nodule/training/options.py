"""Options of a training that no stage could run with, refused before anything is built."""

from __future__ import annotations

from collections.abc import Sequence

from lung_nodule.io import InputError

FOLDS = 5


def require_folds(*, test: int, validation: int, training: int | Sequence[int]) -> None:
    """Test, validation and training folds are numbered ones and share none.

    The hold-out has no number, so nothing can be trained or chosen on it.

    Raises:
        InputError: a fold is none of 0-4, or stands in two parts.
    """
    training = [training] if isinstance(training, int) else list(training)
    named = {"fold": [test], "validation_fold": [validation], "training_folds": training}
    for option, folds in named.items():
        unknown = [fold for fold in folds if fold not in range(FOLDS)]
        if unknown or not folds:
            given = folds[0] if len(folds) == 1 else folds
            raise InputError(f"--{option} takes folds 0 to {FOLDS - 1}, got {given!r}")
    together = [fold for folds in named.values() for fold in folds]
    shared = sorted({fold for fold in together if together.count(fold) > 1})
    if shared:
        raise InputError(
            f"fold {', '.join(map(str, shared))} stands in two of --fold {test}, --validation_fold {validation} and "
            f"--training_folds {training}: patients must not cross a split"
        )


def require_whole(*, least: int = 1, multiple_of: int = 1, **options: object) -> None:
    """Options that count something.

    Raises:
        InputError: one is no whole number, below ``least``, or no multiple of ``multiple_of``.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least or value % multiple_of:
            multiple = f", a multiple of {multiple_of}," if multiple_of > 1 else ""
            raise InputError(f"--{name} must be a whole number{multiple} of at least {least}, got {value!r}")


def require_validation(*, val_interval: int, **max_epochs: int) -> None:
    """Every stage is validated once at least: the validation picks the weights that are kept.

    Raises:
        InputError: a stage ends before its first validation.
    """
    for name, epochs in max_epochs.items():
        if val_interval > epochs:
            raise InputError(
                f"--val_interval {val_interval} is above --{name} {epochs}: no epoch would be validated, and the "
                "validation picks the weights that are kept"
            )


def require_positive(**options: object) -> None:
    """Options that measure something.

    Raises:
        InputError: one is no number above 0.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise InputError(f"--{name} must be a number above 0, got {value!r}")
