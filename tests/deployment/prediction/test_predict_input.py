"""What ``predict`` refuses, keeps and says about its input, with answers in place of a server's."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lung_nodule.__main__ import main
from lung_nodule.deployment.dicom.results import REPORT, SEGMENTATION
from lung_nodule.deployment.nodules.sources import read_nodule_source
from lung_nodule.deployment.prediction import predict, results
from lung_nodule.deployment.prediction.case import Case, PredictionOptions
from lung_nodule.deployment.prediction.patients import patients_of
from lung_nodule.errors import InputError
from lung_nodule.io import Volume, read_nifti, write_nifti
from lung_nodule.runtime.lock import only_writer
from tests.deployment.hand_made import FRAME
from tests.io.dicom_series import SeriesPlan, write_series
from tests.user_ct import chest, write_centers, write_ct, write_dicom

pytestmark = pytest.mark.usefixtures("answered")


def _change(table: Path, **columns: object) -> Path:
    pd.read_csv(table).assign(**columns).to_csv(table, index=False)
    return table


def _predict(ct: Path, nodules: Path, out: Path, **options: Any) -> None:
    predict.predict_ct(Case(ct, nodules, options=PredictionOptions(**options)), out, url="any")


@pytest.mark.slow
def test_a_table_of_another_series_is_refused(tmp_path: Path) -> None:
    ct = write_dicom(tmp_path / "ct", extra=FRAME)
    uid = predict.read_ct(ct).series.series_uid
    nodules = write_centers(tmp_path / "n.csv")
    _predict(ct, _change(nodules, series_uid=uid), tmp_path / "out")
    with pytest.raises(InputError, match=r"holds the nodules of series 1\.2\.3, and .* is series"):
        _predict(ct, _change(nodules, series_uid="1.2.3"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nodules.nii.gz", "masks/nodule_0.nii.gz", SEGMENTATION, REPORT])
def test_its_own_results_are_not_overwritten_by_what_they_are_asked_for(name: str, tmp_path: Path) -> None:
    ct, out = write_dicom(tmp_path / "ct", extra=FRAME), tmp_path / "out"
    _predict(ct, write_centers(tmp_path / "n.csv"), out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="would be overwritten by the results"):
        _predict(ct, out / name, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["nodules.nii.gz", "masks/nodule_0.nii.gz"])
def test_a_ct_in_the_place_of_a_result_is_not_overwritten(name: str, tmp_path: Path) -> None:
    ct = write_ct(tmp_path / name)
    before = ct.read_bytes()
    with pytest.raises(InputError, match=f"{name} would be overwritten by the results"):
        _predict(ct, write_centers(tmp_path / "n.csv"), tmp_path)
    assert ct.read_bytes() == before


def test_further_axes_of_length_1_are_left_out(tmp_path: Path) -> None:
    """As some tools write a CT and a label map."""
    ct = read_nifti(write_ct(tmp_path / "ct.nii.gz"))
    write_nifti(tmp_path / "four.nii.gz", Volume(ct.data[..., None], ct.affine))
    np.testing.assert_array_equal(predict.read_ct(tmp_path / "four.nii.gz").volume.data, ct.data)
    labels = np.zeros((*ct.data.shape, 1), np.uint8)
    labels[10:14, 10:14, 5:8] = 1
    write_nifti(tmp_path / "labels.nii.gz", Volume(labels, ct.affine))
    assert len(read_nodule_source(tmp_path / "labels.nii.gz")) == 1


def test_rows_without_a_patient_are_not_taken_for_the_other_rows_patient(tmp_path: Path) -> None:
    table = write_centers(tmp_path / "n.csv")
    rows = pd.read_csv(table)
    _change(table, patient_id=["a", *[None] * (len(rows) - 1)])
    with pytest.raises(InputError, match="has rows without a patient_id: fill them in, or"):
        read_nodule_source(table, keep={"patient_id": None})
    assert len(read_nodule_source(table, keep={"patient_id": "a"})) == 1


@pytest.mark.slow
def test_the_label_map_of_an_earlier_prediction_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct, nodules = write_ct(tmp_path / "ct.nii.gz"), write_centers(tmp_path / "n.csv")
    _predict(ct, nodules, tmp_path / "out")
    assert (tmp_path / "out" / "nodules.nii.gz").is_file()
    monkeypatch.setattr(predict.Finding, "mask", None)
    _predict(ct, nodules, tmp_path / "out")
    assert not (tmp_path / "out" / "nodules.nii.gz").exists()


@pytest.mark.parametrize("columns", ["nodule_id,patient_id,label", "nodule_id,center_x_ras"])
def test_a_table_of_something_else_is_not_overwritten(columns: str, tmp_path: Path) -> None:
    (tmp_path / "nodules.csv").write_text(f"{columns}\n")
    ct, nodules = write_ct(tmp_path / "ct.nii.gz"), write_centers(tmp_path / "n.csv")
    with pytest.raises(InputError, match=r"nodules.csv holds no results and would be overwritten: name another"):
        _predict(ct, nodules, tmp_path)
    assert (tmp_path / "nodules.csv").read_text() == f"{columns}\n"


@pytest.mark.parametrize("name", ["nodules.nii.gz", "report.html", "masks/nodule_0.nii.gz"])
@pytest.mark.slow
def test_files_of_something_else_are_not_overwritten(name: str, tmp_path: Path) -> None:
    """A folder with nodules.csv holds a prediction, which another replaces; without it the files are the user's."""
    ct, nodules, own = write_ct(tmp_path / "ct.nii.gz"), write_centers(tmp_path / "n.csv"), tmp_path / "out" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(InputError, match=f"{name} is not of an earlier prediction and would be overwritten"):
        _predict(ct, nodules, tmp_path / "out")
    assert own.read_text() == "mine"
    own.unlink()
    _predict(ct, nodules, tmp_path / "out")
    _predict(ct, nodules, tmp_path / "out")


