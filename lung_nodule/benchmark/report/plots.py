"""Pictures of a benchmark: ROC, reliability, Dice by size, attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.benchmark.baselines.methods_without_network import CONSTANT, Baseline
from lung_nodule.benchmark.figures.attribute_figures import rated_attributes
from lung_nodule.benchmark.figures.classification_figures import ranking_score, reliability, scores_malignancy
from lung_nodule.benchmark.figures.mask_figures import SIZES, size_tertiles
from lung_nodule.io import atomic_path
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

DPI = 110
CURVES = "ROC of malignancy, networks bold; folds and seeds of a method are pooled."
OBSERVED = "Observed share of malignant nodules by predicted probability; the larger the dot, the more nodules."
BY_SIZE = "Dice by the readers' diameter: thirds of the nodules, median and quartiles."
Tables = dict[str, pd.DataFrame]


def write_plots(
    out: Path, table: pd.DataFrame, networks: Sequence[str], baselines: Sequence[Baseline]
) -> list[tuple[str, str]]:
    """Write the pictures for which there are predictions.

    Args:
        out: output folder.
        table: long table.
        networks: names of the networks.
        baselines: baselines.

    Returns:
        File name and caption of each picture.
    """
    tables = {str(name): rows for name, rows in table.groupby("method", sort=False)}
    chosen = {name: tables[name] for name in networks}
    others = {one.name: tables[one.name] for one in baselines if one.name in tables}
    drawn: list[tuple[str, str, Figure | None]] = [
        ("roc.png", CURVES, roc(chosen, others)),
        ("reliability.png", OBSERVED, reliability_curves(chosen)),
        ("dice_by_size.png", BY_SIZE, dice_by_size(chosen, others)),
        ("attributes.png", "Predicted against the readers' mean ratings.", attribute_scatter(chosen)),
    ]
    for name, _, figure in drawn:
        if figure is not None:
            with atomic_path(out / name) as path:
                figure.savefig(path, dpi=DPI, format="png")
    return [(name, caption) for name, caption, figure in drawn if figure is not None]


def roc(networks: Tables, baselines: Tables) -> Figure | None:
    """ROC curves of all methods that rank nodules by malignancy."""
    if not any(_both_classes(rows) for rows in networks.values()):
        return None
    figure = Figure(figsize=(7.5, 7), layout="constrained")
    axes = figure.subplots()
    styles = {"linewidth": 2.6, "zorder": 3}, {"linewidth": 1.0, "alpha": 0.8}
    for tables, style in zip((networks, baselines), styles, strict=True):
        for name, rows in tables.items():
            if name != CONSTANT.name and _both_classes(rows):
                _curve(axes, rows, name, style)
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=0.8)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.003), aspect="equal")
    axes.legend(fontsize=8, loc="lower right")
    return figure


def _both_classes(rows: pd.DataFrame) -> bool:
    return scores_malignancy(rows) and set(rows["malignant"].dropna()) == {0.0, 1.0}


def _curve(axes: Axes, rows: pd.DataFrame, name: str, style: dict[str, Any]) -> None:
    known = rows[rows["malignant"].notna()]
    false, true, _ = roc_curve(known["malignant"], ranking_score(known))
    axes.plot(false, true, label=name, linestyle="--" if "mask" in name else "-", **style)


def reliability_curves(networks: Tables) -> Figure | None:
    """Reliability diagrams, one subplot per network."""
    drawn = {name: rows for name, rows in networks.items() if _both_classes(rows)}
    if not drawn:
        return None

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        known = rows[rows["malignant"].notna()]
        bins = reliability(known["malignancy_prob"].to_numpy(), known["malignant"].to_numpy())
        axes.plot([0, 1], [0, 1], color="0.8")
        axes.plot(bins["predicted"], bins["observed"], color="tab:blue")
        axes.scatter(bins["predicted"], bins["observed"], s=300 * bins["nodules"] / bins["nodules"].max(), alpha=0.6)
        axes.set(xlabel="predicted", ylabel="observed", xlim=(0, 1), ylim=(-0.03, 1.03))

    return _subplots(drawn, draw)


def dice_by_size(networks: Tables, baselines: Tables) -> Figure | None:
    """Box plots of Dice, one box per method and size."""
    methods = {**networks, **baselines}
    known = {name: rows[rows["dice_voi"].notna()] for name, rows in methods.items() if "dice_voi" in rows}
    known = {name: rows for name, rows in known.items() if len(rows)}
    if not known.keys() & networks.keys():
        return None
    figure = Figure(figsize=(2.5 + 1.6 * len(known), 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(SIZES)
    for number, size in enumerate(SIZES):
        values = [_of_size(rows, size) for rows in known.values()]
        boxes = axes.boxplot(
            values, positions=np.arange(len(known)) + (number - 1) * width, widths=0.85 * width, patch_artist=True,
            showfliers=False, manage_ticks=False, medianprops={"color": "black"},
        )  # fmt: skip
        for box in boxes["boxes"]:
            box.set(facecolor=f"C{number}", alpha=0.6)
        boxes["boxes"][0].set_label(size)
    axes.set_xticks(range(len(known)), list(known), fontsize=9)
    axes.set(ylabel="Dice on the VOI's voxels", ylim=(0, 1))
    axes.legend(title="nodule", loc="lower right")
    return figure


def _of_size(rows: pd.DataFrame, size: str) -> np.ndarray:
    return rows.loc[size_tertiles(rows) == size, "dice_voi"].to_numpy()


def attribute_scatter(networks: Tables) -> Figure | None:
    """Scatter plots of the first network that rates attributes, one subplot per attribute."""
    name, rows = next(((name, rows) for name, rows in networks.items() if rated_attributes(rows)), (None, None))
    if name is None or rows is None:
        return None
    random = np.random.default_rng(0)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        mean, predicted = (part[column].to_numpy() for column in ("mean", "predicted"))
        axes.scatter(mean + random.uniform(-0.06, 0.06, len(mean)), predicted, s=5, alpha=0.4)
        ends = [min(mean.min(), predicted.min()), max(mean.max(), predicted.max())]
        axes.plot(ends, ends, color="0.6", linewidth=0.8)
        axes.set(xlabel="readers' mean", ylabel=name)

    columns = {f: {f"{f}_mean": "mean", f"{f}_pred": "predicted"} for f in rated_attributes(rows)}
    parts = {f: rows[list(both)].rename(columns=both).dropna() for f, both in columns.items()}
    return _subplots({f.replace("_", " "): part for f, part in parts.items()}, draw)


def _subplots(tables: Tables, draw: Callable[[Axes, pd.DataFrame], None]) -> Figure:
    columns = min(4, len(tables))
    count = -(-len(tables) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.4 * count), layout="constrained")
    every = figure.subplots(count, columns, squeeze=False).ravel()
    for axes, (title, rows) in zip(every, tables.items(), strict=False):
        draw(axes, rows)
        axes.set_title(title, fontsize=10)
    for axes in every[len(tables) :]:
        axes.set_axis_off()
    return figure
