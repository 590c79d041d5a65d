"""LUNA16's candidates: positions, files, folds, and interrupted runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ci.bundle_tools.painted_scans import write_scans
from lung_nodule.errors import InputError
from lung_nodule.holdout import holdout_patients
from lung_nodule.io import cut_voi, read_nifti, voi_edge_mm
from lung_nodule.runtime.software import this_software
from preprocessing.__main__ import main
from preprocessing.candidates import CandidateSettings, Tables, extraction, write_candidates
from preprocessing.candidates.luna16_tables import read_candidates, read_findings, read_subsets
from preprocessing.dataset import verify
from preprocessing.lidc.records import ScanRecord

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
CENTER = ["center_x_ras", "center_y_ras", "center_z_ras"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten whole painted CTs with LUNA16's tables, no candidates written."""
    return write_scans(tmp_path_factory.mktemp("scans"), negatives=8)


@pytest.fixture
def dataset(scans: Path, tmp_path: Path) -> Path:
    """A writable copy."""
    return shutil.copytree(scans, tmp_path / "dataset")


def tables(dataset: Path, **changed: Path) -> Tables:
    folder = dataset / "luna16"
    named = {name: folder / f"{name}.csv" for name in ("candidates", "subsets", "annotations")}
    return Tables(**{**named, **changed})


def run(dataset: Path, settings: CandidateSettings | None = None, **changed: Path) -> list[str]:
    return write_candidates(dataset, tables(dataset, **changed), settings=settings or CandidateSettings())


def contents(dataset: Path) -> dict[str, bytes]:
    files = (path for path in (dataset / "candidates").rglob("*") if path.is_file())
    return {path.relative_to(dataset).as_posix(): path.read_bytes() for path in files}


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(path, dtype={"seriesuid": str, "fold": str})).to_csv(path, index=False)


def test_a_position_of_luna16_is_the_voxel_that_simpleitk_finds_in_the_dicom(
    small_root: Path, small_dataset: Path, small_scan: ScanRecord, tmp_path: Path
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    folder = next(path.parent for path in sorted(small_root.rglob("*.dcm")))
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), small_scan.series_uid))
    dataset = shutil.copytree(small_dataset, tmp_path / "dataset")
    (dataset / "luna16").mkdir()
    places = [(100, 200, 30), (370, 77, 50), (3, image.GetHeight() - 4, 1)]
    points = [image.TransformIndexToPhysicalPoint(place) for place in places]
    table = pd.DataFrame(points, columns=["coordX", "coordY", "coordZ"])
    table.insert(0, "seriesuid", small_scan.series_uid)
    table.assign(**{"class": [1, 0, 0]}).to_csv(dataset / "luna16" / "candidates.csv", index=False)
    table.assign(diameter_mm=8.0).iloc[:1].to_csv(dataset / "luna16" / "annotations.csv", index=False)
    pd.DataFrame({"seriesuid": [small_scan.series_uid], "subset": [4]}).to_csv(
        dataset / "luna16" / "subsets.csv", index=False
    )
    assert run(dataset) == []
    written = pd.read_csv(dataset / "candidates" / "candidates.csv")
    assert written["fold"].tolist() == [4, 4, 4]
    for place, point, row in zip(places, points, written.itertuples(), strict=True):
        assert image.TransformPhysicalPointToIndex(point) == place
        ras = np.array([getattr(row, name) for name in CENTER])
        voi = sitk.ReadImage(str(dataset / row.voi))
        index = voi.TransformPhysicalPointToIndex(point)
        assert voi.GetPixel(*index) == image.GetPixel(*place)
        volume = read_nifti(dataset / row.voi)
        assert volume.data.dtype == np.int16
        assert volume.data[tuple(np.rint(volume.to_index(ras)).astype(int))] == image.GetPixel(*place)
        np.testing.assert_allclose(ras * (-1, -1, 1), point, atol=1e-3)
    assert written["finding_id"].notna().tolist() == [True, False, False]


def test_a_voi_is_what_every_reader_of_the_whole_ct_would_cut(dataset: Path) -> None:
    run(dataset)
    table = pd.read_csv(dataset / "candidates" / "candidates.csv")
    for row in table.groupby("label").head(3).itertuples():
        whole, voi = read_nifti(dataset / row.ct).canonical(), read_nifti(dataset / row.voi)
        center = [getattr(row, name) for name in CENTER]
        cut = cut_voi(whole, row.candidate_id, center, edge_mm=voi_edge_mm(64.0))
        np.testing.assert_array_equal(voi.data, cut.volume.data)
        np.testing.assert_allclose(voi.affine, cut.volume.affine, atol=1e-4)


