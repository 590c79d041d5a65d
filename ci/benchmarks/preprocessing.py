"""Conversion compared with a plain pylidc script and with reading alone; prints JSON.

    python ci/benchmarks/preprocessing.py [--dicom_root DIR] [--patient LIDC-IDRI-0006] [--repeats 5] [--scans 1,4,8]

Without --dicom_root a phantom is drawn and converted.

Every measurement is a process of its own; the variants take turns, so that other load on the machine affects all.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import fire

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[0] = str(REPOSITORY)  # this folder's own preprocessing.py would hide the package
REAL_PATIENT = "LIDC-IDRI-0006"
PHANTOM_ROOT, PHANTOM_PATIENT = REPOSITORY / "data" / "phantom_dicom", "LIDC-IDRI-0078"
CPU = "cpu"
Stages = dict[str, float]


class Clock:
    """Seconds between marks, and the processor's seconds since the first of them."""

    def __init__(self) -> None:
        self.stages: Stages = {CPU: 0.0}
        self.started_cpu = time.process_time()
        self.last = time.perf_counter()

    def mark(self, stage: str) -> None:
        """Note the time since the last mark."""
        now = time.perf_counter()
        self.stages[stage] = now - self.last
        self.stages[CPU] = time.process_time() - self.started_cpu
        self.last = now


def plain_pylidc(root: Path, patient: str, out: Path) -> Stages:
    """Plain pylidc script: volume, clusters, 50 % consensus, two files; axes and affine as pylidc gives them."""
    import nibabel
    import numpy as np

    from preprocessing.lidc.pylidc_compat import import_pylidc

    pylidc = import_pylidc()
    settings = vars(sys.modules["pylidc.Scan"])  # instead of ~/.pylidcrc
    settings["_get_dicom_file_path_from_config_file"] = lambda: str(root)
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.patient_id == patient).first()
    clock = Clock()
    volume = scan.to_volume(verbose=False)
    clock.mark("read")
    labels = np.zeros(volume.shape, np.uint8)
    for number, cluster in enumerate(scan.cluster_annotations(verbose=False), start=1):
        mask, box, _ = sys.modules["pylidc.utils"].consensus(cluster, clevel=0.5)
        labels[box][mask] = number
    clock.mark("masks")
    affine = np.diag([scan.pixel_spacing, scan.pixel_spacing, scan.slice_spacing, 1])
    nibabel.save(nibabel.Nifti1Image(volume, affine), out / "ct.nii.gz")
    clock.mark("write_ct")
    nibabel.save(nibabel.Nifti1Image(labels, affine), out / "nodules.nii.gz")
    clock.mark("write_labels")
    return clock.stages


def simpleitk_read(root: Path, patient: str, out: Path) -> Stages:
    """Lower bound: SimpleITK reads the same series and writes nothing."""
    import SimpleITK

    from preprocessing.lidc import database

    scan = database.scans([patient])[0]
    folder = next(path.parent for path in (root / patient).rglob("*.dcm") if _is_of(path, scan.series_uid))
    clock = Clock()
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), scan.series_uid))
    reader.Execute()
    clock.mark("read")
    return clock.stages


def _is_of(path: Path, series_uid: str) -> bool:
    import pydicom

    return pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID == series_uid


def two_files(root: Path, patient: str, out: Path) -> Stages:
    """The CT and the label map as the conversion writes them."""
    from lung_nodule.io import Volume, read_series, write_nifti
    from preprocessing.convert.layouts import locate
    from preprocessing.convert.sources import series_of
    from preprocessing.lidc import database
    from preprocessing.lidc.nodule_volume import build_nodule, label_map

    scan = database.scans([patient])[0]
    sources = locate(root, [patient]).sources[scan.name]
    database.nodules(scan)  # the first call lists all contours of the database, once in a process
    clock = Clock()
    series = read_series(series_of(scan, sources), complete=True)
    clock.mark("read")
    nodules = [build_nodule(nodule, series, level=0.5) for nodule in database.nodules(scan)]
    labels = label_map(nodules, series.volume.shape)
    clock.mark("masks")
    write_nifti(out / "ct.nii.gz", series.volume)
    clock.mark("write_ct")
    write_nifti(out / "nodules.nii.gz", Volume(labels, series.volume.affine))
    clock.mark("write_labels")
    return clock.stages


