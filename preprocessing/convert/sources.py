"""The files of one scan: where to search for them, and a check that they are complete."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lung_nodule.errors import InputError
from lung_nodule.io import SeriesFiles, files_under, format_positions, new_files, sort_series
from lung_nodule.io.dicom.find import is_packed
from lung_nodule.io.dicom.slice_grid import SAME_POSITION_MM
from preprocessing.lidc.records import ScanRecord

logger = logging.getLogger(__name__)

SHOWN = 3


@dataclass(frozen=True)
class Sources:
    """Locations of the files of a scan.

    Attributes:
        folders: folders named after its patient or series; searched recursively.
        files: single files identified by their headers, and unreadable ones in the same folders.
    """

    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()

    def absolute(self) -> Sources:
        """The same with absolute paths."""
        return Sources(*(tuple(path.absolute() for path in paths) for paths in (self.folders, self.files)))


def series_of(scan: ScanRecord, sources: Sources) -> SeriesFiles:
    """The files of a scan's CT series: one or more for each slice position in the database, and no others.

    Slices with the series' UID at other positions are listed in ``left_out``: the readers did not see them.

    Raises:
        InputError: the series has no files, or slices are missing or unreadable (with their positions and files).
    """
    every, unreadable = _read_headers(sources)
    found = [series for series in every if series.series_uid == scan.series_uid]
    others = ", ".join(
        f"{series.series_uid} of {series.patient_id or 'a patient without a name'} ({len(series.paths)} files)"
        for series in every
        if series.series_uid != scan.series_uid
    )
    broken = listed(unreadable)
    if not found:
        if unreadable:
            raise InputError(f"cannot read {broken}: no file of its CT series is left; {_AGAIN}")
        instead = f"; its folders hold {others}" if others else ""
        archives = [path for folder in sources.folders for path in files_under(folder)[0] if is_packed(path)]
        if archives:
            raise InputError(f"no file of its CT series {scan.series_uid}{instead}{unpack_first(archives)}")
        raise InputError(
            f"no file of its CT series {scan.series_uid}{instead or _other_files(sources)}: download the series"
        )
    if others:
        logger.warning("%s: its folders hold other CT series, which are left out: %s", scan.name, others)
    files = SeriesFiles(
        patient_id=scan.patient_id,
        study_uid=scan.study_uid,
        series_uid=scan.series_uid,
        paths=tuple(path for series in found for path in series.paths),
        z_positions=np.concatenate([series.z_positions for series in found]),
        headers=tuple(header for series in found for header in series.headers),
    )
    distance = np.abs(scan.slice_positions[:, None] - files.z_positions[None, :])
    missing = scan.slice_positions[distance.min(axis=1) > SAME_POSITION_MM]
    if len(missing) and unreadable:
        raise InputError(f"cannot read {broken}: no slices at z = {format_positions(missing)} are left; {_AGAIN}")
    if len(missing):
        raise InputError(f"missing slices at z = {format_positions(missing)}: download the series again")
    ignored = {path: why for path, why in unreadable.items() if path not in set(sources.files)}
    if ignored:
        logger.warning("%s is complete; ignored unreadable files: %s", scan.name, listed(ignored))
    return _without_extra(files, distance.min(axis=0) > SAME_POSITION_MM)


_AGAIN = "make it readable or download the series again"


def listed(unreadable: Mapping[Path, str]) -> str:
    """``path (Permission denied), ... and 2 more``."""
    shown = [f"{path} ({why})" for path, why in list(unreadable.items())[:SHOWN]]
    more = f" and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
    return ", ".join(shown) + more


def unpack_first(archives: Sequence[Path]) -> str:
    """A hint at archives, which the conversion does not open; empty if there are none."""
    if not archives:
        return ""
    more = f" and {len(archives) - 1} more" if len(archives) > 1 else ""
    return f" (archives are not read: unpack {archives[0].name}{more} first)"


def _other_files(sources: Sources) -> str:
    """The files of the folders by their endings; empty without files."""
    endings = Counter(path.suffix.lower() for folder in sources.folders for path in files_under(folder)[0])
    counts = [f"{count} {ending or 'without an ending'}" for ending, count in endings.most_common(SHOWN)]
    return (
        f"; of the files in its folders ({', '.join(counts)}) none is a DICOM CT image by name and header"
        if counts
        else ""
    )


def _read_headers(sources: Sources) -> tuple[list[SeriesFiles], dict[Path, str]]:
    """The files with their headers by series, and unreadable paths with the reason; each real file is read once."""
    seen: set[tuple[int, int]] = set()
    paths: list[Path] = []
    closed: dict[Path, str] = {}
    for folder in sources.folders:
        files, unreadable = files_under(folder, seen=seen)
        paths += files
        closed |= unreadable
    paths += new_files(list(sources.files), seen=seen)
    found, unreadable = sort_series(paths, keep_headers=True)
    return found, closed | unreadable


def _without_extra(files: SeriesFiles, extra: np.ndarray) -> SeriesFiles:
    """The series without the files of the bool mask ``extra`` [files]."""
    own = np.flatnonzero(~extra)
    return replace(
        files,
        paths=tuple(files.paths[at] for at in own),
        headers=tuple(files.headers[at] for at in own),
        z_positions=files.z_positions[own],
        left_out=tuple(sorted(float(z) for z in files.z_positions[extra])),
    )
