"""The bundle mtnet, and what is its own: stages that can run alone."""

from pathlib import Path

import numpy as np
import pandas as pd

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
