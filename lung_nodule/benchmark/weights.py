"""Given weights: where they lie, whether they are the bundle's, and which patients their training saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lung_nodule.benchmark.plan import ROOT
from lung_nodule.bundle import OWN_WEIGHTS
from lung_nodule.errors import InputError
from lung_nodule.methods import model_settings
from lung_nodule.networks import read_settings


def find_weights(folder: str | Path | None, bundles: Sequence[str] | None, known: Sequence[str]) -> dict[str, Path]:
    """The weights of bundles, by name.

    Args:
        folder: with ``<bundle>/model.pt`` or ``<bundle>/models/model.pt``; the repository's ``bundles/`` by default.
        bundles: which must be there; by default those that are.
        known: names of all bundles.

    Raises:
        InputError: weights of a bundle are missing, there are none at all, or they belong to another bundle.
    """
    root = Path(folder) if folder is not None else ROOT / "bundles"
    found = {name: _weights_in(root / name) for name in bundles or known}
    missing = [name for name, path in found.items() if path is None]
    if bundles and missing:
        raise InputError(
            f"no weights of {missing[0]} in {root}: expected {root / missing[0] / 'model.pt'} and model.json"
        )
    weights = {name: path for name, path in found.items() if path is not None}
    if not weights:
        raise InputError(f"no weights in {root}: expected {root / '<bundle>' / 'model.pt'} of {', '.join(known)}")
    for name, path in weights.items():
        read_settings(path)
        model_settings(name, path)
    return weights


def _weights_in(folder: Path) -> Path | None:
    return next((path for path in (folder / "model.pt", folder / OWN_WEIGHTS) if path.is_file()), None)


def refuse_seen(weights: dict[str, Path], patients: set[str]) -> None:
    """Refuse to test weights on patients of their training.

    Args:
        weights: by bundle.
        patients: of the dataset.

    Raises:
        InputError: a patient took part in the training of some weights.
    """
    for name, path in weights.items():
        seen = sorted(patients & set(read_settings(path)["patients_seen"]))
        if seen:
            raise InputError(
                f"{path} of {name} was trained or validated on {len(seen)} of the {len(patients)} patients of this "
                f"dataset ({seen[0]}, ...): test it on others"
            )
