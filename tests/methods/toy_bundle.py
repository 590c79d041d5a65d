"""A bundle folder and model configs for the toy method, derived from the folders of MTMR-Net and MT-Net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NETWORK = "tests.methods.toy_network"
DROPPED = (
    "regression", "bidirectional", "dropout", "trunk_weights", "crop", "crop_margin_prob", "crop_margin_mm",
    "pad_parenchyma_prob", "pad_parenchyma_mm", "flip_prob", "trunk_factor", "printed_learning_rates",
    "trunk_learning_rate", "heads_learning_rate", "weight_decay", "regression_weight", "rank_weight", "rank_margin",
    "rank_pairs",
)  # fmt: skip
"""Options of MTMR-Net that the toy does not have."""

ENSEMBLE = """
name: "toy"
platform: "ensemble"
input [
  { name: "VOI" data_type: TYPE_FP32 dims: [ -1, -1, -1 ] },
  { name: "SPACING" data_type: TYPE_FP32 dims: [ 3 ] },
  { name: "CENTER" data_type: TYPE_FP32 dims: [ 3 ] }
]
output [ { name: "MALIGNANCY_PROBABILITY" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling {
  step [
    {
      model_name: "toy_preprocess" model_version: -1
      input_map { key: "VOI" value: "VOI" }
      input_map { key: "SPACING" value: "SPACING" }
      input_map { key: "CENTER" value: "CENTER" }
      output_map { key: "IMAGE" value: "image" }
    },
    {
      model_name: "toy_net" model_version: -1
      input_map { key: "IMAGE" value: "image" }
      output_map { key: "PRED" value: "pred" }
    },
    {
      model_name: "toy_postprocess" model_version: -1
      input_map { key: "PRED" value: "pred" }
      input_map { key: "VOI" value: "VOI" }
      input_map { key: "SPACING" value: "SPACING" }
      input_map { key: "CENTER" value: "CENTER" }
      output_map { key: "MALIGNANCY_PROBABILITY" value: "MALIGNANCY_PROBABILITY" }
    }
  ]
}
"""
POSTPROCESS = """
name: "toy_postprocess"
backend: "python"
input [
  { name: "PRED" data_type: TYPE_FP32 dims: [ -1, 1 ] },
  { name: "VOI" data_type: TYPE_FP32 dims: [ -1, -1, -1 ] },
  { name: "SPACING" data_type: TYPE_FP32 dims: [ 3 ] },
  { name: "CENTER" data_type: TYPE_FP32 dims: [ 3 ] }
]
output [ { name: "MALIGNANCY_PROBABILITY" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""


def write_bundle(folder: Path) -> Path:
    """``toy/configs`` with its train, evaluate and inference configuration."""
    configs = folder / "toy" / "configs"
    configs.mkdir(parents=True)
    for name, derive in (("train", _train), ("evaluate", _inference), ("inference", _inference)):
        text = (ROOT / "bundles" / "mtmrnet" / "configs" / f"{name}.json").read_text()
        config = derive(json.loads(text.replace("mtmrnet", "toy").replace("MTMRNet", "ToyNet")))
        (configs / f"{name}.json").write_text(json.dumps(config, indent=4))
    return configs.parent


def write_templates(folder: Path) -> Path:
    """The model repository's templates: an ensemble, its two steps, its net."""
    templates = ROOT / "triton_repo"
    net = (templates / "mtmrnet_net" / "config.pbtxt").read_text().replace('"mtmrnet_net"', '"toy_net"')
    preprocess = (templates / "mtnet_preprocess" / "config.pbtxt").read_text().replace("mtnet_", "toy_")
    written = {"toy": ENSEMBLE, "toy_net": net, "toy_preprocess": preprocess, "toy_postprocess": POSTPROCESS}
    for name, text in written.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(text)
    return folder


def _train(config: dict[str, Any]) -> dict[str, Any]:
    config = {key: value for key, value in config.items() if key not in DROPPED}
    config["patch_mm"] = 32.0
    settings = {**config["settings"], "network": {"width": "@width"}, "pretrained": None}
    config["settings"] = {**settings, "patch": {"patch_mm": "@patch_mm", "image_size": "@image_size"}}
    config["network_def"] = {"_target_": f"{NETWORK}.ToyNet", "width": "@width"}
    config["nodule_view"] = {
        "_target_": "tests.methods.toy_view.CentralSliceView",
        "patch_mm": "@patch_mm",
        "image_size": "@image_size",
    }
    train = config["train"]
    train["preprocessing"] = "$monai.transforms.Compose([@view, @keep])"
    config["keep"] = {"_target_": "SelectItemsd", "keys": ["image", "malignancy"]}
    train["loss"] = {"_target_": "torch.nn.BCEWithLogitsLoss"}
    train["optimizer"] = {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": "@learning_rate"}
    train["stage"] = {key: value for key, value in train["stage"].items() if key != "pretrained"}
    train["stage"]["targets"] = "malignancy"
    config["validate"]["inferer"] = {"_target_": "SimpleInferer"}
    return config


def _inference(config: dict[str, Any]) -> dict[str, Any]:
    config["network_def"] = {"_target_": f"{NETWORK}.ToyPredictor", "width": "$@network_options['width']"}
    config["nodule_view"] = "$lung_nodule.methods.METHODS['toy'].view.from_settings(@settings)"
    config["inferer"] = {"_target_": "SimpleInferer"}
    kept = [handler for handler in config["handlers"] if "activation_maps" not in json.dumps(handler)]
    return {**{key: value for key, value in config.items() if key != "activation_maps"}, "handlers": kept}
