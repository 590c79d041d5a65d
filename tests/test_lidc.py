"""The consensus rule: one for the conversion and the bundles, against a table written by hand."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from fire.parser import DefaultParseValue

from lung_nodule.data import LoadVOI, nodule_datalist
from lung_nodule.errors import InputError
from lung_nodule.lidc import consensus_policy, votes_needed
from preprocessing.dataset import ConversionSettings
from preprocessing.lidc.masks import consensus

# votes needed of 1, 2, ... 8 readers
UNION, ALL = [1] * 8, [1, 2, 3, 4, 5, 6, 7, 8]
HALF, MAJORITY = [1, 1, 2, 2, 3, 3, 4, 4], [1, 2, 2, 3, 3, 4, 4, 5]
THIRD, TWO_THIRDS = [1, 1, 1, 2, 2, 2, 3, 3], [1, 2, 2, 3, 4, 4, 5, 6]
QUARTER, THREE_QUARTERS = [1, 1, 1, 1, 2, 2, 2, 2], [1, 2, 3, 3, 4, 5, 6, 6]
SPELLED = {
    "0.5": (["0.5", ".5", "0.50", "1/2", "2/4", "50e-2"], HALF),
    "majority": (["majority", "Majority", "0.51", "0.501"], MAJORITY),
    "2/3": (["2/3", "4/6", "'2 / 3'", "0.67", "0.667", "0.6667", "0.66667", "0.6666666666666666", "0.666"], TWO_THIRDS),
    "1/3": (["1/3", "0.33", "0.333", "0.3333333333333333"], THIRD),
    "0.75": (["3/4", "0.75", "6/8", "0.750"], THREE_QUARTERS),
    "0.25": (["1/4", "0.25"], QUARTER),
    "5/6": (["5/6", "0.83", "0.833", "0.8333333333333334"], [1, 2, 3, 4, 5, 5, 6, 7]),
    "1/7": (["1/7", "0.14", "0.143"], [1, 1, 1, 1, 1, 1, 1, 2]),
    "0.7": (["0.7", "7/10"], [1, 2, 3, 3, 4, 5, 5, 6]),
    "0.6": (["0.6", "3/5"], [1, 2, 2, 3, 3, 4, 5, 5]),
    "1.0": (["1", "1.0", "all", "ALL", "4/4"], ALL),
    "any": (["any", "Any"], UNION),
    "0.01": (["0.01", "1/100", "1e-2"], UNION),
}
TABLE = [(text, votes) for spellings, votes in SPELLED.values() for text in spellings]
REFUSED = ["0", "-1", "1.01", "3/2", "1/0", "0/4", "half", "most", "nan", "inf", "None", "True", "[0.5]", "50%", "''"]


@pytest.mark.parametrize(("text", "votes"), TABLE)
def test_votes_needed(text: str, votes: list[int]) -> None:
    """As text, and as what the command line's parser makes of it."""
    for policy in (text.strip("'"), DefaultParseValue(text)):
        assert [votes_needed(policy, readers) for readers in range(1, 9)] == votes
        assert [votes_needed(consensus_policy(policy), readers) for readers in range(1, 9)] == votes


@pytest.fixture(scope="module")
def small_voi(painted: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A nodule's item whose CT has the 16 x 12 x 6 voxels about its centre, which are quick to write and to read."""
    item = nodule_datalist(painted, folds=[0])[1]
    ct, path = nibabel.load(item["ct"]), tmp_path_factory.mktemp("small") / "ct.nii"
    nibabel.save(ct.slicer[20:36, 22:34, 9:15], path)
    return {**item, "ct": str(path)}


@pytest.mark.parametrize(("text", "votes"), TABLE)
def test_the_conversion_and_the_bundles_make_the_same_mask(
    text: str, votes: list[int], small_voi: dict[str, object], tmp_path: Path
) -> None:
    """Voxel i along x is marked by i of the readers."""
    item, policy = dict(small_voi), DefaultParseValue(text)
    ct = nibabel.load(item["ct"])
    item["reader_masks"], load = str(tmp_path / "readers.nii"), LoadVOI(consensus=policy)
    for readers, needed in enumerate(votes, start=1):
        marks = np.broadcast_to(np.arange(ct.shape[0])[:, None, None, None] > np.arange(readers), (*ct.shape, readers))
        nibabel.save(nibabel.Nifti1Image(marks.astype(np.uint8), ct.affine), item["reader_masks"])
        expected = marks.sum(axis=3) >= needed
        converted = consensus(list(np.moveaxis(marks, 3, 0)), level=ConversionSettings(consensus=policy).consensus)
        np.testing.assert_array_equal(converted, expected)
        whole = load(item)
        assert whole["mask"].sum() == expected.sum()
        stored = nibabel.Nifti1Image(expected.astype(np.uint8), ct.affine)
        nibabel.save(stored, tmp_path / "expected.nii")
        direct = LoadVOI()({**item, "mask": str(tmp_path / "expected.nii")})
        np.testing.assert_array_equal(whole["mask"], direct["mask"])


@pytest.mark.parametrize("text", REFUSED)
def test_both_command_lines_refuse_in_the_same_words(text: str) -> None:
    given = DefaultParseValue(text)
    with pytest.raises(InputError, match=r"^--consensus is a fraction of the readers") as one:
        ConversionSettings(consensus=given)
    assert "\n" not in str(one.value)
    if given is not None:  # the bundles' null is the mask of the dataset
        with pytest.raises(InputError) as other:
            LoadVOI(consensus=given)
        assert str(other.value) == str(one.value)


@pytest.mark.parametrize("written", SPELLED)
def test_spellings_of_a_policy_are_written_alike(written: str) -> None:
    """So that a dataset or a training is not refused for another spelling of its own policy."""
    near = {"0.51", "0.501", "0.666"}  # policies of their own, which agree with this one for up to eight readers
    for text in set(SPELLED[written][0]) - near:
        assert str(consensus_policy(DefaultParseValue(text))) == written


def test_the_default_gives_the_published_masks_of_real_nodules(lidc_vois: Path) -> None:
    """Half of the readers, counted here, is the mask that was stored with the default of 0.5, voxel for voxel."""
    items = nodule_datalist(lidc_vois, folds=range(5))[::20]
    assert len(items) > 20
    for item in items:
        np.testing.assert_array_equal(LoadVOI(consensus=0.5)(item)["mask"], LoadVOI()(item)["mask"])
