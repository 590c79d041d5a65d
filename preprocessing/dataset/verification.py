"""Verify a dataset: files against the manifest, tables against each other and against the files."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256, line_of, read_nifti, read_table
from lung_nodule.io.atomic import TEMPORARY
from lung_nodule.runtime.progress_bar import progress
from preprocessing.dataset.manifest import MANIFEST, read_manifest
from preprocessing.dataset.rows import NODULE_COLUMNS, SCAN_COLUMNS
from preprocessing.lidc.annotation_rows import ANNOTATION_COLUMNS

logger = logging.getLogger(__name__)

NOT_LISTED = {MANIFEST, "skipped.csv"}
CANDIDATES = "candidates"  # a folder of its own, with its own manifest
TABLES = {
    "scans": SCAN_COLUMNS,
    "nodules": NODULE_COLUMNS,
    "annotations": ANNOTATION_COLUMNS,
    "folds": ["patient_id", "fold"],
}
TABLE_OF_FOLDER = {"scans": "scans.csv", "qc": "scans.csv", "voi": "nodules.csv"}
MAY_BE_EMPTY = {"manufacturer", "flags", "remarks"}
THREADS = 4
CENTER_MM, VOLUME_MM3, SPACING_MM = 2e-3, 0.02, 1e-4  # tables are rounded


def verify(dataset: Path) -> list[str]:
    """Check a dataset, logging one line per problem as it is found.

    Returns:
        The problems; empty for a sound dataset.

    Raises:
        InputError: the folder is not a dataset (its manifest is missing or unreadable).
    """
    manifest = read_manifest(dataset)
    problems: list[str] = []
    for found in (_files(dataset, manifest), _candidates(dataset / CANDIDATES), _tables(dataset, manifest)):
        for problem in found:
            logger.error("%s", problem)
            problems.append(problem)
    logger.info("%s: %d files, %s", dataset, len(manifest), f"{len(problems)} problems" if problems else "sound")
    return problems


def _files(dataset: Path, manifest: dict[str, str]) -> Iterator[str]:
    """Missing, changed and extra files."""
    with (
        ThreadPoolExecutor(THREADS) as pool,
        progress(len(manifest), description="checksums", unit="file") as step,
    ):
        # hashlib releases the GIL, so threads suffice.
        for name, digest in zip(manifest, pool.map(lambda name: _digest(dataset / name), manifest), strict=True):
            if digest is None:
                yield f"missing: {name}"
            elif digest != manifest[name]:
                yield f"changed: {name}"
            step()
    for path in sorted(path for path in dataset.rglob("*") if not path.is_dir()):
        name = path.relative_to(dataset).as_posix()
        if name not in manifest and name not in NOT_LISTED and not name.startswith(f"{CANDIDATES}/"):
            yield f"extra: {name}" + (" (left by an interrupted run)" if TEMPORARY.fullmatch(path.name) else "")


def _candidates(folder: Path) -> Iterator[str]:
    """The files of ``candidates/``, if it exists, against its own manifest."""
    if not folder.is_dir():
        return
    try:
        manifest = read_manifest(folder)
    except InputError as error:
        yield f"candidates: {error}"
        return
    for problem in _files(folder, manifest):
        kind, name = problem.split(": ", 1)
        yield f"{kind}: {CANDIDATES}/{name}"


def _digest(path: Path) -> str | None:
    return file_sha256(path) if path.is_file() else None


def _tables(dataset: Path, manifest: dict[str, str]) -> Iterator[str]:
    """Tables that cannot be read, differ from their Parquet copies, or disagree with each other or with the files."""
    tables = {}
    for name, columns in TABLES.items():
        try:
            tables[name] = _table(dataset / f"{name}.csv", columns)
            twin = _table(dataset / f"{name}.parquet", columns)
        except InputError as error:
            yield f"table: {error}"
            continue
        if not tables[name].fillna("").astype(str).equals(twin.fillna("").astype(str)):
            yield f"tables: {name}.csv and {name}.parquet differ"
    if tables.keys() == TABLES.keys():
        yield from _relations(tables["scans"], tables["nodules"], tables["annotations"], tables["folds"])
        yield from _counts(dataset, tables)
        yield from _named_files(tables["scans"], tables["nodules"], manifest)
        yield from _voxels(dataset, tables["scans"], tables["nodules"])


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table and check that no cell is empty, except in the columns of MAY_BE_EMPTY."""
    table = read_table(path, columns)
    for column in columns:
        empty = table[column].isna()
        if column not in MAY_BE_EMPTY and empty.any():
            raise InputError(f"{path}, line {line_of(int(empty.to_numpy().argmax()), path)}: column {column} is empty")
    return table