@pytest.mark.slow
def test_nodules_and_a_stated_draw_of_the_others_are_written(dataset: Path, tmp_path: Path) -> None:
    settings = CandidateSettings(negatives_per_scan=3, seed=5)
    run(dataset, settings)
    first = contents(dataset)
    table = pd.read_csv(dataset / "candidates" / "candidates.csv")
    drawn = table[table["voi"].notna()]
    assert (table.loc[table["label"] == 1, "voi"].notna()).all()
    assert (drawn[drawn["label"] == 0].groupby("scan").size() == 3).all()
    vois = {path.relative_to(dataset).as_posix() for path in (dataset / "candidates" / "voi").glob("*")}
    assert vois == set(drawn["voi"])
    fewer = shutil.copytree(dataset, tmp_path / "fewer")
    shutil.rmtree(fewer / "candidates")
    edit(fewer / "scans.csv", lambda scans: scans.iloc[2:4])
    run(fewer, settings)
    again = {name: data for name, data in contents(fewer).items() if "/voi/" in name}
    assert again
    assert all(first[name] == data for name, data in again.items())  # a scan's draw depends on no other scan
    run(dataset, CandidateSettings(negatives_per_scan=3, seed=6))
    other = set(pd.read_csv(dataset / "candidates" / "candidates.csv")["voi"].dropna())
    assert other != vois
    assert {path.relative_to(dataset).as_posix() for path in (dataset / "candidates" / "voi").glob("*")} == other
    run(dataset, CandidateSettings(negatives_per_scan=None))
    assert pd.read_csv(dataset / "candidates" / "candidates.csv")["voi"].notna().all()


