"""Write the model repository: the committed templates filled with a checkpoint's settings and model files."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from lung_nodule import core, errors, lidc
from lung_nodule.core import NoduleView
from lung_nodule.deployment.repository.file_record import RECORD
from lung_nodule.errors import InputError
from lung_nodule.io import write_json, write_text
from lung_nodule.runtime.lock import only_writer
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue] # protobuf

STEPS = Path(__file__).resolve().parent / "steps"
TEMPLATES = Path(__file__).resolve().parents[3] / "triton_repo"
SCORES = ("MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL")
"""Outputs of a network with a malignancy score."""


def read_config(path: Path) -> ModelConfig:
    """Read a ``config.pbtxt`` as Triton's protobuf message.

    Raises:
        InputError: the file is missing or invalid; the message has the line.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: the templates are in triton_repo/ of the repository") from None
    except text_format.ParseError as error:
        raise InputError(f"{path}: not a model config: {error}") from None


def write_config(path: Path, config: ModelConfig) -> None:
    """Write a model config in the text form that Triton reads."""
    text = text_format.MessageToString(config, use_short_repeated_primitives=True, as_utf8=True)
    write_text(path, f"# Written by: python -m lung_nodule export\n{text}")


def template_models(bundle: str) -> list[Path]:
    """Template folders of a bundle: its single net, or the ensemble and its steps.

    Raises:
        InputError: the bundle has no templates.
    """
    folders = sorted(path.parent for path in TEMPLATES.glob(f"{bundle}*/config.pbtxt"))
    folders = [folder for folder in folders if folder.name == bundle or folder.name.startswith(f"{bundle}_")]
    if not folders:
        raise InputError(f"bundle {bundle!r} has no templates in {TEMPLATES.name}/: it cannot be served")
    return folders


@dataclass(frozen=True)
class Filling:
    """Sizes and values of a checkpoint that replace the published ones in the configs.

    Args:
        parameters: values of the configs' parameters, used if a template has the parameter.
        shapes: tensor shapes without the batch, by net; the steps' tensors of the same names have these shapes after
            a first axis of variable size.
        view: view of the Python steps.
        settings: content of the side file, from which the view is built.
        make_channels: class of the image channels, as in :class:`~lung_nodule.methods.Method`.
        lengths: lengths of the outputs that depend on the checkpoint; outputs of length 0 are left out.
    """

    parameters: Mapping[str, Any]
    shapes: Mapping[str, Mapping[str, Sequence[int]]]
    view: type[NoduleView]
    settings: Mapping[str, Any]
    make_channels: type | None = None
    lengths: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, config: ModelConfig) -> ModelConfig:
        """Fill a config in place and return it."""
        for name in set(self.parameters) & set(config.parameters):
            config.parameters[name].string_value = as_text(self.parameters[name])
        of_nets = {name: [-1, *shape] for shapes in self.shapes.values() for name, shape in shapes.items()}
        shapes = self.shapes.get(config.name, of_nets)
        for tensor in (*config.input, *config.output):
            if tensor.name in shapes:
                tensor.dims[:] = shapes[tensor.name]
            elif tensor.name in self.lengths and tensor.name not in SCORES:
                tensor.dims[:] = [self.lengths[tensor.name]]
        _leave_out(config, {name for name, length in self.lengths.items() if not length})
        return config


def _leave_out(config: ModelConfig, names: set[str]) -> None:
    """Remove outputs from a model and, for an ensemble, from its steps."""
    kept = [output for output in config.output if output.name not in names]
    del config.output[:]
    config.output.extend(kept)
    for step in config.ensemble_scheduling.step:
        for name in names & set(step.output_map):
            del step.output_map[name]


def as_text(value: Any) -> str:
    """Text of a parameter: lists are separated by spaces, booleans are yes or no, mappings are JSON."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return json.dumps(value, separators=(",", ":")) if value else ""
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def fill_model(template: Path, target: Path, filling: Filling) -> None:
    """Write the folder of a model: its filled config and, for a Python step, the step with its imports.

    Args:
        template: template folder, see :func:`template_models`.
        target: folder to create.
        filling: values of the checkpoint.
    """
    (target / "1").mkdir(parents=True)
    config = filling(read_config(template / "config.pbtxt"))
    write_config(target / "config.pbtxt", config)
    if config.backend == "python":
        write_step(target / "1", template.name.rpartition("_")[2], filling)


def write_step(folder: Path, step: str, filling: Filling) -> None:
    """Write a Python step with its imports.

    Args:
        folder: folder of ``model.py``.
        step: ``preprocess`` or ``postprocess``.
        filling: values of the checkpoint.

    Raises:
        InputError: the step does not exist.
    """
    if not (STEPS / f"{step}.py").is_file():
        raise InputError(f"there is no step {step!r}: end the model's name in _preprocess or _postprocess")
    shutil.copyfile(STEPS / f"{step}.py", folder / "model.py")
    for name in ("served_view.py", "step_errors.py"):
        shutil.copyfile(STEPS / name, folder / name)
    copy_core(folder)
    settings = without_patients(filling.settings)
    described: dict[str, Any] = {"view": _copy_view(filling.view, folder), "settings": settings}
    if filling.make_channels is not None:
        described["make_channels"] = _copy_class(filling.make_channels, folder)
    write_json(folder / "view.json", described)


def without_patients(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a side file without the patient lists, which are not exported with the model."""
    return {key: value for key, value in settings.items() if not key.startswith("patients_")}


