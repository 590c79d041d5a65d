"""Compatibility of pylidc 0.2.3 with current packages, for comparisons with its clustering, masks and consensus.

pylidc uses names that were removed since (``pkg_resources``, ``np.int``, ``SafeConfigParser``) and a file in the user's
home. ``import_pylidc`` defines these names in pylidc's own modules only: numpy, the interpreter and the home directory
are unchanged. The conversion does not need it; it reads pylidc's database directly (``database``).
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


class _NumpyWithRemovedAliases(types.ModuleType):
    """numpy for pylidc's modules, with the aliases that numpy 1.24 removed."""

    int, float, bool = int, float, bool

    def __getattr__(self, name: str) -> object:
        return getattr(np, name)


@functools.cache
def import_pylidc() -> types.ModuleType:
    """Import pylidc so that its clustering, masks and consensus work with the installed packages.

    Returns:
        The ``pylidc`` package. Its ``Scan.to_volume`` needs a ``~/.pylidcrc``; here ``lung_nodule.io`` reads the
        series.
    """
    resources = types.ModuleType("pkg_resources")
    vars(resources)["resource_filename"] = lambda package, name: str(package_folder(package) / name)
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = resources
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated namespaces of scipy and SQLAlchemy inside pylidc
            package = importlib.import_module("pylidc")
            importlib.import_module("pylidc.utils")
    finally:
        if before is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = before
    for name in ("Scan", "Annotation", "Contour", "utils", "annotation_distance_metrics"):
        vars(sys.modules[f"pylidc.{name}"])["np"] = _NumpyWithRemovedAliases("numpy")
    return package


def package_folder(package: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {package}", name=package)
    return Path(spec.submodule_search_locations[0])
