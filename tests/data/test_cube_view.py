"""The cube that the end-to-end network sees: channels and their cache, references, fixed tightnesses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import RandFlipd, RandRotate90d
from scipy import ndimage

from lung_nodule.core import CubeView, ScannedCube, window
from lung_nodule.data import (
    CubeChannels,
    LoadVOI,
    RandCropVariant,
    ViewNodule,
    binary_attributes,
    fill_channel_cache,
    nodule_datalist,
)
from lung_nodule.data.channels import otsu_channel, slic_channel
from lung_nodule.errors import InputError
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, NETWORK_WINDOW

SMALL = {"slic_segments": 150}
CUBE = {"patch_mm": 32.0, "image_size": 32}


@pytest.fixture(scope="module")
def nodule(painted: Path) -> dict:
    return LoadVOI()(nodule_datalist(painted, folds=[0])[1])


@pytest.fixture(scope="module")
def viewed(nodule: dict) -> dict:
    return ViewNodule(CubeView(**CUBE, make_channels=CubeChannels(**SMALL)))(nodule)


def ball(edge: int = 32, radius: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball in noisy dark, and its mask."""
    grid = np.stack(np.meshgrid(*[np.arange(edge) - (edge - 1) / 2] * 3, indexing="ij"))
    mask = np.sqrt((grid**2).sum(0)) <= radius
    noise = np.random.default_rng(0).normal(0, 0.02, mask.shape)
    return np.clip(0.1 + 0.6 * mask + noise, 0, 1).astype(np.float32), mask


def test_otsu_finds_the_ball() -> None:
    cube, mask = ball()
    np.testing.assert_array_equal(otsu_channel(cube), mask)
    assert not otsu_channel(np.full((8, 8, 8), 0.3, np.float32)).any()


