"""Candidates as a datalist: which are taken, what a network sees of them, and splits that no patient crosses."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.core import PlanesView
from lung_nodule.data import (
    CutVOI,
    LoadVOI,
    NoduleSlices,
    RandAugmentViews,
    ViewNodule,
    candidate_datalist,
    draws_of,
    evaluated_scans,
    evaluation_items,
    require_task_data,
    task_named,
    task_of,
    training_items,
)
from lung_nodule.errors import InputError
from lung_nodule.holdout import holdout_patients

NODULE = task_named("nodule")


@pytest.fixture
def dataset(candidates: Path, tmp_path: Path) -> Path:
    """A copy to write to."""
    return shutil.copytree(candidates, tmp_path / "dataset")


def edit(dataset: Path, name: str, **changes: object) -> None:
    path = dataset / "candidates" / f"{name}.csv"
    pd.read_csv(path, dtype={"fold": str}).assign(**changes).to_csv(path, index=False)


def test_training_takes_the_vois_and_an_evaluation_every_candidate(candidates: Path) -> None:
    table = pd.read_csv(candidates / "candidates" / "candidates.csv")
    own = table[table["fold"].isin([2, 3])]
    trained = training_items(NODULE, candidates, folds=[2, 3], cohort={}, patch_mm=32.0)
    assert [item["nodule_id"] for item in trained] == own.loc[own["voi"].notna(), "candidate_id"].tolist()
    assert len(trained) < len(own)
    scored = evaluation_items(NODULE, candidates, folds=[2, 3], cohort={})
    assert [item["nodule_id"] for item in scored] == own["candidate_id"].tolist()
    assert [item["nodule"] for item in scored] == own["label"].tolist()
    assert {item["ct"] for item in scored} == {str(candidates / ct) for ct in own["ct"]}


def test_a_candidate_cut_on_the_fly_is_what_its_file_holds(candidates: Path) -> None:
    files = {item["nodule_id"]: item for item in candidate_datalist(candidates, folds=[0], with_voi=True)}
    whole = {item["nodule_id"]: item for item in candidate_datalist(candidates, folds=[0], with_voi=False)}
    load, cut = LoadVOI(with_mask=False), CutVOI()
    view = ViewNodule(PlanesView(patch_mm=32.0, image_size=32), label="nodule")
    for name, item in list(files.items())[:4]:
        one, other = load(item), cut(whole[name])
        np.testing.assert_array_equal(one["ct"], other["ct"])
        np.testing.assert_allclose(one["center"], other["center"], atol=1e-4)
        np.testing.assert_allclose(one["affine"], other["affine"], atol=1e-4)
        np.testing.assert_allclose(view(one)["image"], view(other)["image"], atol=1e-4)
        assert view(other)["malignancy"].tolist() == [item["nodule"]]


def test_scans_of_one_patient_are_read_once(candidates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lung_nodule.data import candidates as module

    read: list[str] = []
    real = module.read_nifti
    monkeypatch.setattr(module, "read_nifti", lambda path: read.append(path) or real(path))
    module._whole.cache_clear()
    items = candidate_datalist(candidates, folds=[1, 2], with_voi=False)
    for item in items:
        CutVOI()(item)
    assert len(read) == len(set(read)) == 2 < len(items)


def test_scans_without_candidates_are_evaluated_too(candidates: Path) -> None:
    scans, findings = evaluated_scans(candidates, [9, 0])
    assert scans["scan"].tolist() == ["SYN-0000_s0", "SYN-0009_s0"]
    assert Counter(findings["series_uid"]) == {"1.2.826.1": 2, "1.2.826.10": 2}


def test_nodules_alone_are_drawn_several_times_and_augmented(candidates: Path) -> None:
    items = training_items(NODULE, candidates, folds=[2, 3], cohort={}, patch_mm=32.0)
    assert candidate_datalist(candidates, folds=2, with_voi=True) == [item for item in items if item["fold"] == 2]
    draws = draws_of(NODULE, items, 5)
    assert [count for count, item in zip(draws, items, strict=True) if item["nodule"]] == [5] * 4
    assert {count for count, item in zip(draws, items, strict=True) if not item["nodule"]} == {1}
    dataset = NoduleSlices(items, slices_per_nodule=draws, transform=lambda item: item)
    counted = Counter(dataset[index]["nodule_id"] for index in range(len(dataset)))
    assert counted == dict(zip([item["nodule_id"] for item in items], draws, strict=True))
    assert sorted({(d["part"], d["parts"]) for d in dataset if d["nodule"]}) == [(part, 5) for part in range(5)]
    assert draws_of(task_named("malignancy"), [{"malignant": 0.0}, {"malignant": 1.0}], 5) == [5, 5]
    image = np.random.default_rng(0).random((9, 16, 16)).astype(np.float32)
    augment = RandAugmentViews(prob=1.0, positives_only=True)
    augment.set_random_state(seed=0)
    same = augment({"image": image, "target": np.zeros(1)})["image"]
    changed = augment({"image": image, "target": np.ones(1)})["image"]
    assert np.array_equal(same, image)
    assert not np.array_equal(changed, image)


@pytest.mark.parametrize("numbers", [0, [1, 0], [1]])
def test_every_nodule_is_drawn_at_least_once(numbers: object) -> None:
    with pytest.raises(InputError, match="slices_per_nodule must be at least 1 for every nodule"):
        NoduleSlices([{}, {}], slices_per_nodule=numbers, transform=dict)


def test_a_patient_of_the_hold_out_in_a_numbered_fold_is_refused(dataset: Path) -> None:
    held = sorted(holdout_patients())[0]
    table = pd.read_csv(dataset / "candidates" / "candidates.csv")
    edit(dataset, "candidates", patient_id=table["patient_id"].replace("SYN-0003", held))
    with pytest.raises(InputError, match=f"puts 1 hold-out patients into numbered folds .{held} into 3"):
        candidate_datalist(dataset, folds=[2], with_voi=True)


def test_a_patient_that_the_dataset_holds_out_is_refused_as_well(dataset: Path) -> None:
    folds = pd.read_csv(dataset / "folds.csv", dtype={"fold": str})
    folds.loc[folds["patient_id"] == "SYN-0003", "fold"] = "holdout"
    folds.to_csv(dataset / "folds.csv", index=False)
    with pytest.raises(InputError, match=r"puts SYN-0003 into fold 3, and folds\.csv marks the patient as holdout"):
        candidate_datalist(dataset, folds=[2], with_voi=True)


def test_a_patient_in_two_folds_is_refused(dataset: Path) -> None:
    table = pd.read_csv(dataset / "candidates" / "candidates.csv")
    edit(dataset, "candidates", patient_id=table["patient_id"].replace("SYN-0003", "SYN-0004"))
    with pytest.raises(InputError, match="puts SYN-0004 into fold 3 and 4: patients must not cross a split"):
        candidate_datalist(dataset, folds=[2], with_voi=True)


def test_errors_say_what_to_do(dataset: Path, painted: Path, candidates: Path) -> None:
    with pytest.raises(InputError, match=r"no candidates in .*preprocessing candidates"):
        require_task_data(NODULE, painted)
    with pytest.raises(InputError, match=r"--patch_mm 80 is larger than the 64 mm .* candidates --patch_mm 80"):
        candidate_datalist(candidates, folds=[2], with_voi=True, patch_mm=80.0)
    with pytest.raises(InputError, match=r"none of its 126 candidates is in folds \[9\]"):
        candidate_datalist(candidates, folds=[9], with_voi=False)
    edit(dataset, "candidates", label=0)
    with pytest.raises(InputError, match=r"folds \[2\] hold only non-nodules .* a classifier needs both"):
        training_items(NODULE, dataset, folds=[2], cohort={}, patch_mm=32.0)
    (dataset / "candidates" / "candidates.json").write_text("{}")
    with pytest.raises(InputError, match=r"candidates.json does not name its patch_mm"):
        candidate_datalist(dataset, folds=[2], with_voi=True)


def test_a_model_answers_its_own_task() -> None:
    assert task_of({}).name == "malignancy"  # models of before there was a choice
    assert task_of({"task": "nodule"}, "nodule").score == "nodule_prob"
    with pytest.raises(InputError, match="trained with --task nodule, it cannot answer --task malignancy"):
        task_of({"task": "nodule"}, "malignancy")
    with pytest.raises(InputError, match="--task must be malignancy or nodule, got 'nodules'"):
        task_named("nodules")
