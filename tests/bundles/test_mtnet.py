"""The bundle mtnet, and what is its own: stages that can run alone."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from PIL import Image

from lung_nodule.errors import CheckpointError, InputError
from lung_nodule.io import file_sha256, read_nifti
from lung_nodule.methods import load_network
from tests.bundles.contract import BundleContract
from tests.networks import published


class TestMTNet(BundleContract):
    """MT-Net at an eighth of its width."""

    name = "mtnet"
    small = {  # noqa: RUF012
        "width": 0.125,
        "middle_blocks": 1,
        "image_size": 64,
        "patch_mm": 32.0,
        "max_epochs": 1,
        "segmentation_batch_size": 8,
        "classifier_batch_size": 8,
        "device": "cpu",
    }
    on_request = {"activation_maps": True}  # noqa: RUF012
    requested = ("*_activation.nii.gz", "*_activation.png")
    columns = {"nodule_id", "fold", "malignancy_prob", "dice", "jaccard", "coarse_dice", "dice_voi"}  # noqa: RUF012

    @pytest.mark.slow
    def test_stages_run_alone_and_hand_over(self, painted: Path, tmp_path: Path) -> None:
        early = self.attempt("training_fine", "train", dataset_dir=painted, output_dir=tmp_path, **self.small)
        assert early.returncode != 0
        assert "run the stage `coarse` first" in early.stderr.splitlines()[-1]
        self.run("training_coarse", "train", dataset=painted, output=tmp_path, **self.small)
        said = self.run("training_fine", "train", dataset=painted, output=tmp_path, **self.small)
        assert re.search(r"\d+ tensors loaded from", said)
        assert (tmp_path / "fine" / "best.pt").is_file()
        assert not (tmp_path / "model.pt").exists()

    def test_inference_writes_masks_on_the_vois_grid(self, inferred: Path, painted: Path) -> None:
        nodules = pd.read_csv(painted / "nodules.csv").set_index("nodule_id")
        for nodule in pd.read_csv(inferred / "predictions.csv")["nodule_id"]:
            ct = read_nifti(painted / nodules.loc[nodule, "ct"])
            for kind in ("coarse", "fine", "mask"):
                written = read_nifti(inferred / f"{nodule}_{kind}.nii.gz")
                assert written.shape == ct.shape
                np.testing.assert_allclose(written.affine, ct.affine, atol=1e-4)

    @pytest.mark.slow
    def test_activation_maps_on_request(self, trained: Path, painted: Path, tmp_path: Path) -> None:
        """On the VOI's grid, between 0 and 1, with a picture each."""
        self.run(
            "inferring", "inference", dataset=painted, output=trained, folds="[0]", results_dir=tmp_path,
            activation_maps=True,
        )  # fmt: skip
        nodules = pd.read_csv(painted / "nodules.csv").set_index("nodule_id")
        predicted = pd.read_csv(tmp_path / "predictions.csv")["nodule_id"]
        assert len(predicted) == 4
        for nodule in predicted:
            ct = read_nifti(painted / nodules.loc[nodule, "ct"])
            written = read_nifti(tmp_path / f"{nodule}_activation.nii.gz")
            assert written.shape == ct.shape
            np.testing.assert_allclose(written.affine, ct.affine, atol=1e-4)
            assert 0 <= written.data.min() <= written.data.max() <= 1
            with Image.open(tmp_path / f"{nodule}_activation.png") as picture:
                assert picture.size == (1440, 780)

    @pytest.mark.parametrize("on", [False, True])
    def test_activation_maps_cost_nothing_unless_asked_for(self, on: bool, trained: Path, painted: Path) -> None:
        """The handler, and with it the hooks on the network, is there on request alone."""
        parser = ConfigParser()
        parser.read_config(self.configs / "inference.json")
        parser.update({"dataset_dir": str(painted), "output_dir": str(trained), "activation_maps": on})
        handlers = parser.get_parsed_content("handlers")
        assert [type(handler).__name__ for handler in handlers].count("SaveActivationMaps") == on

    @pytest.mark.slow
    def test_without_the_coarse_mask_and_without_the_rank_loss(self, painted: Path, tmp_path: Path) -> None:
        """The ablations train, and the side file says which network it was."""
        self.run("training", "train", dataset=painted, output=tmp_path, **self.small, coarse_mask=False, rank_gamma=0)
        settings = json.loads((tmp_path / "model.json").read_text())
        assert settings["network"] == {"width": 0.125, "middle_blocks": 1, "coarse_mask": False}
        assert settings["pretrained"] == {"encoder": None, "classifier": None}
        network = load_network(tmp_path / "model.pt")
        assert not network.fine.coarse_mask
        assert network.classifier.stem[0].conv.in_channels == 3

    @pytest.mark.slow
    def test_pretrained_weights_start_their_stage_once(
        self, painted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Taken by name and shape when the stage starts, known by their hash, and not read again by a resumed run."""
        torch.manual_seed(1)
        file = tmp_path / "xception65.pth"
        torch.save(published.timm_xception65().state_dict(), file)
        options = {"middle_blocks": 16, "image_size": 32, "max_epochs": 1, "encoder_weights": str(file)}
        for taken in (1, 0):
            caplog.clear()
            with caplog.at_level(logging.INFO, logger="lung_nodule"):
                self.coarse_trainer(painted, tmp_path, **options).run()
            assert len(re.findall(r"\d+ tensors taken; unused in the file: 0; not loaded: 0", caplog.text)) == taken
            assert caplog.text.count("resumed after epoch 1") == 1 - taken
        saved = torch.load(tmp_path / "coarse" / "last.pt", weights_only=True)["settings"]
        assert saved["encoder_weights"] == file_sha256(file)
        with pytest.raises(InputError, match=r"was trained with encoder_weights='\w+', not None"):
            self.coarse_trainer(painted, tmp_path, **{**options, "encoder_weights": None}).run()

    def test_a_classifiers_file_that_does_not_fit_is_refused_before_the_masks_are_trained(
        self, painted: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "other.pth"
        torch.save({"conv1.weight": torch.zeros(2, 2, 3, 3)}, file)
        parser = ConfigParser()
        parser.read_config(self.configs / "train.json")
        output = tmp_path / "out"
        paths = {"dataset_dir": str(painted), "output_dir": str(output), "classifier_weights": str(file)}
        parser.update({**self.small, **paths})
        with pytest.raises(RuntimeError) as raised:  # MONAI's, of an expression
            parser.get_parsed_content("training")
        assert isinstance(raised.value.__cause__, CheckpointError)
        assert "other.pth has nothing for this network in the layout xception" in str(raised.value.__cause__)
        assert not (output / "coarse").exists()

    @pytest.mark.slow
    def test_an_interrupted_stage_goes_on_as_if_it_had_not_been(self, painted: Path, tmp_path: Path) -> None:
        """The same weights to the bit, with shuffling, dropout and augmentation on."""
        whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
        self.coarse_trainer(painted, whole).run()
        trainer = self.coarse_trainer(painted, interrupted)

        @trainer.on(Events.EPOCH_COMPLETED(once=1))
        def stop(engine: Engine) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        assert torch.load(interrupted / "coarse" / "last.pt", weights_only=True)["epoch"] == 1
        self.coarse_trainer(painted, interrupted).run()
        expected, got = (torch.load(out / "coarse" / "last.pt", weights_only=True) for out in (whole, interrupted))
        assert expected["epoch"] == got["epoch"] == 2
        for name, weights in expected["network"].items():
            torch.testing.assert_close(got["network"][name], weights, rtol=0, atol=0)

    def coarse_trainer(self, dataset: Path, output: Path, **options: object) -> Engine:
        parser = ConfigParser()
        parser.read_config(self.configs / "train.json")
        changes = {**self.small, "max_epochs": 2, "dataset_dir": str(dataset), "output_dir": str(output), **options}
        parser.update(changes)
        parser.get_parsed_content("initialize")
        return parser.get_parsed_content("coarse").trainer(max_epochs=changes["max_epochs"])
