"""Command lines: ``python -m lung_nodule COMMAND``, such as ``export``, ``serve`` and ``predict``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lung_nodule.errors import InputError
from lung_nodule.runtime.command_line import (
    Job,
    fraction,
    output_folder,
    path_text,
    run,
    sentence,
    whole_number,
    yes_or_no,
)

logger = logging.getLogger(__name__)
CRASHED = 1


def export(
    bundle: str, repository: str, checkpoint: str | None = None, engine: str = "onnxruntime", precision: str = "fp32"
) -> Job:
    """Export a trained bundle to ONNX and write the model repository that Triton serves.

    Every exported net is compared with torch on noise and on lung-like images; a difference above 1e-4 stops the
    export. In half precision, or with OpenVINO, it is also compared with the net in float32, on two lung-like images;
    above the tolerance in triton_repo/README.md the export stops. What was measured, and what a client needs to know,
    are written into export_<bundle>.json of the repository. The models of other bundles in the repository stay.

    Args:
        bundle: The bundle's folder, such as bundles/mtnet.
        repository: The folder to write; it is written completely or not at all.
        checkpoint: The weights, with their side file. Default: those that the bundle's inference takes,
            models/model.pt of the bundle or else out/<bundle>/model.pt.
        engine: onnxruntime; openvino, for a CPU; or tensorrt, whose plans are then built on the machine with the GPU
            (build_plans).
        precision: Precision of the nets' weights and arithmetic: fp32, fp16 (onnxruntime, tensorrt) or bf16
            (openvino, tensorrt).
    """
    source, target = path_text(bundle, "--bundle"), path_text(repository, "--repository")

    def action() -> int:
        from lung_nodule.deployment.repository.export import export_bundle

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # remove the unfinished copy, as after Ctrl-C
        export_bundle(source, target, checkpoint=checkpoint, engine=engine, precision=precision)
        return 0

    return Job(action)


def build_plans(repository: str, tf32: bool = False) -> Job:
    """Build the TensorRT plans of a model repository and test each on a canary before it is kept.

    The same as build_plans.py in the repository, which needs neither this library nor torch. Needs TensorRT and the GPU
    that will serve.

    Args:
        repository: The folder that export --engine tensorrt wrote.
        tf32: Compute float32 as TF32: faster; 10-bit mantissa, as float16.
    """
    folder = Path(path_text(repository, "--repository"))

    def action() -> int:
        from lung_nodule.deployment.repository import build_plans as plans

        try:
            logger.info("%d plans built", plans.build_plans(folder, tf32=tf32))
        except plans.PlanError as error:
            raise InputError(str(error)) from None
        return 0

    return Job(action)


def check_plans(repository: str) -> Job:
    """Check that the TensorRT plans of a model repository fit this machine's TensorRT, GPU and the ONNX files.

    Args:
        repository: The folder for which build_plans has built the plans.
    """
    folder = Path(path_text(repository, "--repository"))

    def action() -> int:
        from lung_nodule.deployment.repository import build_plans as plans

        try:
            logger.info("%d plans fit this machine", plans.check_plans(folder))
        except plans.PlanError as error:
            raise InputError(str(error)) from None
        return 0

    return Job(action)


def roll_back(repository: str) -> Job:
    """Swap a model repository with its version before the last export; a second call undoes the swap.

    A running server keeps the models that it has loaded: restart it.

    Args:
        repository: The folder that export wrote; the earlier version is next to it, as <repository>.previous.
    """
    folder = path_text(repository, "--repository")

    def action() -> int:
        from lung_nodule.deployment.repository import model_repository

        model_repository.roll_back(folder)
        return 0

    return Job(action)


def serve(
    repository: str,
    http_port: int = 8000,
    grpc_port: int = 8001,
    metrics_port: int = 8002,
    log_file: str | None = None,
    address: str = "127.0.0.1",
    guard: bool = True,
    config_name: str | None = None,
) -> Job:
    """Serve a model repository with NVIDIA Triton on this machine until Ctrl-C or SIGTERM.

    "ready" is logged when every ensemble, and every stand-alone net, has answered an inference. The exit status is 0
    after Ctrl-C or SIGTERM, 1 when the server ended by itself, 2 when it could not start.

    Args:
        repository: The folder that export wrote.
        http_port: Port of the HTTP endpoint; 0 chooses a free one.
        grpc_port: Port of the gRPC endpoint, the one predict talks to by default; 0 chooses a free one.
        metrics_port: Port of the Prometheus metrics; 0 chooses a free one.
        log_file: File for the server's own log; without it the log is deleted when the server stops.
        address: Address to bind. Any address other than 127.0.0.1 exposes the server without encryption or password:
            put a reverse proxy in front (triton_repo/README.md).
        guard: Run a gRPC proxy in front; without it a client that disconnects can crash this version of Triton.
        config_name: Use configs/<name>.pbtxt of each net that has one, such as ort_tensorrt, which without a GPU runs
            ONNX Runtime alone.
    """
    folder = path_text(repository, "--repository")
    given = {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    ports = {name: whole_number(port, f"--{name}", least=0) for name, port in given.items()}

    def action() -> int:
        from lung_nodule.deployment.server.server import ServerEndedError, TritonServer, serve_until_interrupted

        try:
            server = TritonServer(
                folder, log_file=log_file, address=address, guard=guard, config_name=config_name, **ports
            )
            serve_until_interrupted(server)
        except ServerEndedError as error:
            logger.error("lung_nodule: %s", error)
            return CRASHED
        return 0

    return Job(action)


def predict(
    ct: str | None = None,
    nodules: str | None = None,
    out: str | None = None,
    url: str = "localhost:8001",
    model: str | None = None,
    patient_id: str | None = None,
    series_uid: str | None = None,
    threshold: float = 0.5,
    note: str = "",
    dicom_results: bool = True,
    worklist: str | None = None,
    explain: bool = False,
    retries: int = 8,
    shared_memory: bool | None = None,
) -> Job:
    """Predict the nodules of one or many CTs with a running server; write masks, a table and a report.

    Writes into the output folder: masks/<nodule_id>.nii.gz and nodules.nii.gz on the CT's own grid, nodules.csv with
    probabilities, volumes and diameters, and report.html; for a DICOM series also nodules_seg.dcm, a segmentation, and
    nodules_sr.dcm, a structured report. Research use only, not for diagnosis. With a worklist, the exit status is 1
    if a case failed; running the same command again predicts only the unfinished cases.

    Args:
        ct: A NIfTI file in HU, or the folder or zip of a DICOM series.
        nodules: A CSV or Parquet table with nodule_id, center_x_ras, center_y_ras, center_z_ras (mm), and, if known,
            diameter_mm (the columns patient_id and series_uid, if present, identify the scan); or a NIfTI label map, in
            which every connected component of a label is a nodule; or, for a DICOM series, its DICOM segmentation or
            structured report (TID 1500); or the JSON of boxes that MONAI's lung_nodule_ct_detection writes.
        out: The folder to write to.
        url: host:port of the server's gRPC endpoint, or http://host:port of its HTTP endpoint; grpcs:// or https:// for
            a proxy with TLS, whose access token is taken from the environment variable LUNG_NODULE_TOKEN.
        model: Name of a served model. Default: nodule_panel, which runs every method, or else the server's only model.
        patient_id: Use only this patient's rows of the table (for LIDC-IDRI also as 0306 or 306).
        series_uid: Use only this series' rows of the table, and this series of a folder or zip that holds several.
        threshold: Minimum score of a detection.
        note: A line for the top of the report, such as that the CT is synthetic.
        dicom_results: Whether to write nodules_seg.dcm and nodules_sr.dcm for a DICOM series.
        worklist: In place of ct and nodules, a CSV (or a JSON list) with the columns ct and nodules and, optionally,
            name, patient_id and series_uid; paths are relative to it. Each case gets a folder of its name in out, and
            worklist.csv there lists the outcomes.
        explain: Write occlusion maps: up to 125 further requests per nodule, each with one cube of the nodule or its
            surroundings replaced by lung. The change of the malignancy probability is written to
            occlusion/<nodule_id>.nii.gz and shown as an optional map in the report.
        retries: Retries per request once the server has answered at least once; eight wait a minute in all.
        shared_memory: Whether to send VOIs through shared memory. Default: True for a server on this machine.
    """
    connection = {
        "retries": whole_number(retries, "--retries", least=0),
        "shared_memory": None if shared_memory is None else yes_or_no(shared_memory, "--shared_memory"),
        "token": os.environ.get("LUNG_NODULE_TOKEN"),
    }
    given = {"ct": ct, "nodules": nodules} if worklist is None else {"worklist": worklist}
    paths = {key: path_text("" if path is None else path, f"--{key}") for key, path in given.items()}
    folder = output_folder("" if out is None else out, "--out")
    chosen = {
        "threshold": fraction(threshold, "--threshold"),
        "note": sentence(note, "--note"),
        "dicom_results": yes_or_no(dicom_results, "--dicom_results"),
        "explain": yes_or_no(explain, "--explain"),
    }
    of_one = {"ct": ct, "nodules": nodules, "patient_id": patient_id, "series_uid": series_uid}
    if worklist is not None and any(value is not None for value in of_one.values()):
        raise InputError(f"--worklist names each case's {', '.join(of_one)} in its columns: leave these flags out")

    def action() -> int:
        from lung_nodule.deployment.prediction.case import Case, PredictionOptions
        from lung_nodule.deployment.prediction.predict import predict_ct
        from lung_nodule.deployment.prediction.predict_worklist import predict_worklist

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # wait for running requests, as after Ctrl-C
        server, options = {"url": url, "model": model, "connection": connection}, PredictionOptions(**chosen)
        if worklist is not None:
            return 1 if predict_worklist(worklist=paths["worklist"], out=folder, **server, options=options) else 0
        case = Case(Path(paths["ct"]), Path(paths["nodules"]), patient_id, series_uid, options)
        predict_ct(case, folder, **server)
        return 0

    return Job(action)


def benchmark(
    dataset_dir: str,
    out: str,
    bundles: str | None = None,
    seeds: int | None = None,
    folds: str | int | None = None,
    processes: int = 1,
    scheduler: str | None = None,
    options: str | None = None,
    evaluate_only: bool = False,
    weights: str | None = None,
    fit_dir: str | None = None,
    min_readers: int | None = None,
    max_slice_thickness_mm: float | None = None,
) -> Job:
    """Train and test bundles by patient-grouped cross-validation and compare them with baselines without a network.

    Writes benchmark.md, benchmark.json, predictions.csv (every nodule, every method) and pictures. Finished
    trainings are kept, so the same command resumes a stopped run. The exit status is 1 if a training or an evaluation
    failed; the tables then hold the others.

    Args:
        dataset_dir: Dataset written by `python -m preprocessing convert`.
        out: The folder to write to.
        bundles: Bundle names, separated by commas. Default: all.
        seeds: Number of trainings per fold, with the seeds 0, 1, ... Default: 3.
        folds: Number of test folds, starting at 0; or their numbers, separated by commas ("3," for one). Default: 5.
        processes: Number of parallel trainings on this machine, each with its share of the cores.
        scheduler: tcp://host:port of a Dask scheduler, whose workers train instead.
        options: JSON file with additional training options by bundle, such as {"mtcnn": {"max_epochs": 5}}.
        evaluate_only: Do not train; test given weights on all nodules, the hold-out included. Patients that were seen
            in training are refused.
        weights: The folder of <bundle>/model.pt for evaluate_only. Default: the bundles' own in bundles/. In the output
            folder of a cross-validation, each fold is tested with its own model of seed 0.
        fit_dir: With evaluate_only, a dataset of other patients on which the baselines are fitted.
        min_readers: With evaluate_only, minimum number of readers per nodule (default 3).
        max_slice_thickness_mm: With evaluate_only, maximum slice thickness in mm (default 2.5).
    """
    from lung_nodule.benchmark.arguments import plan_benchmark

    return Job(
        plan_benchmark(
            dataset_dir=dataset_dir,
            out=out,
            bundles=bundles,
            seeds=seeds,
            folds=folds,
            processes=processes,
            scheduler=scheduler,
            options=options,
            evaluate_only=evaluate_only,
            weights=weights,
            fit_dir=fit_dir,
            min_readers=min_readers,
            max_slice_thickness_mm=max_slice_thickness_mm,
        )
    )


COMMANDS = (export, build_plans, check_plans, roll_back, serve, predict, benchmark)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` by default) and return the exit status."""
    return run({command.__name__: command for command in COMMANDS}, name="lung_nodule", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
