"""Bad input ends in one clear line before any work, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.__main__ import main
from lung_nodule.benchmark import run
from lung_nodule.benchmark.cells.cell import CellFailure
from lung_nodule.benchmark.dataset import read_dataset
from lung_nodule.benchmark.weights import find_weights, refuse_seen
from lung_nodule.holdout import holdout_patients
from lung_nodule.lidc import CHARACTERISTICS


@pytest.fixture
def dataset(painted: Path, tmp_path: Path) -> Path:
    """A copy whose tables may be changed; its VOIs are the first one's."""
    copy = tmp_path / "dataset"
    copy.mkdir()
    for path in painted.glob("*.*"):
        shutil.copy(path, copy)
    (copy / "voi").symlink_to(painted / "voi")
    return copy


@pytest.fixture(autouse=True)
def _no_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("cells were begun")

    monkeypatch.setattr(run, "run_cells", refuse)


def refused(dataset: Path, caplog: pytest.LogCaptureFixture, *flags: str) -> str:
    """The one line with which the command ends; an output folder of its own is removed again."""
    out = dataset.parent / "out"
    assert main(["benchmark", "--dataset_dir", str(dataset), "--out", str(out), "--bundles", "mtcnn", *flags]) == 2
    assert not list(out.glob("cells/*"))
    line = caplog.messages[-1]
    assert "\n" not in line
    return line


def change_folds(dataset: Path, folds: pd.DataFrame) -> None:
    folds.to_csv(dataset / "folds.csv", index=False)


