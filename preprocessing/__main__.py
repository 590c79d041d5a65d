"""``python -m preprocessing``: from DICOM to a dataset, and the phantom that stands in for DICOM."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lung_nodule.io.command_line import Job, names, path_text, run, whole_number

SKIPPED = 1


def convert(
    dicom_root: str,
    out: str,
    patients: str | None = None,
    workers: int = 1,
    consensus: float = 0.5,
    margin_mm: float = 40.0,
) -> Job:
    """Convert LIDC-IDRI DICOM to NIfTI volumes, consensus masks, tables, folds and pictures.

    Can be stopped and run again: finished scans are kept, and further patients join those in --out. A scan that cannot
    be trusted (missing or duplicate slices, for instance) is skipped, named with the reason here and in skipped.csv,
    and the exit status is then 1; it is 2 for bad input.

    Args:
        dicom_root: Folder of the TCIA download, holding LIDC-IDRI-0001, LIDC-IDRI-0002, ...
        out: Folder of the dataset to write.
        patients: Only these, separated by commas (LIDC-IDRI-0006,LIDC-IDRI-0013). Default: all that are found.
        workers: Number of processes; each needs up to 1 GB of memory.
        consensus: Fraction of a nodule's readers that must have marked a voxel for the mask. 0.5 is "two of four", and
            the union for two readers.
        margin_mm: Half the edge, in mm, of the cube that a nodule's VOI covers. It holds all voxels whose centres lie
            within this distance of the nodule's centre along each axis, is cut where the scan ends, and grows
            where a reader's contour reaches further. The default gives the whole 80 mm cube.
    """
    from .convert import convert as convert_scans
    from .settings import Settings

    settings = Settings(consensus=consensus, margin_mm=margin_mm)
    chosen = names(patients, "--patients")
    processes = whole_number(workers, "--workers", least=1)
    root, target = (Path(path_text(*pair)) for pair in ((dicom_root, "--dicom_root"), (out, "--out")))

    def action() -> int:
        refused = convert_scans(root, target, patients=chosen, workers=processes, settings=settings)
        return SKIPPED if refused else 0

    return Job(action)


def phantom(out: str, patients: str | None = None, workers: int = 1) -> Job:
    """Write synthetic CT series with the real geometry and contours of scans in the LIDC-IDRI database.

    The folders look like a TCIA download, so that `convert` reads them as it reads LIDC-IDRI. Every series says that it
    is synthetic. Patients of the hold-out are refused.

    Args:
        out: Folder to write, to be given to `convert` as --dicom_root.
        patients: Only these, separated by commas (LIDC-IDRI-0078,LIDC-IDRI-0208). The default is ten small scans.
        workers: Number of processes; each needs about 0.4 GB of memory.
    """
    from .phantom import write_phantom

    target, chosen = Path(path_text(out, "--out")), names(patients, "--patients")
    processes = whole_number(workers, "--workers", least=1)

    def action() -> int:
        write_phantom(out=target, patients=chosen, workers=processes)
        return 0

    return Job(action)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (the process's own arguments by default); returns the exit status."""
    return run({"convert": convert, "phantom": phantom}, name="preprocessing", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
