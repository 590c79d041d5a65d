"""Command lines: ``python -m lung_nodule export | serve | predict | check_plans``."""

import logging
import sys

import fire

from lung_nodule.io import InputError


def export(bundle: str, repository: str, checkpoint: str | None = None, engine: str = "onnxruntime") -> None:
    """Export a trained bundle to ONNX (or TensorRT) and write the model repository that Triton serves.

    Every exported net is compared with torch on noise and on lung-like slices; a difference above 1e-4 stops the
    export. The errors measured are written into export_<bundle>.json of the repository.

    Args:
        bundle: the bundle's folder, such as bundles/mtnet.
        repository: the folder to write; it appears whole or not at all.
        checkpoint: the weights, with their side file; the bundle's models/model.pt when not given.
        engine: onnxruntime, or tensorrt to build a plan beside each ONNX file (needs TensorRT and its GPU).
    """
    from lung_nodule.deployment.export import export_bundle

    export_bundle(bundle, repository, checkpoint=checkpoint, engine=engine)


def serve(
    repository: str,
    http_port: int = 8000,
    grpc_port: int = 8001,
    metrics_port: int = 8002,
    log_file: str | None = None,
) -> None:
    """Serve a model repository with NVIDIA Triton on this machine (127.0.0.1) until Ctrl-C or SIGTERM.

    "ready" is logged when every ensemble has answered an inference.

    Args:
        repository: the folder that export wrote.
        http_port: port of the HTTP endpoint; 0 chooses a free one.
        grpc_port: port of the gRPC endpoint, the one predict talks to; 0 chooses a free one.
        metrics_port: port of the Prometheus metrics; 0 chooses a free one.
        log_file: keeps the server's own log; without it the log goes when the server stops.
    """
    from lung_nodule.deployment.server import TritonServer, serve_until_interrupted

    ports = {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    serve_until_interrupted(TritonServer(repository, log_file=log_file, **ports))


def predict(
    ct: str,
    nodules: str,
    out: str,
    url: str = "localhost:8001",
    model: str = "mtnet",
    patient_id: str | None = None,
    series_uid: str | None = None,
) -> None:
    """Ask a running server about the nodules of a CT; write masks, a table and a report.

    Writes into the output folder: masks/<nodule_id>.nii.gz and nodules.nii.gz on the CT's own grid, nodules.csv with
    probabilities, volumes and diameters, and report.html. Research use only, not for diagnosis.

    Args:
        ct: a NIfTI file in HU, or the folder of one DICOM series.
        nodules: a CSV with nodule_id, center_x_ras, center_y_ras, center_z_ras (mm); other columns are not looked at.
        out: the folder to write to.
        url: host:port of the server's gRPC endpoint.
        model: name of the served ensemble.
        patient_id: takes only this patient's rows of the table.
        series_uid: takes only this series' rows of the table.
    """
    from lung_nodule.deployment.predict import predict_ct

    keep = {"patient_id": patient_id, "series_uid": series_uid}
    predict_ct(ct=ct, nodules=nodules, out=out, url=url, model=model, keep=keep)


def check_plans(repository: str) -> None:
    """Check that the TensorRT plans of a model repository fit this machine's TensorRT, GPU and the ONNX files.

    Args:
        repository: the folder that export --engine tensorrt wrote.
    """
    from pathlib import Path

    from lung_nodule.deployment.tensorrt_engine import check_plans as check

    logging.getLogger(__name__).info("%d plans fit this machine", check(Path(repository)))


def main() -> int:
    """Run the command line; exit status 2 and one line for wrong input, 130 for Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        fire.Fire(
            {"export": export, "serve": serve, "predict": predict, "check_plans": check_plans}, name="lung_nodule"
        )
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
