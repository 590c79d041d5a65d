"""The bundle mtcnn, and what is its own: nine views that stop alone, their fusion, reconstruction pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from PIL import Image

from lung_nodule.errors import user_error
from tests.bundles.contract import BundleContract


class TestMTCNN(BundleContract):
    """MT-CNN at an eighth of its width, on views of 32 pixels."""

    name = "mtcnn"
    segments = False
    small = {  # noqa: RUF012
        "flips": True,
        "width": 0.125,
        "patch_mm": 32.0,
        "image_size": 32,
        "max_epochs": 2,
        "batch_size": 8,
        "draws_per_nodule": 2,
        "learning_rate": 0.001,
        "device": "cpu",
    }
    columns = {"nodule_id", "fold", "malignancy_prob", "mean_prob", "view_1_prob", "view_9_prob"}  # noqa: RUF012

    def test_the_score_is_the_views_weighted_by_their_validation_auc(self, trained: Path, evaluated: Path) -> None:
        settings = json.loads((trained / "model.json").read_text())
        aucs, weights = np.array(settings["view_aucs"]), np.array(settings["view_weights"])
        np.testing.assert_allclose(weights, aucs / aucs.sum())
        table = pd.read_csv(evaluated / "predictions.csv")
        views = table[[f"view_{view}_prob" for view in range(1, 10)]].to_numpy()
        np.testing.assert_allclose(table["malignancy_prob"], views @ weights, atol=1e-5)
        np.testing.assert_allclose(table["mean_prob"], views.mean(axis=1), atol=1e-5)
        classification = json.loads((evaluated / "metrics.json").read_text())["classification"]
        assert set(classification["other_scores"]) == set(settings["other_scores"])

    def test_reconstructions_are_drawn_on_request_alone(
        self, trained: Path, inferred: Path, painted: Path, tmp_path: Path
    ) -> None:
        options = {"folds": "[0]", "results_dir": tmp_path, "reconstructions": True}
        self.run("inferring", "inference", dataset=painted, output=trained, **options)
        assert not list(inferred.glob("*.png"))
        pictures = sorted(tmp_path.glob("*_reconstruction.png"))
        assert len(pictures) == 4
        assert Image.open(pictures[0]).size == (9 * (2 * 32 + 4) + 4, 2 * (2 * 32 + 4) + 4 + 16)

    @pytest.mark.slow
    def test_an_interrupted_training_goes_on_as_if_it_had_not_been(self, painted: Path, tmp_path: Path) -> None:
        """The same weights to the bit, with views that stop on the way, shuffling, dropout and augmentation on."""
        whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
        options = {"max_epochs": 4, "patience": 1}
        self.trainer(painted, whole, **options).run()
        trainer = self.trainer(painted, interrupted, **options)

        @trainer.on(Events.EPOCH_COMPLETED(once=2))
        def stop(engine: Engine) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        assert torch.load(interrupted / "views" / "last.pt", weights_only=True)["epoch"] == 2
        self.trainer(painted, interrupted, **options).run()
        for name in ("last.pt", "best.pt"):
            expected, got = (torch.load(out / "views" / name, weights_only=True) for out in (whole, interrupted))
            if name == "last.pt":
                assert expected["epoch"] == got["epoch"]
                assert expected["views"]["epochs"] == got["views"]["epochs"]
                expected, got = expected["network"], got["network"]
            for key, weights in expected.items():
                torch.testing.assert_close(got[key], weights, rtol=0, atol=0)

    @pytest.mark.parametrize("ablation", [{"alpha": 0.0}, {"conv_layers": 2}, {"malignancy": "median"}])
    def test_the_papers_ablations_and_label_are_options(
        self, ablation: dict[str, object], painted: Path, tmp_path: Path
    ) -> None:
        trainer = self.trainer(painted, tmp_path, max_epochs=1, **ablation)
        network = trainer.network.network
        before = network.views[0].reconstruct[1].weight.clone()
        trainer.run()
        assert torch.equal(network.views[0].reconstruct[1].weight, before) == ("alpha" in ablation)
        assert len(network.views[0].share) == (6 if "conv_layers" in ablation else 9)
        assert (tmp_path / "views" / "best.pt").is_file()

    def test_views_that_cannot_be_mirrored_are_a_user_error(self, painted: Path, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError) as caught:
            self.trainer(painted, tmp_path, image_size=60)
        error = user_error(caught.value)
        assert error is not None
        assert "--image_size must be a multiple of 8" in str(error)

    def trainer(self, dataset: Path, output: Path, **changes: object) -> Engine:
        parser = ConfigParser()
        parser.read_config(self.configs / "train.json")
        parser.update({**self.small, "dataset_dir": str(dataset), "output_dir": str(output), **changes})
        parser.get_parsed_content("initialize")
        return parser.get_parsed_content("train#trainer")