def test_a_patient_in_two_folds(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    folds = pd.read_csv(dataset / "folds.csv")
    change_folds(dataset, pd.concat([folds, folds.head(1).assign(fold=3)]))
    assert "SYN-0000 is listed twice; a patient belongs to one fold" in refused(dataset, caplog)


def test_a_holdout_patient_in_a_numbered_fold(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    patient = sorted(holdout_patients())[0]
    folds = pd.read_csv(dataset / "folds.csv")
    change_folds(dataset, pd.concat([folds, pd.DataFrame([{"patient_id": patient, "fold": 1}])]))
    line = refused(dataset, caplog)
    assert "hold-out patients into numbered folds" in line
    assert patient in line


def test_a_class_missing_from_a_fold(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    nodules, folds = (pd.read_csv(dataset / f"{name}.csv") for name in ("nodules", "folds"))
    inside = nodules["patient_id"].isin(folds.loc[folds["fold"] == 4, "patient_id"])
    nodules.loc[inside, "malignancy_mean"] = 2.0
    nodules.to_csv(dataset / "nodules.csv", index=False)
    assert "folds [4] hold only benign nodules" in refused(dataset, caplog, "--folds", "4,")
    assert "folds [4] hold only benign nodules" in refused(dataset, caplog, "--folds", "3,"), "4 validates 3"


def test_a_fold_without_nodules(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    change_folds(dataset, pd.read_csv(dataset / "folds.csv").replace({"fold": {2: 1}}))
    assert "no nodule is in folds [2]" in refused(dataset, caplog)


def test_a_missing_voi(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    nodules = pd.read_csv(dataset / "nodules.csv")
    nodules.loc[3, "mask"] = "voi/gone_mask.nii.gz"
    nodules.to_csv(dataset / "nodules.csv", index=False)
    assert "no such file" in refused(dataset, caplog)


def test_no_dataset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "dataset").mkdir()
    assert "it has no nodules.csv" in refused(tmp_path / "dataset", caplog)


def test_a_reader_who_rates_a_nodule_twice(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    nodule = pd.read_csv(dataset / "nodules.csv")["nodule_id"][0]
    ratings = [{"nodule_id": nodule, "reader": reader, **dict.fromkeys(CHARACTERISTICS, 3)} for reader in (0, 1, 1)]
    pd.DataFrame(ratings).to_csv(dataset / "annotations.csv", index=False)
    assert f"reader 1 rates {nodule} twice: keep one row" in refused(dataset, caplog)


@pytest.mark.parametrize("flag", ["--folds", "--seeds"])
def test_folds_and_seeds_are_of_trainings(flag: str, dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert f"{flag} applies to trainings only" in refused(dataset, caplog, "--evaluate_only", flag, "1")


def test_an_unknown_bundle(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = dataset.parent / "out"
    assert main(["benchmark", "--dataset_dir", str(dataset), "--out", str(out), "--bundles", "mtcn"]) == 2
    assert "there is no method 'mtcn'" in caplog.messages[-1]


def weights(folder: Path, *, bundle: str, belongs_to: str, seen: list[str]) -> Path:
    (folder / bundle).mkdir(parents=True)
    (folder / bundle / "model.pt").write_bytes(b"weights")
    cohort = {"min_readers": 3, "max_slice_thickness_mm": 2.5}
    side = {
        "bundle": belongs_to,
        "network": {},
        "patch": {},
        "window": [-1000, 400],
        "patients_seen": seen,
        "fold": 0,
        "cohort": cohort,
    }
    (folder / bundle / "model.json").write_text(json.dumps(side))
    return folder


def test_weights_of_another_bundle(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = weights(dataset.parent / "w", bundle="mtcnn", belongs_to="mtnet", seen=[])
    line = refused(dataset, caplog, "--evaluate_only", "--weights", str(given))
    assert "belongs to the bundle mtnet, not to mtcnn" in line


def test_weights_that_saw_a_patient(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = weights(dataset.parent / "w", bundle="mtcnn", belongs_to="mtcnn", seen=["SYN-0003", "other"])
    line = refused(dataset, caplog, "--evaluate_only", "--weights", str(given))
    assert "trained or validated on 1 of the 10 patients that it would test (SYN-0003, ...)" in line


def cross_validated(out: Path, dataset: Path, folds: Sequence[int], *, seen: int = 0) -> Path:
    """Weights of a cross-validation; each model has seen the patients of a fold, so many after the one it tests."""
    table = pd.read_csv(dataset / "folds.csv")
    for fold in folds:
        patients = table.loc[table["fold"] == (fold + seen) % 5, "patient_id"].tolist()
        path = weights(out / f"from{fold}", bundle="mtcnn", belongs_to="mtcnn", seen=patients) / "mtcnn"
        cell = out / "cells" / "mtcnn" / "seed0" / f"fold{fold}"
        cell.parent.mkdir(parents=True, exist_ok=True)
        path.rename(cell)
    return out


def test_the_models_of_a_cross_validation_test_their_own_folds(dataset: Path) -> None:
    patients = read_dataset(dataset, range(5)).patients_by_fold
    for seen in range(1, 5):
        out = cross_validated(dataset.parent / f"w{seen}", dataset, range(5), seen=seen)
        given = find_weights(out, None, ["mtcnn", "mtnet"])["mtcnn"]
        refuse_seen(given, patients)
        assert [given.of(fold).parent.name for fold in range(5)] == [f"fold{fold}" for fold in range(5)]
        assert len(given.sha256) == 5


def test_a_cross_validation_whose_model_saw_its_test_fold(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = cross_validated(dataset.parent / "w", dataset, range(5), seen=0)
    line = refused(dataset, caplog, "--evaluate_only", "--weights", str(given))
    assert "fold0/model.pt of mtcnn was trained or validated on 2 of the 2 patients that it would test" in line


def test_a_cross_validation_that_lacks_a_fold(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = cross_validated(dataset.parent / "w", dataset, [0, 3], seen=1)
    line = refused(dataset, caplog, "--evaluate_only", "--weights", str(given))
    assert "has models of the folds 0, 3, and the dataset has nodules of fold 1" in line


def test_no_weights(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = refused(dataset, caplog, "--evaluate_only", "--weights", str(dataset.parent / "w"))
    assert "no weights of mtcnn in" in line


def test_baselines_fitted_on_what_is_tested(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = weights(dataset.parent / "w", bundle="mtcnn", belongs_to="mtcnn", seen=[])
    line = refused(dataset, caplog, "--evaluate_only", "--weights", str(given), "--fit_dir", str(dataset))
    assert "are in --fit_dir and in --dataset_dir" in line


def test_a_changed_dataset_is_another_one(dataset: Path) -> None:
    before = read_dataset(dataset, range(5)).fingerprint
    assert read_dataset(dataset, [0]).fingerprint != before
    assert read_dataset(dataset, range(5)).fingerprint == before
    nodules = pd.read_csv(dataset / "nodules.csv")
    nodules.assign(malignancy_mean=nodules["malignancy_mean"] + 0.5).to_csv(dataset / "nodules.csv", index=False)
    assert read_dataset(dataset, range(5)).fingerprint != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"malignancy_mean": 2.0},
            r"--fit_dir holds only benign nodules in folds [0, 1, 2, 3], but the baselines need both classes",
        ),
        ({"malignancy_mean": 3.0}, "--fit_dir holds no classified nodules in folds [0, 1, 2, 3]"),
    ],
)
def test_baselines_that_cannot_be_fitted(
    change: dict, message: str, dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last fold, which chooses thresholds, has both classes."""
    given = weights(dataset.parent / "w", bundle="mtcnn", belongs_to="mtcnn", seen=[])
    other = shutil.copytree(dataset, dataset.parent / "other", symlinks=True)
    nodules, folds = (pd.read_csv(other / f"{name}.csv") for name in ("nodules", "folds"))
    trained = nodules["patient_id"].isin(folds.loc[folds["fold"] != 4, "patient_id"])
    nodules = nodules.assign(**{name: nodules[name].mask(trained, value) for name, value in change.items()})
    nodules.assign(patient_id="other " + nodules["patient_id"]).to_csv(other / "nodules.csv", index=False)
    change_folds(other, folds.assign(patient_id="other " + folds["patient_id"]))
    line = refused(dataset, caplog, "--evaluate_only", "--weights", str(given), "--fit_dir", str(other))
    assert message in line


def test_a_failed_cell_is_noted_as_what_it_leaves_out() -> None:
    failed = [CellFailure("mtcnn, seed 1, fold 3", "it broke")]
    (of_one,), (of_two,) = (run.missing_notes(failed, seeds) for seeds in (1, 2))
    everything = "in no figure of that bundle, the panel and the baselines on that bundle's masks"
    assert of_one == f"MISSING: mtcnn, seed 1, fold 3 failed, so its nodules are {everything}."
    assert f"are {everything} for that seed; their means are of the seeds that are there" in of_two
