"""The sub-packages of preprocessing: imports run one way, and no two files share a name."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "preprocessing"
MAY_IMPORT = {
    "lidc": set(),
    "dataset": {"lidc"},
    "convert": {"lidc", "dataset"},
    "candidates": {"lidc", "dataset"},
    "phantom": {"lidc"},
}


def siblings(path: Path) -> set[str]:
    """The other sub-packages that a file imports, relatively or not, wherever it does."""
    package = path.relative_to(ROOT.parent).parent.parts
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    names = {name.split(".")[1] for name in found if name.startswith("preprocessing.")}
    return names - {package[1]}


def test_every_sub_package_is_listed() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(MAY_IMPORT)
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert siblings(path) <= MAY_IMPORT[package], path


def test_no_two_files_share_a_name() -> None:
    counts = Counter(path.name for path in ROOT.rglob("*.py") if path.name != "__init__.py")
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_public_names_exist_and_hide_no_module(package: str) -> None:
    module = importlib.import_module(f"preprocessing.{package}")
    files = {path.stem for path in (ROOT / package).glob("*.py")}
    assert module.__all__
    for name in module.__all__:
        assert hasattr(module, name), name
        assert name not in files, f"{name} hides {package}/{name}.py"
