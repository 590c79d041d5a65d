"""The Model Zoo's checks of code (its ``runtests.sh``: isort, black, flake8) on the library that a package carries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from lung_nodule.library_version import library_files

TOOLS = {
    "isort": ["--profile", "black", "--line-length", "120", "--project", "models", "--check-only", "--quiet", "."],
    "black": ["--line-length", "120", "--skip-magic-trailing-comma", "--check", "."],
    "flake8": [
        "--isolated", "--max-line-length", "120", "--select", "B,C,E,F,N,P,T4,W,B9",
        "--ignore", "E203,E501,E741,W503,W504,C408,N812,B023",
        "--per-file-ignores", "__init__.py:F401,__main__.py:F401", ".",
    ],
}  # fmt: skip
"""Each tool with the zoo's settings, from its setup.cfg and runtests.sh."""


@cache
def complaints(library: Path) -> tuple[str, ...]:
    """Complaints of the zoo's tools about a library's packed files: the first lines of each tool.

    Args:
        library: a folder ``lung_nodule/``; its files are checked once per process.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for path in library_files(library):
            copy = root / "models" / "bundle" / "lung_nodule" / path.relative_to(library)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        return tuple(line for tool in TOOLS for line in _said(tool, root))


def _said(tool: str, root: Path) -> list[str]:
    """Output of one tool; empty if it passes."""
    command = [sys.executable, "-m", tool, *TOOLS[tool]]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if not ended.returncode:
        return []
    lines = (ended.stdout + ended.stderr).replace(f"{root.resolve()}/", "").splitlines()
    return [f"{tool}: {line.strip()}" for line in lines if line.strip()][:3] or [f"{tool} ended with an error"]
