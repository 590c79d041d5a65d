"""Latency and throughput of every ensemble as NVIDIA's perf_analyzer measures them.

    python ci/benchmarks/perf_analyzer.py --repository out/repository [--ct scan.nii.gz --nodules nodules.csv]

perf_analyzer comes with the wheel of tritonclient 2.51.0 (later ones have it no longer), which is downloaded into a
temporary folder, or given as --wheel. It misses two libraries that nvidia-pytriton carries. Every model is asked about
one nodule, that of a CT or else a ball in a phantom of lung, with 1, 4 and 8 requests under way. Prints a table.
"""

from __future__ import annotations

import base64
import csv
import json
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

import fire
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's library, whatever is installed

from ci.benchmarks.nodule import DIAMETER, nodule
from lung_nodule.deployment.client import NoduleClient, voi_tensors
from lung_nodule.deployment.nodules.sources import read_nodule_source
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.errors import InputError
from lung_nodule.io import Voi, center_of, cut_voi, read_ct, write_json

VERSION = "2.51.0"
MISSING = ("libb64", "libcudart")
CONCURRENT = (1, 4, 8)
Row = dict[str, float | int | str]
logger = logging.getLogger(__name__)


def install(folder: Path, wheel: str | None) -> tuple[Path, dict[str, str]]:
    """Unpack perf_analyzer into a folder; return its path and the environment to run it in.

    Raises:
        InputError: the wheel cannot be downloaded, holds no program, or a library is missing.
    """
    if wheel is None:
        name = f"tritonclient=={VERSION}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"--dest={folder}", name]
        if subprocess.run(command, check=False).returncode:
            raise InputError(f"pip cannot download {name}: do it elsewhere and give the file as --wheel")
        wheel = str(next(folder.glob("*.whl")))
    with zipfile.ZipFile(wheel) as archive:
        inside = next((name for name in archive.namelist() if name.endswith("/bin/perf_analyzer")), None)
        if inside is None:
            raise InputError(f"{wheel} holds no perf_analyzer: give the one of tritonclient {VERSION}")
        program = Path(archive.extract(inside, folder))
    program.chmod(0o755)
    libraries = Path(str(distribution("nvidia-pytriton").locate_file("nvidia_pytriton.libs")))
    for name in MISSING:
        found = next(iter(libraries.glob(f"{name}-*.so.*")), None)
        if found is None:
            raise InputError(f"{libraries} holds no {name}: install the nvidia-pytriton of requirements.txt")
        soname = f"{name}.so.0d" if name == "libb64" else f"{name}.so.12"
        (folder / soname).symlink_to(found)
    return program, {**os.environ, "LD_LIBRARY_PATH": str(folder)}


def nodule_of(ct: str, nodules: str, edge_mm: float) -> tuple[Voi, float | None]:
    """The VOI of a table's first nodule, and its diameter where the table has one."""
    row = read_nodule_source(nodules, keep=None, series_of=ct).to_dict("records")[0]
    volume = read_ct(ct).volume.canonical()
    diameter = float(row.get("diameter_mm", float("nan")))
    return cut_voi(volume, row["nodule_id"], center_of(row), edge_mm=edge_mm), diameter if diameter > 0 else None


def input_data(tensors: Mapping[str, np.ndarray]) -> str:
    """The request in the JSON that perf_analyzer reads."""
    values = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    return json.dumps(
        {
            "data": [
                {
                    name: {"content": {"b64": base64.b64encode(value.tobytes()).decode()}, "shape": list(value.shape)}
                    for name, value in values.items()
                }
            ]
        }
    )


def measure(
    program: Path, environment: Mapping[str, str], folder: Path, model: str, url: str, options: list[str]
) -> list[Row]:
    """Measure one model; return a row for each number of concurrent requests."""
    rows: list[Row] = []
    for under_way in CONCURRENT:
        report = folder / f"{model}_{under_way}.csv"
        command = [
            str(program),
            "-m",
            model,
            "-u",
            url,
            f"--concurrency-range={under_way}",
            "-f",
            str(report),
            *options,
        ]
        done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr).splitlines()
            reason = next((line for line in said if "error" in line.lower()), "it does not say why")
            raise InputError(f"perf_analyzer ended with status {done.returncode}: {reason}")
        with report.open() as file:
            found = next(csv.DictReader(file))
        rows.append(
            {
                "model": model,
                "under_way": under_way,
                "per_s": float(found["Inferences/Second"]),
                "p50_ms": float(found["p50 latency"]) / 1000,
                "p95_ms": float(found["p95 latency"]) / 1000,
            }
        )
        logger.info("%s", rows[-1])
    return rows


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| model | under way | answers per s | p50, ms | p95, ms |", "|---|---|---|---|---|"]
    for row in rows:
        speed = f"{row['per_s']:.2f} | {row['p50_ms']:.0f} | {row['p95_ms']:.0f}"
        lines.append(f"| `{row['model']}` | {row['under_way']} | {speed} |")
    return "\n".join(lines)


def main(
    repository: str,
    ct: str | None = None,
    nodules: str | None = None,
    models: str | tuple[str, ...] | None = None,
    requests: int = 24,
    protocol: str = "grpc",
    wheel: str | None = None,
    out: str | None = None,
) -> None:
    """Measure and print.

    Args:
        repository: model repository that ``export`` wrote.
        ct: CT whose first nodule in --nodules is taken. Default: a phantom.
        nodules: table of nodules as for ``python -m lung_nodule predict``.
        models: model names, separated by commas. Default: every model that takes a VOI.
        requests: number of requests of each measurement.
        protocol: grpc or http.
        wheel: wheel of tritonclient 2.51.0. Default: it is downloaded.
        out: JSON file to write.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = (models,) if isinstance(models, str) else models  # Fire reads "a,b" as a tuple
    names = given or sorted(path.parent.name for path in Path(repository).glob("*/config.pbtxt"))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary, TritonServer(repository) as server:
        folder = Path(temporary)
        program, environment = install(folder, wheel)
        url = server.grpc_url if protocol == "grpc" else server.http_url
        for name in names:
            with NoduleClient(server.grpc_url, model=name) as client:
                try:
                    served = client.describe()
                except InputError:
                    if models:
                        raise
                    continue  # a net, or a step of an ensemble
            voi, diameter = nodule_of(ct, nodules, served.edge_mm()) if ct and nodules else (nodule(), DIAMETER)
            (folder / "data.json").write_text(
                input_data(voi_tensors(voi, diameter if "DIAMETER" in served.inputs else None))
            )
            options = ["-i", protocol, f"--input-data={folder / 'data.json'}", f"--request-count={requests}"]
            rows += measure(program, environment, folder, name, url, options)
    print(table(rows))
    if out is not None:
        write_json(out, rows)


if __name__ == "__main__":
    fire.Fire(main)