@pytest.mark.slow
def test_a_run_that_is_cut_off_is_taken_up_where_it_stopped(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shutil.copytree(dataset, tmp_path / "whole")
    run(whole)
    written: list[str] = []
    real = extraction.write_scan

    def counted(task: object) -> object:
        written.append(task.scan)
        if len(written) == 4:
            voi = dataset / "candidates" / "voi"
            (voi / "SYN-0003_s0_c000030_ct.nii.gz").write_bytes(b"cut off")
            (voi / ".SYN-0003_s0_c000031_ct.0123456789ab.nii.gz").write_bytes(b"cut off")
            (voi / "SYN-0003_s0_c000030_pred.nii.gz").write_bytes(b"the user's own")
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(extraction, "write_scan", counted)
    with pytest.raises(KeyboardInterrupt):
        run(dataset)
    kept = {path: path.stat().st_mtime_ns for path in sorted((dataset / "candidates" / "voi").glob("SYN-000[012]_*"))}
    assert kept
    run(dataset)
    assert written == [f"SYN-{n:04d}_s0" for n in (0, 1, 2, 3, *range(3, 10))]
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    (dataset / "candidates" / "voi" / "SYN-0003_s0_c000030_pred.nii.gz").unlink()  # it was kept
    assert contents(dataset) == contents(whole)
    damaged = sorted(kept)[0]
    damaged.write_bytes(b"another")
    written.clear()
    run(dataset)
    assert written == ["SYN-0000_s0"]
    assert contents(dataset) == contents(whole)


def test_the_hold_out_is_in_no_numbered_fold_and_has_no_voi(dataset: Path) -> None:
    held = sorted(holdout_patients())[0]
    for name in ("scans", "folds"):
        edit(dataset / f"{name}.csv", lambda table: table.replace({"patient_id": {"SYN-0003": held}}))
    marked = {"SYN-0005": "holdout"}  # by the dataset's own folds alone
    edit(dataset / "folds.csv", lambda table: table.assign(fold=table["patient_id"].map(marked).fillna(table["fold"])))
    run(dataset)
    for name in ("candidates", "nodules", "scans"):
        table = pd.read_csv(dataset / "candidates" / f"{name}.csv", dtype={"fold": str})
        assert set(table.loc[table["patient_id"].isin([held, "SYN-0005"]), "fold"]) == {"holdout"}
        assert set(table.loc[table["fold"] == "holdout", "patient_id"]) == {held, "SYN-0005"}
    table = pd.read_csv(dataset / "candidates" / "candidates.csv", dtype={"fold": str})
    assert table.loc[table["fold"] == "holdout", "voi"].isna().all()
    assert table.loc[table["fold"] == "holdout", "subset"].isin([3, 5]).all()


def test_a_patient_with_scans_in_two_subsets_is_in_one_fold(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("scans", "folds"):
        edit(dataset / f"{name}.csv", lambda table: table.replace({"patient_id": {"SYN-0007": "SYN-0002"}}))
    edit(dataset / "folds.csv", lambda table: table.drop_duplicates("patient_id"))
    run(dataset)
    scans = pd.read_csv(dataset / "candidates" / "scans.csv").set_index("scan")
    assert scans.loc[["SYN-0002_s0", "SYN-0007_s0"], "subset"].tolist() == [2, 7]
    assert scans.loc[["SYN-0002_s0", "SYN-0007_s0"], "fold"].tolist() == [2, 2]
    assert (scans.groupby("patient_id")["fold"].nunique() == 1).all()
    assert "is of SYN-0002, who has another scan in a lower subset" in caplog.text


def test_luna16s_one_patient_with_two_scans() -> None:
    """Two cases in which the fold is not the subset."""
    path = SHARED / "tables" / "luna16_seriesuids.csv"
    if not path.is_file():
        pytest.skip("LUNA16's series are not at ../shared/data/tables")
    from preprocessing.lidc import database

    series = set(path.read_text().split())
    patients = pd.Series([scan.patient_id for scan in database.scans() if scan.series_uid in series])
    assert (len(patients), patients.nunique()) == (888, 887)
    assert patients[patients.duplicated()].tolist() == ["LIDC-IDRI-0332"]


def test_what_is_left_out_is_counted_and_named(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    strange = {"seriesuid": "9.9.9", "coordX": 0, "coordY": 0, "coordZ": 0}
    edit(dataset / "luna16" / "candidates.csv", lambda table: pd.concat(
        [table, pd.DataFrame([{**strange, "class": 0}] * 3), table.iloc[:1].assign(coordX=5000.0)]
    ))  # fmt: skip
    edit(dataset / "luna16" / "subsets.csv", lambda table: table[table["subset"] != 8])
    run(dataset)
    left = pd.read_csv(dataset / "candidates" / "left_out.csv").set_index("series_uid")
    assert left.loc["9.9.9"].tolist() == [3, 0, "its scan is not in the dataset"]
    assert left.loc["1.2.826.9"].tolist() == [10, 2, "it is in no subset"]
    assert left.loc["1.2.826.1"].tolist() == [1, 0, "their centres lie outside the CT"]
    assert "left out 3 candidates and 0 nodules of 1 series (9.9.9)" in caplog.text
    scans = pd.read_csv(dataset / "candidates" / "scans.csv").set_index("scan")
    assert scans.loc["SYN-0009_s0", ["candidates", "nodules"]].tolist() == [0, 2]  # it counts in an evaluation
    total = len(pd.read_csv(dataset / "candidates" / "candidates.csv")) + left["candidates"].sum()
    assert total == len(pd.read_csv(dataset / "luna16" / "candidates.csv"))


def test_a_ct_that_cannot_be_read_costs_its_own_candidates_alone(dataset: Path) -> None:
    (dataset / "scans" / "SYN-0004_s0_ct.nii.gz").write_bytes(b"no NIfTI")
    assert run(dataset) == ["SYN-0004_s0"]
    left = pd.read_csv(dataset / "candidates" / "left_out.csv")
    assert left["series_uid"].tolist() == ["1.2.826.5"]
    assert "cannot read" in left["reason"][0]
    assert len(pd.read_csv(dataset / "candidates" / "scans.csv")) == 9


def test_somebody_elses_folder_is_refused(dataset: Path) -> None:
    own = dataset / "candidates" / "candidates.csv"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(InputError, match=r"holds candidates\.csv, which `candidates` did not write"):
        run(dataset)
    assert own.read_text() == "mine"


def test_subsets_come_from_a_table_or_from_the_download(scans: Path, tmp_path: Path) -> None:
    expected = read_subsets(scans / "luna16" / "subsets.csv")
    assert len(expected) == 10
    for series, subset in expected.items():
        folder = tmp_path / f"subset{subset}" / (f"subset{subset}" if subset % 2 else "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{series}.mhd").touch()
        (folder / f"{series}.raw").touch()
    assert read_subsets(tmp_path) == expected
    (tmp_path / "subset0" / "1.2.826.9.mhd").touch()
    with pytest.raises(InputError, match=r"series 1\.2\.826\.9 is in subset 0 and in subset 8"):
        read_subsets(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seriesuid,coordX,coordY,coordZ\n1.2,1,2,3\n", "lacks the column class"),
        ("seriesuid,coordX,coordY,coordZ,class\n1.2,1,2,x,0\n", "line 2: column coordZ holds 'x', not a number"),
        ("seriesuid,coordX,coordY,coordZ,class\n1.2,1,2,3,0\n1.2,1,2,3,2\n", "line 3: class is 1 .nodule. or 0, got 2"),
    ],
)
def test_a_broken_table_of_candidates_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_candidates(tmp_path / "table.csv")


def test_excluded_findings_get_luna16s_diameter(tmp_path: Path) -> None:
    header = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    (tmp_path / "nodules.csv").write_text(header + "1.2,10,-20,30,6\n")
    (tmp_path / "excluded.csv").write_text(header + "1.2,1,2,3,-1\n1.2,1,2,3,4\n")
    findings = read_findings(tmp_path / "nodules.csv", tmp_path / "excluded.csv")
    assert findings["diameter_mm"].tolist() == [6.0, 10.0, 4.0]
    assert findings["excluded"].tolist() == [0, 1, 1]
    assert findings[CENTER].iloc[0].tolist() == [-10.0, 20.0, 30.0]
    with pytest.raises(InputError, match="diameter_mm must be above 0, got -1"):
        read_findings(tmp_path / "excluded.csv", None)


def test_the_command_says_what_is_missing(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = str(dataset / "luna16" / "candidates.csv")
    given = ["candidates", "--dataset", str(dataset), "--table", table]
    assert main(given) == 2
    assert "--subsets is missing" in caplog.text
    assert "seriesuid,subset" in caplog.text
    assert main([*given, "--subsets", str(dataset)]) == 2
    assert "holds no subset0 to subset9" in caplog.text
    subsets = ["--subsets", str(dataset / "luna16" / "subsets.csv")]
    assert main([*given, *subsets, "--negatives_per_scan", "some"]) == 2
    assert "--negatives_per_scan must be a whole number of at least 0 or `all`, got 'some'" in caplog.text
    assert main(["candidates", "--dataset", str(dataset / "luna16"), "--table", table, *subsets]) == 2
    assert "no dataset with whole CTs at" in caplog.text
    assert not (dataset / "candidates").exists()
    assert main([*given, *subsets, "--negatives_per_scan", "all"]) == 0


@pytest.mark.slow
def test_a_dataset_with_candidates_can_be_verified(small_dataset: Path, small_scan: ScanRecord, tmp_path: Path) -> None:
    dataset = shutil.copytree(small_dataset, tmp_path / "dataset")
    table = pd.DataFrame({"seriesuid": small_scan.series_uid, "coordX": [0.0], "coordY": [0.0],
                          "coordZ": [float(small_scan.slice_positions[40])], "class": [1]})  # fmt: skip
    elsewhere = tmp_path / "luna16"
    elsewhere.mkdir()
    table.to_csv(elsewhere / "candidates.csv", index=False)
    pd.DataFrame({"seriesuid": [small_scan.series_uid], "subset": [0]}).to_csv(elsewhere / "subsets.csv", index=False)
    paths = Tables(candidates=elsewhere / "candidates.csv", subsets=elsewhere / "subsets.csv")
    assert write_candidates(dataset, paths, settings=CandidateSettings()) == []
    assert verify(dataset) == []
    described = json.loads((dataset / "candidates" / "candidates.json").read_text())
    assert described["software"] == this_software().as_dict()
    voi = next((dataset / "candidates" / "voi").glob("*"))
    voi.write_bytes(b"changed")
    assert verify(dataset) == [f"changed: candidates/voi/{voi.name}"]
    voi.unlink()
    (dataset / "candidates" / "mine.txt").touch()
    assert verify(dataset) == [f"missing: candidates/voi/{voi.name}", "extra: candidates/mine.txt"]