def whole_scan(root: Path, patient: str, out: Path) -> Stages:
    """Complete conversion of a scan: the two files, VOIs, picture, checksums, record."""
    from preprocessing.convert import scan_task
    from preprocessing.convert.conversion import plan
    from preprocessing.convert.layouts import locate
    from preprocessing.dataset import ConversionSettings
    from preprocessing.lidc import database

    (task, *_) = plan(locate(root, [patient]), out, ConversionSettings())
    database.nodules(task.scan)  # as above
    spent = {"vois": 0.0, "picture": 0.0, "checksums": 0.0}
    write = scan_task.write_nifti
    write_voi = _timed(write, spent, "vois")
    scan_task.write_nifti = lambda path, *rest: (write_voi if path.parent.name == "voi" else write)(path, *rest)
    scan_task.write_picture = _timed(scan_task.write_picture, spent, "picture")
    scan_task.fingerprint = _timed(scan_task.fingerprint, spent, "checksums")
    clock = Clock()
    refused = scan_task.convert_scan(task)
    clock.mark("all")
    if refused is not None:
        raise SystemExit(f"{refused.name}: {refused.reason}")
    rest = clock.stages.pop("all") - sum(spent.values())
    return {**clock.stages, "rest": rest, **spent}


def _timed(function: Callable[..., object], spent: Stages, name: str) -> Callable[..., object]:
    def timed(*arguments: object, **options: object) -> object:
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.perf_counter() - started

    return timed


def many_scans(root: Path, patients: str, out: Path) -> Stages:
    """A whole conversion with one worker: several scans in one process, and the tables."""
    from preprocessing.convert import convert
    from preprocessing.dataset import ConversionSettings

    clock = Clock()
    convert(root, out, patients=patients.split("+"), workers=1, settings=ConversionSettings())
    clock.mark("all")
    return clock.stages


VARIANTS = {variant.__name__: variant for variant in (plain_pylidc, simpleitk_read, two_files, whole_scan, many_scans)}


