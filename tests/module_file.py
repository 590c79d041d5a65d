"""A module from a file that is no part of a package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def module_from(path: Path, name: str = "model") -> ModuleType:
    """Run the file as a module, which nothing else can import."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