def copy_core(folder: Path) -> None:
    """Copy ``lung_nodule.core``, ``lidc`` and ``errors`` unchanged into a step's folder, and nothing else."""
    package = folder / "lung_nodule"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for module in (lidc, errors):
        shutil.copy(str(module.__file__), package)
    shutil.copytree(Path(core.__file__).parent, package / "core", ignore=shutil.ignore_patterns("__pycache__"))


def _copy_view(view: type[NoduleView], folder: Path) -> str:
    """``module:Class`` of a view for a step; the file of a view outside of the core is copied next to the step."""
    if view.__module__.startswith(f"{core.__name__}."):
        return f"{view.__module__}:{view.__name__}"
    source = Path(inspect.getfile(view))
    shutil.copy(source, folder)
    return f"{source.stem}:{view.__name__}"


def _copy_class(copied: type, folder: Path) -> str:
    """``module:Class`` of a class of the library; its file is copied next to the step in a package of the same name."""
    *packages, _ = copied.__module__.split(".")
    package = folder.joinpath(*packages)
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    shutil.copy(Path(core.__file__).parents[1].joinpath(*copied.__module__.split(".")[1:]).with_suffix(".py"), package)
    return f"{copied.__module__}:{copied.__name__}"


@contextmanager
def replace_models(repository: Path, bundle: str) -> Iterator[Path]:
    """Yield a copy of a model repository without one bundle's models; it replaces the repository when the block ends.

    The models of other bundles are kept. On an error the repository stays unchanged; otherwise its earlier version is
    kept as ``<repository>.previous``, for :func:`roll_back`.

    Raises:
        InputError: the folder holds other files, or another export or roll back is running.
    """
    repository = repository.resolve()
    _check_ours(repository)
    fresh = repository.with_name(f".{repository.name}.{uuid.uuid4().hex[:8]}.new")
    with only_writer(repository):
        try:
            for left in repository.parent.glob(f".{repository.name}.*.new"):  # of an export that was killed
                if re.fullmatch(r"[0-9a-f]{8}", left.name[len(repository.name) + 2 : -len(".new")]):
                    shutil.rmtree(left, ignore_errors=True)
            shutil.copytree(repository, fresh, ignore=shutil.ignore_patterns(bundle, f"{bundle}_*"))
            yield fresh
            _take_place(fresh, repository)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def previous(repository: Path) -> Path:
    """Path of the repository's version before the last export."""
    return repository.with_name(f"{repository.name}.previous")


def roll_back(repository: str | Path) -> None:
    """Swap a model repository with its version before the last export; a second call undoes the swap.

    Raises:
        InputError: there is no earlier version, or an export is running.
    """
    folder = Path(repository).resolve()
    if not (folder.is_dir() and previous(folder).is_dir()):
        raise InputError(
            f"{previous(folder)} does not exist: nothing was exported into {folder} after its first export"
        )
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
    with only_writer(folder):
        os.replace(folder, aside)
        os.replace(previous(folder), folder)
        os.replace(aside, previous(folder))


def _take_place(fresh: Path, repository: Path) -> None:
    """Rename ``fresh`` to ``repository``, which becomes the previous version; restore it on failure."""
    kept = previous(repository)
    try:
        if repository.is_dir() and any(repository.iterdir()):
            shutil.rmtree(kept, ignore_errors=True)
            os.replace(repository, kept)
        os.replace(fresh, repository)
    except BaseException:
        if kept.is_dir() and not repository.exists():
            os.replace(kept, repository)
        raise


def _check_ours(repository: Path) -> None:
    if repository.exists() and not repository.is_dir():
        raise InputError(f"{repository} is a file: give a folder for the model repository")
    if repository.is_dir() and any(repository.iterdir()) and not any(repository.glob(RECORD.format(bundle="*"))):
        raise InputError(f"{repository} holds other files than an exported model repository: give a new folder")
