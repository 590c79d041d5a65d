"""The version of this software, as written to what it makes: records, tables, ``dataset.json``, ``benchmark.json``."""

from __future__ import annotations

import functools
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from lung_nodule import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lung_nodule", "preprocessing")
SHOWN, TIMEOUT_S = 12, 20


@dataclass(frozen=True)
class Software:
    """A version, and the commit of the git checkout that it runs from.

    Attributes:
        version: ``lung_nodule.__version__``.
        commit: 40 hexadecimal digits; None outside a git checkout, or if git is not available.
        modified: whether files of the checkout differ from the commit.
    """

    version: str
    commit: str | None = None
    modified: bool = False

    @property
    def name(self) -> str:
        """``0.1.0``, ``0.1.0+g0126005a3b4c`` or ``0.1.0+g0126005a3b4c.modified``, as PEP 440 writes local versions."""
        local = f"+g{self.commit[:SHOWN]}" if self.commit else ""
        return f"{self.version}{local}{'.modified' if self.modified else ''}"

    def as_dict(self) -> dict[str, str | bool | None]:
        """For JSON, ``name`` included."""
        return {"name": self.name, **asdict(self)}


@functools.cache
def this_software() -> Software:
    """The software of this process; git is called once."""
    return software_at(ROOT)


def software_at(root: Path) -> Software:
    """This version, with the commit if ``root`` is a git checkout."""
    commit = _git(root, "rev-parse", "--verify", "HEAD") if (root / ".git").exists() else None
    if not commit:
        return Software(__version__)
    changes = _git(root, "status", "--porcelain", "--", *PACKAGES)
    return Software(__version__, commit, modified=changes != "")


def _git(root: Path, *arguments: str) -> str | None:
    """Output of git; None if it is missing or fails. Variables set by a surrounding git hook are removed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ended = subprocess.run(
            ["git", "-C", str(root), "--no-optional-locks", *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.strip()
