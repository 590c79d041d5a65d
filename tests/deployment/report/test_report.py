"""The report's pictures and page, from findings whose masks are known."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from lung_nodule.deployment.answers import Answer
from lung_nodule.deployment.findings import Finding, as_row, make_finding
from lung_nodule.deployment.occlusion import Occlusion
from lung_nodule.deployment.report.pictures import PIXELS, Picture, close_ups, overview, view_edge_mm
from lung_nodule.deployment.report.slices import HuBlock, nodule_box, pack, stacks
from lung_nodule.io import SliceNumbers, Voi, Volume
from lung_nodule.lidc import LUNG_WINDOW, SOFT_TISSUE_WINDOW
from tests.deployment.report.report_page import AFFINE, CENTER, RADIUS, SHAPE, write_page


def _points(path: str) -> np.ndarray:
    return np.array([[float(x), float(y)] for x, y in re.findall(r"([-\d.]+),([-\d.]+)", path)])


def _pixels(panel: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(panel.png))))


def test_the_finding_is_the_component_at_the_centre(finding: Finding) -> None:
    assert finding.size.equivalent_diameter_mm == pytest.approx(2 * RADIUS, rel=0.05)
    assert finding.sizes["coarse"].volume_mm3 > finding.size.volume_mm3
    assert finding.mean_hu == pytest.approx(50, abs=30)
    row = as_row(finding)
    assert row["malignancy_prob"] == 0.73
    assert row["axial_diameter_mm"] == finding.size.axial_diameter_mm == round(finding.size.axial_diameter_mm, 2)


def test_outlines_lie_where_the_nodule_is(finding: Finding) -> None:
    """The centre is at the picture's middle and the second ball, another component, is not drawn."""
    scale = PIXELS / view_edge_mm(finding)
    for panel in close_ups(finding):
        for path, radius in zip(panel.outlines, (RADIUS, RADIUS + 2), strict=True):
            distance = np.linalg.norm(_points(path) - PIXELS / 2, axis=1) / scale
            np.testing.assert_allclose(distance, radius, atol=0.5)
        assert panel.bar == pytest.approx(10 * scale)


