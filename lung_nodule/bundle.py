"""Paths of a bundle: its folder, its default output folders, and the weights of its evaluation and inference.

A configuration does not know where its own file is. MONAI's workflows do; elsewhere a bundle is located from the
running copy of this library: in a package it is next to the bundle's ``configs/``, in the repository next to
``bundles/``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lung_nodule
from lung_nodule.calling import calling_parser
from lung_nodule.errors import InputError
from lung_nodule.library_version import KEY

LIBRARY = Path(lung_nodule.__file__).resolve().parent
OWN_WEIGHTS = Path("models") / "model.pt"


class DefaultFolder(str):
    """A folder chosen by the configuration: a path like any other, but a user's own takes precedence."""

    __slots__ = ()


def bundle_root(name: str, *, library: Path = LIBRARY) -> str:
    """The absolute folder of a bundle, whatever the working directory is.

    Args:
        name: name of the bundle, e.g. ``mtnet``.
        library: the folder ``lung_nodule/`` of the running library.

    Returns:
        the folder whose ``configs/`` MONAI's workflow runs; else the package in which the library lies; else a package
        of this bundle that is the working directory (a package refuses another library); else ``bundles/<name>`` next
        to the library; else the working directory, or ``bundles/<name>`` in it.

    Raises:
        InputError: the bundle is in none of these places.
    """
    beside, here = library.parent, Path.cwd()
    places = [beside, *([here] if _is_packaged(here) else []), beside / "bundles" / name, here, here / "bundles" / name]
    places = [*_folder_of_workflow(), *places]
    for place in places:
        if _names(place) == name:
            return str(place)
    raise InputError(
        f"the bundle {name} is neither next to the library {library} nor in {here}: start in its folder, put its "
        "folder on PYTHONPATH, or name it with --bundle_root"
    )


def repository(root: str) -> str:
    """The folder under which ``data/`` and ``out/`` lie by default: the repository's, or the package's own."""
    above = Path(root).resolve().parent
    return str(above.parent if above.name == "bundles" and (above.parent / "lung_nodule").is_dir() else Path(root))


def model_path(root: str, output_dir: str) -> str:
    """Default of ``--model_path``: the weights of evaluation and inference.

    Those of an ``--output_dir`` that was given; else the bundle's own in ``models/``; else those of the last training.

    Args:
        root: folder of the bundle.
        output_dir: a :class:`DefaultFolder` where the user gave none.
    """
    own, trained = Path(root) / OWN_WEIGHTS, Path(output_dir) / "model.pt"
    if not isinstance(output_dir, DefaultFolder):
        return str(trained)
    shipped = own.is_file() or (own.with_suffix(".json").is_file() and not trained.is_file())
    return str(own if shipped else trained)


def reason(path: str, root: str, output_dir: str) -> str:
    """Reason for the choice of these weights and how to choose others, for the log."""
    own, trained = Path(root) / OWN_WEIGHTS, Path(output_dir) / "model.pt"
    if Path(path) == own:
        other = f", although {trained} is there too: --output_dir {output_dir} takes that" if trained.is_file() else ""
        return f"the bundle's own{other}"
    if Path(path) != trained:
        return "as --model_path says"
    if isinstance(output_dir, DefaultFolder):
        return f"the last training's, as the bundle has no {OWN_WEIGHTS}"
    return f"as --output_dir says{', although the bundle has its own' if own.is_file() else ''}"


def search_path() -> list[str]:
    """Python's search path as it is now, for :func:`restore_search_path`."""
    return list(sys.path)


def restore_search_path(before: list[str]) -> None:
    """Remove the one folder that MONAI's ``ConfigWorkflow`` puts second on the search path before it runs.

    The library was found without it. A path that changed in any other way stays as it is.

    Args:
        before: result of :func:`search_path` when the workflow was initialized.
    """
    if sys.path[:1] + sys.path[2:] == before:
        del sys.path[1]


def _folder_of_workflow() -> list[Path]:
    """The folder above the configurations of the calling workflow, if there is one.

    Without it, a copy of a bundle that ``load`` finds in another folder would be taken for the one next to the library.
    """
    _, workflow = calling_parser()
    return [] if workflow is None else [Path(workflow.config_root_path).resolve().parent]


def _names(root: Path) -> str | None:
    """Name of the bundle in this folder; None for any other folder."""
    try:
        return json.loads((root / "configs" / "train.json").read_text())["settings"]["bundle"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_packaged(root: Path) -> bool:
    """Whether the folder's metadata names the library that it was packaged with."""
    try:
        return KEY in json.loads((root / "configs" / "metadata.json").read_text())
    except (OSError, ValueError):
        return False
