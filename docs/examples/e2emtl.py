"""The end-to-end multi-task network from Python: mask, attributes and malignancy of a nodule.

From any folder, on a CT and a table with nodule_id, center_x_ras, center_y_ras, center_z_ras (mm):

    python docs/examples/e2emtl.py --ct scan.nii.gz --nodules table.csv --out out/example \\
        --model_path out/e2emtl/model.pt

Without --model_path the bundle takes its own models/model.pt, or that of its last training.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import fire
import torch
from matplotlib.figure import Figure
from monai.bundle import ConfigWorkflow

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout's library, wherever the script is started

from lung_nodule.data import one_nodule  # noqa: E402
from lung_nodule.errors import report_in_one_line  # noqa: E402

CONFIGS = ROOT / "bundles" / "e2emtl" / "configs"


def main(*, ct: str, nodules: str, out: str, **options: Any) -> None:
    """Answer for every nodule of the table, then look at the first.

    Args:
        ct: NIfTI file in HU, or the folder of a DICOM series.
        nodules: the table of centres.
        out: folder of the results.
        options: any other of inference.json, such as model_path or device.
    """
    workflow = ConfigWorkflow(
        workflow_type="infer",
        config_file=str(CONFIGS / "inference.json"),
        meta_file=str(CONFIGS / "metadata.json"),
        logging_file=str(CONFIGS / "logging.conf"),
        **{"ct": ct, "nodules": nodules, "results_dir": out, **options},
    )
    workflow.initialize()
    workflow.run()  # writes nodules.csv, masks/<nodule_id>.nii.gz and nodules.nii.gz on the CT's own grid
    nodule, picture = predict(workflow, 0), Path(out) / "e2emtl.png"
    show(nodule, picture)
    workflow.finalize()
    probability = float(nodule["malignancy_prob"])
    logging.getLogger("example").info(f"{nodule['nodule_id']}: malignancy {probability:.6f}; see {picture}")


def predict(workflow: ConfigWorkflow, index: int) -> dict[str, Any]:
    """What the bundle makes of one nodule, from its volume of interest: step by step what `run` does for all."""
    network = workflow.parser.get_parsed_content("network")  # network_def with its weights
    nodule = one_nodule([workflow.dataset[index]])  # with the axis of the batch
    with torch.no_grad():
        nodule["pred"] = workflow.inferer(nodule["image"].to(workflow.device), network)
    return workflow.postprocessing(nodule)


def show(nodule: dict[str, Any], path: Path) -> None:
    """The cube's central slice with the outline of the mask, and the probabilities of high attributes."""
    patch = nodule["patch"]
    central, half = patch.central_pixel[0], patch.patch_mm / 2
    place = {"extent": (-half, half, half, -half)}  # mm; x to the right, y downwards
    figure = Figure(figsize=(8, 4), layout="constrained")
    image, bars = figure.subplots(1, 2)
    image.imshow(nodule["image"][0, 0, :, :, central].T, cmap="gray", vmin=0, vmax=1, **place)
    if nodule["segmentation"][central].any():
        image.contour(nodule["segmentation"][central].T, [0.5], colors="red", origin="image", **place)
    image.set(title="CT", xlabel="mm")
    attributes = nodule["prediction"].attribute_probs  # none of a network that only segments
    bars.barh(list(attributes), list(attributes.values()))
    bars.set(title="probability that it is high", xlim=(0, 1))
    figure.suptitle(f"{nodule['nodule_id']}: malignancy {float(nodule['malignancy_prob']):.2f}")
    figure.savefig(path)


if __name__ == "__main__":
    report_in_one_line()  # of a wrong file, without a traceback
    fire.Fire(main)
