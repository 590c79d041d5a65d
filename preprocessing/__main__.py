"""``python -m preprocessing``: convert LIDC-IDRI DICOM to a dataset, verify it, and write phantom DICOM."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from lung_nodule.errors import InputError
from lung_nodule.io import patient_names
from lung_nodule.runtime.command_line import Job, names, output_folder, path_text, run, whole_number

SKIPPED = UNSOUND = 1


def convert(
    dicom_root: str,
    out: str,
    patients: str | int | None = None,
    workers: int = 1,
    consensus: float | str = 0.5,
    margin_mm: float = 40.0,
    duplicates: str = "refuse",
    scheduler: str | None = None,
    complete: bool = False,
) -> Job:
    """Convert LIDC-IDRI DICOM to NIfTI volumes, consensus masks, tables, folds and pictures.

    Can be interrupted and run again: finished scans are kept, and further patients are added to those in --out. A scan
    that cannot be trusted (missing or duplicate slices, for instance) is skipped and reported with the reason in the
    log and in skipped.csv; the exit status is then 1. It is 2 for invalid input.

    Args:
        dicom_root: Folder of the download. Folders named after a patient (LIDC-IDRI-0001, ...) or a SeriesInstanceUID
            are identified by name, at any depth; all other files by their headers.
        out: Folder of the dataset to write.
        patients: Only these, separated by commas (LIDC-IDRI-0306, or 0306 or 306 for short). Default: all that are
            found.
        workers: Number of processes; each needs up to 1 GB of memory.
        consensus: Fraction of a nodule's readers that must have marked a voxel for the mask (0.5, 2/3, 0.667), or
            `any`, `majority` (more than half) or `all`. 0.5 is "two of four", and the union for two readers.
        margin_mm: Half the edge, in mm, of the cube that a nodule's VOI covers. It holds all voxels whose centres lie
            within this distance of the nodule's centre along each axis, is cut where the scan ends, and grows
            where a reader's contour reaches further. The default gives the whole 80 mm cube.
        duplicates: How to handle a scan with different slices at one position: refuse it, or use the first or the last
            of them by InstanceNumber (the scan is then flagged differing_duplicates).
        scheduler: Address of a Dask scheduler (tcp://host:8786) whose workers convert the scans instead of --workers
            processes here. Every machine must see both folders under the same paths.
        complete: Require every scan of --patients, or of all 1010 patients: a missing scan is an error.
    """
    from preprocessing.convert import convert as convert_scans
    from preprocessing.dataset import ConversionSettings

    settings = ConversionSettings(consensus=consensus, margin_mm=margin_mm, duplicates=duplicates)
    chosen = patient_names(patients, "--patients")
    processes = whole_number(workers, "--workers", least=1)
    if not isinstance(complete, bool):
        raise InputError(f"--complete takes no value, got {complete!r}")
    root, target = Path(path_text(dicom_root, "--dicom_root")), output_folder(out, "--out")
    address = None
    if scheduler is not None:
        address = path_text(scheduler, "--scheduler", what="an address, such as tcp://host:8786")

    def action() -> int:
        refused = convert_scans(
            root,
            target,
            patients=chosen,
            workers=processes,
            settings=settings,
            scheduler=address,
            complete=complete,
        )
        return SKIPPED if refused else 0

    return Job(action)


def cohort(preset: str, out: str | None = None) -> Job:
    """Print the counts of a named cohort as JSON. Needs the annotations only, no images.

    Args:
        preset: all, luna16, mtcnn, mtmrnet, mtnet or benchmark.
        out: Folder for nodules.csv, annotations.csv and folds.csv. Default: nothing is written. Must not be a converted
            dataset, which has tables of the same names.
    """
    from preprocessing.lidc import preset_named

    chosen = preset_named(preset)
    target = None if out is None else output_folder(out, "--out")

    def action() -> int:
        from preprocessing.lidc import build_cohort, check_no_dataset, cohort_counts, write_cohort

        if target is not None:
            check_no_dataset(target)
        found = build_cohort(chosen)
        if target is not None:
            write_cohort(found, target)
        sys.stdout.write(json.dumps(cohort_counts(found), indent=2) + "\n")
        return 0

    return Job(action)


def verify(dataset: str) -> Job:
    """Check a converted dataset: every file against MANIFEST.sha256, every table against the files and the others.

    Prints one line per problem: missing, changed or extra files, and where tables disagree with the files. The exit
    status is 0 for a sound dataset, 1 where there are problems.

    Args:
        dataset: Folder that `convert` wrote.
    """
    from preprocessing.dataset import verify as verify_dataset

    folder = Path(path_text(dataset, "--dataset"))
    return Job(lambda: UNSOUND if verify_dataset(folder) else 0)


def phantom(out: str, patients: str | int | None = None, hard: str | None = None, workers: int = 1) -> Job:
    """Write synthetic CT series with the real geometry and contours of scans in the LIDC-IDRI database.

    The folders are laid out like a TCIA download, so `convert` reads them in the same way. Every series is labelled as
    synthetic. Patients of the hold-out are refused.

    Args:
        out: Folder to write; the --dicom_root of `convert`. A folder that holds a real download is refused.
        patients: Only these, separated by commas (LIDC-IDRI-0078, or 0078 or 78 for short), or `default` (ten small
            scans), `default30` (thirty), `none` (the hard cases alone).
        hard: Hard cases, separated by commas, or `all`; each adds a patient. `convert` handles flip, non_uniform_z,
            z_gap, two_scans, many_readers, no_nodules, off_scale, duplicate_slices, odd_numbers and compressed; it
            refuses missing_slice, differing_duplicates, no_rescale and truncated.
        workers: Number of processes; each needs about 0.4 GB of memory.
    """
    from preprocessing.phantom import NAMED_SETS, write_phantom

    target = output_folder(out, "--out")
    named = NAMED_SETS.get(patients.strip()) if isinstance(patients, str) else None
    chosen = patient_names(patients, "--patients") if named is None else named
    cases = names(hard, "--hard") or ()
    processes = whole_number(workers, "--workers", least=1)

    def action() -> int:
        write_phantom(out=target, patients=chosen, hard=cases, workers=processes)
        return 0

    return Job(action)


def candidates(
    dataset: str,
    table: str,
    subsets: str | None = None,
    annotations: str | None = None,
    excluded: str | None = None,
    patch_mm: float = 64.0,
    negatives_per_scan: int | str = 20,
    seed: int = 0,
) -> Job:
    """Cut LUNA16's candidates (nodule or not) out of a converted dataset, into its folder candidates/.

    Can be interrupted and run again: finished scans are kept. Candidates that are left out (their scan is not in the
    dataset, or in no subset) are counted in the log and listed in candidates/left_out.csv. The exit status is 1 if a
    CT could not be read and 2 for invalid input.

    Args:
        dataset: Folder that `convert` wrote.
        table: LUNA16's candidates_V2.csv or candidates.csv (seriesuid,coordX,coordY,coordZ,class).
        subsets: Which of LUNA16's ten subsets each series is in: the folder that holds subset0 to subset9, or a table
            seriesuid,subset. The candidates' table does not contain it.
        annotations: LUNA16's annotations.csv (seriesuid,coordX,coordY,coordZ,diameter_mm). Without it no free-response
            curve can be computed.
        excluded: LUNA16's annotations_excluded.csv: findings that are ignored in the evaluation.
        patch_mm: Largest edge, in mm, of the patch that a network looks at. VOIs have a margin around it.
        negatives_per_scan: Non-nodules of each scan that are written as VOIs for training, drawn at random, or `all`.
            Nodules are always written. An evaluation cuts all candidates from the whole CTs and needs no VOI.
        seed: Random seed of that selection.
    """
    from preprocessing.candidates import CandidateSettings, Tables, write_candidates

    folder = Path(path_text(dataset, "--dataset"))
    if subsets is None:
        raise InputError(
            "--subsets is missing: the candidates' table does not say which of LUNA16's ten subsets a scan is in; give "
            "the folder that holds subset0 to subset9, or a table with the columns seriesuid,subset"
        )
    paths = {"candidates": (table, "--table"), "subsets": (subsets, "--subsets")}
    paths |= {"annotations": (annotations, "--annotations"), "excluded": (excluded, "--excluded")}
    given = {name: Path(path_text(path, flag)) for name, (path, flag) in paths.items() if path is not None}
    # CandidateSettings refuses any other text.
    drawn = None if negatives_per_scan == "all" else cast(int, negatives_per_scan)
    settings = CandidateSettings(patch_mm=patch_mm, negatives_per_scan=drawn, seed=seed)
    return Job(lambda: SKIPPED if write_candidates(folder, Tables(**given), settings=settings) else 0)


COMMANDS = (convert, cohort, verify, candidates, phantom)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (the process's own arguments by default); returns the exit status."""
    return run({command.__name__: command for command in COMMANDS}, name="preprocessing", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
