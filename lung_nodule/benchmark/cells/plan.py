"""Cells of a benchmark and their commands."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lung_nodule.benchmark.cells.cell import OPTIONS, Cell, Step
from lung_nodule.benchmark.dataset import COHORT
from lung_nodule.bundle import LIBRARY
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256
from lung_nodule.networks import read_settings

ROOT = LIBRARY.parent
"""Working directory of the commands: the folder of ``bundles/``."""
TRAINING, RECOMMENDED, EVALUATION = "train.json", "recommended.json", "evaluate.json"
TAKEN = ("dataset_dir", "output_dir", "model_path", "fold", "seed", "config_file")
"""Training options set by the benchmark itself."""
SPLITTING = ("task", "validation_fold", "training_folds", "cohort", "consensus", *COHORT)
"""Training options that would give a network other nodules or masks than the baselines."""
Options = Mapping[str, Mapping[str, Any]]


def trained_cells(
    bundles: Sequence[str],
    *,
    seeds: int,
    folds: Sequence[int],
    dataset_dir: Path,
    out: Path,
    fingerprint: str,
    options: Options,
) -> list[Cell]:
    """Cells that train, test and validate, ordered by seed so that a stopped benchmark has complete cross-validations.

    Args:
        bundles: bundle names.
        seeds: number of seeds (0, 1, ...).
        folds: test folds.
        dataset_dir: folder of the dataset.
        out: output folder of the benchmark.
        fingerprint: fingerprint of the dataset.
        options: training options by bundle; passed as a file, as MONAI ignores None on a command line.
    """
    known = {bundle: _made_with(bundle, fingerprint, options.get(bundle, {})) for bundle in bundles}
    return [
        _trained_cell(bundle, seed, fold, dataset_dir, out.absolute(), known[bundle], options.get(bundle, {}))
        for seed in range(seeds)
        for bundle in bundles
        for fold in folds
    ]


def _trained_cell(
    bundle: str,
    seed: int,
    fold: int,
    dataset_dir: Path,
    out: Path,
    made_with: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Cell:
    folder = cell_folder(out, bundle, seed=seed, fold=fold)
    weights = folder / "model.pt"
    files = [f"bundles/{bundle}/configs/{file}" for file in configurations(bundle)]
    files += [str(folder / OPTIONS)] if options else []
    where = ("--dataset_dir", str(dataset_dir.absolute()), "--output_dir", str(folder))
    training = ("training", "--config_file", str(files), *where, "--fold", str(fold), "--seed", str(seed))
    evaluations = (
        _evaluation(bundle, split, (*where, "--model_path", str(weights)), ("--split", split), folder)
        for split in ("test", "validation")
    )
    steps = (Step("training", training, weights), *evaluations)
    known = {**made_with, "seed": seed, "fold": fold}
    return Cell(bundle, seed, fold, folder, dataset_dir.absolute(), weights, steps, known, dict(options))


def cell_folder(out: Path, bundle: str, *, seed: int, fold: int) -> Path:
    """Folder of a trained cell in a benchmark's output folder."""
    return out / "cells" / bundle / f"seed{seed}" / f"fold{fold}"


def given_cells(
    weights: Mapping[tuple[str, int | str], Path],
    *,
    dataset_dir: Path,
    out: Path,
    fingerprint: str,
    cohort: Mapping[str, Any] | None = None,
) -> list[Cell]:
    """Cells that test given weights on the nodules of a fold.

    Args:
        weights: path of ``model.pt``, next to its side file, by bundle and fold.
        dataset_dir: folder of the dataset.
        out: output folder of the benchmark.
        fingerprint: fingerprint of the dataset.
        cohort: ``min_readers`` and ``max_slice_thickness_mm``, if different from the defaults.
    """
    return [
        _given_cell(bundle, path, fold, dataset_dir, out.absolute(), fingerprint, _evaluated_cohort(path, cohort or {}))
        for (bundle, fold), path in weights.items()
    ]


