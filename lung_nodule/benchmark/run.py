"""Run a benchmark: train and test the cells, compare the methods and write the results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.benchmark.baselines.baseline_rows import fitted_rows, mask_rows, ranking_rows
from lung_nodule.benchmark.baselines.methods_without_network import WITHOUT_NETWORK, own_radiomics, own_size
from lung_nodule.benchmark.baselines.own_masks import own_mask_rows
from lung_nodule.benchmark.baselines.readers import rating_spread, reader_rows
from lung_nodule.benchmark.baselines.splits import (
    Split,
    another_dataset,
    cross_validation,
    refuse_one_class,
    refuse_shared,
)
from lung_nodule.benchmark.cells.cell import Cell, CellFailure, software_of
from lung_nodule.benchmark.cells.plan import given_cells, trained_cells
from lung_nodule.benchmark.cells.run_cells import run_cells
from lung_nodule.benchmark.dataset import Dataset, folds_of, read_dataset, require_classes
from lung_nodule.benchmark.measurements.nodule_measurements import measure_nodules
from lung_nodule.benchmark.panel.panel_masks import chosen_weights, panel_masks
from lung_nodule.benchmark.panel.panel_rows import CELL, PANEL, panel_rows
from lung_nodule.benchmark.predictions import network_rows, write_predictions
from lung_nodule.benchmark.readouts import write_readouts
from lung_nodule.benchmark.report.markdown import benchmark_markdown
from lung_nodule.benchmark.report.plots import write_plots
from lung_nodule.benchmark.report.results import benchmark_results
from lung_nodule.benchmark.weights import find_weights, refuse_seen
from lung_nodule.data import require_dataset
from lung_nodule.errors import InputError
from lung_nodule.io import write_json, write_text
from lung_nodule.lidc import FOLDS
from lung_nodule.runtime.lock import only_writer
from lung_nodule.runtime.software import this_software

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Execution:
    """Execution of the cells: number of local processes, or a Dask scheduler."""

    processes: int = 1
    scheduler: str | None = None


def cross_validate(
    dataset_dir: Path,
    out: Path,
    *,
    bundles: Sequence[str],
    seeds: int,
    folds: Sequence[int],
    options: Mapping[str, Mapping[str, Any]],
    execution: Execution,
) -> list[CellFailure]:
    """Train, validate and test every bundle on every fold and compare all methods.

    Args:
        dataset_dir: folder of the dataset.
        out: output folder; finished cells in it are kept.
        bundles: bundle names.
        seeds: number of trainings per fold.
        folds: test folds.
        options: training options by bundle.
        execution: how the cells are run.

    Returns:
        The cells that failed; the tables contain the others.

    Raises:
        InputError: as :func:`~lung_nodule.benchmark.dataset.read_dataset`, ``require_classes`` and ``run_cells``; or no
            cell was finished.
    """
    with only_writer(out):
        dataset = read_dataset(dataset_dir, range(FOLDS))
        require_classes(dataset, folds)
        cells = trained_cells(
            bundles, seeds=seeds, folds=folds, dataset_dir=dataset_dir, out=out, fingerprint=dataset.fingerprint,
            options=options,
        )  # fmt: skip
        nodules = with_measurements(dataset, out)
        failed = run_cells(cells, processes=execution.processes, scheduler=execution.scheduler)
        done = _finished_cells(cells, failed)
        protocol = {
            "kind": "cross-validation",
            "folds": list(folds),
            "seeds": seeds,
            "options": {name: dict(entry) for name, entry in options.items()},
        }
        tested = nodules[nodules["fold"].isin(folds)]
        _write(out, dataset, tested, cross_validation(nodules, folds), done, failed, protocol)
    return failed


def evaluate_weights(
    dataset_dir: Path,
    out: Path,
    *,
    weights: str | Path | None,
    bundles: Sequence[str] | None,
    known: Sequence[str],
    fit_dir: Path | None,
    cohort: Mapping[str, Any],
    execution: Execution,
) -> list[CellFailure]:
    """Test given weights on all nodules of a dataset, including the hold-out, and compare all methods.

    Args:
        dataset_dir: folder of the dataset.
        out: output folder; finished cells in it are kept.
        weights: folder of the weights, as in :func:`~lung_nodule.benchmark.weights.find_weights`.
        bundles: bundle names; by default those with weights.
        known: names of all bundles.
        fit_dir: dataset on which the baselines are fitted; without it, fitted baselines are left out.
        cohort: ``min_readers`` and ``max_slice_thickness_mm``, if different from the defaults.
        execution: how the cells are run.

    Returns:
        The cells that failed.

    Raises:
        InputError: as ``find_weights``; a patient of the dataset was seen in training or is in ``fit_dir``; the
            baselines cannot be fitted on ``fit_dir``; no cell was finished.
    """
    with only_writer(out):
        found = find_weights(weights, bundles, known)
        require_dataset(dataset_dir)
        dataset = read_dataset(dataset_dir, folds_of(dataset_dir), cohort=cohort)
        for given in found.values():
            refuse_seen(given, dataset.patients_by_fold)
        fitted_on = None if fit_dir is None else read_dataset(fit_dir, range(FOLDS))
        if fitted_on is not None:
            refuse_shared(fitted_on.patients, dataset.patients)
            refuse_one_class(fitted_on.nodules)
        nodules = with_measurements(dataset, out)
        splits = [] if fitted_on is None else [another_dataset(with_measurements(fitted_on, out), nodules)]
        tests = {(name, fold): given.of(fold) for name, given in found.items() for fold in dataset.patients_by_fold}
        cells = given_cells(tests, dataset_dir=dataset_dir, out=out, fingerprint=dataset.fingerprint, cohort=cohort)
        failed = run_cells(cells, processes=execution.processes, scheduler=execution.scheduler)
        protocol = {
            "kind": "given weights",
            "weights_sha256": {name: given.sha256 for name, given in found.items()},
            "baselines_fitted_on": None if fitted_on is None else fitted_on.shown,
            **cohort,
            "nodules_left_out": dataset.left_out,
        }
        _write(out, dataset, nodules, splits, _finished_cells(cells, failed), failed, protocol)
    return failed


def with_measurements(dataset: Dataset, out: Path) -> pd.DataFrame:
    """One row per nodule with references and measurements."""
    table = measure_nodules(dataset.items, out=out, fingerprint=dataset.fingerprint)
    return dataset.nodules.merge(table, on="nodule_id", validate="one_to_one")


def _finished_cells(cells: Sequence[Cell], failed: Sequence[CellFailure]) -> list[Cell]:
    names = {entry.cell for entry in failed}
    done = [cell for cell in cells if cell.name not in names]
    if not done:
        raise InputError(f"all {len(cells)} cells failed; the first: {failed[0].cell}: {failed[0].reason}")
    return done


def _write(
    out: Path,
    dataset: Dataset,
    nodules: pd.DataFrame,
    splits: Sequence[Split],
    done: Sequence[Cell],
    failed: Sequence[CellFailure],
    protocol: Mapping[str, Any],
) -> None:
    """Write all tables and pictures, ``benchmark.md`` last."""
    left_out = protocol.get("nodules_left_out", 0)
    bundles = list(dict.fromkeys(cell.bundle for cell in done))
    table = long_table(dataset, nodules, splits, done)
    write_predictions(out / "predictions.csv", table)
    baselines = [*WITHOUT_NETWORK, *(own(name) for name in bundles for own in (own_size, own_radiomics))]
    networks = [*bundles, *([PANEL] if (table["method"] == PANEL).any() else [])]
    results = benchmark_results(
        table,
        networks,
        baselines,
        described=dataset.shown,
        protocol={
            **protocol,
            "panel_map_weights": chosen_weights(table),
            "configurations": {cell.bundle: cell.made_with["configuration"] for cell in done},
            "software": this_software().as_dict(),
            "software_of_networks": software_of(done),
            "failed": {one.cell: one.reason for one in failed},
        },
        notes=[*missing_notes(failed, protocol.get("seeds", 1)), *_notes(dataset, splits, left_out)],
        spread_of_readers=None if dataset.annotations is None else rating_spread(dataset.annotations),
    )
    write_json(out / "benchmark.json", results)
    pictures = write_plots(out, table, networks, baselines)
    write_readouts(out / "readouts", done)
    write_text(out / "benchmark.md", benchmark_markdown(results, pictures))
    logger.info(f"wrote {out / 'benchmark.md'}, benchmark.json, predictions.csv and {len(pictures)} pictures")


def long_table(dataset: Dataset, nodules: pd.DataFrame, splits: Sequence[Split], done: Sequence[Cell]) -> pd.DataFrame:
    """Rows of all networks and baselines.

    Args:
        dataset: dataset with the readers' ratings.
        nodules: test nodules with their measurements.
        splits: splits for the fitted baselines; empty to leave these out.
        done: finished cells.
    """
    test = network_rows(done, dataset.nodules)
    validation = network_rows([cell for cell in done if cell.seed is not None], dataset.nodules, "validation")
    panel = panel_rows(test, validation)
    if len(panel):
        masks = panel_masks(done, dataset.items, out=done[0].benchmark, fingerprint=dataset.fingerprint)
        panel = panel.merge(masks, on=["nodule_id", *CELL], how="left")
    tables = [test, panel, mask_rows(nodules)]
    tables += [fitted_rows(splits), own_mask_rows(splits, test, validation)] if splits else [ranking_rows(nodules)]
    if dataset.annotations is not None:
        tables.append(reader_rows(nodules, dataset.annotations))
    return pd.concat([one for one in tables if len(one)], ignore_index=True)


def missing_notes(failed: Sequence[CellFailure], seeds: int) -> list[str]:
    """Notes on what is missing because of failed cells.

    Args:
        failed: failed cells.
        seeds: number of trainings per fold; with several, the other seeds cover the nodules of a failed cell.
    """
    of_bundle = "that bundle, the panel and the baselines on that bundle's masks"
    if seeds > 1:
        of_bundle += " for that seed; their means are of the seeds that are there, each on the nodules that it has"
    return [f"MISSING: {one.cell} failed, so its nodules are in no figure of {of_bundle}." for one in failed]


def _notes(dataset: Dataset, splits: Sequence[Split], left_out: int) -> list[str]:
    all_of_them = len(dataset.items) + left_out
    return [
        *(
            [
                f"LEFT OUT: {left_out} of the dataset's {all_of_them} nodules, by the number of readers or the slice "
                "thickness (--min_readers, --max_slice_thickness_mm)."
            ]
            if left_out
            else []
        ),
        *([] if splits else ["Baselines that must be fitted are left out: --fit_dir names a dataset to fit them on."]),
        *([] if dataset.annotations is not None else ["The dataset has no annotations.csv, so no reader is compared."]),
    ]
