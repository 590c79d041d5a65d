"""The report's pictures and page, from findings whose masks are known."""

from __future__ import annotations

import base64
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lung_nodule.deployment.answers import Answer, ServedModel
from lung_nodule.deployment.findings import Finding, as_row, make_finding
from lung_nodule.deployment.panels import PIXELS, Panel, close_ups, overview, view_edge_mm
from lung_nodule.deployment.report import write_report
from lung_nodule.io import Voi, Volume, cut_voi

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


class _Page(HTMLParser):
    """Collects what a page refers to, its pictures' words and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.alts: list[str | None] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [str(values[key]) for key in ("src", "href") if key in values]
        if tag == "img":
            self.alts.append(values.get("alt"))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_holds_everything_it_shows(ct: Volume, finding: Finding, tmp_path: Path) -> None:
    nothing = {name: map_ * 0 for name, map_ in finding.answer.maps.items()}
    empty = make_finding(2, CENTER, finding.voi, Answer(0.01, (0.01, 0.01), nothing))
    model = ServedModel("mtnet", "9.8.7", 64.0, 0.0, ("VOI",), ("MASK",), {})
    now = datetime(2020, 5, 17, 12, 30, tzinfo=UTC)
    path = tmp_path / "report.html"
    write_report(path, [finding, empty], ct, ct_name="scan <1>", model=model, settings={"Patch": "64 mm"}, now=now)
    html = path.read_text(encoding="utf-8")
    page = _Page()
    page.feed(html)
    text = " ".join(" ".join(page.words).split())
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert not re.search(r"https?://|url\(|<script", html)
    assert len(page.alts) == 8
    assert all(page.alts)
    assert "Research use only" in text
    for shown in ("scan <1>", "LIDC <b>&amp;</b> 1", "9.8.7", "0.73", "17 May 2020", "64 mm", "no voxel above"):
        assert shown in text
