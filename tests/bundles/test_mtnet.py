"""The bundle mtnet, and what is its own: stages that can run alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from lung_nodule.io import read_nifti

from .contract import BundleContract


class TestMTNet(BundleContract):
    """MT-Net at an eighth of its width."""

    name = "mtnet"
    small = {  # noqa: RUF012
        "width": 0.125,
        "middle_blocks": 1,
        "image_size": 64,
        "field_mm": 32.0,
        "max_epochs": 1,
        "segmentation_batch_size": 8,
        "class_batch_size": 8,
        "device": "cpu",
    }
    columns = {"nodule_id", "fold", "malignancy_prob", "dice", "jaccard", "coarse_dice", "dice_voi"}  # noqa: RUF012

    def test_stages_run_alone_and_hand_over(self, painted: Path, tmp_path: Path) -> None:
        early = self.attempt("training_fine", "train", dataset_dir=painted, output_dir=tmp_path, **self.small)
        assert early.returncode != 0
        assert "run the stage `coarse` first" in early.stderr.splitlines()[-1]
        self.run("training_coarse", "train", dataset=painted, output=tmp_path, **self.small)
        said = self.run("training_fine", "train", dataset=painted, output=tmp_path, **self.small)
        assert "tensors over from" in said
        assert (tmp_path / "fine" / "best.pt").is_file()
        assert not (tmp_path / "model.pt").exists()

    def test_inference_writes_masks_on_the_vois_grid(self, trained: Path, painted: Path) -> None:
        self.run("inferring", "inference", dataset=painted, output=trained, folds="[0]")
        nodules = pd.read_csv(painted / "nodules.csv").set_index("nodule_id")
        for nodule in pd.read_csv(trained / "inference" / "predictions.csv")["nodule_id"]:
            ct = read_nifti(painted / nodules.loc[nodule, "ct"])
            for kind in ("coarse", "fine", "mask"):
                written = read_nifti(trained / "inference" / f"{nodule}_{kind}.nii.gz")
                assert written.shape == ct.shape
                np.testing.assert_allclose(written.affine, ct.affine, atol=1e-4)

    def test_an_interrupted_stage_goes_on_as_if_it_had_not_been(self, painted: Path, tmp_path: Path) -> None:
        """The same weights to the bit, with shuffling, dropout and augmentation on."""
        whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
        self.coarse_trainer(painted, whole).run()
        trainer = self.coarse_trainer(painted, interrupted)

        @trainer.on(Events.EPOCH_COMPLETED(once=2))
        def stop(engine: Engine) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        assert torch.load(interrupted / "coarse" / "last.pt", weights_only=True)["epoch"] == 2
        self.coarse_trainer(painted, interrupted).run()
        expected, got = (torch.load(out / "coarse" / "last.pt", weights_only=True) for out in (whole, interrupted))
        assert expected["epoch"] == got["epoch"] == 3
        for name, weights in expected["network"].items():
            torch.testing.assert_close(got["network"][name], weights, rtol=0, atol=0)

    def coarse_trainer(self, dataset: Path, output: Path) -> Engine:
        parser = ConfigParser()
        parser.read_config(self.configs / "train.json")
        changes = {**self.small, "max_epochs": 3, "dataset_dir": str(dataset), "output_dir": str(output)}
        parser.update(changes)
        parser.get_parsed_content("initialize")
        return parser.get_parsed_content("coarse#trainer")
