"""The options of a bundle: misspelt or wrong ones are refused in one line before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lung_nodule.calling import calling_parser
from lung_nodule.data.folds import EVERY_FOLD
from lung_nodule.data.tasks import TASKS, refuse_crops, task_named
from lung_nodule.errors import InputError
from lung_nodule.training.loaders import require_equal_parts
from lung_nodule.training.options.nested_values import refuse_values_of_options, shipped_config, shipped_file
from lung_nodule.training.options.option_table import kinds_of
from lung_nodule.training.options.unknown_keys import refuse_unknown_keys
from lung_nodule.training.readout.file import require_score
from monai.bundle import ConfigExpression, ConfigParser

FROM_THE_MODEL = "@settings"
"""Options read from the model's side file are not checked as user input."""

OF_LOAD = {"network_def"}
"""Entries that MONAI's ``load`` gives other values to build the network alone; a stage refuses them."""


def check_options(bundle: str, workflow: str, bundle_root: str | Path) -> None:
    """Check every key and every option of the configuration that calls this, as the first of its `initialize`.

    Args:
        bundle: name of the bundle, which determines the kinds of its options.
        workflow: ``train``, ``evaluate`` or ``inference``.
        bundle_root: folder of the bundle, whose own ``configs/<workflow>.json`` is compared with.

    Raises:
        InputError: a key that nothing reads, with the nearest one that is read; an option's wrong value; or, of a
            training, a nested value that an option sets, or options that do not fit together.
    """
    parser, ids = current_parser()
    file = shipped_file(bundle_root, workflow)
    refuse_unknown_keys(parser, shipped=ConfigParser.load_config_file(file), ids=ids, listed_in=f"{workflow}.json")
    options = parser.get()
    known = kinds_of(bundle, workflow, folds_in_all=_folds_in_all(options))
    if workflow == "train":
        refuse_values_of_options(options, shipped_config(bundle_root), options=known.keys(), allowed=OF_LOAD)
    kinds = {name: kind for name, kind in known.items() if name in options}
    written = {name for name in kinds if not _is_expression(options[name])}
    for name in sorted(kinds, key=lambda name: name not in written):  # expressions may need the written ones
        if name in written or FROM_THE_MODEL not in options[name]:
            kinds[name].check(name, option_value(parser, name))
    if workflow == "train":
        _check_training(parser)


def _check_training(parser: ConfigParser) -> None:
    """Check options in combination: batches, validation, folds, crops without masks, the network's own rules."""
    options = parser.get()
    multiple_of = parser.get("train#dataloader#multiple_of", 1)
    for name in options:
        if name.endswith("batch_size"):
            size, processes = option_value(parser, name), int(os.environ.get("WORLD_SIZE", 1))
            require_equal_parts(size, processes=processes, multiple_of=multiple_of, name=f"--{name}")
    epochs = {name: option_value(parser, name) for name in options if name.endswith("max_epochs")}
    epochs["train#trainer#max_epochs"] = option_value(parser, "train#trainer#max_epochs")
    kept = option_value(parser, "kept_epoch")
    if option_value(parser, "fold") == EVERY_FOLD and options.get("readout_features") and not options["readout_file"]:
        raise InputError(
            "--fold all leaves no nodules to fit the read-out on: give --readout_file (the benchmark writes "
            'readouts/<bundle>.json), or train without a read-out: --readout_features "[]"'
            + (' --readout_attributes "[]"' if options.get("readout_attributes") else "")
        )
    if options.get("readout_attributes") and not options["readout_features"] and not options["readout_file"]:
        raise InputError(
            "--readout_attributes needs a read-out: give --readout_features or --readout_file, or leave it out"
        )
    require_score(
        bool(option_value(parser, "multi_task")) if "multi_task" in options else True,
        features=options.get("readout_features") or [],
        file=options.get("readout_file"),
    )
    if kept == "best":
        require_validation(val_interval=option_value(parser, "val_interval"), **epochs)
    require_folds(
        test=option_value(parser, "fold"),
        validation=option_value(parser, "validation_fold"),
        training=option_value(parser, "training_folds"),
        kept_epoch=kept,
    )
    if "task" in options:
        task = task_named(option_value(parser, "task"))
        refuse_crops(task, crop_variants=option_value(parser, "crop_variants"))
        if task.on_candidates and (options["readout_features"] or options["readout_file"]):
            raise InputError(
                '--task nodule has no read-out, which is of malignancy: add --readout_features "[]" and leave '
                "--readout_file out"
            )
    parser.get_parsed_content("network_def")


def require_folds(
    *, test: int | str, validation: int | None, training: int | Sequence[int], kept_epoch: str = "best"
) -> None:
    """Refuse overlapping test, validation and training folds; the hold-out has no number and is never trained on.

    Raises:
        InputError: a fold is in two parts; every fold is trained on, and one is to be validated or the best epoch
            kept; or a numbered fold is tested and none is validated.
    """
    if test == EVERY_FOLD and kept_epoch == "best":
        raise InputError("--fold all leaves no fold to validate: keep the last epoch, with --kept_epoch last")
    if test == EVERY_FOLD and validation is not None:
        raise InputError("--fold all trains on every fold: leave --validation_fold out")
    if test != EVERY_FOLD and validation is None:
        raise InputError("--validation_fold must be a fold; only --fold all has none")
    training = [training] if isinstance(training, int) else list(training)
    together = [fold for fold in (test, validation, *training) if fold is not None]
    shared = sorted({fold for fold in together if together.count(fold) > 1})
    if shared:
        raise InputError(
            f"fold {', '.join(map(str, shared))} is in two of --fold {test}, --validation_fold {validation} and "
            f"--training_folds {training}: patients must not cross a split"
        )


def require_validation(*, val_interval: int, **max_epochs: int) -> None:
    """Refuse a stage that is never validated, as the validation picks the weights that are kept.

    Raises:
        InputError: a stage ends before its first validation.
    """
    for name, epochs in max_epochs.items():
        if val_interval > epochs:
            raise InputError(
                f"--val_interval {val_interval} is above --{name} {epochs}: no epoch would be validated, and the "
                "validation picks the weights that are kept"
            )


def current_parser() -> tuple[ConfigParser, set[str]]:
    """The parser that evaluates the calling expression, and what its workflow runs by name (none for a parser alone).

    Raises:
        RuntimeError: no configuration is being evaluated.
    """
    parser, workflow = calling_parser()
    if parser is None:
        raise RuntimeError("options are read by an expression of a configuration, and none is being evaluated")
    return parser, set() if workflow is None else {workflow.init_id, workflow.run_id, workflow.final_id}


def option_value(parser: ConfigParser, name: str) -> Any:
    """An option's value, with what it refers to.

    Raises:
        InputError: it cannot be computed.
    """
    written = parser[name]
    try:
        return parser.get_parsed_content(name)
    except Exception as error:
        raise InputError(f"--{name} {written!r} cannot be evaluated: {_first_cause(error)}") from error


def _folds_in_all(options: Mapping[str, Any]) -> int:
    """Number of folds of the requested task; the largest number of any task where the model's side file names it."""
    task = options.get("task", "malignancy")
    if _is_expression(task):
        return max(task.folds for task in TASKS.values())
    return task_named(task).folds


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and (ConfigExpression.is_expression(value) or value.startswith("@"))


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())
