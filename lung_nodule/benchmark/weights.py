"""Given weights: find them, check that they belong to the bundle, and refuse patients seen in training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lung_nodule.benchmark.cells.plan import ROOT, cell_folder
from lung_nodule.bundle import OWN_WEIGHTS
from lung_nodule.data import patients_seen
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256
from lung_nodule.lidc import FOLDS
from lung_nodule.methods import model_settings
from lung_nodule.networks import read_settings


@dataclass(frozen=True)
class GivenWeights:
    """Trained weights of a bundle: one model, or the models of a cross-validation.

    Attributes:
        bundle: bundle name.
        folder: folder of the weights, for messages.
        model: ``model.pt``, next to its side file, that tests every nodule; None for a cross-validation.
        by_fold: models of a cross-validation by test fold.
    """

    bundle: str
    folder: Path
    model: Path | None = None
    by_fold: dict[int, Path] = field(default_factory=dict, hash=False)

    def of(self, fold: int | str) -> Path:
        """Model that tests the nodules of a fold.

        Raises:
            InputError: the cross-validation has no model for this fold.
        """
        path = self.model or self.by_fold.get(fold)  # type: ignore[arg-type]
        if path is None:
            raise InputError(
                f"{self.folder}: the cross-validation of {self.bundle} has models of the folds "
                f"{', '.join(map(str, self.by_fold))}, and the dataset has nodules of fold {fold}: leave them out, or "
                "name weights of one model"
            )
        return path

    @property
    def sha256(self) -> Any:
        """SHA-256 of the model file; by fold for a cross-validation."""
        if self.model:
            return file_sha256(self.model)
        return {str(fold): file_sha256(path) for fold, path in self.by_fold.items()}


def find_weights(
    folder: str | Path | None, bundles: Sequence[str] | None, known: Sequence[str]
) -> dict[str, GivenWeights]:
    """Find the weights of bundles, by name.

    Args:
        folder: folder with ``<bundle>/model.pt`` or ``<bundle>/models/model.pt``, or the output of a cross-validation,
            whose first seed is used; the repository's ``bundles/`` by default.
        bundles: bundles whose weights must exist; by default all with weights.
        known: names of all bundles.

    Raises:
        InputError: no weights are found, those of a bundle are missing, or they belong to another bundle.
    """
    root = Path(folder) if folder is not None else ROOT / "bundles"
    found = {name: _weights_in(root, name) for name in bundles or known}
    missing = [name for name, weights in found.items() if weights is None]
    if bundles and missing:
        raise InputError(
            f"no weights of {missing[0]} in {root}: expected {root / missing[0] / 'model.pt'} and model.json"
        )
    given = {name: weights for name, weights in found.items() if weights is not None}
    if not given:
        raise InputError(f"no weights in {root}: expected {root / '<bundle>' / 'model.pt'} of {', '.join(known)}")
    for name, weights in given.items():
        for path in [weights.model] if weights.model else weights.by_fold.values():
            read_settings(path)
            model_settings(name, path)
    return given


def _weights_in(root: Path, bundle: str) -> GivenWeights | None:
    for path in (root / bundle / "model.pt", root / bundle / OWN_WEIGHTS):
        if path.is_file():
            return GivenWeights(bundle, root, model=path)
    models = {fold: cell_folder(root, bundle, seed=0, fold=fold) / "model.pt" for fold in range(FOLDS)}
    by_fold = {fold: path for fold, path in models.items() if path.is_file()}
    return GivenWeights(bundle, root, by_fold=by_fold) if by_fold else None


def refuse_seen(weights: GivenWeights, patients: Mapping[int | str, Collection[str]]) -> None:
    """Refuse to test weights on patients of their training.

    Args:
        weights: weights of a bundle.
        patients: patients of the dataset by fold.

    Raises:
        InputError: a patient took part in the training of the model that would test it, or there is no such model.
    """
    tested: dict[Path, set[str]] = {}
    for fold, names in patients.items():
        tested.setdefault(weights.of(fold), set()).update(names)
    for path, names in tested.items():
        seen = sorted(names & patients_seen(read_settings(path)))
        if seen:
            raise InputError(
                f"{path} of {weights.bundle} was trained or validated on {len(seen)} of the {len(names)} patients that "
                f"it would test ({seen[0]}, ...): test it on others"
            )
