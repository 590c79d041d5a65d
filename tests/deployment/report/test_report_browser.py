"""The report in a real browser: scrolling, windows, and the occlusion map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lung_nodule.deployment.findings import Finding, make_finding
from lung_nodule.deployment.occlusion import Occlusion
from lung_nodule.deployment.report.pictures import view_edge_mm
from lung_nodule.deployment.report.slices import nodule_box, stacks
from lung_nodule.io import Volume, cut_voi
from lung_nodule.lidc import LUNG_WINDOW, SOFT_TISSUE_WINDOW
from tests.deployment.report.report_page import AFFINE, CENTER, driven

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


@pytest.mark.slow
def test_wheel_keys_slider_and_windows_change_the_picture(ct: Volume, marked: Finding, tmp_path: Path) -> None:
    """In a real browser, on a nodule of 50 HU in lung of -850."""
    finding = marked
    states = driven(tmp_path, [finding], ct, _DRIVE)
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


_DRIVE_MAP = """
function coloured(figure) {
  const canvas = figure.querySelector("canvas");
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = { red: [], blue: [] };
  for (let i = 0; i < width * height; i++) {
    const difference = data[4 * i] - data[4 * i + 2];
    if (Math.abs(difference) > 20) found[difference > 0 ? "red" : "blue"].push(i);
  }
  const box = (pixels) => pixels.length && [Math.min(...pixels.map((i) => i % width)) / width,
    (Math.max(...pixels.map((i) => i % width)) + 1) / width, Math.floor(Math.min(...pixels) / width) / height,
    (Math.floor(Math.max(...pixels) / width) + 1) / height];
  return { red: box(found.red), blue: box(found.blue) };
}
const poll = setInterval(() => {
  if (document.querySelector("fieldset").hidden) return;
  clearInterval(poll);
  const figures = Array.from(document.querySelectorAll("figure"));
  const all = () => Object.fromEntries(figures.map((figure) => [figure.dataset.stack, coloured(figure)]));
  const key = getComputedStyle(document.querySelector(".map-key")).display;
  const states = { off: all(), key };
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "m", bubbles: true }));
  states.on = all();
  states.shown = getComputedStyle(document.querySelector(".map-key")).display;
  document.getElementById("occlusion").click();
  states.again = all();
  document.body.dataset.states = JSON.stringify(states);
}, 20);
"""


@pytest.mark.slow
def test_the_occlusion_map_lies_on_its_cubes_and_is_off_by_default(
    ct: Volume, finding: Finding, tmp_path: Path
) -> None:
    """One cube at the centre by which the probability falls, one beside it by which it rises."""
    middle = np.rint(finding.voi.center).astype(int)
    x, y, z = (np.array([at - 4, at + 3, at + 7]) for at in middle)
    change = np.zeros((2, 2, 2))
    change[0, 0, 0], change[1, 0, 0] = -0.4, 0.3
    occlusion = Occlusion((x, y, z), 6.0, -850.0, change)
    states = driven(tmp_path, [replace(finding, occlusion=occlusion)], ct, _DRIVE_MAP)
    nothing = {title: {"red": 0, "blue": 0} for title in ("overview", "axial", "coronal", "sagittal")}
    assert states["off"] == states["again"] == nothing
    assert (states["key"], states["shown"]) == ("none", "flex")
    assert states["on"]["overview"] == nothing["overview"]

    def places(cube: int, axis: int) -> np.ndarray:
        edge = (x, y, z)[axis][cube : cube + 2] - 0.5 - finding.voi.center[axis]
        return edge * finding.voi.volume.spacing[axis] / view_edge_mm(finding) + 0.5

    def upwards(place: np.ndarray) -> np.ndarray:
        return 1 - place[::-1]

    across, back, up = (places(0, axis) for axis in range(3))
    expected = {"axial": (across, back), "coronal": (across, upwards(up)), "sagittal": (back, upwards(up))}
    for title, box in expected.items():
        assert states["on"][title]["red"] == pytest.approx(np.ravel(box), abs=0.004), title
    for title, box in {"axial": (places(1, 0), back), "coronal": (places(1, 0), upwards(up))}.items():
        assert states["on"][title]["blue"] == pytest.approx(np.ravel(box), abs=0.004), title
    assert states["on"]["sagittal"]["blue"] == 0
