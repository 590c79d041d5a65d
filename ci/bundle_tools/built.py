"""Checks of a bundle that is built: small, with fresh weights, on a few painted nodules."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from monai.bundle import ConfigParser, ConfigWorkflow
from torch import nn

from ci.bundle_tools.checks import BrokenError
from ci.bundle_tools.shipped import run_shipped
from lung_nodule.io import write_json
from lung_nodule.training.checkpoints import save_tensors

SMALL = {"width": 0.125, "middle_blocks": 1}
"""Options that make a network quick to build, where a bundle has them."""
WORKFLOWS = (("train", "train"), ("infer", "inference"), ("infer", "evaluate"))


class BuiltBundle:
    """A bundle with an untrained small model.

    Args:
        bundle: folder of the bundle.
        dataset: a dataset in the bundles' layout.
        output: empty folder for the model.
    """

    def __init__(self, bundle: Path, *, dataset: Path, output: Path) -> None:
        self.bundle = bundle
        self.changes = {
            "bundle_root": str(bundle),
            "dataset_dir": str(dataset),
            "output_dir": str(output),
            "device": "cpu",
        }
        self._write_model()

    def _write_model(self) -> None:
        parser = ConfigParser()
        parser.read_config(str(self._config("train")))
        parser.update({**self.changes, **{key: value for key, value in SMALL.items() if key in parser}})
        parser.get_parsed_content("initialize")
        parser.get_parsed_content("validate#evaluator").run()  # its figures may be part of a model's settings
        with patch("lung_nodule.training.write_model", write_untrained):
            parser.get_parsed_content("assemble")

    def _config(self, name: str) -> Path:
        return self.bundle / "configs" / f"{name}.json"

    def check_shipped(self) -> None:
        """MONAI's ``verify_net_in_out`` and ``ckpt_export`` on the network and weights that a package ships."""
        problem = run_shipped(self.bundle, weights=Path(self.changes["output_dir"]) / "model.pt")
        if problem:
            raise BrokenError(f"network_def of inference.json: {problem}")

    def check_properties(self) -> None:
        """MONAI's ``check_properties``: everything a training and an inference workflow must offer is there."""
        wrong = []
        for kind, name in WORKFLOWS:
            small = SMALL if kind == "train" else {}
            missing = self._missing_properties(kind, name, small)
            wrong += [f"{name}.json lacks {one}" for one in missing]
        if wrong:
            raise BrokenError(", ".join(wrong))

    def _missing_properties(self, kind: str, name: str, small: dict[str, float]) -> list[str]:
        config = ConfigParser.load_config_file(str(self._config(name)))
        try:
            workflow = ConfigWorkflow(
                workflow_type=kind,
                config_file=str(self._config(name)),
                meta_file=str(self._config("metadata")),
                logging_file=False,
                **{key: value for key, value in small.items() if key in config},
                **self.changes,
            )
            workflow.initialize()
            return workflow.check_properties() or []
        except Exception as error:
            raise BrokenError(f"{name}.json: {one_line(error)}") from error


def write_untrained(path: str | Path, *, network: nn.Module, settings: dict[str, Any], **stages: object) -> None:
    """Write the files that ``write_model`` writes after a training, with the network's initial weights."""
    save_tensors(path, network.state_dict())
    write_json(Path(path).with_suffix(".json"), settings)


def one_line(error: BaseException) -> str:
    """Message of the innermost cause, which says more than MONAI's wrapper."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
