"""Arguments of the benchmark command, checked before any heavy import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lung_nodule.errors import InputError
from lung_nodule.lidc import FOLDS
from lung_nodule.runtime.command_line import names, output_folder, path_text, positive_number, whole_number

FAILED = 1
SEEDS = 3
"""Default number of trainings per fold."""


def plan_benchmark(**given: Any) -> Callable[[], int]:
    """Check the arguments and return the command as a function that returns the exit status.

    Args:
        given: command-line flags by name.

    Raises:
        InputError: an argument is invalid, or two exclude each other.
    """
    if not given["evaluate_only"]:
        for flag in ("weights", "fit_dir", *COHORT):
            if given[flag] is not None:
                raise InputError(f"--{flag} goes with --evaluate_only, not with a cross-validation")
        seeds = SEEDS if given["seeds"] is None else whole_number(given["seeds"], "--seeds", least=1)
        folds = tested_folds(FOLDS if given["folds"] is None else given["folds"])
    else:
        for flag in ("options", "seeds", "folds"):
            if given[flag] is not None:
                raise InputError(f"--{flag} applies to trainings only: leave it out with --evaluate_only")
        seeds, folds = 0, []
    paths = {flag: path_text(given[flag], f"--{flag}") for flag in PATHS if given[flag] is not None}
    out = output_folder(given["out"], "--out")
    bundles = names(given["bundles"], "--bundles")
    processes = whole_number(given["processes"], "--processes", least=1)
    execution = {"processes": processes, "scheduler": paths.get("scheduler")}
    if given["evaluate_only"]:
        cohort = {flag: check(given[flag], f"--{flag}") for flag, check in COHORT.items() if given[flag] is not None}
        return lambda: _evaluate_only(paths, out, bundles, cohort, execution)
    return lambda: _cross_validate(paths, out, bundles, seeds, folds, execution)


PATHS = ("dataset_dir", "options", "weights", "fit_dir", "scheduler")
COHORT: dict[str, Callable[[object, str], float]] = {
    "min_readers": partial(whole_number, least=1),
    "max_slice_thickness_mm": positive_number,
}


def tested_folds(value: object) -> list[int]:
    """Parse the test folds, given as a count or as fold numbers.

    Raises:
        InputError: a fold does not exist.
    """
    folds = range(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(folds, str):
        folds = [int(part) if part.strip().isdigit() else part for part in folds.split(",") if part.strip()]
    if not isinstance(folds, Sequence) or not folds or not all(map(_is_fold, folds)):
        raise InputError(
            f"--folds must be a number of folds (1 to {FOLDS}) or fold numbers (0 to {FOLDS - 1}) separated by commas, "
            f"got {value!r}"
        )
    return list(dict.fromkeys(folds))


def _is_fold(value: object) -> bool:
    return type(value) is int and value in range(FOLDS)


def _cross_validate(
    paths: Mapping[str, str],
    out: Path,
    bundles: list[str] | None,
    seeds: int,
    folds: Sequence[int],
    execution: Mapping[str, Any],
) -> int:
    from lung_nodule.benchmark.cells.plan import read_options
    from lung_nodule.benchmark.run import Execution, cross_validate

    chosen = _known(bundles)
    options = read_options(paths.get("options"), chosen)
    failed = cross_validate(
        Path(paths["dataset_dir"]),
        out,
        bundles=chosen,
        seeds=seeds,
        folds=folds,
        options=options,
        execution=Execution(**execution),
    )
    return FAILED if failed else 0


def _evaluate_only(
    paths: Mapping[str, str],
    out: Path,
    bundles: list[str] | None,
    cohort: Mapping[str, Any],
    execution: Mapping[str, Any],
) -> int:
    from lung_nodule.benchmark.run import Execution, evaluate_weights

    failed = evaluate_weights(
        Path(paths["dataset_dir"]),
        out,
        weights=paths.get("weights"),
        bundles=None if bundles is None else _known(bundles),
        known=_known(None),
        fit_dir=Path(paths["fit_dir"]) if "fit_dir" in paths else None,
        cohort=cohort,
        execution=Execution(**execution),
    )
    return FAILED if failed else 0


def _known(bundles: list[str] | None) -> list[str]:
    from lung_nodule.methods import METHODS, method_named

    return [method_named(name).name for name in bundles or METHODS]
