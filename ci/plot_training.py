"""Draw a training's curves from its TensorBoard events: python ci/plot_training.py --output_dir DIR --out PNG."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import fire
import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

LOSS, METRIC = "#0b6b74", "#d98a00"


def plot(output_dir: str, out: str) -> str:
    """Draw one panel per stage: the epochs' mean training loss, and the validation metric that picks the best weights.

    Args:
        output_dir: output folder of the training; its stages are the folders that hold ``events``.
        out: PNG file to write.
    """
    stages = sorted(Path(output_dir).glob("*/events"), key=started)
    if not stages:
        raise SystemExit(f"error: no TensorBoard events under {output_dir}: name the --output_dir of a training")
    figure, axes = plt.subplots(1, len(stages), figsize=(3.7 * len(stages), 3.0), squeeze=False, layout="constrained")
    for axis, events in zip(axes[0], stages, strict=True):
        panel(axis, events.parent.name, scalars(events))
    figure.savefig(out, dpi=110)
    return out


def started(events: Path) -> float:
    """Time at which a stage's first events were written."""
    return min(file.stat().st_mtime for file in events.iterdir())


def scalars(events: Path) -> dict[str, dict[int, float]]:
    """Value by step of every scalar; a resumed run's steps take the place of the interrupted run's."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for file in sorted(events.iterdir(), key=lambda file: file.stat().st_mtime):
        accumulator = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        for tag in accumulator.Tags()["scalars"]:
            found[tag] |= {event.step: event.value for event in accumulator.Scalars(tag)}
    return found


def panel(axis: Axes, name: str, found: dict[str, dict[int, float]]) -> None:
    """Loss on the left axis, validation metric on the right one."""
    loss, key = found.get("train_loss"), next((tag for tag in METRICS if tag in found), None)
    if loss is None or key is None:
        raise SystemExit(f"error: the events of {name} hold no validated epoch yet: wait for its first")
    epochs = sorted(found[key])
    means = [float(part.mean()) for part in np.array_split([loss[step] for step in sorted(loss)], len(epochs))]
    axis.plot(epochs, means, color=LOSS, label="training loss")
    axis.set(title=name, xlabel="epoch")
    right = axis.twinx()
    right.plot(epochs, [found[key][epoch] for epoch in epochs], color=METRIC, label=f"validation {METRICS[key]}")
    handles = axis.get_lines() + right.get_lines()
    axis.legend(handles, [str(line.get_label()) for line in handles], fontsize=7, frameon=False, loc="center right")
    for side in (axis, right):
        side.spines["top"].set_visible(False)


METRICS = {  # the first that a stage has is the one that picks its weights
    "dice_and_auc": "mean of Dice and AUC", "mean_auc": "AUC, mean of the views", "jaccard": "Jaccard", "auc": "AUC",
    "dice": "Dice",
}  # fmt: skip

if __name__ == "__main__":
    fire.Fire(plot)
