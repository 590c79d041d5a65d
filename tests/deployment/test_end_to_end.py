"""The served answer is the bundle's own: inference by ``monai.bundle`` against predict through the real server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.prediction.case import Case
from lung_nodule.deployment.prediction.predict import predict_ct
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.io import cut_voi, read_nifti, read_table
from tests.forked import run_python
from tests.user_ct import write_centers, write_dicom

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def inferred(bundle: Path, painted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``python -m monai.bundle run inferring`` writes for the painted nodules with the served weights."""
    out = tmp_path_factory.mktemp("inferred")
    command = ["-m", "monai.bundle", "run", "inferring"]
    command += ["--config_file", "bundles/mtnet/configs/inference.json", "--dataset_dir", str(painted)]
    command += ["--model_path", str(bundle / "models" / "model.pt"), "--results_dir", str(out), "--folds", "[0]"]
    ended = run_python(command, folder=ROOT, environment=os.environ)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out


@pytest.mark.slow
def test_predict_answers_what_the_bundle_infers(
    server: TritonServer, inferred: Path, painted: Path, tmp_path: Path
) -> None:
    nodules = read_table(painted / "nodules.csv")
    scores = read_table(inferred / "predictions.csv").set_index("nodule_id")
    for row in nodules[nodules["nodule_id"].isin(scores.index)].to_dict("records"):
        table, out = tmp_path / "one.csv", tmp_path / row["nodule_id"]
        pd.DataFrame([row]).to_csv(table, index=False)
        predict_ct(Case(painted / row["ct"], table), out, url=server.grpc_url)
        served = read_table(out / "nodules.csv").iloc[0]
        own = scores.loc[row["nodule_id"]]
        assert served["malignancy_prob"] == pytest.approx(own["malignancy_prob"], abs=TOLERANCE)
        mask = read_nifti(out / served["mask"])
        expected = read_nifti(inferred / f"{row['nodule_id']}_mask.nii.gz")
        np.testing.assert_allclose(mask.affine, expected.affine, atol=1e-4)
        assert (mask.data != expected.data).mean() < 1e-4  # single voxels may stand at the threshold


@pytest.mark.slow
def test_the_maps_are_equal_too(server: TritonServer, inferred: Path, painted: Path) -> None:
    row = next(r for r in read_table(painted / "nodules.csv").to_dict("records") if r["patient_id"] == "SYN-0000")
    ct = read_nifti(painted / row["ct"]).canonical()
    voi = cut_voi(ct, row["nodule_id"], [row[f"center_{axis}_ras"] for axis in "xyz"], edge_mm=200.0)
    with NoduleClient(server.grpc_url) as client:
        answer = dict(client.ask([voi]))[0]
    for name in ("coarse", "fine"):
        own = read_nifti(inferred / f"{row['nodule_id']}_{name}.nii.gz").canonical().data[voi.box]
        np.testing.assert_allclose(answer.maps[name], own, atol=TOLERANCE)


@pytest.mark.slow
def test_a_users_ct_gets_one_answer_from_both(server: TritonServer, bundle: Path, tmp_path: Path) -> None:
    """The bundle's inference on a CT and centres alone, and predict: probability, label map, masks, sizes."""
    ct, nodules = write_dicom(tmp_path / "dicom"), write_centers(tmp_path / "table.csv")
    command = ["-m", "monai.bundle", "run", "inferring"]
    command += ["--config_file", "bundles/mtnet/configs/inference.json", "--ct", str(ct), "--nodules", str(nodules)]
    command += ["--model_path", str(bundle / "models" / "model.pt"), "--results_dir", str(tmp_path / "own")]
    ended = run_python(command, folder=ROOT, environment=os.environ)
    assert ended.returncode == 0, ended.stderr[-3000:]
    predict_ct(Case(ct, nodules), tmp_path / "served", url=server.grpc_url)
    own, served = (read_table(tmp_path / name / "nodules.csv") for name in ("own", "served"))
    assert own["nodule_id"].tolist() == served["nodule_id"].tolist()
    assert (own["malignancy_prob"] - served["malignancy_prob"]).abs().max() < TOLERANCE
    for name in ("nodules.nii.gz", *own["mask"]):
        masks = [read_nifti(tmp_path / folder / name) for folder in ("own", "served")]
        np.testing.assert_allclose(masks[0].affine, masks[1].affine, atol=1e-5)
        assert masks[0].data.dtype == masks[1].data.dtype
        assert masks[0].data.any()
        assert (masks[0].data != masks[1].data).mean() < 1e-4  # single voxels may stand at the threshold
    shared = [column for column in own.columns if column in served.columns]
    assert {"label", "volume_mm3", "axial_short_axis_mm", "mean_hu", "mask"} <= set(shared)
    for column in ("volume_mm3", "equivalent_diameter_mm", "axial_diameter_mm", "axial_short_axis_mm"):
        np.testing.assert_allclose(own[column], served[column], rtol=0.01)


@pytest.mark.slow
def test_a_tighter_voi_moves_the_prediction_little(server: TritonServer, painted: Path) -> None:
    """Cropped outside the nodule, the patch's replicated border changes; the score moves by less than 0.05."""
    row = read_table(painted / "nodules.csv").iloc[0]
    ct = read_nifti(painted / row["ct"]).canonical()
    center = [row[f"center_{axis}_ras"] for axis in "xyz"]
    vois = [cut_voi(ct, row["nodule_id"], center, edge_mm=edge) for edge in (200.0, 36.0)]
    assert vois[0].volume.shape != vois[1].volume.shape
    with NoduleClient(server.grpc_url) as client:
        answers = dict(client.ask(vois))
    assert abs(answers[0].malignancy - answers[1].malignancy) < 0.05


def test_export_finds_the_weights_that_inference_takes(tmp_path: Path) -> None:
    """Default of export: the bundle's own models/model.pt, else the training's out/<bundle>/model.pt."""
    from lung_nodule.deployment.repository.export import default_checkpoint

    bundle = tmp_path / "bundles" / "mtnet"
    shutil.copytree(ROOT / "bundles" / "mtnet", bundle, ignore=shutil.ignore_patterns("models"))
    (tmp_path / "lung_nodule").mkdir()
    assert default_checkpoint(bundle) == tmp_path / "out" / "mtnet" / "model.pt"
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").touch()
    assert default_checkpoint(bundle) == bundle / "models" / "model.pt"