def _evaluated_cohort(weights: Path, cohort: Mapping[str, Any]) -> dict[str, Any]:
    """Option ``cohort`` of the evaluation; empty if the training's cohort is the same."""
    own = read_settings(weights).get("cohort") or {}
    same = all(own.get(name, value) == value for name, value in COHORT.items())
    return {"cohort": dict(cohort or COHORT)} if cohort or not same else {}


def _given_cell(
    bundle: str, path: Path, fold: int | str, dataset_dir: Path, out: Path, fingerprint: str, options: Mapping[str, Any]
) -> Cell:
    folder = out / "cells" / bundle / "weights" / f"fold{fold}"
    where = ("--dataset_dir", str(dataset_dir.absolute()), "--output_dir", str(folder))
    which = (*as_arguments(options), "--fold", str(fold))
    step = _evaluation(bundle, "test", (*where, "--model_path", str(path.absolute())), which, folder)
    made_with = {
        **_made_with(bundle, fingerprint, options, files=(EVALUATION,)),
        "weights": file_sha256(path),
        "side_file": file_sha256(path.with_suffix(".json")),
        "fold": fold,
    }
    return Cell(bundle, None, fold, folder, dataset_dir.absolute(), path.absolute(), (step,), made_with)


def _evaluation(bundle: str, name: str, where: Sequence[str], which: Sequence[str], folder: Path) -> Step:
    results = folder / name
    file = f"bundles/{bundle}/configs/{EVALUATION}"
    arguments = ("evaluating", "--config_file", file, *where, *which, "--results_dir", str(results))
    return Step(name, arguments, results / "predictions.csv")


def configurations(bundle: str) -> list[str]:
    """Training configuration files of a bundle: the published recipe and, if it exists, the recommended one on top.

    Raises:
        InputError: the bundle is not in this repository.
    """
    folder = ROOT / "bundles" / bundle / "configs"
    if not (folder / TRAINING).is_file():
        raise InputError(
            f"{folder / TRAINING} does not exist: run the benchmark in a checkout of the repository, which has bundles/"
        )
    return [TRAINING, *([RECOMMENDED] if (folder / RECOMMENDED).is_file() else [])]


def _made_with(bundle: str, fingerprint: str, options: Mapping[str, Any], files: Sequence[str] = ()) -> dict[str, Any]:
    digest = hashlib.sha256()
    for file in files or (*configurations(bundle), EVALUATION):
        digest.update((ROOT / "bundles" / bundle / "configs" / file).read_bytes())
    return {
        "bundle": bundle,
        "dataset": fingerprint,
        "configuration": digest.hexdigest()[:16],
        "options": dict(options),
    }


def as_arguments(options: Mapping[str, Any]) -> list[str]:
    """Convert options to command-line arguments of MONAI."""
    return [part for name, value in options.items() for part in (f"--{name}", _as_text(value))]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def read_options(path: str | Path | None, bundles: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read options by bundle from a JSON file; empty without a file.

    Raises:
        InputError: the file has another form, or names a bundle that is not run, an option that the benchmark itself
            sets, or one that selects nodules.
    """
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--options {path} cannot be read as JSON: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise InputError(f'--options {path} must hold options by bundle, such as {{"mtcnn": {{"max_epochs": 5}}}}')
    for bundle, entry in found.items():
        if bundle not in bundles:
            raise InputError(
                f"--options {path} names {bundle}, which is not benchmarked: name one of {', '.join(bundles)}"
            )
        for name in entry:
            option = re.split("#|::", name.removeprefix("+"))[0]
            if option in TAKEN:
                raise InputError(
                    f"--options {path} sets {name} of {bundle}, which the benchmark sets itself: remove it"
                )
            if option in SPLITTING:
                raise InputError(
                    f"--options {path} sets {name} of {bundle}, but all methods are compared on the same nodules, "
                    "masks and folds: remove it"
                )
    return found
