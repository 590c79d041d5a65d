"""The benchmark's command line: what it was given, checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lung_nodule.errors import InputError
from lung_nodule.io.command_line import names, output_folder, path_text, positive_number, whole_number
from lung_nodule.lidc import FOLDS

FAILED = 1


def planned(**given: Any) -> Callable[[], int]:
    """What the command will do, as a function that returns the exit status.

    Args:
        given: the command's flags.

    Raises:
        InputError: one of them is wrong, or two do not go together.
    """
    if not given["evaluate_only"]:
        for flag in ("weights", "fit_dir", *COHORT):
            if given[flag] is not None:
                raise InputError(f"--{flag} goes with --evaluate_only, not with a cross-validation")
        seeds, folds = whole_number(given["seeds"], "--seeds", least=1), tested_folds(given["folds"])
    else:
        if given["options"] is not None:
            raise InputError("--options are of trainings: leave them out with --evaluate_only")
        seeds, folds = 0, []
    paths = {flag: path_text(given[flag], f"--{flag}") for flag in PATHS if given[flag] is not None}
    out = output_folder(given["out"], "--out")
    bundles = names(given["bundles"], "--bundles")
    processes = whole_number(given["processes"], "--processes", least=1)
    how = {"processes": processes, "scheduler": paths.get("scheduler")}
    if given["evaluate_only"]:
        cohort = {flag: check(given[flag], f"--{flag}") for flag, check in COHORT.items() if given[flag] is not None}
        return lambda: _evaluate_only(paths, out, bundles, cohort, how)
    return lambda: _cross_validate(paths, out, bundles, seeds, folds, how)


PATHS = ("dataset_dir", "options", "weights", "fit_dir", "scheduler")
COHORT: dict[str, Callable[[object, str], float]] = {
    "min_readers": partial(whole_number, least=1),
    "max_slice_thickness_mm": positive_number,
}


def tested_folds(value: object) -> list[int]:
    """The test folds: a number of them, or their numbers.

    Raises:
        InputError: there is no such fold.
    """
    folds = range(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(folds, str):
        folds = [int(part) if part.strip().isdigit() else part for part in folds.split(",") if part.strip()]
    if not isinstance(folds, Sequence) or not folds or not all(map(_is_fold, folds)):
        raise InputError(f"--folds takes how many of {FOLDS} folds, or their numbers 0-{FOLDS - 1}, got {value!r}")
    return list(dict.fromkeys(folds))


def _is_fold(value: object) -> bool:
    return type(value) is int and value in range(FOLDS)


def _cross_validate(
    paths: Mapping[str, str],
    out: Path,
    bundles: list[str] | None,
    seeds: int,
    folds: Sequence[int],
    how: Mapping[str, Any],
) -> int:
    from lung_nodule.benchmark.plan import read_options
    from lung_nodule.benchmark.run import How, cross_validated

    chosen = _known(bundles)
    options = read_options(paths.get("options"), chosen)
    failed = cross_validated(
        Path(paths["dataset_dir"]), out, bundles=chosen, seeds=seeds, folds=folds, options=options, how=How(**how)
    )
    return FAILED if failed else 0


def _evaluate_only(
    paths: Mapping[str, str], out: Path, bundles: list[str] | None, cohort: Mapping[str, Any], how: Mapping[str, Any]
) -> int:
    from lung_nodule.benchmark.run import How, of_given_weights

    failed = of_given_weights(
        Path(paths["dataset_dir"]),
        out,
        weights=paths.get("weights"),
        bundles=None if bundles is None else _known(bundles),
        known=_known(None),
        fit_dir=Path(paths["fit_dir"]) if "fit_dir" in paths else None,
        cohort=cohort,
        how=How(**how),
    )
    return FAILED if failed else 0


def _known(bundles: list[str] | None) -> list[str]:
    from lung_nodule.methods import METHODS, method_named

    return [method_named(name).name for name in bundles or METHODS]
