"""Export a checkpoint to a model repository."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lung_nodule import __version__
from lung_nodule.core import NoduleView
from lung_nodule.deployment.repository import build_plans
from lung_nodule.deployment.repository.engines import check_choice, model_configs
from lung_nodule.deployment.repository.file_record import RECORD, recorded_files
from lung_nodule.deployment.repository.model_repository import (
    SCORES,
    Filling,
    fill_model,
    read_config,
    replace_models,
    template_models,
    without_patients,
    write_config,
)
from lung_nodule.deployment.repository.net_canary import (
    answers,
    canary_images,
    check_difference,
    check_range,
    prepare_plan,
)
from lung_nodule.deployment.repository.onnx_files import MAX_ERROR, OPSET, check_parity, write_onnx
from lung_nodule.deployment.repository.panel_model import write_panel
from lung_nodule.deployment.repository.precision import BF16_OPSET, cast_file
from lung_nodule.deployment.repository.served import ServedNet, served_nets, tensor_shapes
from lung_nodule.errors import CheckpointError, InputError
from lung_nodule.io import file_sha256, patient_hash, write_json
from lung_nodule.methods import load_network, method_named
from lung_nodule.networks import read_settings
from monai.bundle import ConfigParser
from torch import nn
from tqdm import tqdm

logger = logging.getLogger(__name__)
SERVED_TASK = "malignancy"
_SMALLEST_MM = 1.0
"""Diameter below that of any nodule, for the minimum reach of a view."""


def export_bundle(
    bundle: str | Path,
    repository: str | Path,
    *,
    checkpoint: str | Path | None = None,
    engine: str = "onnxruntime",
    precision: str = "fp32",
) -> Path:
    """Write the model repository of a bundle, completely or not at all.

    Args:
        bundle: folder of the bundle; the ensemble has the same name.
        repository: folder to write; models of other bundles in it are kept.
        checkpoint: weights with their side file; by default those of the bundle's inference.
        engine: ``onnxruntime``, ``openvino``, or ``tensorrt``, whose plans are then built by
            :mod:`lung_nodule.deployment.repository.build_plans` on the machine with the GPU.
        precision: precision of the nets' weights and arithmetic: ``fp32``, ``fp16`` or ``bf16``, if supported by the
            engine.

    Returns:
        The repository's folder.

    Raises:
        InputError: the engine is unknown or does not support the precision, the checkpoint is missing or does not fit,
            or the ONNX file differs from torch or, in half precision, from float32 by more than the tolerance.
    """
    check_choice(engine, precision)
    bundle, repository = Path(bundle), Path(repository)
    checkpoint = default_checkpoint(bundle) if checkpoint is None else Path(checkpoint)
    name = bundle.resolve().name
    templates, record = template_models(name), RECORD.format(bundle=name)
    settings, network = _load(checkpoint, name)
    nets = served_nets(method_named(name), network)
    filling, shape = _filling(checkpoint, nets, settings, {"engine": engine, "precision": precision})
    with replace_models(repository, name) as fresh:
        for template in templates:
            fill_model(template, fresh / template.name, filling)
        measured = {
            net: _write_net(served, fresh / net, shape, engine, precision)
            for net, served in tqdm(nets.items(), desc="export", unit="net")
        }
        details = {"client": filling.parameters, "tensors": filling.shapes, "nets": measured}
        details["files"] = recorded_files(fresh, [template.name for template in templates])
        opset = BF16_OPSET if precision == "bf16" else OPSET
        made_with = {"library": __version__, "settings": without_patients(settings), "opset": opset}
        write_json(fresh / record, {**made_with, **details})
        write_panel(fresh)
        if engine == "tensorrt":
            shutil.copyfile(build_plans.__file__, fresh / Path(build_plans.__file__).name)
    logger.info("model repository %s: %s", repository, ", ".join(template.name for template in templates))
    return repository


def default_checkpoint(bundle: Path) -> Path:
    """Default weights of a bundle's ``configs/inference.json``.

    Raises:
        InputError: the folder is not a bundle.
    """
    config = bundle / "configs" / "inference.json"
    if not config.is_file():
        raise InputError(f"{bundle} is not a bundle (it has no configs/inference.json): name one such as bundles/mtnet")
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
    checkpoint: Path, nets: Mapping[str, ServedNet], settings: dict[str, Any], choices: Mapping[str, str]
) -> tuple[Filling, tuple[int, ...]]:
    """Values for the configs, and the shape of one image."""
    method, side_file = method_named(settings["bundle"]), checkpoint.with_suffix(".json")
    try:
        view = method.view.from_settings(settings)
        client = {"version": str(settings["version"]), **view.describe(), **_request(view), **_training(settings)}
        client |= {"weights_sha256": file_sha256(checkpoint), **choices}
    except KeyError as error:
        raise InputError(f"{side_file} lacks {error.args[0]}: take the one training wrote") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{side_file} cannot be used ({error}): take the one training wrote") from None
    shapes = tensor_shapes(nets, view.image_shape)
    _check_channels(checkpoint, client, shapes)
    filling = Filling(client, shapes, method.view, settings, method.make_channels, _lengths(view))
    return filling, view.image_shape


def _request(view: NoduleView) -> dict[str, Any]:
    """Required extent of a VOI, and names of the predicted characteristics."""
    return {
        "reach_mm": view.reach_mm(_SMALLEST_MM),
        "reach_diameters": view.reach_diameters,
        "attributes": list(view.rated),
        "high_attributes": list(view.judged_high),
        "has_score": view.has_score,
    }


def _training(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Facts on the training for readers of an answer; patient IDs are exported as hashes only."""
    seen = (patient_hash(patient) for patient in settings.get("patients_seen", ()))
    return {
        "synthetic": bool(settings.get("synthetic", False)),
        "patients_seen": sorted(seen),
        "calibration": {settings["bundle"]: settings["calibration"]} if "calibration" in settings else {},
    }


