"""Conversion on a Dask cluster: a worker that dies loses no scan, and an unfit cluster is reported in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.errors import InputError
from lung_nodule.runtime import cluster as cluster_module
from preprocessing.__main__ import main
from preprocessing.convert.conversion import convert, plan
from preprocessing.convert.layouts import locate
from preprocessing.convert.scheduler import on_cluster
from preprocessing.dataset import ConversionSettings, verify
from tests.preprocessing.conftest import SEVERAL, SMALL

distributed = pytest.importorskip("distributed", reason="Dask is an optional dependency: pip install .[cluster]")

SETTINGS = ConversionSettings(margin_mm=5.0)


def cluster(**options: object) -> distributed.LocalCluster:
    return distributed.LocalCluster(dashboard_address=None, **{"n_workers": 2, "threads_per_worker": 1} | options)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[distributed.LocalCluster]:
    """Two worker processes, each with a nanny that starts it again when it dies."""
    with cluster() as running:
        yield running


@pytest.mark.slow
def test_a_worker_killed_half_way_loses_no_scan(
    two_workers: distributed.LocalCluster, several_root: Path, tmp_path: Path
) -> None:
    out, killed = tmp_path / "out", []

    def kill_one_when_a_scan_is_done() -> None:
        while not list((out / "scans").glob("*_ct.nii.gz")):
            time.sleep(0.02)
        process = next(iter(two_workers.workers.values())).pid
        os.kill(process, signal.SIGKILL)
        killed.append(process)

    killer = threading.Thread(target=kill_one_when_a_scan_is_done, daemon=True)
    killer.start()
    address = two_workers.scheduler_address
    refused = convert(several_root, out, patients=None, workers=1, settings=SETTINGS, scheduler=address)
    killer.join(timeout=10)
    assert killed
    assert refused == []
    assert sorted(pd.read_csv(out / "scans.csv")["patient_id"]) == SEVERAL
    assert verify(out) == []


@pytest.mark.slow
def test_a_refusal_travels_and_a_relative_path_too(
    two_workers: distributed.LocalCluster, small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root" / "LIDC-IDRI-0254").mkdir(parents=True)
    (tmp_path / "root" / "LIDC-IDRI-0254" / "a.xml").write_text("<xml/>")
    (tmp_path / "root" / SMALL).symlink_to(small_root / SMALL)
    monkeypatch.chdir(tmp_path)
    arguments = ["convert", "--dicom_root", "root", "--out", "out", "--scheduler", two_workers.scheduler_address]
    assert main([*arguments, "--margin_mm", "5"]) == 1
    skipped = pd.read_csv(tmp_path / "out" / "skipped.csv")
    assert skipped["patient_id"].tolist() == ["LIDC-IDRI-0254"]
    assert "no file of its CT series" in skipped["reason"][0]
    assert pd.read_csv(tmp_path / "out" / "scans.csv")["patient_id"].tolist() == [SMALL]


def assert_refused(root: Path, out: Path, address: str, match: str) -> None:
    (task,) = plan(locate(root, [SMALL]), out, SETTINGS)
    with pytest.raises(InputError, match=match):
        list(on_cluster([task], address))


def test_a_folder_that_the_workers_do_not_see(
    two_workers: distributed.LocalCluster, small_root: Path, tmp_path: Path
) -> None:
    assert_refused(
        small_root, tmp_path / "absent", two_workers.scheduler_address, r"does not see .*absent: every machine must"
    )


def test_workers_that_would_share_a_process(small_root: Path, tmp_path: Path) -> None:
    with cluster(n_workers=1, threads_per_worker=2, processes=False) as threaded:
        assert_refused(
            small_root, tmp_path, threaded.scheduler_address, r"several threads .* start them with --nthreads 1"
        )


def test_a_cluster_without_workers(small_root: Path, tmp_path: Path) -> None:
    with cluster(n_workers=0) as empty:
        assert_refused(small_root, tmp_path, empty.scheduler_address, "has no worker")


def test_a_cluster_that_loses_its_workers(small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "POLL_S", 0.1)
    monkeypatch.setattr(cluster_module, "WITHOUT_WORKERS_S", 0.5)
    with cluster(n_workers=1, processes=False) as shrinking:
        monkeypatch.setattr(cluster_module, "_check_workers", lambda *arguments: shrinking.scale(0))
        assert_refused(
            small_root, tmp_path, shrinking.scheduler_address, "no worker is left at .* finished work is kept"
        )


def test_a_scheduler_that_goes(small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address_file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    command += ["--no-dashboard", "--scheduler-file", str(address_file)]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    monkeypatch.setattr(cluster_module, "_check_workers", lambda *arguments: threading.Timer(0.5, running.kill).start())
    try:
        while not (address_file.exists() and address_file.read_text().endswith("}")):
            assert running.poll() is None
            time.sleep(0.05)
        address = json.loads(address_file.read_text())["address"]
        assert_refused(small_root, tmp_path, address, "lost the scheduler at .*: finished work is kept")
    finally:
        running.kill()
        running.wait()


def test_a_refused_cluster_leaves_no_empty_folder(
    small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_S", 0.5)
    arguments = ["convert", "--dicom_root", str(small_root), "--out", str(tmp_path / "new" / "out")]
    assert main([*arguments, "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_no_scheduler_there(small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_S", 0.5)
    assert_refused(small_root, tmp_path, "tcp://127.0.0.1:9", "no Dask scheduler at tcp://127.0.0.1:9")
    assert_refused(small_root, tmp_path, "nonsense://x", "no Dask scheduler at nonsense://x")
