"""The task of a classifier: is a nodule malignant, or is a candidate a nodule?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lung_nodule.data.candidates import both_classes, candidate_datalist, require_candidates
from lung_nodule.data.datalist import labelled, nodule_datalist, require_dataset
from lung_nodule.errors import InputError
from lung_nodule.lidc import FOLDS, LUNA16_FOLDS


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
        name: value of the option ``--task``.
        folds: number of folds of its data.
        label: key of an item that holds its class, 1.0 or 0.0.
        score: name of the score in every file.
    """

    name: str
    folds: int
    label: str
    score: str

    @property
    def on_candidates(self) -> bool:
        """Whether its data are LUNA16's candidates: without masks, with ten folds."""
        return self.label == "nodule"


TASKS = {
    "malignancy": Task("malignancy", FOLDS, "malignant", "malignancy_prob"),
    "nodule": Task("nodule", LUNA16_FOLDS, "nodule", "nodule_prob"),
}


def task_named(name: object) -> Task:
    """The task of that name.

    Raises:
        InputError: there is no task of that name.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise InputError(f"--task must be {' or '.join(TASKS)}, got {name!r}")
    return TASKS[name]


def task_of(settings: Mapping[str, Any], asked: str | None = None) -> Task:
    """The task that a model was trained for.

    Args:
        settings: the model's side file; one without a task is of malignancy.
        asked: task that the user asked for; the model's own when not given.

    Raises:
        InputError: it is another one.
    """
    own = task_named(settings.get("task", "malignancy"))
    if asked is not None and task_named(asked) is not own:
        raise InputError(
            f"this model was trained with --task {own.name}, it cannot answer --task {asked}: leave --task out"
        )
    return own


def require_task_data(task: Task, dataset_dir: str | Path) -> None:
    """Refuse a folder without the task's data, before anything is built.

    Raises:
        InputError: there is no dataset, or for candidates no folder of them.
    """
    (require_candidates if task.on_candidates else require_dataset)(dataset_dir)


def refuse_crops(task: Task, *, crop_variants: int = 1, crop_margin_mm: float | None = None) -> None:
    """Refuse crops around a mask where there are no masks.

    Args:
        task: task of MT-CNN.
        crop_variants: crops of a nodule in training, including the whole VOI.
        crop_margin_mm: margin in mm to which an evaluation cuts; None cuts nothing.

    Raises:
        InputError: of candidates, more than the whole VOI is asked for.
    """
    if not task.on_candidates or (crop_variants == 1 and crop_margin_mm is None):
        return
    asked = f"--crop_margin_mm {crop_margin_mm:g}" if crop_variants == 1 else f"--crop_variants {crop_variants}"
    raise InputError(f"{asked} needs masks, which candidates do not have: leave it out")


def training_items(
    task: Task, dataset_dir: str | Path, *, folds: Sequence[int], cohort: Mapping[str, Any], patch_mm: float
) -> list[dict[str, Any]]:
    """Items to train or validate on, with both classes: nodules of a cohort, or candidates with a VOI file.

    Raises:
        InputError: see :func:`~lung_nodule.data.nodule_datalist` and :func:`~lung_nodule.data.candidate_datalist`; or a
            class is missing.
    """
    if task.on_candidates:
        return both_classes(candidate_datalist(dataset_dir, folds=folds, with_voi=True, patch_mm=patch_mm))
    return labelled(nodule_datalist(dataset_dir, folds=folds, **cohort))


def evaluation_items(
    task: Task, dataset_dir: str | Path, *, folds: Sequence[int | str], cohort: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Items to score: the nodules of a cohort, or every candidate, to be cut from its whole CT."""
    if task.on_candidates:
        return candidate_datalist(dataset_dir, folds=folds, with_voi=False)
    return nodule_datalist(dataset_dir, folds=folds, **cohort)


def draws_of(task: Task, items: Sequence[Mapping[str, Any]], draws: int) -> list[int]:
    """Number of draws of each item in an epoch: of candidates, nodules ``draws`` times and the others once.

    MT-CNN augments both classes of malignancy, but only the nodules among LUNA16's candidates (section III-D).
    """
    return [draws if not task.on_candidates or item[task.label] else 1 for item in items]
