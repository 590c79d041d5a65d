"""The images of a nodule's fixed crops are those of its crops, and each of them is drawn."""

from __future__ import annotations

import numpy as np
import torch

from lung_nodule.core import PlanesView
from lung_nodule.data import RandCropVariant, RandVariantImage, VariantImages, ViewNodule


def _nodule() -> dict[str, object]:
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 40, 20), dtype=np.uint8)
    mask[16:24, 16:24, 8:12] = 1
    ct = np.where(mask > 0, 40, rng.integers(-900, -800, mask.shape)).astype(np.int16)
    where = {"spacing": np.array([1.0, 1.0, 2.0], dtype=np.float32), "center": np.array([19.5, 19.5, 9.5])}
    return {"nodule_id": "n", "ct": ct, "mask": mask, "malignant": 1.0, **where}


def test_the_images_are_those_of_the_crops() -> None:
    crops = RandCropVariant(variants=4, pad_parenchyma_prob=1.0)
    view = ViewNodule(PlanesView(patch_mm=32.0, image_size=32), target="target")
    made = VariantImages(crops, view)(_nodule())
    expected = [view(crops.variant(_nodule(), number))["image"] for number in range(4)]
    assert made["images"].shape == (4, 9, 32, 32)
    torch.testing.assert_close(made["images"].float(), torch.stack(expected), atol=5e-4, rtol=0)
    assert made["target"].tolist() == [1.0]


def test_every_image_is_drawn() -> None:
    images = torch.arange(4).half()[:, None, None, None].expand(4, 9, 2, 2)
    draw = RandVariantImage()
    draw.set_random_state(seed=0)
    drawn = [draw({"images": images, "target": torch.ones(1)}) for _ in range(60)]
    assert {float(one["image"][0, 0, 0]) for one in drawn} == {0.0, 1.0, 2.0, 3.0}
    assert set(drawn[0]) == {"image", "target"}
    assert drawn[0]["image"].dtype == torch.float32
