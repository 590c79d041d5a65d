"""From a nodule's files to what a network sees."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from lung_nodule.core import SlicesView
from lung_nodule.data import (
    CropMargin,
    LoadVOI,
    MoveCenter,
    NoduleSlices,
    RandCropMargin,
    RandNoduleSlice,
    RandPadParenchyma,
    ViewNodule,
    ViewSlice,
    nodule_datalist,
    one_nodule,
)
from lung_nodule.errors import InputError
from lung_nodule.io import Volume, read_nifti, write_nifti

VIEW = SlicesView(patch_mm=32.0, image_size=64)


@pytest.fixture(scope="module")
def nodule(painted: Path) -> dict:
    return LoadVOI()(nodule_datalist(painted, folds=[0])[1])


def test_a_flipped_file_gives_the_same_nodule(painted: Path, nodule: dict, tmp_path: Path) -> None:
    """The same voxels stored along +x, +y: world positions decide, not storage order."""
    item = nodule_datalist(painted, folds=[0])[1]
    for key in ("ct", "mask"):
        image = nibabel.load(item[key])
        flipped = image.as_reoriented([[0, -1], [1, -1], [2, 1]])
        assert np.sign(np.diag(flipped.affine)[:2]).tolist() == [1, 1]
        nibabel.save(flipped, tmp_path / f"{key}.nii.gz")
        item[key] = str(tmp_path / f"{key}.nii.gz")
    loaded = LoadVOI()(item)
    np.testing.assert_array_equal(loaded["ct"], nodule["ct"])
    np.testing.assert_allclose(loaded["center"], nodule["center"], atol=1e-4)


def test_the_centre_is_the_middle_of_the_mask(nodule: dict) -> None:
    middle = np.argwhere(nodule["mask"]).mean(axis=0)
    np.testing.assert_allclose(nodule["center"], middle, atol=0.5)


def test_consensus_from_readers(painted: Path, nodule: dict) -> None:
    item = nodule_datalist(painted, folds=[0])[1]
    np.testing.assert_array_equal(LoadVOI(consensus="2/3")(item)["mask"], nodule["mask"])


@pytest.mark.parametrize("level", ["2/3", 0.667, 0.6667, 2 / 3])
def test_two_of_three_readers_are_two_thirds(painted: Path, tmp_path: Path, level: float | str) -> None:
    item = nodule_datalist(painted, folds=[0])[1]
    image = nibabel.load(item["reader_masks"])
    readers = np.asarray(image.dataobj).copy()
    readers[..., 2] = 0
    nibabel.save(nibabel.Nifti1Image(readers, image.affine), tmp_path / "readers.nii.gz")
    mask = LoadVOI(consensus=level)({**item, "reader_masks": str(tmp_path / "readers.nii.gz")})["mask"]
    assert mask.sum() == readers[..., 0].sum()


def test_files_on_two_grids_are_refused(painted: Path) -> None:
    one, other = nodule_datalist(painted, folds=[0])[:2]
    with pytest.raises(InputError, match="does not lie on the grid"):
        LoadVOI()({**one, "mask": other["mask"]})


def test_a_centre_outside_is_refused_with_the_files_name(painted: Path) -> None:
    item = nodule_datalist(painted, folds=[0])[0]
    with pytest.raises(InputError, match=r"_ct.nii.gz: the centre .* lies outside the VOI"):
        LoadVOI()({**item, "center_x_ras": 1e4})


def test_inference_needs_no_mask(painted: Path) -> None:
    item = {**nodule_datalist(painted, folds=[0])[0], "mask": "nowhere.nii.gz", "reader_masks": "nowhere.nii.gz"}
    viewed = ViewNodule(VIEW)(LoadVOI(with_mask=False)(item))
    assert "label" not in viewed
    assert one_nodule([viewed])["image"].shape[:2] == (1, 1)


def test_patch_slices_see_every_slice_of_the_patch(nodule: dict) -> None:
    viewed = ViewNodule(VIEW)(nodule)
    assert viewed["image"].shape == viewed["label"].shape == (1, 64, 64, len(viewed["patch"].slices))
    assert len(viewed["patch"].slices) == nodule["ct"].shape[2]
    pixels = viewed["label"].sum() * (32 / 64) ** 2 * 1.25
    assert pixels == pytest.approx(nodule["mask"].sum() * 0.7 * 0.7 * 1.25, rel=0.05)


def test_the_papers_way_sees_the_masks_slices_alone(nodule: dict) -> None:
    viewed = ViewNodule(VIEW, slices="mask")(nodule)
    assert viewed["label"].shape[3] == nodule["mask"].any(axis=(0, 1)).sum()
    assert viewed["label"].sum(dim=(0, 1, 2)).min() > 0


def test_inference_does_not_look_at_the_mask(nodule: dict) -> None:
    without = ViewNodule(VIEW)({**nodule, "mask": np.zeros_like(nodule["mask"])})
    np.testing.assert_array_equal(without["image"], ViewNodule(VIEW)(nodule)["image"])


def test_an_epoch_sees_three_different_slices_of_a_nodule(nodule: dict) -> None:
    draw = RandNoduleSlice()
    slices = np.flatnonzero(nodule["mask"].any(axis=(0, 1)))
    for _ in range(20):
        drawn = [draw._draw({**nodule, "part": part, "parts": 3}) for part in range(3)]
        assert len(set(drawn)) == 3
        assert set(drawn) <= set(slices)
    assert len(NoduleSlices([nodule] * 4, slices_per_nodule=3, transform=draw)) == 12


def test_a_nodule_of_one_slice_still_gives_its_slice(nodule: dict) -> None:
    mask = np.zeros_like(nodule["mask"])
    mask[20:30, 20:30, 7] = 1
    draw = RandNoduleSlice()
    assert {draw._draw({**nodule, "mask": mask, "part": part, "parts": 3}) for part in range(3)} == {7}


def test_training_slices_are_the_patchs_slices(nodule: dict) -> None:
    draw = RandNoduleSlice().set_random_state(seed=3)
    trained, viewed = ViewSlice(VIEW)(draw(nodule)), ViewNodule(VIEW)(nodule)
    differences = [
        (trained["image"][0] - viewed["image"][0, :, :, z]).abs().max() for z in range(viewed["image"].shape[3])
    ]
    z = int(np.argmin(differences))
    assert differences[z] < 1e-5
    np.testing.assert_array_equal(trained["label"][0], viewed["label"][0, :, :, z])


def test_tight_crops_keep_the_nodule_where_it_is(nodule: dict) -> None:
    tighten = RandCropMargin(prob=1.0, margin_mm=3.0).set_random_state(seed=0)
    sizes = set()
    for _ in range(30):
        crop = tighten(nodule)
        sizes.add(crop["ct"].shape)
        assert crop["mask"].sum() == nodule["mask"].sum()
        centre, moved = np.rint(nodule["center"]).astype(int), np.rint(crop["center"]).astype(int)
        assert crop["ct"][tuple(moved)] == nodule["ct"][tuple(centre)]
    assert len(sizes) > 20


def test_a_crop_of_one_margin_is_the_tightest_that_training_draws(nodule: dict) -> None:
    tight = CropMargin(margin_mm=3.0)(nodule)
    margin = np.ceil(3.0 / nodule["spacing"]).astype(int)
    marked = np.argwhere(tight["mask"])
    assert (marked.min(axis=0) == margin).all()
    assert (np.array(tight["mask"].shape) - 1 - marked.max(axis=0) == margin).all()
    draw = RandCropMargin(prob=1.0, margin_mm=3.0).set_random_state(seed=0)
    assert all((np.array(draw(nodule)["ct"].shape) >= tight["ct"].shape).all() for _ in range(20))
    assert CropMargin()(nodule)["ct"].shape == nodule["ct"].shape


def test_loosened_crops_keep_what_was_scanned_where_it_is(nodule: dict) -> None:
    loosen = RandPadParenchyma(prob=1.0, reach_mm=10.0).set_random_state(seed=0)
    most = np.ceil(10.0 / nodule["spacing"]).astype(int)
    shapes = set()
    for _ in range(20):
        crop = loosen(nodule)
        shapes.add(crop["ct"].shape)
        before = np.rint(crop["center"] - nodule["center"]).astype(int)
        assert ((before >= 0) & (before <= most)).all()
        assert (np.array(crop["ct"].shape) - nodule["ct"].shape <= 2 * most).all()
        scanned = tuple(slice(b, b + n) for b, n in zip(before, nodule["ct"].shape, strict=True))
        np.testing.assert_array_equal(crop["ct"][scanned], nodule["ct"])
        np.testing.assert_array_equal(crop["mask"][scanned], nodule["mask"])
        assert crop["mask"].sum() == nodule["mask"].sum()
    assert len(shapes) == 20


def test_a_crop_is_loosened_along_the_axes_that_are_asked_for(nodule: dict) -> None:
    loosen = RandPadParenchyma(prob=1.0, reach_mm=[10.0, 5.0, 0.0]).set_random_state(seed=0)
    most = np.ceil(np.array([10.0, 5.0, 0.0]) / nodule["spacing"])
    grown = np.max([np.array(loosen(nodule)["ct"].shape) - nodule["ct"].shape for _ in range(40)], axis=0)
    assert (grown <= 2 * most).all()
    assert (grown > 1.5 * most - (most == 0)).all()


def test_what_is_added_looks_like_the_lung_of_the_voi(nodule: dict) -> None:
    ct = np.where(nodule["mask"] > 0, 40, np.random.default_rng(1).normal(-800, 25, nodule["ct"].shape)).astype(
        np.int16
    )
    crop = RandPadParenchyma(prob=1.0, reach_mm=20.0).set_random_state(seed=1)({**nodule, "ct": ct})
    outside = np.ones(crop["ct"].shape, dtype=bool)
    before = np.rint(crop["center"] - nodule["center"]).astype(int)
    outside[tuple(slice(b, b + n) for b, n in zip(before, ct.shape, strict=True))] = False
    assert crop["ct"].dtype == np.int16
    assert crop["ct"][outside].mean() == pytest.approx(-800, abs=5)
    assert crop["ct"][outside].std() == pytest.approx(25, abs=5)
    soft = RandPadParenchyma(prob=1.0).set_random_state(seed=1)({**nodule, "ct": np.full_like(ct, 40)})
    assert soft["ct"].min() < -500  # no lung in the VOI: the usual one


def test_tightness_outside_the_patch_changes_no_pixel(nodule: dict) -> None:
    """What a network sees of a nodule does not depend on how much lies beyond its patch."""
    small = ViewNodule(SlicesView(patch_mm=16.0, image_size=32))
    box = (slice(10, 46), slice(10, 46), slice(3, 22))
    crop = {**nodule, "ct": nodule["ct"][box], "mask": nodule["mask"][box], "center": nodule["center"] - [10, 10, 3]}
    np.testing.assert_allclose(small(crop)["image"], small(nodule)["image"], atol=1e-5)


def test_real_nodules_keep_their_volume_in_the_patch(lidc_vois: Path) -> None:
    """What lies in the patch adds up to the table's consensus volume, flipped scans included."""
    items = [item for item in nodule_datalist(lidc_vois, folds=[0]) if item["diameter_mm"] < 15][:25]
    for item in items:
        viewed = ViewNodule(SlicesView(patch_mm=32.0, image_size=112))(LoadVOI()(item))
        pixel = (32 / 112) ** 2 * viewed["spacing"][2]
        assert float(viewed["label"].sum() * pixel) == pytest.approx(item["volume_mm3"], rel=0.12)


