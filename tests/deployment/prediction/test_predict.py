"""The predict command on synthetic CTs against the real server."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from lung_nodule.core import nodule_mask
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.connection.voi_memory import PREFIX
from lung_nodule.deployment.dicom.results import REPORT
from lung_nodule.deployment.prediction.case import Case
from lung_nodule.deployment.prediction.predict import predict_ct
from lung_nodule.deployment.server.canary import ask_canary
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.errors import InputError
from lung_nodule.io import Volume, cut_voi, file_sha256, read_nifti, write_nifti
from tests.deployment.hand_made import FRAME
from tests.io.dicom_series import SeriesPlan, write_series
from tests.user_ct import write_centers, write_dicom

ROOT = Path(__file__).resolve().parents[3]
SHAPE = (72, 64, 30)
CENTERS = np.array([[-20.0, -24.0, 150.0], [-31.5, -30.0, 131.0]])
LPS = np.array([[-0.8, 0, 0, 0], [0, -0.9, 0, 0], [0, 0, 2.0, 110.0], [0, 0, 0, 1.0]])
FLIPPED = np.array([[0, 0.9, 0, -57.0], [0.8, 0, 0, -57.0], [0, 0, -2.0, 168.0], [0, 0, 0, 1.0]])


def _table(path: Path, centers: np.ndarray = CENTERS, **columns: object) -> Path:
    table = pd.DataFrame(centers, columns=["center_x_ras", "center_y_ras", "center_z_ras"])
    table.insert(0, "nodule_id", [f"nodule_{index}" for index in range(len(table))])
    table.assign(**columns).to_csv(path, index=False)
    return path


@pytest.fixture(params=[LPS, FLIPPED], ids=["lps", "flipped"])
def ct_file(request: pytest.FixtureRequest, ball_ct, tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    write_nifti(path, ball_ct(SHAPE, request.param, CENTERS[0], 7.0))
    return path


@pytest.fixture
def lps_file(ball_ct, tmp_path: Path) -> Path:
    """Where it does not matter how the CT is stored."""
    path = tmp_path / "scan.nii.gz"
    write_nifti(path, ball_ct(SHAPE, LPS, CENTERS[0], 7.0))
    return path


@pytest.mark.slow
def test_masks_stand_at_the_nodules_on_the_cts_own_grid(server: TritonServer, ct_file: Path, tmp_path: Path) -> None:
    out, ct = tmp_path / "out", read_nifti(ct_file)
    predict_ct(Case(ct_file, _table(tmp_path / "n.csv")), out, url=server.grpc_url)
    table = pd.read_csv(out / "nodules.csv")
    labels = read_nifti(out / "nodules.nii.gz")
    assert labels.data.dtype == np.uint16
    canonical = ct.canonical()
    with NoduleClient(server.grpc_url) as client:
        vois = [cut_voi(canonical, row.nodule_id, CENTERS[row.Index], edge_mm=80.0) for row in table.itertuples()]
        answers = dict(client.ask(vois))
    for index, (row, voi) in enumerate(zip(table.itertuples(), vois, strict=True)):
        mask = read_nifti(out / row.mask)
        assert mask.data.dtype == np.uint8
        assert mask.data.shape == ct.data.shape
        np.testing.assert_allclose(mask.affine, ct.affine, atol=1e-5)
        kept = nodule_mask(answers[index].maps["fine"], voi.center, voi.volume.spacing)
        assert kept.any()
        wanted = np.sort(voi.volume.to_world(np.argwhere(kept)), axis=0)
        found = np.sort(mask.to_world(np.argwhere(mask.data)), axis=0)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        assert row.volume_mm3 == pytest.approx(mask.data.sum() * np.prod(ct.spacing), rel=1e-3)
        assert row.malignancy_prob == pytest.approx(answers[index].malignancy, abs=1e-5)
        assert not (labels.data[mask.data == 0] == row.label).any()
    assert "Research use only" in (out / "report.html").read_text()
    assert nibabel.load(out / "nodules.nii.gz").header.get_xyzt_units()[0] == "mm"


@pytest.mark.slow
def test_the_manifest_names_weights_and_inputs(
    server: TritonServer, lps_file: Path, bundle: Path, tmp_path: Path
) -> None:
    nodules = _table(tmp_path / "n.csv")
    predict_ct(Case(lps_file, nodules), tmp_path / "out", url=server.grpc_url)
    written = json.loads((tmp_path / "out" / "nodules.json").read_text())
    assert written["model"]["weights_sha256"] == [file_sha256(bundle / "models" / "model.pt")]
    assert written["inputs"]["ct"] == {"name": "scan.nii.gz", "sha256": file_sha256(lps_file)}
    assert written["inputs"]["nodules"] == {"name": "n.csv", "sha256": file_sha256(nodules)}
    table = pd.read_csv(tmp_path / "out" / "nodules.csv")
    assert [nodule["nodule_id"] for nodule in written["nodules"]] == table["nodule_id"].tolist()
    scores = [nodule["malignancy_prob"] for nodule in written["nodules"]]
    np.testing.assert_allclose(scores, table["malignancy_prob"], rtol=1e-6)


@pytest.mark.slow
def test_the_answer_does_not_depend_on_how_the_ct_is_stored(server: TritonServer, ball_ct, tmp_path: Path) -> None:
    """The same voxels in another order, or as a DICOM series: same probability, same masks in the world."""
    ct = ball_ct(SHAPE, LPS, CENTERS[0], 7.0)
    write_nifti(tmp_path / "a.nii.gz", ct)
    turned = Volume(np.ascontiguousarray(ct.data[::-1, :, ::-1].transpose(1, 0, 2)), _turned(LPS))
    write_nifti(tmp_path / "b.nii.gz", turned)
    corners = [(0.0, 0.0, 110.0 + 2.0 * k) for k in range(SHAPE[2])]
    plan = SeriesPlan(corners, stored=lambda k: (ct.data[:, :, k].T + 1024).astype(np.int16), pixel_spacing=(0.9, 0.8))
    write_series(tmp_path / "dicom", plan)
    results = []
    for source in ("a.nii.gz", "b.nii.gz", "dicom"):
        out, nodules = tmp_path / f"of_{source}", _table(tmp_path / "n.csv")
        predict_ct(Case(tmp_path / source, nodules), out, url=server.grpc_url)
        results.append(pd.read_csv(out / "nodules.csv"))
    stored = [(c[2] - LPS[2, 3]) / LPS[2, 2] for c in CENTERS]
    numbers = [results[0].pop("slice_index"), results[1].pop("slice_index"), results[2].pop("instance_number")]
    assert np.array(numbers).tolist() == [[round(z) + 1 for z in stored], [SHAPE[2] - round(z) for z in stored],
                                          [round(z) + 1 for z in stored]]  # fmt: skip
    for other in results[1:]:
        pd.testing.assert_frame_equal(other, results[0], atol=1e-4)


def _turned(affine: np.ndarray) -> np.ndarray:
    """Affine of ``data[::-1, :, ::-1].transpose(1, 0, 2)``."""
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[0, 3], flip[2, 3] = SHAPE[0] - 1, SHAPE[2] - 1
    return affine @ flip @ np.eye(4)[[1, 0, 2, 3]]


@pytest.mark.slow
def test_a_report_repeats_its_prediction_on_a_zip_of_the_series(server: TritonServer, tmp_path: Path) -> None:
    """Our own structured report as the nodules: the same places, so the same answers."""
    ct, nodules = write_dicom(tmp_path / "ct", extra=FRAME), write_centers(tmp_path / "n.csv")
    predict_ct(Case(ct, nodules), tmp_path / "first", url=server.grpc_url)
    zipped = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", ct))
    report = tmp_path / "first" / REPORT
    predict_ct(Case(zipped, report), tmp_path / "second", url=server.grpc_url)
    first, second = (pd.read_csv(tmp_path / name / "nodules.csv") for name in ("first", "second"))
    pd.testing.assert_frame_equal(first, second, atol=1e-4)
    for name in first["mask"]:
        masks = [read_nifti(tmp_path / folder / name).data for folder in ("first", "second")]
        np.testing.assert_array_equal(*masks)


@pytest.mark.slow
def test_a_center_outside_leaves_nothing_behind(server: TritonServer, lps_file: Path, tmp_path: Path) -> None:
    nodules = _table(tmp_path / "n.csv", np.array([CENTERS[0], [500.0, 0, 0]]))
    with pytest.raises(InputError, match=r"nodule nodule_1: the centre .* lies outside the CT"):
        predict_ct(Case(lps_file, nodules), tmp_path / "out", url=server.grpc_url)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_server_that_answers(
    bare_server: TritonServer, lps_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    nodules = _table(tmp_path / "n.csv", np.tile(CENTERS, (500, 1)))
    # A shell's background job ignores Ctrl-C, and so by default does all that it starts.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "lung_nodule", "predict"]
    command += [f"--url={bare_server.grpc_url}", f"--ct={lps_file}"]
    command += [f"--nodules={nodules}", f"--out={tmp_path / 'out'}"]
    said = _interrupted(command, after=rb"[1-9]\d*/1000", number=number)
    assert "lung_nodule: interrupted" in said
    assert ask_canary(bare_server.grpc_url) == ["mtnet"]
    assert not (tmp_path / "out").exists()


def _interrupted(command: list[str], *, after: bytes, number: signal.Signals) -> str:
    """What a command says that gets a signal once it has said something."""
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, bufsize=0) as process:
        assert process.stderr is not None
        try:
            seen = b""
            while not re.search(after, seen) and (piece := process.stderr.read(64)):
                seen += piece
            process.send_signal(number)
            _, rest = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, (seen + rest).decode()
    assert not list(Path("/dev/shm").glob(f"{PREFIX}{process.pid}_*"))
    return (seen + rest).decode()


@pytest.mark.slow
def test_a_server_that_is_down_is_one_line_and_status_2(tmp_path: Path) -> None:
    nodules = _table(tmp_path / "n.csv")
    command = [sys.executable, "-m", "lung_nodule", "predict", "--url=localhost:9", f"--ct={tmp_path}"]
    command += [f"--nodules={nodules}", f"--out={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("lung_nodule: no Triton server answers gRPC at localhost:9")
    assert not (tmp_path / "out").exists()


def test_a_missing_column_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("nodule_id,center_x_ras,center_y_ras\na,1,2\n")
    with pytest.raises(InputError, match="center_z_ras") as caught:
        predict_ct(Case(tmp_path, tmp_path / "n.csv"), tmp_path / "out", url="localhost:9")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_files_of_the_users_own_are_kept(server: TritonServer, lps_file: Path, tmp_path: Path) -> None:
    """A second run removes the masks of the first alone; a table that results would replace is refused."""
    out, nodules = tmp_path / "out", _table(tmp_path / "n.csv")
    predict_ct(Case(lps_file, nodules), out, url=server.grpc_url)
    (out / "masks" / "by_hand.nii.gz").write_bytes(b"mine")
    predict_ct(Case(lps_file, _table(tmp_path / "one.csv", CENTERS[:1])), out, url=server.grpc_url)
    assert {path.name for path in (out / "masks").iterdir()} == {"nodule_0.nii.gz", "by_hand.nii.gz"}
    before = (out / "nodules.csv").read_bytes()
    with pytest.raises(InputError, match="would be overwritten by the results: name another output folder"):
        predict_ct(Case(lps_file, out / "nodules.csv"), out, url=server.grpc_url)
    assert (out / "nodules.csv").read_bytes() == before