def test_pictures_are_the_right_way_up(finding: Finding) -> None:
    """A bright block to the patient's left, posterior and superior of the centre shows where the letters say."""
    data = np.full(finding.voi.volume.shape, -1400, dtype=np.float32)
    x, y, z = np.rint(finding.voi.center).astype(int)
    data[x : x + 4, y : y + 4, z : z + 4] = 400
    volume = Volume(data, finding.voi.volume.affine)
    voi = Voi("n", volume, finding.voi.box, np.array([x, y, z], dtype=float))
    panels = close_ups(make_finding(1, CENTER, voi, finding.answer))
    shown = {}
    for panel in panels:
        rows, columns = np.nonzero(_pixels(panel) > 200)
        shown[panel.title] = (columns.mean() > PIXELS / 2, rows.mean() > PIXELS / 2)
    assert shown == {"axial": (True, True), "coronal": (True, False), "sagittal": (True, False)}
    assert {panel.title: panel.letters for panel in panels} == {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_nodule_at_a_face_has_its_pictures(finding: Finding, axis: int, end: int) -> None:
    """A centre may lie in the outer half of the last voxels: the picture is of these."""
    voi, center = finding.voi, np.array(finding.voi.center)
    center[axis] = (-0.5, voi.volume.shape[axis] - 0.5)[end]
    at_face = Voi("n", voi.volume, voi.box, center)
    panel = close_ups(make_finding(1, CENTER, at_face, finding.answer))[2 - axis]
    assert panel.hu.max() > -1000


def test_a_ct_that_is_nan_at_its_border_has_an_overview(ct: Volume, finding: Finding) -> None:
    data = ct.data.astype(np.float32)
    data[:5] = np.nan
    shown, whole = overview(finding, Volume(data, ct.affine)), overview(finding, ct)
    assert np.isfinite(shown.hu).all()
    same = shown.hu == whole.hu
    assert 0.8 < same.mean() < 1
    assert shown.hu[~same].max() <= whole.hu[~same].max()


def test_no_diameter_was_used_where_none_was_measured(finding: Finding) -> None:
    used = {
        value: as_row(replace(finding, answer=replace(finding.answer, diameter_mm=value))) for value in (0.0, 8.126)
    }
    assert "used_diameter_mm" not in used[0.0]
    assert used[8.126]["used_diameter_mm"] == 8.13


def test_the_overview_marks_the_close_ups_place(ct: Volume, finding: Finding) -> None:
    panel = overview(finding, ct)
    assert panel.box is not None
    x, y, edge = panel.box
    whole = max(SHAPE[0] * 0.8, SHAPE[1] * 0.8)
    assert edge == pytest.approx(view_edge_mm(finding) / whole * PIXELS)
    rows, columns = np.nonzero(_pixels(panel) > 200)
    assert columns.mean() == pytest.approx(x + edge / 2, abs=2)
    assert rows.mean() == pytest.approx(y + edge / 2, abs=2)


def _unpack(block: HuBlock) -> np.ndarray:
    packed = np.frombuffer(zlib.decompress(base64.b64decode(block.values)), dtype=np.uint8).astype(np.int64)
    codes = packed[: packed.size // 2] + 256 * packed[packed.size // 2 :]
    steps = np.where(codes % 2, -(codes + 1) // 2, codes // 2)
    return (block.lower + block.step * np.cumsum(steps)).reshape(block.shape, order="F")


def test_packed_voxels_are_the_cts_own() -> None:
    hu = np.random.default_rng(0).integers(-2000, 2000, (7, 5, 3)).astype(np.float32)
    block = pack(hu, 10_000)
    assert block.step == 1
    np.testing.assert_array_equal(_unpack(block), hu.clip(LUNG_WINDOW[0], SOFT_TISSUE_WINDOW[1]))


def test_many_voxels_are_packed_in_coarser_steps() -> None:
    hu = np.random.default_rng(0).integers(-1300, 200, (40, 40, 20)).astype(np.float32)
    fine, limit = pack(hu, 10**6), 40_000
    block = pack(hu, limit)
    assert 1 == fine.step < block.step
    assert len(base64.b64decode(block.values)) <= limit < len(base64.b64decode(fine.values))
    np.testing.assert_allclose(_unpack(block), hu, atol=block.step / 2)


def _painted(path: str) -> np.ndarray:
    inside = np.zeros((PIXELS, PIXELS), dtype=bool)
    return polygon2mask(inside.shape, _points(path)[:, ::-1]) if path else inside


def _centres(start: float, length: float, number: int) -> np.ndarray:
    """Pixels at the centres of a number of voxels side by side, as far as the picture shows them."""
    pixels = np.rint(start + (np.arange(number) + 0.5) / number * length).astype(int)
    return np.where((pixels >= 0) & (pixels < PIXELS), pixels, -1)


def test_every_slice_has_the_outlines_of_its_masks(ct: Volume, finding: Finding) -> None:
    """Painted, each outline holds the voxels of its mask and no others, but for those on the threshold itself."""
    box = nodule_box(finding)
    for stack in stacks(finding, ct.shape).values():
        assert sorted(slice_.at for slice_ in stack.slices) == list(range(finding.mask[box].shape[stack.normal]))
        x, y, width, height = stack.place
        for slice_ in stack.slices:
            for path, (name, mask) in zip(slice_.outlines, finding.masks.items(), strict=True):
                planes = (np.take(array[box], slice_.at, stack.normal).T for array in (mask, finding.answer.maps[name]))
                inside, probability = (plane[::-1] if stack.flipped else plane for plane in planes)
                rows, columns = (_centres(*at) for at in ((y, height, len(inside)), (x, width, inside.shape[1])))
                compared = (rows[:, None] >= 0) & (columns >= 0) & (abs(probability - 0.5) > 0.1)
                assert compared.mean() > 0.8
                np.testing.assert_array_equal(_painted(path)[np.ix_(rows, columns)][compared], inside[compared])
                assert bool(path) == (inside & (probability > 0.5)).any()


def test_slices_are_numbered_from_the_top_the_front_and_the_right(ct: Volume, finding: Finding) -> None:
    center = ct.to_index(CENTER)
    for title, axis, end in (("axial", 2, "top"), ("coronal", 1, "front"), ("sagittal", 0, "right")):
        stack = stacks(finding, ct.shape)[title]
        index = int(np.rint(center[axis]))
        number = SHAPE[axis] - index if end == "top" else index + 1
        words = stack.slices[stack.start].label.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")
        assert words.startswith(f"slice {number} of {SHAPE[axis]} from the {end}, {'xyz'[axis]} ")
        position = float(words.split()[-2])
        assert position == pytest.approx(AFFINE[axis, axis] * index, abs=0.06)
        numbers = [int(slice_.label.split()[1]) for slice_ in stack.slices]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_page_holds_everything_it_shows(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    nothing = {name: map_ * 0 for name, map_ in finding.answer.maps.items()}
    empty = make_finding(2, CENTER, finding.voi, Answer(0.01, (0.01, 0.01), nothing))
    html, page = write_page(tmp_path / "report.html", [finding, empty], ct)
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html
    scripts = [text for kind, text in page.scripts if kind is None]
    assert len(scripts) == 1
    assert not re.search(r"fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\b", scripts[0])
    assert len(page.alts) == 8
    assert all(page.alts)
    assert "Research use only" in page.text
    for shown in ("scan <1>", "LIDC <b>&amp;</b> 1", "9.8.7", "0.73", "17 May 2020", "64 mm", "no voxel above"):
        assert shown in page.text


def test_every_control_has_a_label(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    """The outlines' switch, two windows, a slider for each plane."""
    _, page = write_page(tmp_path / "report.html", [finding], ct)
    assert [values["type"] for values, _ in page.controls] == ["checkbox", "radio", "radio", "range", "range", "range"]
    for values, in_label in page.controls:
        assert in_label or values.get("aria-label")


def test_the_page_brings_the_slices_of_each_nodule(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    _, page = write_page(tmp_path / "report.html", [finding], ct)
    (viewer,) = [json.loads(text) for kind, text in page.scripts if kind == "application/json"]
    block = HuBlock(**{**viewer["blocks"]["nodule"], "shape": tuple(viewer["blocks"]["nodule"]["shape"])})
    lower, upper = LUNG_WINDOW[0], SOFT_TISSUE_WINDOW[1]
    np.testing.assert_array_equal(_unpack(block), finding.voi.volume.data[nodule_box(finding)].clip(lower, upper))
    assert set(viewer["stacks"]) == {"overview", "axial", "coronal", "sagittal"}


def test_two_methods_masks_give_a_range_of_sizes(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    """Two maps of one method are no two opinions."""
    score = (0.7, (0.6, 0.8))
    fine, coarse = finding.answer.maps.values()
    maps = {"mean": (fine + coarse) / 2, "mtnet": fine, "e2emtl": coarse}
    answer = Answer(0.7, (0.6, 0.8), maps, methods={"mtnet": score, "e2emtl": score})
    both = make_finding(1, CENTER, finding.voi, answer)
    small, large = both.sizes["mtnet"], both.sizes["e2emtl"]
    assert small.volume_mm3 <= both.size.volume_mm3 <= large.volume_mm3
    _, page = write_page(tmp_path / "both.html", [both], ct)
    assert f"{small.volume_mm3:.0f}–{large.volume_mm3:.0f} over the outlines" in page.text  # noqa: RUF001
    assert f"{small.mean_axis_mm:.1f}–{large.mean_axis_mm:.1f} over the outlines" in page.text  # noqa: RUF001
    _, page = write_page(tmp_path / "one.html", [finding], ct)
    assert finding.sizes_by_method == {}
    assert not re.search(r"\d over the outlines", page.text)


def test_facts_of_the_scan_are_shown_where_given(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    scan = {"Patient": "P <1>", "Series UID": "1.2.826.0.1.3680043.8.498"}
    _, page = write_page(tmp_path / "with.html", [finding], ct, scan=scan)
    _, plain = write_page(tmp_path / "without.html", [finding], ct)
    for shown in (*scan, *scan.values()):
        assert shown in page.text
        assert shown not in plain.text


def test_images_are_numbered_as_the_series_numbers_them(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    """Axial slices alone have a number; a slice between two files is near the one, another has none."""
    middle = int(np.rint(finding.center[2]))
    along = [None if index == middle + 2 else 500 - index for index in range(SHAPE[2])]
    numbered = replace(finding, numbers=SliceNumbers(True, {2: tuple(along)}, frozenset({middle + 1})))
    labels = {title: stack.slices for title, stack in stacks(numbered, ct.shape).items()}
    start = nodule_box(finding)[2].start + finding.voi.box[2].start
    for slice_ in labels["axial"]:
        index = start + slice_.at
        near = {middle + 1: f"near image {500 - index}, ", middle + 2: ""}.get(index, f"image {500 - index}, ")
        assert slice_.label.startswith(f"{near}slice {SHAPE[2] - index} of {SHAPE[2]} from the top")
    assert all(slice_.label.startswith("slice ") for slice_ in (*labels["coronal"], *labels["sagittal"]))
    _, page = write_page(tmp_path / "report.html", [numbered], ct)
    for shown in (f"image {500 - middle}, axial slice", "Image InstanceNumber", f"Image in PACS {500 - middle} "):
        assert shown in page.text
    assert as_row(numbered)["instance_number"] == 500 - middle


@pytest.mark.slow
def test_voxels_of_a_file_are_counted_from_1_and_it_is_said(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    along = {axis: tuple(range(1, size + 1)) for axis, size in enumerate(SHAPE)}
    counted = replace(finding, numbers=SliceNumbers(False, along))
    _, page = write_page(tmp_path / "report.html", [counted], ct)
    middle = np.rint(finding.center).astype(int)
    for axis, end in enumerate(("right", "front", "top")):
        stack = stacks(counted, ct.shape)[{"right": "sagittal", "front": "coronal", "top": "axial"}[end]]
        assert stack.slices[stack.start].label.startswith(f"index {middle[axis] + 1}, slice ")
    assert "Slice index from 1" in page.text
    assert "it has no InstanceNumber" in page.text
    assert as_row(counted)["slice_index"] == middle[2] + 1
    assert "index from 1" not in write_page(tmp_path / "plain.html", [finding], ct)[1].text


def _table(nodules: list[int], malignant: list[int]) -> dict[str, Any]:
    predicted = [0.1, 0.3, 0.5, 0.7, 0.9]
    edges = [0, 0.2, 0.4, 0.6, 0.8, 1]
    return {"source": "a set", "edges": edges, "nodules": nodules, "malignant": malignant, "predicted": predicted}


def test_a_probability_is_shown_with_how_such_ones_came_out(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    """Of a panel by method; a method that was never cross-validated, and a bin that held no nodule, show nothing."""
    tables = {
        "mtcnn": _table([90, 80, 70, 57, 50], [9, 24, 35, 42, 45]),
        "e2emtl": _table([90, 0, 70, 60, 50], [0] * 5),
    }
    scores = {"mtnet": 0.7, "mtcnn": 0.65, "e2emtl": 0.3}
    answer = replace(finding.answer, methods={name: (score, (score, score)) for name, score in scores.items()})
    html, page = write_page(
        tmp_path / "panel.html",
        [replace(finding, answer=answer)],
        ct,
        parameters={"calibration": json.dumps(tables)},
    )
    assert "MT-CNN 0.6–0.8: of 57 nodules, 74 % were rated malignant" in page.text  # noqa: RUF001
    assert html.count("were rated malignant</p>") == html.count('class="reliability"') == 1
    points = re.findall(r"<circle( class=\"own\")? cx=\"([\d.]+)\" cy=\"([\d.]+)\"", html)
    assert [(float(x), round(100 - float(y), 1)) for _, x, y in points] == [
        (10, 10), (30, 30), (50, 50), (70, 73.7), (90, 90)
    ]  # fmt: skip
    assert [bool(own) for own, *_ in points] == [False, False, False, True, False]
    single = {"calibration": json.dumps({"mtnet": tables["mtcnn"]})}
    _, page = write_page(tmp_path / "single.html", [finding], ct, parameters=single)
    assert "MT-Net 0.6–0.8: of 57 nodules, 74 % were rated malignant" in page.text  # noqa: RUF001
    assert "cross-validation" not in write_page(tmp_path / "none.html", [finding], ct)[1].text


def test_the_page_says_what_the_occlusion_map_shows(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    edges = np.array([0, 2, 4])
    change = np.linspace(-0.31, 0.02, 8).reshape(2, 2, 2)
    occluded = replace(finding, occlusion=Occlusion((edges, edges, edges), 4.25, -862.0, change))
    _, page = write_page(tmp_path / "report.html", [occluded], ct)
    assert "a cube of 4.2 mm is replaced by lung (\N{MINUS SIGN}862 HU)" in page.text
    assert "Largest fall 0.31, largest rise 0.02, over 8 cubes" in page.text
    switches = [values for values, _ in page.controls if values.get("id") == "occlusion"]
    assert len(switches) == 1
    assert "checked" not in switches[0]
    assert "occlusion" not in write_page(tmp_path / "plain.html", [finding], ct)[1].text.lower()
