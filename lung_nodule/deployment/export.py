"""The road from a checkpoint to a model repository."""

import logging
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from tqdm import tqdm

from lung_nodule import __version__
from lung_nodule.deployment import tensorrt_engine
from lung_nodule.deployment.model_repository import (
    RECORD,
    fill_model,
    read_config,
    replaced_models,
    template_models,
)
from lung_nodule.deployment.onnx_files import MAX_ERROR, OPSET, SERVED_NETS, check_parity, write_onnx
from lung_nodule.io import InputError, write_json
from lung_nodule.networks import CheckpointError, MTNet, load_network, read_settings

LOGGER = logging.getLogger(__name__)
ENGINES = ("onnxruntime", "tensorrt")


def export_bundle(
    bundle: str | Path, repository: str | Path, *, checkpoint: str | Path | None = None, engine: str = "onnxruntime"
) -> Path:
    """Write the model repository of a bundle; it appears whole or not at all.

    Args:
        bundle: folder of the bundle; its name is the ensemble's.
        repository: folder to write, or one written before: the models of other bundles in it stay.
        checkpoint: weights with their side file; where the bundle's inference looks by default.
        engine: ``onnxruntime``, or ``tensorrt`` for a plan beside each ONNX file.

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
    with replaced_models(repository, name) as fresh:
        for template in templates:
            fill_model(template, fresh / template.name, settings, configs=() if builder is None else ("tensorrt",))
        nets = _write_nets(network, fresh, settings["field"]["image_size"], builder)
        write_json(fresh / record, {"library": __version__, "settings": settings, "opset": OPSET, "nets": nets})
    LOGGER.info("model repository %s: %s", repository, ", ".join(template.name for template in templates))
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


def _load(checkpoint: Path, bundle: str) -> tuple[dict[str, Any], MTNet]:
    try:
        settings = read_settings(checkpoint)
        if settings.get("bundle") != bundle:
            raise InputError(f"{checkpoint} belongs to bundle {settings.get('bundle')!r}, not to {bundle!r}")
        if "version" not in settings or "field_mm" not in settings["field"]:
            raise InputError(
                f"{checkpoint.with_suffix('.json')} lacks version or field_mm: take the one training wrote"
            )
        return settings, load_network(checkpoint)
    except CheckpointError as error:
        raise InputError(str(error)) from None


def _write_nets(network: MTNet, repository: Path, image_size: int, builder: tuple | None) -> dict[str, Any]:
    """Write and check the model files of every net; what was measured, by net."""
    record = {}
    for name, make_net in tqdm(SERVED_NETS.items(), desc="export", unit="net"):
        net, folder = make_net(network).eval(), repository / name / "1"
        write_onnx(net, folder / "model.onnx", image_size=image_size)
        parity = check_parity(net, folder / "model.onnx", image_size=image_size)
        LOGGER.info("%s: ONNX Runtime equals torch within %.1e", name, parity.max_abs_error)
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
