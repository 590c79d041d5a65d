"""From a checkpoint to a model repository."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lung_nodule import __version__
from lung_nodule.core import NoduleView
from lung_nodule.deployment import tensorrt_engine
from lung_nodule.deployment.file_record import RECORD, recorded_files
from lung_nodule.deployment.model_repository import (
    SCORES,
    Filling,
    fill_model,
    read_config,
    replaced_models,
    template_models,
)
from lung_nodule.deployment.onnx_files import MAX_ERROR, OPSET, check_parity, write_onnx
from lung_nodule.deployment.panel_model import write_panel
from lung_nodule.deployment.served import ServedNet, served_nets, tensor_shapes
from lung_nodule.errors import CheckpointError, InputError
from lung_nodule.io import file_sha256, patient_hash, write_json
from lung_nodule.methods import load_network, method_named
from lung_nodule.networks import read_settings
from monai.bundle import ConfigParser
from torch import nn
from tqdm import tqdm

logger = logging.getLogger(__name__)
SERVED_TASK = "malignancy"
ENGINES = ("onnxruntime", "tensorrt")
_SMALLEST_MM = 1.0
"""A diameter below any nodule's: what a view reaches for it, it reaches for all."""


def export_bundle(
    bundle: str | Path, repository: str | Path, *, checkpoint: str | Path | None = None, engine: str = "onnxruntime"
) -> Path:
    """Write the model repository of a bundle, completely or not at all.

    Args:
        bundle: folder of the bundle; its name is the ensemble's.
        repository: folder to write, or one written before: the models of other bundles in it stay.
        checkpoint: weights with their side file; where the bundle's inference looks by default.
        engine: ``onnxruntime``, or ``tensorrt`` for a plan next to each ONNX file.

    Returns:
        The repository's folder.

    Raises:
        InputError: an unknown engine, a checkpoint that is missing or does not fit, TensorRT or a GPU asked for and
            absent, or an ONNX file that computes something else than torch.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown: choose {' or '.join(ENGINES)}")
    bundle, repository = Path(bundle), Path(repository)
    checkpoint = default_checkpoint(bundle) if checkpoint is None else Path(checkpoint)
    builder = (tensorrt_engine.load_tensorrt(), tensorrt_engine.compute_capability()) if engine == "tensorrt" else None
    name = bundle.resolve().name
    templates, record = template_models(name), RECORD.format(bundle=name)
    settings, network = _load(checkpoint, name)
    nets = served_nets(method_named(name), network)
    filling, shape = _filling(checkpoint, nets, settings)
    with replaced_models(repository, name) as fresh:
        for template in templates:
            fill_model(template, fresh / template.name, filling, configs=() if builder is None else ("tensorrt",))
        measured = _write_nets(nets, fresh, shape, builder)
        details = {"client": filling.parameters, "tensors": filling.shapes, "nets": measured}
        details["files"] = recorded_files(fresh, [template.name for template in templates])
        write_json(fresh / record, {"library": __version__, "settings": settings, "opset": OPSET, **details})
        write_panel(fresh)
    logger.info("model repository %s: %s", repository, ", ".join(template.name for template in templates))
    return repository


def default_checkpoint(bundle: Path) -> Path:
    """The weights that a bundle's own ``configs/inference.json`` takes when none are named.

    Raises:
        InputError: the folder is no bundle.
    """
    config = bundle / "configs" / "inference.json"
    if not config.is_file():
        raise InputError(f"{bundle} is no bundle (it has no configs/inference.json): name one such as bundles/mtnet")
    parser = ConfigParser()
    parser.read_config(config)
    parser["bundle_root"] = str(bundle)
    return Path(parser.get_parsed_content("model_path"))


def _load(checkpoint: Path, bundle: str) -> tuple[dict[str, Any], nn.Module]:
    try:
        settings = read_settings(checkpoint)
        if settings["bundle"] != bundle:
            raise InputError(f"{checkpoint} belongs to bundle {settings['bundle']!r}, not to {bundle!r}")
        if settings.get("task", SERVED_TASK) != SERVED_TASK:
            raise InputError(
                f"{checkpoint} was trained with --task {settings['task']}: the served models answer for malignancy "
                "alone; run its inference.json instead"
            )
        return settings, load_network(checkpoint)
    except CheckpointError as error:
        raise InputError(str(error)) from None


def _filling(
    checkpoint: Path, nets: Mapping[str, ServedNet], settings: dict[str, Any]
) -> tuple[Filling, tuple[int, ...]]:
    """What the configs are filled with, and the shape of one image."""
    method, side_file = method_named(settings["bundle"]), checkpoint.with_suffix(".json")
    try:
        view = method.view.from_settings(settings)
        client = {"version": str(settings["version"]), **view.describe(), **_request(view), **_training(settings)}
        client["weights_sha256"] = file_sha256(checkpoint)
    except KeyError as error:
        raise InputError(f"{side_file} lacks {error.args[0]}: take the one training wrote") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{side_file} cannot be used ({error}): take the one training wrote") from None
    shapes = tensor_shapes(nets, view.image_shape)
    _check_channels(checkpoint, client, shapes)
    filling = Filling(client, shapes, method.view, settings, method.make_channels, _lengths(view))
    return filling, view.image_shape


def _request(view: NoduleView) -> dict[str, Any]:
    """How far a VOI must reach, and the names of the characteristics that come back."""
    return {
        "reach_mm": view.reach_mm(_SMALLEST_MM),
        "reach_diameters": view.reach_diameters,
        "attributes": list(view.rated),
        "high_attributes": list(view.judged_high),
        "has_score": view.has_score,
    }


def _training(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of an answer must know of the training; of its patients only hashes leave the side file."""
    seen = (patient_hash(patient) for patient in settings.get("patients_seen", ()))
    return {
        "synthetic": bool(settings.get("synthetic", False)),
        "patients_seen": sorted(seen),
        "calibration": {settings["bundle"]: settings["calibration"]} if "calibration" in settings else {},
    }