def test_a_prediction_that_was_stopped_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct, nodules = write_ct(tmp_path / "ct.nii.gz"), write_centers(tmp_path / "n.csv")
    with monkeypatch.context() as patched:
        patched.setattr(results, "write_report", _stop)
        with pytest.raises(KeyboardInterrupt):
            _predict(ct, nodules, tmp_path / "out")
    assert (tmp_path / "out" / "masks" / "nodule_0.nii.gz").is_file()
    assert not (tmp_path / "out" / "nodules.json").exists()
    _predict(ct, nodules, tmp_path / "out")
    assert (tmp_path / "out" / "nodules.json").is_file()


def _stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_why_there_are_no_dicom_results_is_in_the_report(tmp_path: Path) -> None:
    ct = write_dicom(tmp_path / "ct")  # without a frame of reference
    _predict(ct, write_centers(tmp_path / "n.csv"), tmp_path / "out")
    (said,) = json.loads((tmp_path / "out" / "nodules.json").read_text())["warnings"]
    assert said.startswith("nodules_seg.dcm and nodules_sr.dcm are not written")
    assert "FrameOfReferenceUID" in said
    assert "nodules_sr.dcm are not written" in (tmp_path / "out" / "report.html").read_text()


def test_one_prediction_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    ct, nodules = write_ct(tmp_path / "ct.nii.gz"), write_centers(tmp_path / "n.csv")
    with only_writer(tmp_path / "out"), pytest.raises(InputError, match=r"another run is writing to .*out: wait"):
        _predict(ct, nodules, tmp_path / "out")


@pytest.mark.slow
def test_a_table_of_another_patient_is_said_in_the_report_and_not_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ct = write_dicom(tmp_path / "ct", extra={**FRAME, "PatientID": "BAKER"})
    _predict(ct, _change(write_centers(tmp_path / "n.csv"), patient_id="ABLE"), tmp_path / "out", dicom_results=False)
    said = "The CT is of patient BAKER, the nodules are of ABLE: check that they belong together."
    assert said in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "nodules.json").read_text())["warnings"] == [said]
    assert "name different patients" in caplog.text
    assert "ABLE" not in caplog.text


def test_a_single_voxel_of_a_label_map_is_a_nodule_of_unknown_diameter(tmp_path: Path) -> None:
    labels = np.zeros((20, 20, 10), dtype=np.uint8)
    labels[4:12, 4:12, 4:6], labels[16, 16, 8] = 1, 2
    write_nifti(tmp_path / "labels.nii.gz", Volume(labels, np.diag([0.6, 0.6, 2.0, 1.0])))
    found = read_nodule_source(tmp_path / "labels.nii.gz")
    assert found["diameter_mm"].isna().tolist() == [False, True]


@pytest.mark.parametrize("diameter", [0.022, 2200.0, -22.0, 0.0])
def test_a_diameter_that_cannot_be_in_mm(diameter: float, tmp_path: Path) -> None:
    nodules = _change(write_centers(tmp_path / "n.csv"), diameter_mm=[diameter, 8.0])
    with pytest.raises(InputError, match="nodule nodule_0: a diameter must be in mm, from 1 to 200"):
        _predict(write_ct(tmp_path / "ct.nii.gz"), nodules, tmp_path / "out")


@pytest.mark.parametrize("diameter", ["22 mm", "22,5"])
def test_a_diameter_that_is_no_number(diameter: str, tmp_path: Path) -> None:
    nodules = _change(write_centers(tmp_path / "n.csv"), diameter_mm=[8.0, diameter])
    with pytest.raises(InputError, match=rf"line 3: column diameter_mm holds '{diameter}'"):
        _predict(write_ct(tmp_path / "ct.nii.gz"), nodules, tmp_path / "out")


@pytest.mark.slow
def test_an_empty_diameter_is_none(tmp_path: Path) -> None:
    nodules = _change(write_centers(tmp_path / "n.csv"), diameter_mm=[np.nan, 8.0])
    rows = read_nodule_source(nodules).to_dict("records")
    assert [predict._diameter(row) for row in rows] == [None, 8.0]
    _predict(write_ct(tmp_path / "ct.nii.gz"), nodules, tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "nodules.csv")) == 2