def _relations(
    scans: pd.DataFrame, nodules: pd.DataFrame, annotations: pd.DataFrame, folds: pd.DataFrame
) -> Iterator[str]:
    """Duplicate keys, references to missing rows, and counts that contradict another table."""
    for name, keys in (
        ("scans.csv", scans["scan"]),
        ("nodules.csv", nodules["nodule_id"]),
        ("annotations.csv", annotations["annotation_id"]),
        ("folds.csv", folds["patient_id"]),
    ):
        for key in keys[keys.duplicated()].unique():
            yield f"tables: {name} lists {key} twice"
    for name, child, parent in (
        ("nodules.csv names scans that scans.csv lacks", nodules["scan"], scans["scan"]),
        ("annotations.csv names nodules that nodules.csv lacks", annotations["nodule_id"], nodules["nodule_id"]),
        ("scans.csv names patients that folds.csv lacks", scans["patient_id"], folds["patient_id"]),
        ("folds.csv names patients that scans.csv lacks", folds["patient_id"], scans["patient_id"]),
    ):
        absent = sorted(set(child) - set(parent))
        if absent:
            yield f"tables: {name}: {', '.join(map(str, absent))}"
    of_scan, of_nodule = Counter(nodules["scan"]), Counter(annotations["nodule_id"])
    for row in scans.itertuples():
        if row.nodules != of_scan[row.scan]:
            yield f"tables: scans.csv gives {row.scan} {row.nodules} nodules, nodules.csv {of_scan[row.scan]}"
    for row in nodules.itertuples():
        if row.readers != of_nodule[row.nodule_id]:
            yield (
                f"tables: nodules.csv gives {row.nodule_id} {row.readers} readers, annotations.csv "
                f"{of_nodule[row.nodule_id]}"
            )


def _counts(dataset: Path, tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    try:
        counts = dict(json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["counts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"table: dataset.json cannot be read: {error}"
        return
    for name in ("scans", "nodules", "annotations"):
        if counts.get(name) != len(tables[name]):
            yield f"tables: dataset.json counts {counts.get(name)} {name}, {name}.csv {len(tables[name])}"


def _named_files(scans: pd.DataFrame, nodules: pd.DataFrame, manifest: dict[str, str]) -> Iterator[str]:
    """Files in a table but not in the manifest, and files of scans and nodules in no table."""
    columns = [scans[name] for name in ("ct", "nodule_labels")]
    columns += [nodules[name] for name in ("ct", "mask", "reader_masks", "soft_mask")]
    named = set(pd.concat(columns))
    for name in sorted(named - set(manifest)):
        yield f"tables: {name} is named, but the manifest lacks it"
    named |= {name for scan in scans["scan"] for name in (f"scans/{scan}.json", f"qc/{scan}.png")}
    for name in sorted(set(manifest) - named):
        table = TABLE_OF_FOLDER.get(name.partition("/")[0])
        if table is not None:
            yield f"tables: no row of {table} names {name}"


def _voxels(dataset: Path, scans: pd.DataFrame, nodules: pd.DataFrame) -> Iterator[str]:
    """Rows that contradict the voxels or the geometry of their own files."""
    of_scan = dict(list(nodules.groupby("scan")))
    with progress(len(scans), description="voxels", unit="scan") as step:
        for scan in scans.itertuples():
            yield from _problems(_scan_voxels, dataset, scan, of_scan.get(scan.scan, nodules.iloc[:0]))
            for nodule in of_scan.get(scan.scan, nodules.iloc[:0]).itertuples():
                yield from _problems(_nodule_voxels, dataset, nodule)
            step()


def _problems(check: Callable[..., Iterator[str]], *arguments: object) -> Iterator[str]:
    """A check's problems; missing or unreadable files were already reported by their checksum."""
    try:
        yield from check(*arguments)
    except InputError:
        return


def _scan_voxels(dataset: Path, scan: Any, nodules: pd.DataFrame) -> Iterator[str]:
    labels = read_nifti(dataset / scan.nodule_labels)
    shape = (scan.columns, scan.rows, scan.slices)
    if labels.shape != shape:
        yield f"tables: scans.csv gives {scan.scan} {shape} voxels, its label map {labels.shape}"
    if not np.allclose(labels.spacing, [scan.spacing_x_mm, scan.spacing_y_mm, scan.spacing_z_mm], atol=SPACING_MM):
        yield f"tables: scans.csv gives {scan.scan} another spacing than its label map {labels.spacing.tolist()}"
    strange = sorted(set(np.unique(labels.data).tolist()) - {0} - set(nodules["label"].tolist()))
    if strange:
        yield f"tables: the label map of {scan.scan} holds labels without a nodule: {strange}"


def _nodule_voxels(dataset: Path, nodule: Any) -> Iterator[str]:
    mask, readers = read_nifti(dataset / nodule.mask), read_nifti(dataset / nodule.reader_masks)
    if readers.data.shape != (*mask.shape, nodule.readers):
        yield f"tables: {nodule.reader_masks} is of shape {readers.data.shape}, not {(*mask.shape, nodule.readers)}"
    elif not np.allclose(read_nifti(dataset / nodule.soft_mask).data, readers.data.mean(axis=3), atol=1e-3):
        yield f"tables: {nodule.soft_mask} is not the mean of {nodule.reader_masks}"
    inside = np.argwhere(mask.data)
    volume = len(inside) * float(np.prod(mask.spacing))
    if abs(volume - nodule.volume_mm3) > VOLUME_MM3 + 1e-4 * volume:
        yield f"tables: nodules.csv gives {nodule.nodule_id} {nodule.volume_mm3:g} mm3, its mask {volume:.2f}"
    center = [nodule.center_x_ras, nodule.center_y_ras, nodule.center_z_ras]
    if len(inside) and not np.allclose(mask.to_world(inside.mean(axis=0)), center, atol=CENTER_MM):
        yield f"tables: nodules.csv gives {nodule.nodule_id} another centre than its mask"