def _lengths(view: NoduleView) -> dict[str, int]:
    """How many values the outputs have that not every checkpoint gives."""
    scores = int(view.has_score)
    lengths = {"ATTRIBUTES": len(view.rated), "HIGH_PROBABILITY": len(view.judged_high)}
    return lengths | dict.fromkeys(SCORES, scores)


def _check_channels(checkpoint: Path, client: dict[str, Any], shapes: dict[str, dict[str, list[int]]]) -> None:
    """Refuse a network that gives more or fewer channels than the client has names for."""
    named = len(client.get("pred_channels", ()))
    given = next((tensors["PRED"][0] for tensors in shapes.values() if "PRED" in tensors), named)
    if given != named:
        raise InputError(
            f"{checkpoint} gives {given} channels where {named} have names ({', '.join(client['pred_channels'])}): "
            "train it with the bundle's own configuration"
        )


def _write_nets(
    nets: Mapping[str, ServedNet], repository: Path, image_shape: tuple[int, ...], builder: tuple | None
) -> dict[str, Any]:
    """Write and check the model files of every net; what was measured, by net."""
    record = {}
    for name, net in tqdm(nets.items(), desc="export", unit="net"):
        folder = repository / name / "1"
        write_onnx(net, folder / "model.onnx", image_shape=image_shape)
        parity = check_parity(net, folder / "model.onnx", image_shape=image_shape)
        logger.info("%s: ONNX Runtime equals torch within %.1e", name, parity.max_abs_error)
        record[name] = {
            "max_abs_error": parity.max_abs_error,
            "allowed_error": MAX_ERROR,
            "images_compared": parity.images,
        }
        if builder is not None:
            api, capability = builder
            tensorrt_engine.build_plan(
                folder / "model.onnx",
                folder / "model.plan",
                max_batch=read_config(repository / name / "config.pbtxt").max_batch_size,
                api=api,
                capability=capability,
            )
    return record
