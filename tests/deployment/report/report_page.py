"""Findings whose masks are known, and their page: read as text, and driven in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lung_nodule.deployment.answers import Answer, ServedModel
from lung_nodule.deployment.findings import Finding, make_finding
from lung_nodule.deployment.report.report import write_report
from lung_nodule.io import Volume, cut_voi

RADIUS = 8.0
CENTER = np.array([-50.0, -60.0, 80.0])
AFFINE = np.array([[-0.8, 0, 0, 0], [0, -0.8, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1.0]])
SHAPE = (120, 150, 70)


def patch(radius: float, center: np.ndarray) -> np.ndarray:
    """Probability of a ball."""
    world = Volume(np.zeros(SHAPE, dtype=np.uint8), AFFINE).to_world(np.moveaxis(np.indices(SHAPE), 0, -1))
    return (1 / (1 + np.exp(2 * (np.linalg.norm(world - center, axis=-1) - radius)))).astype(np.float32)


def ball_in_lung() -> Volume:
    """A CT of 50 HU in lung of -850."""
    return Volume((-850 + 900 * (patch(RADIUS, CENTER) > 0.5)).astype(np.int16), AFFINE)


def found_in(ct: Volume) -> Finding:
    """The ball as fine and coarse map found it, and another ball near it."""
    voi = cut_voi(ct, "LIDC <b>&amp;</b> 1", CENTER, edge_mm=80.0)
    fine = np.maximum(patch(RADIUS, CENTER), patch(4.0, CENTER + np.array([22.0, 0, 0])))[voi.box]
    maps = {"fine": fine, "coarse": patch(RADIUS + 2, CENTER)[voi.box]}
    return make_finding(1, CENTER, voi, Answer(0.73, (0.7, 0.77), maps))


class Page(HTMLParser):
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


def write_page(
    path: Path, findings: list[Finding], ct: Volume, *, parameters: dict[str, str] | None = None, **more: Any
) -> tuple[str, Page]:
    """Write the report, and read it."""
    model = ServedModel("mtnet", "9.8.7", 64.0, 0.0, ("VOI",), ("MASK",), parameters or {})
    now = datetime(2020, 5, 17, 12, 30, tzinfo=UTC)
    write_report(path, findings, ct, ct_name="scan <1>", model=model, settings={"Patch": "64 mm"}, now=now, **more)
    page = Page()
    html = path.read_text(encoding="utf-8")
    page.feed(html)
    return html, page


def chromium() -> str:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not found:
        pytest.skip("needs Chromium")
    return found


def driven(folder: Path, findings: list[Finding], ct: Volume, script: str) -> dict[str, Any]:
    """What a script at the end of the page leaves in its ``data-states``, in a real browser."""
    command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    path = folder / "report.html"
    html, _ = write_page(path, findings, ct)
    path.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command += ["--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    (text,) = re.findall(r'data-states="([^"]*)"', dom)
    return json.loads(text.replace("&quot;", '"').replace("&nbsp;", " "))
