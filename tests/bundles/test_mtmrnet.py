"""The bundle mtmrnet, and what is its own: attributes, learning rates, ablations by configuration, a missing column."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser, verify_net_in_out

from lung_nodule.core import MEASUREMENTS, Readout, logit
from lung_nodule.io import read_nifti
from lung_nodule.lidc import ATTRIBUTES, HIGHEST_RATING
from lung_nodule.networks import MTMRNet
from tests.bundles.contract import BundleContract


class TestMTMRNet(BundleContract):
    """MTMR-Net at an eighth of its width."""

    name = "mtmrnet"
    segments = False
    needed_column = "texture_mean"
    small = {  # noqa: RUF012
        "flips": True,
        "width": 0.125,
        "image_size": 32,
        "max_epochs": 2,
        "batch_size": 8,
        "slices_per_nodule": 2,
        "trunk_factor": 1.0,
        "device": "cpu",
    }
    on_request = {"activation_maps": True}  # noqa: RUF012
    requested = ("*_activation.nii.gz", "*_activation.png")
    columns = {"nodule_id", "fold", "malignancy_prob", *(f"{a}_pred" for a in ATTRIBUTES)}  # noqa: RUF012

    def parsed(self, config: str, **options: object) -> ConfigParser:
        """A config with options, initialised as a run is, in this process."""
        parser = ConfigParser()
        parser.read_config(self.configs / f"{config}.json")
        parser.update({key: str(value) if isinstance(value, Path) else value for key, value in options.items()})
        parser.get_parsed_content("initialize")
        return parser

    def test_attributes_stand_on_their_own_scales_beside_their_constants(
        self, trained: Path, painted: Path, tmp_path: Path
    ) -> None:
        """Evaluated on the slices of the mask, as in the paper, which the results name."""
        options = {"dataset_dir": painted, "output_dir": trained, "results_dir": tmp_path, "device": "cpu"}
        self.parsed("evaluate", **options, slices="mask").get_parsed_content("evaluating")
        predictions = pd.read_csv(tmp_path / "predictions.csv")
        metrics = json.loads((tmp_path / "metrics.json").read_text())
        assert metrics["settings"]["slices"] == "mask"
        assert set(metrics["attributes"]) == set(ATTRIBUTES)
        for name, entry in metrics["attributes"].items():
            predicted, rated = predictions[f"{name}_pred"], predictions[f"{name}_mean"]
            assert predicted.between(1, HIGHEST_RATING[name]).all()
            assert entry["mae"] == pytest.approx((predicted - rated).abs().mean(), abs=1e-5)
            median = metrics["settings"]["attribute_medians"][name]
            assert entry["baseline_mae"] == pytest.approx((rated - median).abs().mean(), abs=1e-5)

    def test_a_read_out_takes_the_ratings_that_measurements_give(
        self, trained: Path, painted: Path, tmp_path: Path
    ) -> None:
        """Its options may change after the training, which is not repeated."""
        output = shutil.copytree(trained, tmp_path / "out")
        readout = {"readout_features": ["logit", "measured_malignancy"], "readout_attributes": ["texture"]}
        options = {"dataset_dir": painted, "output_dir": output}
        self.parsed("train", **options, **self.small, **readout).get_parsed_content("training")
        self.parsed("evaluate", **options, device="cpu").get_parsed_content("evaluating")
        settings = json.loads((output / "model.json").read_text())["readout"]
        fitted = Readout.from_settings(settings)
        assert fitted is not None
        assert fitted.measured is not None
        assert settings["measured"]["features"] == [f"ball_{name}" for name in MEASUREMENTS]
        assert len(fitted.measured.support) == 12  # three folds, whatever their class
        assert settings["nodules"] == 4  # the validation fold
        table = pd.read_csv(output / "evaluation" / "predictions.csv")
        for row in table.to_dict("records"):
            rated = fitted.measured(row)
            assert {name: row[name] for name in rated} == pytest.approx(rated, abs=1e-3)
            features = {**row, "logit": logit(row["network_prob"]), "texture": row["texture_network"]}
            standardized = {name: (features[name] - fitted.mean[name]) / fitted.deviation[name] for name in fitted.mean}
            texture = fitted.outputs["texture"](standardized)
            assert row["texture_pred"] == pytest.approx(min(max(texture, 1), 5), abs=1e-3)
            assert logit(row["malignancy_prob"]) == pytest.approx(fitted.outputs["malignancy"](standardized), abs=1e-2)

    def test_the_served_tensor_is_what_metadata_says(self, trained: Path, painted: Path) -> None:
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(self.configs / "metadata.json"),
            config_file=str(self.configs / "inference.json"),
            device="cpu",
            dataset_dir=str(painted),
            output_dir=str(trained),
        )

    def test_plain_resnet50_is_a_configuration(self, painted: Path, tmp_path: Path) -> None:
        """Neither regression nor ranking: no attributes in the results (the paper's Table 1)."""
        plain = {**self.small, "max_epochs": 1, "regression": False, "rank_weight": 0.0}
        self.parsed("train", dataset_dir=painted, output_dir=tmp_path, **plain).get_parsed_content("training")
        evaluate = self.parsed("evaluate", dataset_dir=painted, output_dir=tmp_path, device="cpu")
        evaluate.get_parsed_content("evaluating")
        predictions = pd.read_csv(tmp_path / "evaluation" / "predictions.csv")
        assert not [column for column in predictions if column.endswith("_pred")]
        assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["attributes"] is None

    def test_trunk_and_heads_learn_at_their_own_rates(self, painted: Path, tmp_path: Path) -> None:
        options = {"dataset_dir": painted, "output_dir": tmp_path, "width": 0.125, "device": "cpu"}
        for printed, rates in ((False, [3e-5, 3e-3]), (True, [3e-3, 3e-5])):
            parser = self.parsed("train", **options, printed_learning_rates=printed)
            trunk, heads = parser.get_parsed_content("train#optimizer").param_groups
            assert [trunk["lr"], heads["lr"]] == pytest.approx(rates)
            assert trunk["weight_decay"] == heads["weight_decay"] == 1e-4
            network = parser.get_parsed_content("network")
            assert {id(p) for p in trunk["params"]} == {id(p) for p in network.trunk.parameters()}
            assert len(trunk["params"]) + len(heads["params"]) == len(list(network.parameters()))
            assert parser.get_parsed_content("train#lr_scheduler").step_size == 50

    def test_a_users_weights_start_the_trunk(self, painted: Path, tmp_path: Path) -> None:
        """By torchvision's names; its classifier is left over, ImageNet's statistics go into the first layers."""
        trunk = MTMRNet(width=0.125).trunk
        torch.save({**trunk.state_dict(), "fc.weight": torch.rand(5, 256)}, tmp_path / "resnet50.pth")
        options = {**self.small, "dataset_dir": painted, "output_dir": tmp_path / "out"}
        parser = self.parsed("train", **options, trunk_weights=tmp_path / "resnet50.pth")
        network = parser.get_parsed_content("network")
        engine = Engine(lambda engine, batch: None)
        parser.get_parsed_content("train#stage").pretrained.attach(engine)
        engine.fire_event(Events.STARTED)
        torch.testing.assert_close(network.trunk.layer4[2].conv3.weight, trunk.layer4[2].conv3.weight)
        red = network.trunk.conv1.weight[:, 0]
        torch.testing.assert_close(red, trunk.conv1.weight[:, 0] / 0.229)
        assert parser.get_parsed_content("settings")["pretrained"] is not None

    @pytest.mark.slow
    def test_a_longer_run_with_its_own_step_is_that_run(self, painted: Path, tmp_path: Path) -> None:
        """A schedule that does not depend on the length: extended from 1 to 2 epochs, the same weights to the bit."""
        straight, extended = tmp_path / "straight", tmp_path / "extended"
        for output, epochs in ((straight, 2), (extended, 1), (extended, 2)):
            options = {**self.small, "max_epochs": epochs, "learning_rate_step": 1}
            parser = self.parsed("train", dataset_dir=painted, output_dir=output, **options)
            parser.get_parsed_content("train#trainer").run()
        expected, got = (torch.load(out / "train" / "last.pt", weights_only=True) for out in (straight, extended))
        assert got["extended"] == [{"after": 1, "from": 1, "to": 2}]
        assert got["lr_scheduler"]["_last_lr"] == expected["lr_scheduler"]["_last_lr"]
        for name, weights in expected["network"].items():
            torch.testing.assert_close(got["network"][name], weights, rtol=0, atol=0)

    @pytest.mark.slow
    def test_activation_maps_on_request(self, trained: Path, painted: Path, tmp_path: Path) -> None:
        options = {"dataset_dir": painted, "output_dir": trained, "results_dir": tmp_path, "device": "cpu"}
        parser = self.parsed("inference", **options, folds=[0], activation_maps=True)
        parser.get_parsed_content("inferring")
        for nodule in pd.read_csv(tmp_path / "predictions.csv")["nodule_id"]:
            written = read_nifti(tmp_path / f"{nodule}_activation.nii.gz")
            assert written.shape == read_nifti(painted / "voi" / f"{nodule}_ct.nii.gz").shape
            assert 0 <= written.data.min() <= written.data.max() <= 1
            assert (tmp_path / f"{nodule}_activation.png").is_file()

    def test_batches_are_even(self, painted: Path, tmp_path: Path) -> None:
        parser = self.parsed("train", dataset_dir=painted, output_dir=tmp_path, **{**self.small, "batch_size": 7})
        assert parser.get_parsed_content("train#dataloader").batch_size == 6
