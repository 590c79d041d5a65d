"""Comparison of every network with every baseline on the same nodules, with paired intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.benchmark.figures.attribute_figures import (
    attribute_score,
    binarised_attributes,
    is_high,
    is_ranked,
    rated_attributes,
)
from lung_nodule.benchmark.figures.classification_figures import ranking_score, scores_malignancy
from lung_nodule.benchmark.figures.method_figures import by_seed
from lung_nodule.evaluation import PatientBootstrap

DRAWS = 2000


@dataclass(frozen=True)
class Figure:
    """A figure for which differences are computed.

    Attributes:
        section: section of ``benchmark.json``.
        name: name of the figure in that section.
        higher_is_better: whether a higher value is better.
        draw: function of a bootstrap and one seed's rows that returns the values ``[draws]``.
        rows: function that selects the rows with the figure.
    """

    section: str
    name: str
    higher_is_better: bool
    draw: Callable[[PatientBootstrap, pd.DataFrame], np.ndarray]
    rows: Callable[[pd.DataFrame], pd.DataFrame]


def figures_of(rows: pd.DataFrame) -> list[Figure]:
    """Figures of a method that can be compared."""
    found = [AUC] if scores_malignancy(rows) else []
    found += [DICE] if "dice_voi" in rows and rows["dice_voi"].notna().any() else []
    return [*found, *map(_error, rated_attributes(rows)), *map(_attribute_auc, binarised_attributes(rows))]


def _patients(rows: pd.DataFrame) -> list[str]:
    return rows["patient_id"].tolist()


def _auc(bootstrap: PatientBootstrap, rows: pd.DataFrame) -> np.ndarray:
    score = ranking_score(rows).to_numpy(dtype=float)
    return bootstrap.aucs(score, rows["malignant"].to_numpy(dtype=float), _patients(rows))


def _labelled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["malignant"].notna()]


AUC = Figure("malignancy", "auc", True, _auc, _labelled)
DICE = Figure(
    "masks",
    "dice_voi",
    True,
    lambda bootstrap, rows: bootstrap.means(rows["dice_voi"].to_numpy(dtype=float), _patients(rows)),
    lambda rows: rows[rows["dice_voi"].notna()],
)


def _references(rows: pd.DataFrame) -> list[str]:
    return [str(column) for column in rows if column == "malignant" or str(column).endswith("_mean")]


def _error(name: str) -> Figure:
    def draw(bootstrap: PatientBootstrap, rows: pd.DataFrame) -> np.ndarray:
        return bootstrap.means((rows[f"{name}_pred"] - rows[f"{name}_mean"]).abs().to_numpy(), _patients(rows))

    return Figure("attributes", f"{name}_mae", False, draw, lambda rows: rows[rows[f"{name}_pred"].notna()])


def _attribute_auc(name: str) -> Figure:
    def draw(bootstrap: PatientBootstrap, rows: pd.DataFrame) -> np.ndarray:
        return bootstrap.aucs(attribute_score(rows, name), is_high(rows, name).to_numpy(), _patients(rows))

    return Figure("attributes", f"{name}_auc", True, draw, lambda rows: rows[is_ranked(rows, name)])


class Comparison:
    """Bootstrap draws of the figures of all methods, from one bootstrap over all patients.

    Args:
        tables: rows of the long table by method.
        readings: method whose rows are single readings with references of their own, those of the other readers; a
            network is compared with it on these references.
        draws: number of bootstrap samples.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame], *, readings: str | None = None, draws: int = DRAWS) -> None:
        self.tables = dict(tables)
        self.readings = readings
        patients = sorted({patient for rows in tables.values() for patient in rows["patient_id"]})
        self.bootstrap = PatientBootstrap(patients, draws=draws)
        self.once = self.bootstrap.once()
        self._kept: dict[tuple[str, str, frozenset[str]], np.ndarray] = {}

    def interval(self, method: str, figure: Figure) -> list[float] | None:
        """95 % interval of a method's own figure, the mean over its seeds."""
        return self.bootstrap.interval(self._draws(method, figure, self._nodules(method, figure)))

    def difference(self, method: str, baseline: str, figure: Figure) -> dict[str, Any]:
        """Difference of a network's and a baseline's figure, as means over the seeds.

        Both are taken on the nodules that either has in each of its seeds.

        Returns:
            ``difference``, ``interval`` (95 %, paired by patient), ``better``: whether the network is better.
        """
        method = self._on_readings(method) if baseline == self.readings else method
        nodules = self._in_every_seed(method, figure) & self._in_every_seed(baseline, figure)
        draws = self._draws(method, figure, nodules) - self._draws(baseline, figure, nodules)
        value = self._value(method, figure, nodules) - self._value(baseline, figure, nodules)
        better = value > 0 if figure.higher_is_better else value < 0
        return {"difference": value, "interval": self.bootstrap.interval(draws), "better": bool(better)}

    def _on_readings(self, method: str) -> str:
        """Name of the method's predictions repeated for each reading, with the reading's references."""
        assert self.readings is not None
        name = f"{method}, as {self.readings}"
        if name not in self.tables:
            references = self.tables[self.readings][["nodule_id", "reader", *_references(self.tables[self.readings])]]
            predicted = self.tables[method]
            predicted = predicted.drop(columns=[column for column in references if column in predicted][1:])
            self.tables[name] = predicted.merge(references, on="nodule_id", how="inner")
        return name

    def _nodules(self, method: str, figure: Figure) -> frozenset[str]:
        """Nodules of a method with the figure. For per-reader rows, a nodule counts if any of its readings does."""
        return frozenset(figure.rows(self.tables[method])["nodule_id"])

    def _in_every_seed(self, method: str, figure: Figure) -> frozenset[str]:
        each = [frozenset(rows["nodule_id"]) for rows in by_seed(figure.rows(self.tables[method]))]
        return frozenset.intersection(*each) if each else frozenset()

    def _rows(self, method: str, figure: Figure, nodules: frozenset[str]) -> list[pd.DataFrame]:
        rows = figure.rows(self.tables[method])
        return by_seed(rows[rows["nodule_id"].isin(nodules)])

    def _draws(self, method: str, figure: Figure, nodules: frozenset[str]) -> np.ndarray:
        key = (method, f"{figure.section} {figure.name}", nodules)
        if key not in self._kept:
            each = [figure.draw(self.bootstrap, rows) for rows in self._rows(method, figure, nodules)]
            self._kept[key] = np.mean(each, axis=0) if each else np.full(len(self.bootstrap.times), np.nan)
        return self._kept[key]

    def _value(self, method: str, figure: Figure, nodules: frozenset[str]) -> float:
        each = [figure.draw(self.once, rows)[0] for rows in self._rows(method, figure, nodules)]
        return float(np.mean(each)) if each else float("nan")