def measure(variant: str, root: str, patient: str) -> None:
    """Run one measurement in this process and print JSON."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        stages = VARIANTS[variant](Path(root), patient, Path(out))
        spent = time.perf_counter() - started
    cpu = stages.pop(CPU)
    seconds = sum(stages.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    figures = {"seconds": seconds, "cpu_s": cpu, "start_s": spent - seconds, "peak_gib": peak, "stages": stages}
    print(json.dumps(figures))


def _in_a_process(variant: str, root: Path, patient: str) -> dict:
    # One worker each. Ours writes the compressed files on up to four threads of it: the processor's time counts them.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    command = [sys.executable, __file__, "measure", variant, str(root), patient]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


def _summary(runs: list[dict]) -> dict:
    """Medians over the repetitions; the peak is the largest."""
    stages = {name: _median(run["stages"][name] for run in runs) for name in runs[0]["stages"]}
    return {
        "seconds": _median(run["seconds"] for run in runs),
        "fastest_s": round(min(run["seconds"] for run in runs), 3),
        "slowest_s": round(max(run["seconds"] for run in runs), 3),
        "cpu_s": _median(run["cpu_s"] for run in runs),
        "start_s": _median(run["start_s"] for run in runs),
        "peak_gib": round(max(run["peak_gib"] for run in runs), 3),
        "stages": stages,
    }


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 3)


def compare(root: Path, patient: str, repeats: int) -> dict:
    """The variants on one scan, and their ratios."""
    one_scan = [name for name in VARIANTS if name != "many_scans"]
    runs: dict[str, list[dict]] = {name: [] for name in one_scan}
    for _ in range(repeats):
        for name in one_scan:
            runs[name].append(_in_a_process(name, root, patient))
    result = {name: _summary(of_variant) for name, of_variant in runs.items()}
    ours, plain, floor = (result[name]["seconds"] for name in ("two_files", "plain_pylidc", "simpleitk_read"))
    paired = [a["seconds"] / b["seconds"] for a, b in zip(runs["plain_pylidc"], runs["two_files"], strict=True)]
    ratios = {
        "plain_pylidc / two_files": round(plain / ours, 2),
        "plain_pylidc / two_files, side by side": _median(paired),
        "plain_pylidc / two_files, processor time": round(
            result["plain_pylidc"]["cpu_s"] / result["two_files"]["cpu_s"], 2
        ),
        "two_files / simpleitk_read": round(ours / floor, 2),
        "plain_pylidc / whole_scan": round(plain / result["whole_scan"]["seconds"], 2),
    }
    return {"scan": patient, "repeats": repeats, "variants": result, "ratios": ratios}


def growth(root: Path, counts: list[int]) -> list[dict]:
    """Seconds per scan and per slice, and peak memory, of one worker that converts more and more scans."""
    from preprocessing.lidc import database
    from preprocessing.phantom import DEFAULT_30, DEFAULT_PATIENTS, write_phantom

    patients = [*DEFAULT_PATIENTS, *sorted(set(DEFAULT_30) - set(DEFAULT_PATIENTS))][: max(counts)]
    write_phantom(out=root, patients=patients, workers=1)
    rows = []
    for count in counts:
        run = _in_a_process("many_scans", root, "+".join(patients[:count]))
        scans = database.scans(patients[:count])
        slices = sum(len(scan.slice_positions) for scan in scans)
        rows.append(
            {
                "scans": len(scans),
                "seconds_per_scan": round(run["seconds"] / len(scans), 3),
                "cpu_s_per_scan": round(run["cpu_s"] / len(scans), 3),
                "ms_per_slice": round(1000 * run["seconds"] / slices, 2),
                "peak_gib": round(run["peak_gib"], 3),
            }
        )
    return rows


def benchmark(
    dicom_root: str | None = None,
    patient: str | None = None,
    repeats: int = 5,
    scans: tuple[int, ...] = (1, 4, 8),
    phantom_root: str = str(PHANTOM_ROOT),
) -> None:
    """Time the conversion and print JSON.

    Args:
        dicom_root: Folder of a TCIA download. Default: a phantom, drawn where it is missing.
        patient: Patient of the download with one scan. Default: LIDC-IDRI-0006.
        repeats: How often each variant is measured.
        scans: Numbers of phantom scans, 30 at most, for the growth with the number of scans, separated by commas.
        phantom_root: Folder of the phantom's DICOM; drawn where it is missing.
    """
    from preprocessing.phantom import write_phantom

    if dicom_root:
        root, chosen = Path(dicom_root), patient or REAL_PATIENT
        if not (root / chosen).is_dir():
            sys.exit(f"no folder {root / chosen}: give --dicom_root and --patient of a TCIA download")
    elif patient:
        sys.exit(f"--patient {patient} needs --dicom_root, the folder of a TCIA download")
    else:
        root, chosen = Path(phantom_root), PHANTOM_PATIENT
        write_phantom(out=root, patients=[chosen], workers=1)
    counts = sorted({scans} if isinstance(scans, int) else set(scans))
    if counts and not 1 <= counts[0] <= counts[-1] <= 30:
        sys.exit(f"--scans takes numbers from 1 to 30, got {scans}")
    result = {"cores": os.cpu_count(), "load_at_start": round(os.getloadavg()[0], 1)}
    result |= compare(root, chosen, repeats)
    result["growth"] = growth(Path(phantom_root), counts) if counts else []
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(*sys.argv[2:])
    else:
        fire.Fire(benchmark)