def _lengths(view: NoduleView) -> dict[str, int]:
    """Lengths of the outputs that depend on the checkpoint."""
    scores = int(view.has_score)
    lengths = {"ATTRIBUTES": len(view.rated), "HIGH_PROBABILITY": len(view.judged_high)}
    return lengths | dict.fromkeys(SCORES, scores)


def _check_channels(checkpoint: Path, client: dict[str, Any], shapes: dict[str, dict[str, list[int]]]) -> None:
    """Refuse a network whose number of channels differs from the number of channel names."""
    named = len(client.get("pred_channels", ()))
    given = next((tensors["PRED"][0] for tensors in shapes.values() if "PRED" in tensors), named)
    if given != named:
        raise InputError(
            f"{checkpoint} gives {given} channels where {named} have names ({', '.join(client['pred_channels'])}): "
            "train it with the bundle's own configuration"
        )


def _write_net(
    net: ServedNet, folder: Path, image_shape: tuple[int, ...], engine: str, precision: str
) -> dict[str, Any]:
    """Write and check the model file of a net and the configs of its engine; return the measured errors."""
    path, name = folder / "1" / "model.onnx", folder.name
    write_onnx(net, path, image_shape=image_shape)
    parity = check_parity(net, path, image_shape=image_shape)
    logger.info("%s: ONNX Runtime equals torch within %.1e", name, parity.max_abs_error)
    images = canary_images(net.inputs, image_shape)
    expected = answers(path, images)
    values = {"largest_value": check_range(path, images, name=name)} if precision == "fp16" else {}
    cast_file(path, precision)
    difference = check_difference(path, images, expected, engine=engine, precision=precision, name=name)
    config = read_config(folder / "config.pbtxt")
    for place, filled in model_configs(config, engine, precision, digest=file_sha256(path)).items():
        write_config(folder / place, filled)
    if engine == "tensorrt":
        prepare_plan(folder, images, expected, precision=precision)
    return {
        "max_abs_error": parity.max_abs_error,
        "allowed_error": MAX_ERROR,
        "images_compared": parity.images,
        "engine": engine,
        "precision": precision,
        "from_fp32": difference._asdict(),
        "allowed_from_fp32": build_plans.TOLERANCES[precision]._asdict(),
        **values,
    }
