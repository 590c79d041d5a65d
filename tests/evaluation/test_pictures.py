"""Pictures of reconstructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lung_nodule.errors import InputError
from lung_nodule.evaluation import SaveReconstructions
from lung_nodule.evaluation.pictures import write_picture
from lung_nodule.networks import MTCNN


def test_views_stand_above_their_reconstructions(tmp_path: Path) -> None:
    grey = np.linspace(0, 1, 9)[:, None, None] * np.ones((9, 16, 16))
    write_picture(tmp_path / "a.png", views=grey, reconstructions=1 - grey, scores=[0.5] * 9)
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    for view in range(9):
        column = 4 + view * 36 + 16
        assert picture[4 + 16, column] == pytest.approx(255 * view / 8, abs=1)
        assert picture[4 + 36 + 16, column] == pytest.approx(255 * (1 - view / 8), abs=1)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]


def test_a_model_that_reconstructs_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trained with --alpha 0"):
        SaveReconstructions(output_dir=tmp_path, network=MTCNN(width=0.125, image_size=32), alpha=0.0)