def test_what_a_voi_may_hold(painted: Path, tmp_path: Path) -> None:
    item = nodule_datalist(painted, folds=[0])[1]
    ct = read_nifti(item["ct"])

    def loaded(data: np.ndarray) -> dict:
        write_nifti(tmp_path / "ct.nii.gz", Volume(data, ct.affine))
        return LoadVOI()({**item, "ct": str(tmp_path / "ct.nii.gz")})

    metal = ct.data.astype(np.float32)
    metal[0, 0, 0], metal[1, 0, 0] = 1e6, -1e6
    assert {loaded(metal)["ct"].max(), loaded(metal)["ct"].min()} == {32767, -32768}  # nothing wraps around
    metal[0, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"ct\.nii\.gz: the VOI holds 1 voxels that are NaN or infinite"):
        loaded(metal)
    with pytest.raises(InputError, match=r"ct\.nii\.gz"):
        loaded(ct.data[..., None].repeat(2, axis=3))


def test_a_moved_centre_is_off_by_the_distance_in_a_direction_of_the_nodule(nodule: dict) -> None:
    move = MoveCenter(4.0)
    moved, again = move(nodule), move(nodule)
    assert np.linalg.norm((moved["center"] - nodule["center"]) * nodule["spacing"]) == pytest.approx(4.0, abs=1e-3)
    np.testing.assert_array_equal(moved["center"], again["center"])
    other = move({**nodule, "nodule_id": "another"})
    assert np.abs(other["center"] - moved["center"]).max() > 0.1
    np.testing.assert_allclose(MoveCenter()(nodule)["center"], nodule["center"], atol=1e-6)
    far = MoveCenter(500.0)(nodule)["center"]
    assert ((far >= -0.5) & (far <= np.array(nodule["ct"].shape) - 0.5)).all()
    at_face = {**nodule, "center": np.array([-0.5, 0.2, nodule["ct"].shape[2] - 0.6], dtype=np.float32)}
    np.testing.assert_array_equal(MoveCenter()(at_face)["center"], at_face["center"])
