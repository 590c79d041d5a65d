"""Usual layouts of LIDC-IDRI, made from the folders of a TCIA download."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom

from preprocessing.convert.layouts import locate
from preprocessing.convert.sources import series_of

Place = Callable[[pydicom.Dataset, int], str]  # header and number of the file -> where it goes


def idc_name(name: object) -> str:
    """The same uuid for the same thing."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(name)))


LAYOUTS: dict[str, Place] = {
    "patient, study, series": lambda h, n: f"{h.PatientID}/{h.StudyInstanceUID}/{h.SeriesInstanceUID}/{n:06d}.dcm",
    "series UID": lambda h, n: f"{h.SeriesInstanceUID}/1-{n:03d}.dcm",
    "uuid": lambda h, n: f"{idc_name(h.SeriesInstanceUID)}/{idc_name(f'{h.SeriesInstanceUID} {n}')}.dcm",
    "one flat folder": lambda h, n: f"{h.SeriesInstanceUID}.{n}.dcm",
    "lower-case patients": lambda h, n: f"{h.PatientID.lower()}/ct/{n}.dcm",
    "deeper folders": lambda h, n: f"disk/tcia/2024/LIDC-IDRI/images/{h.PatientID}/a/b/c/d/{n}.dcm",
    "no endings": lambda h, n: f"{h.PatientID}/s/IM{n:05d}",
    "no names at all": lambda h, n: f"disk/{len(h.PatientID)}/{idc_name(f'{h.SeriesInstanceUID} {n}')}",
    "named by other UIDs": lambda h, n: f"CT_{h.SeriesInstanceUID}/{h.SeriesInstanceUID}.{n}",
    "half by name, half not": lambda h, n: (
        f"{h.PatientID}/{n}.dcm" if h.PatientID.endswith(("8", "6")) else f"rest/{h.SeriesInstanceUID}.{n}.dcm"
    ),
}


def rearrange(root: Path, target: Path, place: Place, *, copy: bool = False) -> Path:
    """Link or copy every DICOM file under ``root`` to its place under ``target``; add two other files."""
    for number, path, header in _headers(root):
        new = target / place(header, number)
        new.parent.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copyfile(path, new)
        else:
            new.symlink_to(path.resolve())
    (target / "LICENSE").write_text("CC BY 3.0")
    (target / "metadata.csv").write_text("a,b\n")
    return target


def files_in_order(root: Path) -> dict[str, list[Path]]:
    """Scan's name -> the files, without links, that a conversion reads, in the order in which it reads them."""
    located = locate(root)
    return {
        scan.name: [path.resolve() for path in series_of(scan, located.sources[scan.name]).paths]
        for scan in located.wanted
        if scan.name in located.sources
    }


def _headers(root: Path) -> Iterator[tuple[int, Path, pydicom.Dataset]]:
    tags = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
    paths = sorted(path for folder in root.iterdir() if folder.is_dir() for path in folder.resolve().rglob("*.dcm"))
    for number, path in enumerate(paths, start=1):
        yield number, path, pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