def test_supervoxels_are_connected_and_hold_their_mean() -> None:
    cube, mask = ball()
    channel = slic_channel(cube, segments=150, compactness=0.1)
    levels = np.unique(channel)
    assert 20 < len(levels) < 600
    for level in levels[:: len(levels) // 10]:
        region = np.isclose(channel, level, rtol=0, atol=0)
        assert cube[region].mean() == pytest.approx(level, abs=1e-5)
    assert channel.mean() == pytest.approx(cube.mean(), abs=1e-5)
    inside, outside = channel[ndimage.binary_erosion(mask)], channel[~ndimage.binary_dilation(mask)]
    assert inside.min() > 0.6 > 0.2 > outside.max()
    assert channel[~mask].std() < cube[~mask].std()


def test_channels_come_in_the_order_asked_for() -> None:
    cube, _ = ball(16, 4)
    all_three = CubeChannels(**SMALL)(cube)
    assert all_three.shape == (3, 16, 16, 16)
    assert all_three.dtype == np.float32
    np.testing.assert_array_equal(all_three[0], cube)
    np.testing.assert_array_equal(CubeChannels(["slic", "ct"], **SMALL)(cube), all_three[[2, 0]])
    for names in ([], ["ct", "hog"]):
        with pytest.raises(InputError, match="channels must be some of ct, otsu, slic"):
            CubeChannels(names)


def test_what_is_kept_is_what_was_computed_and_is_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube, _ = ball(16, 4)
    kept = CubeChannels(**SMALL, cache_dir=tmp_path)
    first = kept(cube)
    np.testing.assert_array_equal(first, CubeChannels(**SMALL)(cube))
    monkeypatch.setattr("lung_nodule.data.channels.slic_channel", lambda *_, **__: pytest.fail("computed again"))
    np.testing.assert_array_equal(kept(cube), first)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_other_voxels_and_other_options_reuse_nothing(tmp_path: Path) -> None:
    cube, _ = ball(16, 4)
    other = cube.copy()
    other[0, 0, 0] = np.nextafter(other[0, 0, 0], np.float32(1))
    options = [{}, {"slic_segments": 151}, {"slic_compactness": 0.2}, {"names": ["ct", "otsu"]}]
    keys = {CubeChannels(**{**SMALL, **option}).key(voxels) for option in options for voxels in (cube, other)}
    keys |= {CubeChannels(**SMALL).key(cube.reshape(8, 32, 16))}
    assert len(keys) == 9
    assert CubeChannels(["ct", "otsu"], slic_segments=1).key(cube) == CubeChannels(["otsu", "ct"]).key(cube)


def test_a_broken_cache_file_is_named(tmp_path: Path) -> None:
    cube, _ = ball(16, 4)
    channels = CubeChannels(**SMALL, cache_dir=tmp_path)
    (tmp_path / f"{channels.key(cube)}.npz").write_bytes(b"half a file")
    with pytest.raises(InputError, match=r"\.npz cannot be read .* remove it"):
        channels(cube)


def test_the_view_gives_channels_and_references_on_one_grid(nodule: dict, viewed: dict) -> None:
    assert viewed["image"].shape == (3, 32, 32, 32)
    assert viewed["label"].shape == viewed["inside"].shape == (1, 32, 32, 32)
    assert 0 <= viewed["image"].min() <= viewed["image"].max() <= 1
    assert float(viewed["label"].sum()) == pytest.approx(nodule["mask"].sum() * 0.7 * 0.7 * 1.25, rel=0.05)
    np.testing.assert_allclose(
        np.argwhere(viewed["label"][0].numpy()).mean(axis=0), [15.5] * 3, atol=0.7
    )  # the centre is the cube's
    hu = viewed["image"][0][viewed["label"][0] > 0].mean() * 1400 - 1000
    assert hu == pytest.approx(-60, abs=120)


def test_beyond_the_voi_the_image_goes_on_and_the_label_does_not(nodule: dict) -> None:
    """A crop that ends with the nodule, as tight ones do: padded, never stretched."""
    marked = np.flatnonzero(nodule["mask"].any(axis=(0, 1)))
    box = slice(marked[0], marked[-1] + 1)
    center = nodule["center"] - [0, 0, marked[0]]
    tight = {**nodule, "ct": nodule["ct"][:, :, box], "mask": nodule["mask"][:, :, box], "center": center}
    seen = ViewNodule(CubeView(**CUBE, make_channels=CubeChannels(["ct"])))(tight)
    scanned = seen["inside"][0].amax(dim=(0, 1)) > 0
    slices = int(scanned.sum())
    assert slices == pytest.approx(len(marked) * 1.25, abs=1)
    assert seen["label"][0, :, :, ~scanned].sum() == 0
    assert float(seen["label"].sum()) == pytest.approx(nodule["mask"].sum() * 0.7 * 0.7 * 1.25, rel=0.12)
    last = seen["image"][0, :, :, -2:]
    torch.testing.assert_close(last[..., 0], last[..., 1])


def test_a_soft_label_finds_the_boundary_again(nodule: dict) -> None:
    """Shares of voxels, at one half the hard label; restored, they are closer to the mask than 0/1 are."""
    view = CubeView(**CUBE, make_channels=CubeChannels(["ct"]))
    hard, soft = ViewNodule(view)(nodule), ViewNodule(view, soft_label=True)(nodule)
    np.testing.assert_array_equal(np.asarray(soft["label"]) >= 0.5, np.asarray(hard["label"]) > 0)
    assert ((soft["label"] > 0) & (soft["label"] < 1)).sum() > 0

    def wrong(label: torch.Tensor) -> int:
        restored = hard["patch"].restore(np.moveaxis(np.asarray(label)[0], 2, 0)) >= 0.5
        return int((restored != (nodule["mask"] > 0)).sum())

    assert wrong(soft["label"]) < wrong(hard["label"])


def test_a_scanned_cube_restores_as_any_cube_and_shows_air_beyond_the_scan(nodule: dict, viewed: dict) -> None:
    patch = viewed["patch"]
    assert isinstance(patch, ScannedCube)
    shifted = ScannedCube(**{**vars(patch), "center": (0.0, 28.0, 12.0)})
    air = shifted.sample(nodule["ct"])[:, :14]
    np.testing.assert_allclose(air, nodule["ct"].min(), atol=1e-3)
    ones = patch.restore(np.ones((32, 32, 32)))
    assert ones[28, 28, 12] == pytest.approx(1)


def test_inference_needs_neither_mask_nor_ratings(painted: Path) -> None:
    item = {**nodule_datalist(painted, folds=[0])[0], "mask": "nowhere.nii.gz", "reader_masks": "nowhere.nii.gz"}
    item = {key: value for key, value in item.items() if key not in ("texture_mean", "margin_mean")}
    seen = ViewNodule(CubeView(**CUBE, make_channels=CubeChannels(["ct"])))(LoadVOI(with_mask=False)(item))
    assert "label" not in seen
    assert torch.isnan(seen["highs"]).tolist() == [name in ("texture", "margin") for name in ATTRIBUTE_THRESHOLDS]


def test_the_mask_moves_nothing_of_the_image(nodule: dict, viewed: dict) -> None:
    without = ViewNodule(CubeView(**CUBE, make_channels=CubeChannels(**SMALL)))(
        {**nodule, "mask": np.zeros_like(nodule["mask"])}
    )
    torch.testing.assert_close(without["image"], viewed["image"], rtol=0, atol=0)


def test_high_and_low() -> None:
    item = {f"{name}_mean": 3.5 for name in ATTRIBUTE_THRESHOLDS}
    assert binary_attributes(item).tolist() == [1, 1, 1, 1, 1, 0, 1]
    item = {**item, "calcification_mean": 5.5, "margin_mean": 3.49, "subtlety_mean": math.nan}
    np.testing.assert_array_equal(binary_attributes(item), [1, 1, 1, 0, 1, 1, np.nan])


def test_real_shares_of_high_attributes(lidc_vois: Path) -> None:
    """Near the whole collection's: texture .897, spiculation .057, lobulation .045, calcification absent .834."""
    items = nodule_datalist(lidc_vois, folds=range(5))
    share = dict(zip(ATTRIBUTE_THRESHOLDS, np.mean([binary_attributes(item) for item in items], axis=0), strict=True))
    for name, expected in {"texture": 0.897, "spiculation": 0.057, "lobulation": 0.045, "calcification": 0.834}.items():
        assert share[name] == pytest.approx(expected, abs=0.06), name


def test_variants_are_fixed_and_differ(nodule: dict) -> None:
    crops = RandCropVariant(variants=4, margin_mm=3.0)
    made = [crops.variant(nodule, number) for number in range(4)]
    again = RandCropVariant(variants=4, margin_mm=3.0).variant(nodule, 2)
    np.testing.assert_array_equal(again["ct"], made[2]["ct"])
    np.testing.assert_array_equal(made[0]["ct"], nodule["ct"])
    assert len({crop["ct"].shape for crop in made}) == 4
    assert all(crop["mask"].sum() == nodule["mask"].sum() for crop in made)
    other = crops.variant({**nodule, "nodule_id": "another"}, 2)
    assert other["ct"].shape != made[2]["ct"].shape
    with pytest.raises(InputError, match="crop_variants must be at least 1"):
        RandCropVariant(variants=0)


def test_the_centre_of_a_crop_is_moved_on_its_own(nodule: dict) -> None:
    """By up to so many mm, inside of the VOI, without another crop; the whole VOI keeps its centre."""
    plain, moved = (RandCropVariant(variants=60, margin_mm=3.0, center_shift_mm=mm) for mm in (0.0, 4.0))
    np.testing.assert_array_equal(moved.variant(nodule, 0)["center"], nodule["center"])
    shifts = []
    for number in range(1, 60):
        before, after = plain.variant(nodule, number), moved.variant(nodule, number)
        np.testing.assert_array_equal(before["ct"], after["ct"])
        assert (after["center"] >= -0.5).all()
        assert (after["center"] <= np.array(after["ct"].shape) - 0.5).all()
        shifts.append((after["center"] - before["center"]) * nodule["spacing"])
    assert np.abs(shifts).max() <= 4.0 + 1e-4
    assert (np.abs(shifts).max(axis=0) > 3.0).all()
    assert np.abs(np.mean(shifts, axis=0)).max() < 1.2
    again = RandCropVariant(variants=60, margin_mm=3.0, center_shift_mm=4.0).variant(nodule, 7)
    np.testing.assert_array_equal(again["center"], moved.variant(nodule, 7)["center"])


@pytest.mark.slow
def test_what_is_added_to_a_crop_does_not_follow_what_was_cut(nodule: dict) -> None:
    """On a roomy VOI a loosened face seldom lies where the VOI's own does."""
    mask = np.zeros((115, 115, 64), dtype=np.uint8)
    mask[55:60, 55:60, 30:34] = 1
    ct = np.full(mask.shape, -850, dtype=np.int16)
    voi = {**nodule, "ct": ct, "mask": mask, "center": np.array([57.0, 57.0, 31.5]), "spacing": np.full(3, 0.7)}
    crops = RandCropVariant(variants=41, pad_parenchyma_prob=1.0)
    middles = [crops.variant({**voi, "nodule_id": f"n{i}"}, 1)["center"] for i in range(60)]
    unmoved = np.mean([np.abs(middle - voi["center"]) < 1 for middle in middles], axis=0)
    assert (unmoved < 0.2).all()


def test_an_epoch_draws_one_variant_and_a_seed_repeats_it(nodule: dict) -> None:
    crops = RandCropVariant(variants=3, margin_mm=3.0)
    fixed = [crops.variant(nodule, number)["ct"].shape for number in range(3)]
    draws = []
    for _ in range(2):
        crops.set_random_state(seed=5)
        draws.append([fixed.index(crops(nodule)["ct"].shape) for _ in range(30)])
    assert draws[0] == draws[1]
    assert set(draws[0]) == {0, 1, 2}


def test_filling_keeps_every_variant_of_every_nodule(painted: Path, tmp_path: Path) -> None:
    nodules = [LoadVOI()(item) for item in nodule_datalist(painted, folds=[0])[:2]]
    view = ViewNodule(CubeView(**CUBE, make_channels=CubeChannels(**SMALL, cache_dir=tmp_path)))
    crops = RandCropVariant(variants=2)
    fill_channel_cache(nodules, view=view, crops=crops)
    assert len(list(tmp_path.iterdir())) == 4
    for _ in range(8):
        view(crops(nodules[0]))
    assert len(list(tmp_path.iterdir())) == 4


def test_channels_stay_true_to_their_turned_cube(viewed: dict) -> None:
    """Flips and quarter turns move all channels and the label together: Otsu of the turned cube is the turned Otsu."""
    keys = ["image", "label"]
    turned = {key: viewed[key] for key in keys}
    for transform in (RandFlipd(keys, prob=1, spatial_axis=2), RandRotate90d(keys, prob=1, spatial_axes=(0, 1))):
        turned = transform(turned)
    image = turned["image"].numpy()
    assert not np.array_equal(image, viewed["image"].numpy())
    np.testing.assert_array_equal(otsu_channel(image[0]), image[1] > 0.5)
    covered = image[0][turned["label"][0].numpy() > 0]
    assert covered.mean() == pytest.approx(float(viewed["image"][0][viewed["label"][0] > 0].mean()), abs=1e-6)


def test_the_image_is_the_windowed_cube(nodule: dict, viewed: dict) -> None:
    patch = viewed["patch"]
    centre = window(nodule["ct"], *NETWORK_WINDOW)[tuple(np.rint(nodule["center"]).astype(int))]
    assert patch.patch_mm == 32
    assert float(viewed["image"][0, 15:17, 15:17, 15:17].mean()) == pytest.approx(float(centre), abs=0.05)