def test_axes_that_are_not_at_right_angles(tmp_path: Path) -> None:
    ct = write_ct(tmp_path / "ct.nii.gz")
    tilted = read_nifti(ct)
    tilted.affine[1, 2] += 0.25 * tilted.spacing[2]
    write_nifti(ct, tilted)
    with pytest.raises(InputError, match="are not at right angles"):
        _predict(ct, write_centers(tmp_path / "n.csv"), tmp_path / "out")


def test_a_resampled_series_is_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corners = [(0.0, 0.0, 2.0 * k + (1.0 if k > 20 else 0.0)) for k in range(40)]
    stored = np.full((48, 48), 100, dtype=np.int16)
    write_series(tmp_path / "ct", SeriesPlan(corners, stored=lambda _: stored))
    table = {"nodule_id": "a", "center_x_ras": -20.0, "center_y_ras": -20.0, "center_z_ras": 40.0}
    pd.DataFrame([table]).to_csv(tmp_path / "n.csv", index=False)
    with caplog.at_level(logging.INFO):
        _predict(tmp_path / "ct", tmp_path / "n.csv", tmp_path / "out", dicom_results=False)
    assert "non_uniform_z: 40 slices laid on a grid" in caplog.text
    assert "40 slices laid on a grid" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_its_segmentation_of_an_uneven_series_is_a_source_of_nodules(tmp_path: Path) -> None:
    voxels = chest().data
    corners = [(0.0, 0.0, 110.0 + 2.0 * k + (1.0 if k > 25 else 0.0)) for k in range(voxels.shape[2])]
    plan = {"corners": corners, "pixel_spacing": (0.9, 0.8), "extra": FRAME}
    write_series(tmp_path / "ct", SeriesPlan(stored=lambda k: (voxels[:, :, k].T + 1024).astype(np.int16), **plan))
    _predict(tmp_path / "ct", write_centers(tmp_path / "n.csv"), tmp_path / "first")
    _predict(tmp_path / "ct", tmp_path / "first" / SEGMENTATION, tmp_path / "second")
    first, second = (pd.read_csv(tmp_path / name / "nodules.csv") for name in ("first", "second"))
    places = [f"center_{axis}_ras" for axis in "xyz"]
    np.testing.assert_allclose(second[places], first[places], atol=1.5)


@pytest.mark.parametrize(
    ("given", "named", "patients"),
    [
        (None, "LIDC-IDRI-0013", ["LIDC-IDRI-0013"]),
        ("study01", "LIDC-IDRI-0013", ["LIDC-IDRI-0013", "study01"]),
        ("0012", "LIDC-IDRI-0012", ["LIDC-IDRI-0012"]),
        ("0012", "ANON1", ["ANON1", "0012"]),
        ("0012", "lidc-idri-0012", ["LIDC-IDRI-0012"]),
        (None, "lidc-idri-0013", ["LIDC-IDRI-0013"]),
        ("306", "306", ["306"]),
        ("0013 ", "LIDC-IDRI-0013", ["LIDC-IDRI-0013"]),
        ("ABLE ", "ABLE", ["ABLE"]),
        ("0012", "", ["LIDC-IDRI-0012"]),
        (None, "", []),
    ],
)
def test_whom_the_training_is_asked_about(given: str | None, named: str, patients: list[str], tmp_path: Path) -> None:
    ct = write_dicom(tmp_path / "ct", extra={**FRAME, "PatientID": named})
    assert patients_of(given, predict.read_ct(ct)) == patients


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("threshold", "0,7", "--threshold must be a number from 0 to 1, got (0, 7)"),
        ("threshold", "abc", "--threshold must be a number from 0 to 1, got 'abc'"),
        ("dicom_results", "false", "--dicom_results must be True or False, got 'false'"),
        ("explain", "2", "--explain must be True or False, got 2"),
        ("out", "file", "is a file: give another path"),
    ],
)
def test_options_are_checked(
    flag: str, value: str, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    ct, nodules = write_ct(tmp_path / "ct.nii.gz"), write_centers(tmp_path / "n.csv")
    options = {"ct": ct, "nodules": nodules, "out": tmp_path / "out"} | {flag: value}
    options["out"] = tmp_path / options["out"]
    assert main(["predict", *(part for name, given in options.items() for part in (f"--{name}", str(given)))]) == 2
    assert message in caplog.messages[-1]


@pytest.mark.slow
def test_a_note_with_a_comma_is_one_text(tmp_path: Path) -> None:
    ct, nodules = write_ct(tmp_path / "ct.nii.gz"), write_centers(tmp_path / "n.csv")
    command = ["--ct", str(ct), "--nodules", str(nodules), "--out", str(tmp_path / "out"), "--note", "phantom, test"]
    assert main(["predict", *command]) == 0
    assert "phantom, test" in (tmp_path / "out" / "report.html").read_text()
