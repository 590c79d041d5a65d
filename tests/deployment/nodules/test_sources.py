"""Nodules from a label map and from the detections of MONAI's lung_nodule_ct_detection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lung_nodule.deployment.nodules.sources import other_image_warnings, read_nodule_source
from lung_nodule.errors import InputError
from lung_nodule.io import CENTER, Volume, write_nifti

AFFINES = {
    "lps": np.array([[-0.8, 0, 0, 12.0], [0, -0.8, 0, -7.0], [0, 0, 2.0, 30.0], [0, 0, 0, 1]]),
    "ras": np.array([[0.8, 0, 0, -90.0], [0, 0.8, 0, -60.0], [0, 0, 2.0, 30.0], [0, 0, 0, 1]]),
}
SHAPE = (100, 90, 40)
CENTERS, RADII = np.array([[-30.0, -40.0, 60.0], [-50.0, -20.0, 90.0]]), (8.0, 5.0)


def _labels(affine: np.ndarray) -> Volume:
    empty = Volume(np.zeros(SHAPE, dtype=np.uint8), affine)
    world = empty.to_world(np.moveaxis(np.indices(SHAPE), 0, -1))
    for label, center, radius in zip((2, 7), CENTERS, RADII, strict=True):
        empty.data[np.linalg.norm(world - center, axis=-1) <= radius] = label
    return empty


@pytest.mark.parametrize("axes", AFFINES)
def test_every_label_is_a_nodule_with_its_centre_and_diameter(axes: str, tmp_path: Path) -> None:
    write_nifti(tmp_path / "labels.nii.gz", _labels(AFFINES[axes]))
    table = read_nodule_source(tmp_path / "labels.nii.gz")
    assert table["nodule_id"].tolist() == ["nodule_2", "nodule_7"]
    np.testing.assert_allclose(table[list(CENTER)], CENTERS, atol=0.5)
    np.testing.assert_allclose(table["diameter_mm"], np.multiply(2, RADII), atol=0.9)


def test_parts_of_a_label_that_do_not_touch_are_as_many_nodules(tmp_path: Path) -> None:
    labels = _labels(AFFINES["lps"])
    labels.data[labels.data > 0] = 1
    write_nifti(tmp_path / "mask.nii.gz", labels)
    table = read_nodule_source(tmp_path / "mask.nii.gz")
    assert table["nodule_id"].is_unique
    np.testing.assert_allclose(table[list(CENTER)], CENTERS, atol=0.5)


def test_a_map_of_four_axes_is_refused(tmp_path: Path) -> None:
    labels = _labels(AFFINES["lps"])
    write_nifti(tmp_path / "labels.nii.gz", Volume(np.stack([labels.data] * 2, axis=-1), labels.affine))
    with pytest.raises(InputError, match="a label map has three axes"):
        read_nodule_source(tmp_path / "labels.nii.gz")


def _write(path: Path, *images: dict) -> Path:
    path.write_text(json.dumps(list(images)))
    return path


def _image(name: str, scores: tuple[float, ...]) -> dict:
    """Boxes in LPS around the centres, the last one larger."""
    boxes = [[-x, -y, z, 2 * radius, 2 * radius + 2, 30.0] for (x, y, z), radius in zip(CENTERS, RADII, strict=True)]
    return {"box": boxes, "label": [0, 0], "label_scores": list(scores), "image": f"/data/{name}"}


def test_detections_come_by_score_from_lps_to_ras(tmp_path: Path) -> None:
    path = _write(tmp_path / "result.json", _image("a.nii.gz", (0.6, 0.9)), _image("b.nii.gz", (0.9, 0.2)))
    table = read_nodule_source(path, series_of=tmp_path / "a.nii.gz")
    assert table["nodule_id"].tolist() == ["nodule_1", "nodule_2"]
    np.testing.assert_allclose(table[list(CENTER)], CENTERS[::-1])
    np.testing.assert_allclose(table["diameter_mm"], [11.0, 17.0])
    assert len(read_nodule_source(path, series_of=tmp_path / "b.nii.gz")) == 1
    assert len(read_nodule_source(path, series_of=tmp_path / "b.nii.gz", threshold=0.1)) == 2


REFUSED = {
    "no score reaches it": ([_image("a", (0.1, 0.3))], r"no detection of at least 0.5, the highest score is 0.30"),
    "another CT": ([_image("a", (1, 1)), _image("b", (1, 1))], r"holds 2 images, 0 of them named c.nii.gz"),
    "no boxes": ([{"boxes": []}], "each image needs box and label_scores"),
    "five numbers": ([{"box": [[1, 2, 3, 4, 5]], "label_scores": [1.0]}], "a box needs six numbers"),
    "no number as a score": (
        [{"box": [[1, 2, 3, 4, 5, 6]], "label_scores": [None]}],
        "each box needs six numbers, one",
    ),
    "no width": ([{"box": [[1, 2, 3, 0, 5, 6]], "label_scores": [1.0]}], "has a size of 0 mm or less, or of more than"),
    "corners": (
        [{"box": [[1, 2, 3, -9, 5, 6]], "label_scores": [1.0]}],
        r"centre and size \(cccwhd, mm, LPS\), not two",
    ),
    "a large one": ([{"box": [[1, 2, 3, 4, 5, 400]], "label_scores": [1.0]}], r"the box \(1, 2, 3, 4, 5, 400\) has a"),
    "corners by name": (
        [{"box": [[1, 2, 3, 4, 5, 6]], "label_scores": [1.0], "box_mode": "xyzxyz"}],
        "holds boxes of mode xyzxyz: convert them to cccwhd",
    ),
    "a score missing": ([{"box": [[1, 2, 3, 4, 5, 6]], "label_scores": []}], "1 boxes with 0 scores"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_holds_no_nodule_is_refused(case: str, tmp_path: Path) -> None:
    images, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        read_nodule_source(_write(tmp_path / "result.json", *images), series_of=tmp_path / "c.nii.gz")


@pytest.mark.parametrize(("ct", "warned"), [("a.nii", False), ("A.nii.gz", False), ("b.nii.gz", True), ("a", False)])
def test_detections_of_another_image_are_a_warning(
    ct: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the file's name, which a DICOM series (a folder) does not have."""
    path = _write(tmp_path / "result.json", _image("a.nii.gz", (0.9, 0.9)))
    table = read_nodule_source(path, series_of=tmp_path / ct)
    said = ["The nodules were detected in a.nii.gz, the CT is b.nii.gz: check that they belong together."]
    assert other_image_warnings(table, tmp_path / ct) == said * warned
    assert ("detections were made in" in caplog.text) == warned
    assert other_image_warnings(table.drop(columns="image"), tmp_path / ct) == []


@pytest.mark.parametrize("name", ["folder", "seg.zip", "table.xlsx", "labels.nrrd"])
def test_what_is_no_source_is_told_what_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"{name} holds no nodules: give a table .*, a label map"):
        read_nodule_source(tmp_path / name)


def test_a_map_without_labels_or_of_probabilities_is_refused(tmp_path: Path) -> None:
    volume = Volume(np.zeros((4, 4, 4), dtype=np.float32), np.eye(4))
    write_nifti(tmp_path / "a.nii.gz", volume)
    with pytest.raises(InputError, match="holds no label above 0"):
        read_nodule_source(tmp_path / "a.nii.gz")
    volume.data[1, 1, 1] = 0.4
    write_nifti(tmp_path / "a.nii.gz", volume)
    with pytest.raises(InputError, match="is not a label map: voxels must be integers"):
        read_nodule_source(tmp_path / "a.nii.gz")
