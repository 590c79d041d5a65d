"""The bundle e2emtl, and what is its own: kept channels, ablations by configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from lung_nodule.io import read_nifti
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS
from tests.bundles.contract import BundleContract


class TestE2EMTL(BundleContract):
    """The end-to-end network at an eighth of its width, on small cubes."""

    name = "e2emtl"
    needed_column = "subtlety_mean"
    small = {  # noqa: RUF012
        "flips": True,
        "mask_threshold": 0.45,
        "width": 0.125,
        "image_size": 32,
        "patch_mm": 32.0,
        "slic_segments": 200,
        "crop_variants": 2,
        "max_epochs": 1,
        "batch_size": 4,
        "device": "cpu",
    }
    columns = {"nodule_id", "fold", "malignancy_prob", "dice", "jaccard", "dice_voi"} | {
        f"{name}_{kind}" for name in ATTRIBUTE_THRESHOLDS for kind in ("prob", "high")
    }

    def test_the_cache_holds_every_crop_of_every_nodule(self, trained: Path) -> None:
        """12 training nodules with two crops each, 4 validation nodules; more once evaluated."""
        assert len(list((trained / "cache").glob("*.npz"))) >= 28

    def test_inference_writes_masks_on_the_vois_grid(self, inferred: Path, painted: Path) -> None:
        nodules = pd.read_csv(painted / "nodules.csv").set_index("nodule_id")
        for nodule in pd.read_csv(inferred / "predictions.csv")["nodule_id"]:
            ct = read_nifti(painted / nodules.loc[nodule, "ct"])
            for kind in ("probability", "mask"):
                written = read_nifti(inferred / f"{nodule}_{kind}.nii.gz")
                assert written.shape == ct.shape
                np.testing.assert_allclose(written.affine, ct.affine, atol=1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize("multi_task", [False, True])
    def test_a_single_channel_by_configuration(self, multi_task: bool, painted: Path, tmp_path: Path) -> None:
        """The slides' first two rows: no channel is derived; without the second task Dice alone decides."""
        small = {**self.small, "channels": "['ct']", "multi_task": multi_task}
        said = self.run("training", "train", dataset=painted, output=tmp_path, **small)
        assert ("dice_and_auc" in said) is multi_task
        self.run("evaluating", "evaluate", dataset=painted, output=tmp_path)
        predictions = pd.read_csv(tmp_path / "evaluation" / "predictions.csv")
        assert (predictions["malignancy_prob"].notna() == multi_task).all()
        assert predictions["dice"].notna().all()
        assert not (tmp_path / "cache").exists()

    @pytest.mark.slow
    def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
        self, trained: Path, painted: Path, tmp_path: Path
    ) -> None:
        """The same weights to the bit, with shuffling, drawn crops and augmentation on."""
        whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
        self.trainer(painted, whole, trained / "cache").run()
        trainer = self.trainer(painted, interrupted, trained / "cache")

        @trainer.on(Events.EPOCH_COMPLETED(once=1))
        def stop(engine: Engine) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        self.trainer(painted, interrupted, trained / "cache").run()
        expected, got = (torch.load(out / "train" / "last.pt", weights_only=True) for out in (whole, interrupted))
        assert expected["epoch"] == got["epoch"] == 2
        assert expected["best_metric"] == got["best_metric"]
        for name, weights in expected["network"].items():
            torch.testing.assert_close(got["network"][name], weights, rtol=0, atol=0)

    def trainer(self, dataset: Path, output: Path, cache: Path) -> Engine:
        parser = ConfigParser()
        parser.read_config(self.configs / "train.json")
        changes = {**self.small, "max_epochs": 2, "cycles": 2, "dataset_dir": str(dataset), "output_dir": str(output)}
        parser.update({**changes, "cache_dir": str(cache)})
        parser.get_parsed_content("initialize")
        return parser.get_parsed_content("train#trainer")
