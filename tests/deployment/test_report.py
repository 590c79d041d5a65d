"""The report's pictures and page, from findings whose masks are known."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from lung_nodule.deployment.answers import Answer, ServedModel
from lung_nodule.deployment.findings import Finding, as_row, make_finding
from lung_nodule.deployment.panels import PIXELS, Panel, close_ups, overview, view_edge_mm
from lung_nodule.deployment.report import write_report
from lung_nodule.deployment.slices import HuBlock, nodule_box, pack, stacks
from lung_nodule.io import Voi, Volume, cut_voi
from lung_nodule.lidc import LUNG_WINDOW, SOFT_TISSUE_WINDOW

RADIUS = 8.0
CENTER = np.array([-50.0, -60.0, 80.0])
AFFINE = np.array([[-0.8, 0, 0, 0], [0, -0.8, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1.0]])
SHAPE = (120, 150, 70)


def _patch(radius: float, center: np.ndarray) -> np.ndarray:
    world = Volume(np.zeros(SHAPE, dtype=np.uint8), AFFINE).to_world(np.moveaxis(np.indices(SHAPE), 0, -1))
    return (1 / (1 + np.exp(2 * (np.linalg.norm(world - center, axis=-1) - radius)))).astype(np.float32)


@pytest.fixture(scope="module")
def ct() -> Volume:
    return Volume((-850 + 900 * (_patch(RADIUS, CENTER) > 0.5)).astype(np.int16), AFFINE)


@pytest.fixture(scope="module")
def finding(ct: Volume) -> Finding:
    voi = cut_voi(ct, "LIDC <b>&amp;</b> 1", CENTER, edge_mm=80.0)
    fine = np.maximum(_patch(RADIUS, CENTER), _patch(4.0, CENTER + np.array([22.0, 0, 0])))[voi.box]
    maps = {"fine": fine, "coarse": _patch(RADIUS + 2, CENTER)[voi.box]}
    return make_finding(1, CENTER, voi, Answer(0.73, (0.7, 0.77), maps))


def _points(path: str) -> np.ndarray:
    return np.array([[float(x), float(y)] for x, y in re.findall(r"([-\d.]+),([-\d.]+)", path)])


def _pixels(panel: Panel) -> np.ndarray:
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
        for path, radius in ((panel.first, RADIUS), (panel.second, RADIUS + 2)):
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


class _Page(HTMLParser):
    """Collects what a page refers to, its pictures' words, its controls, its scripts and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.alts: list[str | None] = []
        self.words: list[str] = []
        self.controls: list[tuple[dict[str, str | None], bool]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [str(values[key]) for key in ("src", "href") if key in values]
        if tag == "img":
            self.alts.append(values.get("alt"))
        elif tag == "input":
            self.controls.append((values, "label" in self._open))
        elif tag == "script":
            self.scripts.append((values.get("type"), ""))
        if tag in ("script", "style", "label"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            kind, text = self.scripts.pop()
            self.scripts.append((kind, text + data))
        elif self._open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def _write(path: Path, findings: list[Finding], ct: Volume, **more: Any) -> tuple[str, _Page]:
    model = ServedModel("mtnet", "9.8.7", 64.0, 0.0, ("VOI",), ("MASK",), {})
    now = datetime(2020, 5, 17, 12, 30, tzinfo=UTC)
    write_report(path, findings, ct, ct_name="scan <1>", model=model, settings={"Patch": "64 mm"}, now=now, **more)
    page = _Page()
    html = path.read_text(encoding="utf-8")
    page.feed(html)
    return html, page


def test_the_page_holds_everything_it_shows(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    nothing = {name: map_ * 0 for name, map_ in finding.answer.maps.items()}
    empty = make_finding(2, CENTER, finding.voi, Answer(0.01, (0.01, 0.01), nothing))
    html, page = _write(tmp_path / "report.html", [finding, empty], ct)
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
    _, page = _write(tmp_path / "report.html", [finding], ct)
    assert [values["type"] for values, _ in page.controls] == ["checkbox", "radio", "radio", "range", "range", "range"]
    for values, in_label in page.controls:
        assert in_label or values.get("aria-label")


def test_the_page_brings_the_slices_of_each_nodule(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    _, page = _write(tmp_path / "report.html", [finding], ct)
    (viewer,) = [json.loads(text) for kind, text in page.scripts if kind == "application/json"]
    block = HuBlock(**{**viewer["blocks"]["nodule"], "shape": tuple(viewer["blocks"]["nodule"]["shape"])})
    lower, upper = LUNG_WINDOW[0], SOFT_TISSUE_WINDOW[1]
    np.testing.assert_array_equal(_unpack(block), finding.voi.volume.data[nodule_box(finding)].clip(lower, upper))
    assert set(viewer["stacks"]) == {"overview", "axial", "coronal", "sagittal"}


def test_two_methods_masks_give_a_range_of_sizes(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    """Two maps of one method are no two opinions."""
    score = (0.7, (0.6, 0.8))
    maps = dict(zip(("mtnet", "e2emtl"), finding.answer.maps.values(), strict=True))
    answer = Answer(0.7, (0.6, 0.8), maps, methods={"mtnet": score, "e2emtl": score})
    both = make_finding(1, CENTER, finding.voi, answer)
    small, large = both.sizes["mtnet"], both.sizes["e2emtl"]
    _, page = _write(tmp_path / "both.html", [both], ct)
    assert f"{small.volume_mm3:.0f}–{large.volume_mm3:.0f} over both masks" in page.text  # noqa: RUF001
    assert f"{small.mean_axis_mm:.1f}–{large.mean_axis_mm:.1f} over both masks" in page.text  # noqa: RUF001
    _, page = _write(tmp_path / "one.html", [finding], ct)
    assert finding.sizes_by_method == {}
    assert not re.search(r"\d over both masks", page.text)


def test_facts_of_the_scan_are_shown_where_given(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    scan = {"Patient": "P <1>", "Series UID": "1.2.826.0.1.3680043.8.498"}
    _, page = _write(tmp_path / "with.html", [finding], ct, scan=scan)
    _, plain = _write(tmp_path / "without.html", [finding], ct)
    for shown in (*scan, *scan.values()):
        assert shown in page.text
        assert shown not in plain.text


_DRIVE = """
const figure = document.querySelector("figure[data-stack=axial]");
const [picture, slider, canvas] = [".picture", "input", "canvas"].map((name) => figure.querySelector(name));
function state() {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const grey = (x, y) => data[4 * (Math.round(y * canvas.height) * canvas.width + Math.round(x * canvas.width))];
  return { label: figure.querySelector("output").textContent, centre: grey(0.5, 0.5), corner: grey(0.05, 0.05),
           outline: figure.querySelector("path.first").getAttribute("d") };
}
function brightest(figure) {
  const canvas = figure.querySelector("canvas");
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const bright = Array.from({ length: width * height }, (_, i) => i).filter((i) => data[4 * i] > 250);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return [mean(bright.map((i) => (i % width) / width)), mean(bright.map((i) => Math.floor(i / width) / height))];
}
const wheel = (deltaY) => picture.dispatchEvent(new WheelEvent("wheel", { deltaY, cancelable: true }));
const key = (target, name) => target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const poll = setInterval(() => {
  if (document.querySelector("fieldset").hidden) return;
  clearInterval(poll);
  const states = { start: state(), bright: {} };
  for (const figure of document.querySelectorAll("figure")) states.bright[figure.dataset.stack] = brightest(figure);
  const record = (name, act) => { act(); states[name] = state(); };
  record("wheel", () => wheel(100));
  record("back", () => wheel(-100));
  record("arrow", () => key(picture, "ArrowDown"));
  record("page", () => key(picture, "PageUp"));
  record("slider arrow", () => key(slider, "ArrowDown"));
  record("end", () => key(picture, "End"));
  record("slider", () => { slider.value = 0; slider.dispatchEvent(new Event("input")); });
  key(picture, "End");
  states.trapped = !wheel(100);
  for (const name of ["Home", "PageDown", "PageDown"]) key(picture, name);
  record("soft", () => document.querySelectorAll("input[name=window]")[1].click());
  document.body.dataset.states = JSON.stringify(states);
}, 20);
"""


def _chromium() -> str:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not found:
        pytest.skip("needs Chromium")
    return found


MARKS = (15, 20, 6)
"""Voxels from the nodule's centre to the blocks, to the left, posterior, superior."""


@pytest.fixture(scope="module")
def marked(ct: Volume, finding: Finding) -> Finding:
    """The nodule with a bright block in each plane through its centre."""
    data = ct.data.copy()
    middle = np.rint(ct.to_index(CENTER)).astype(int)
    for plane in range(3):
        x, y, z = middle + np.where(np.arange(3) == plane, 0, MARKS)
        data[x - 2 : x + 3, y - 2 : y + 3, z - 1 : z + 2] = 400
    voi = cut_voi(Volume(data, AFFINE), "marked", CENTER, edge_mm=80.0)
    return make_finding(1, CENTER, voi, finding.answer)


def test_wheel_keys_slider_and_windows_change_the_picture(ct: Volume, marked: Finding, tmp_path: Path) -> None:
    """In a real browser, on a nodule of 50 HU in lung of -850."""
    finding = marked
    command = [_chromium(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    path = tmp_path / "report.html"
    html, _ = _write(path, [finding], ct)
    path.write_text(html.replace("</body>", f"<script>{_DRIVE}</script></body>"), encoding="utf-8")
    command += ["--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    (text,) = re.findall(r'data-states="([^"]*)"', dom)
    states = json.loads(text.replace("&quot;", '"').replace("&nbsp;", " "))
    stack = stacks(finding, ct.shape)["axial"]
    last = len(stack.slices) - 1
    expected = {
        "start": stack.start,
        "wheel": stack.start + 1,
        "back": stack.start,
        "arrow": stack.start + 1,
        "page": stack.start - 4,
        "slider arrow": stack.start - 3,
        "end": last,
        "slider": 0,
        "soft": 10,
    }
    box = nodule_box(finding)
    mask = finding.mask[box]
    middle = np.rint(finding.voi.center).astype(int) - [part.start for part in box]
    for name, index in expected.items():
        state, slice_ = states[name], stack.slices[index]
        assert state["label"].replace("\N{NO-BREAK SPACE}", " ") == slice_.label.replace("\N{NO-BREAK SPACE}", " ")
        assert state["outline"] == slice_.outlines[0]
        low, high = SOFT_TISSUE_WINDOW if name == "soft" else LUNG_WINDOW
        hu = 50 if mask[middle[0], middle[1], slice_.at] else -850
        assert state["centre"] == pytest.approx(np.clip(255 * (hu - low) / (high - low), 0, 255), abs=1), name
        assert state["corner"] == pytest.approx(np.clip(255 * (-850 - low) / (high - low), 0, 255), abs=1), name
    assert {states[name]["centre"] for name in expected} >= {238, 85}
    assert not states["trapped"]
    right, down, up = (
        (np.rint(ct.to_index(CENTER)) + MARKS - ct.to_index(CENTER)) * (0.8, 0.8, 2) / view_edge_mm(finding)
    )
    places = {"axial": (right, down), "coronal": (right, -up), "sagittal": (down, -up)}
    for title, place in places.items():
        assert states["bright"][title] == pytest.approx(np.add(place, 0.5), abs=0.01), title
