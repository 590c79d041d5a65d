"""Locate the scans of LIDC-IDRI under a folder: by the names of folders if possible, else by the headers."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lung_nodule.errors import InputError
from lung_nodule.io import may_be_image, sort_series, walk
from lung_nodule.io.dicom.find import EMPTY, is_packed
from lung_nodule.runtime.progress_bar import progress
from preprocessing.convert.sources import Sources, listed, unpack_first
from preprocessing.lidc import database
from preprocessing.lidc.records import ScanRecord

logger = logging.getLogger(__name__)

PATIENT = re.compile(r"LIDC-IDRI-\d{4}", re.IGNORECASE)
USAGE = "give the folder of a download of LIDC-IDRI"


@dataclass(frozen=True)
class Located:
    """The requested scans and their files.

    Attributes:
        wanted: the scans of the requested patients, or all of the database.
        sources: files by the name of the scan, for all scans of the patients of whom something was found.
        found: names of the scans with images, judging by names and headers.
        unreadable: reasons by unreadable path that cannot be attributed to a scan.
    """

    wanted: tuple[ScanRecord, ...]
    sources: dict[str, Sources]
    found: frozenset[str]
    unreadable: dict[Path, str]


@dataclass
class _Tree:
    """Contents of a root folder; keys are patients' ids and series' UIDs.

    Attributes:
        named: folders whose name is a key; not searched.
        loose: files elsewhere that may be images.
        unreadable: reasons by unreadable path.
        archives: archives (zip and others), which are not opened.
        empty: whether the root is empty.
    """

    named: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    loose: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    archives: list[Path] = field(default_factory=list)
    empty: bool = True


def locate(root: Path, patients: Sequence[str] | None = None) -> Located:
    """Find the scans of LIDC-IDRI under a folder, at any depth.

    Folders named after a patient (``LIDC-IDRI-0006``, upper or lower case) or a SeriesInstanceUID are identified by
    name and opened when the scan is converted. The headers of all other files, and those of the eight patients with two
    scans, are read once and matched to the database's series. If the named folders of every scan hold at least as many
    files as it has slices, no header is read.

    Args:
        root: the folder; may itself be that of a patient or a series.
        patients: patients to look for; None for all.

    Raises:
        InputError: the folder is missing or holds nothing of LIDC-IDRI, or a patient is unknown or has no files.
    """
    _check_root(root)
    wanted = tuple(database.scans(patients))
    tree = _look(root)
    folders = {scan.name: (*tree.named[scan.patient_id], *tree.named[scan.series_uid]) for scan in wanted}
    counts = {name: sum(map(_count_images, paths)) for name, paths in folders.items()}
    found = {name for name, count in counts.items() if count}
    by_name = all(counts[scan.name] >= len(scan.slice_positions) for scan in wanted)
    files = {} if by_name else _match_headers(tree)
    found |= {scan.name for scan in wanted if scan.series_uid in files}
    belonging = _by_name(tree.unreadable, root)
    sources = {}
    for scan in wanted:
        closed = belonging[scan.patient_id] + belonging[scan.series_uid]
        sources[scan.name] = Sources(
            folders=(*folders[scan.name], *filter(os.path.isdir, closed)),
            files=(*files.get(scan.series_uid, ()), *(path for path in closed if not os.path.isdir(path))),
        )
    there = {scan.patient_id for scan in wanted if sources[scan.name] != Sources()}
    _check_found(root, patients, there, tree)
    attributed = {path for paths in (*belonging.values(), *files.values()) for path in paths}
    return Located(
        wanted=wanted,
        sources={scan.name: sources[scan.name] for scan in wanted if scan.patient_id in there},
        found=frozenset(found),
        unreadable={
            path: why
            for path, why in tree.unreadable.items()
            if not by_name and path not in attributed and why != EMPTY
        },
    )


def _check_root(root: Path) -> None:
    if root.is_file():
        raise InputError(f"DICOM root {root} is a file: {USAGE}")
    if not root.is_dir():
        raise InputError(f"no such DICOM root: {root} ({USAGE})")


def _look(root: Path) -> _Tree:
    """Search the folders that are not named after a series or a patient with one scan."""
    tree, unknown = _Tree(), set()
    single, known = _patients()
    keys = single | {scan.series_uid for scan in database.scans()}
    own = _key(os.path.basename(os.path.abspath(root)))
    if own in keys:
        tree.named[own].append(root)
        tree.empty = False
        return tree
    for folder in walk(root):
        tree.empty &= not (folder.folders or folder.files or folder.unreadable)
        inside = []
        for path in folder.folders:
            key = _key(path.name)
            if key in keys:
                tree.named[key].append(path)
            elif PATIENT.fullmatch(key) and key not in known:
                unknown.add(path.name)
            else:
                inside.append(path)
        folder.folders[:] = inside
        tree.loose += filter(may_be_image, folder.files)
        tree.archives += filter(is_packed, folder.files)
        tree.unreadable |= {path: why for path, why in folder.unreadable.items() if may_be_image(path)}
    if unknown:
        logger.warning("ignored %s: not in the LIDC-IDRI database", ", ".join(sorted(unknown)))
    return tree


def _patients() -> tuple[set[str], set[str]]:
    """The patients with one scan, and all patients."""
    counts = Counter(scan.patient_id for scan in database.scans())
    return {patient for patient, count in counts.items() if count == 1}, set(counts)


def _key(name: str) -> str:
    return name.upper() if PATIENT.fullmatch(name) else name


def _count_images(folder: Path) -> int:
    """Number of files under a folder that may be images by their names."""
    return sum(may_be_image(path) for inside in walk(folder) for path in inside.files)


def _match_headers(tree: _Tree) -> dict[str, list[Path]]:
    """SeriesInstanceUID -> its loose files, followed by unreadable files in the same folders.

    Unreadable files are added to ``tree.unreadable``.
    """
    with progress(len(tree.loose), description="DICOM headers", unit="file") as step:
        found, unreadable = sort_series(_stepping(tree.loose, step))
    tree.unreadable |= unreadable
    files: dict[str, list[Path]] = defaultdict(list)
    for series in found:
        files[series.series_uid] += series.paths
    beside: dict[Path, list[Path]] = defaultdict(list)
    for path in tree.unreadable:
        beside[path.parent].append(path)
    for paths in files.values():
        paths += [path for folder in sorted({path.parent for path in paths}) for path in beside[folder]]
    near = {path for paths in files.values() for path in paths} & tree.unreadable.keys()
    if near:
        logger.warning(
            "unreadable files beside slices: %s", listed({path: tree.unreadable[path] for path in sorted(near)})
        )
    return files


def _stepping(paths: Sequence[Path], step: Callable[[], object]) -> Iterator[Path]:
    for path in paths:
        yield path
        step()


def _by_name(paths: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Paths by the patient's id or series' UID in their own name or in that of a parent folder."""
    keys = {key for scan in database.scans() for key in (scan.patient_id, scan.series_uid)}
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        for key in keys & {_key(part) for part in path.relative_to(root).parts}:
            found[key].append(path)
    return found


def _check_found(root: Path, patients: Sequence[str] | None, there: Collection[str], tree: _Tree) -> None:
    absent = [patient for patient in patients or () if patient not in there]
    if absent:
        raise InputError(f"no files for {', '.join(absent)} under {root}: download the patient or leave the name out")
    if there:
        return
    if tree.unreadable:
        raise InputError(f"nothing of LIDC-IDRI can be read under {root}: {listed(tree.unreadable)}")
    if tree.empty:
        raise InputError(f"DICOM root {root} is empty: {USAGE}")
    raise InputError(
        f"no CT series of LIDC-IDRI under {root}: no folder is named like LIDC-IDRI-0006 or after one of its series, "
        f"and none of {len(tree.loose)} other files is a slice of one{unpack_first(tree.archives)}; {USAGE}"
    )
