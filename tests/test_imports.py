"""Which package may import which, and what must stay light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "runtime": {"runtime"},
    "io": {"io", "runtime"},
    "core": {"core"},
    "networks": {"networks"},
    "losses": {"losses"},
    "data": {"data", "core", "io", "runtime"},
    "methods.py": {"data", "networks", "core"},
    "training": {"training", "calling", "methods", "data", "networks", "losses", "core", "io", "runtime"},
    "evaluation": {"evaluation", "methods", "data", "networks", "losses", "core", "io", "runtime"},
    "benchmark": {
        "benchmark",
        "bundle",
        "evaluation",
        "training",
        "methods",
        "data",
        "networks",
        "core",
        "io",
        "runtime",
    },
    "deployment": {"deployment", "methods", "data", "networks", "losses", "core", "io", "runtime"},
}
WITHIN = {
    "deployment": {
        "answers": set(),
        "occlusion": set(),
        "connection": set(),
        "findings": {"answers", "occlusion"},
        "client": {"answers", "connection"},
        "repository": {"answers"},
        "server": {"repository"},
        "dicom": {"answers", "findings"},
        "nodules": {"dicom"},
        "report": {"answers", "findings", "occlusion"},
        "prediction": {"answers", "client", "dicom", "findings", "nodules", "occlusion", "report"},
    },
    "benchmark": {
        "dataset": set(),
        "measurements": set(),
        "figures": set(),
        "cells": {"dataset"},
        "weights": {"cells"},
        "predictions": {"cells"},
        "readouts": {"cells", "predictions"},
        "baselines": {"measurements", "predictions"},
        "panel": {"cells", "measurements", "predictions"},
        "report": {"baselines", "figures", "panel"},
        "run": {
            "baselines",
            "cells",
            "dataset",
            "measurements",
            "panel",
            "predictions",
            "readouts",
            "report",
            "weights",
        },
        "arguments": {"cells", "run"},
    },
}
FOR_ALL = {"lidc", "errors", "holdout"}
PYTHON = sorted((ROOT / "lung_nodule").rglob("*.py")) + sorted((ROOT / "preprocessing").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Absolute dotted names of everything a file imports, wherever it does."""
    names: set[str] = set()
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_run_one_way(package: str) -> None:
    place = ROOT / "lung_nodule" / package
    files = [place] if place.is_file() else list(place.rglob("*.py"))
    assert files
    for path in files:
        ours = {name.split(".")[1] for name in imported(path) if re.match(r"lung_nodule\.\w+", name)}
        assert ours - {"__version__"} <= MAY_IMPORT[package] | FOR_ALL, path


@pytest.mark.parametrize("package", WITHIN)
def test_arrows_run_one_way_within_a_package(package: str) -> None:
    place, may_import = ROOT / "lung_nodule" / package, WITHIN[package]
    assert {path.stem for path in place.iterdir() if path.stem[0] != "_"} == set(may_import)
    assert circle_in(may_import) == []
    for part, others in may_import.items():
        for path in [place / f"{part}.py"] if (place / f"{part}.py").is_file() else (place / part).rglob("*.py"):
            ours = {name.split(".")[2] for name in imported(path) if name.startswith(f"lung_nodule.{package}.")}
            assert ours - {part} <= others, path


def test_no_files_import_each_other_in_a_circle() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PYTHON}
    arrows = {name: imported(path) & modules.keys() - {name} for name, path in modules.items()}
    assert circle_in(arrows) == []


def circle_in(arrows: Mapping[str, set[str]]) -> list[str]:
    """Files that import each other in a circle, if there are any."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_a_circle_is_found() -> None:
    assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
    assert circle_in({"a": {"b", "c"}, "b": {"c"}}) == []


def test_preprocessing_hands_over_files() -> None:
    for path in (ROOT / "preprocessing").rglob("*.py"):
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("lung_nodule.")}
        assert ours <= {"io", "runtime", "__version__"} | FOR_ALL, path


def test_nothing_imports_tests_scripts_or_a_bundle() -> None:
    for path in PYTHON:
        tops = {name.split(".")[0] for name in imported(path)}
        assert not tops & {"tests", "ci", "bundles"}, path


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("lung_nodule", {"torch", "monai", "numpy"}),
        ("lung_nodule.io", {"torch", "monai"}),
        ("lung_nodule.runtime", {"torch", "monai"}),
        ("lung_nodule.__main__", {"torch", "monai", "tritonclient", "onnx", "tensorrt", "matplotlib"}),
        ("preprocessing.__main__", {"torch", "monai", "matplotlib", "pylidc"}),
    ],
)
def test_what_is_light_stays_light(module: str, heavy: set[str]) -> None:
    program = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""


def test_every_direct_dependency_is_pinned_with_a_reason() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    for line in filter(None, lines):
        assert line.startswith("#") or re.fullmatch(r"[\w\[\],-]+==[\w.]+ +# .+", line), line
