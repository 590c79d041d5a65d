"""Run an unzipped package's configs as where nothing but its requirements.txt is: alone.py OPTIONS CONFIG...

Started in the package's root. Every installed distribution that those requirements do not bring is hidden, and so is
an editable install of this repository.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any, ClassVar

from packaging.requirements import Requirement


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by(requirements: Sequence[str]) -> set[str]:
    """The distributions that some requirements bring, with what these require in turn."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = normal(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            waiting += [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue
        found.add(name)
    return found


class Visible(PathFinder):
    """Finds what is on the path, but no module that only other distributions bring."""

    hidden: ClassVar[set[str]] = set()

    @classmethod
    def find_spec(cls, fullname: str, *args: Any, **kwargs: Any) -> ModuleSpec | None:
        if fullname.partition(".")[0] in cls.hidden:
            return None
        return super().find_spec(fullname, *args, **kwargs)


def hide_all_but(visible: set[str]) -> None:
    """Hide installed distributions, and every editable install; the package's own modules stay.

    What the process has imported already is taken back, and so is this repository at the end of its path.
    """
    named = packages_distributions().items()
    only_others = {module for module, names in named if not visible & {normal(name) for name in names}}
    Visible.hidden = {module for module in only_others if not Path(module).is_dir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in Visible.hidden]:
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if not entry or not Path(entry, "lung_nodule").is_dir()]
    kept = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
    sys.meta_path = [Visible if finder is PathFinder else finder for finder in kept]


if __name__ == "__main__":
    sys.path[0] = ""  # as python -m: the package's root
    hide_all_but(brought_by(Path("requirements.txt").read_text().splitlines()))

    import fire  # noqa: F401  (python -m monai.bundle needs it)
    from monai.bundle import run

    import lung_nodule.evaluation
    import lung_nodule.training  # before the configs do: MONAI keeps silent on an import that fails

    options = json.loads(sys.argv[1])
    for config in sys.argv[2:]:
        run(config_file=f"configs/{config}.json", **options.get(config, {}), **options["all"])

    print("library", Path(lung_nodule.__file__).parent)
