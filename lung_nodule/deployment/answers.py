"""Description of a served model and its answer for one nodule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from lung_nodule.errors import InputError
from lung_nodule.io import patient_hash, voi_edge_mm

PANEL = "nodule_panel"
"""Name of the model that combines all methods."""
TITLES = {
    "mtnet": "MT-Net",
    "mtmrnet": "MTMR-Net",
    "mtcnn": "MT-CNN",
    "e2emtl": "End-to-end",
    PANEL: "Mean",
    "mean": "Mean",
}
"""Names of the methods in a report; other methods appear under their served names."""
_MAPS = {"fine": "FINE_PROBABILITY", "coarse": "COARSE_PROBABILITY", "mask": "MASK_PROBABILITY"}
_MAP_OF_METHOD = "MASK_PROBABILITY_"
_PLACES = {"mean": 0, "coarse": 2}
"""Sort position of a map; 1 by default. The first map gives the mask."""
_SCALARS = (
    "MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL", "MALIGNANCY_BY_METHOD", "INTERVAL_BY_METHOD", "ATTRIBUTES",
    "HIGH_PROBABILITY", "DIAMETER_MM",
)  # fmt: skip


@dataclass(frozen=True)
class ServedModel:
    """Description of a model that takes a VOI, as reported by the server.

    Attributes:
        name: model name.
        version: version of the weights.
        reach_mm: minimum edge in mm of the sampled cube.
        reach_diameters: edge of the cube in nodule diameters, if the diameter is given.
        inputs: names of the input tensors.
        outputs: names of the output tensors.
        parameters: parameters of the model config, as text.
    """

    name: str
    version: str
    reach_mm: float
    reach_diameters: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, str]

    @property
    def synthetic(self) -> bool:
        """Whether the model was trained on a phantom."""
        return self.parameters.get("synthetic") == "yes"

    @property
    def asked(self) -> tuple[str, ...]:
        """Outputs to request: those that :class:`Answer` holds."""
        return tuple(name for name in self.outputs if name in _SCALARS or _map_name(name) is not None)

    def asking(self, outputs: Sequence[str]) -> ServedModel:
        """The model with these outputs alone.

        Raises:
            InputError: one of them it does not have, or :class:`Answer` does not hold.
        """
        wrong = sorted(set(outputs) - set(self.asked))
        if wrong or not outputs:
            named = ", ".join(wrong) if wrong else "none"
            raise InputError(f"outputs of model {self.name} to ask for: {named}; name some of {', '.join(self.asked)}")
        return replace(self, outputs=tuple(outputs))

    def names(self, parameter: str) -> tuple[str, ...]:
        """Names listed in a parameter."""
        return tuple(self.parameters.get(parameter, "").split())

    def edge_mm(self, diameter: float | None = None) -> float:
        """Edge of the VOI to cut for a nodule."""
        return voi_edge_mm(max(self.reach_mm, self.reach_diameters * (diameter or 0.0)))

    def has_seen(self, patient_id: str) -> bool:
        """Whether the patient was seen in training."""
        return patient_hash(patient_id) in self.names("patients_seen")


@dataclass(frozen=True, eq=False)
class Answer:
    """Answer for one VOI; outputs that the model does not have are empty.

    Attributes:
        malignancy: malignancy probability, 0..1; for the panel the mean of the methods. NaN if there is none.
        interval: minimum and maximum of the probability over mirrored copies of the nodule; for the panel over the
            methods.
        maps: float32 ``[x, y, z]`` probabilities on the VOI's grid, by name; the first gives the mask (for the
            panel: the mean of the methods that segment).
        attributes: ratings of the characteristics on the readers' scales, by name.
        high: probability that a characteristic is high, by name.
        methods: for the panel, malignancy and interval of each method, by name.
        diameter_mm: diameter used by a method, measured or declared; NaN if no method takes one, 0 if the one that
            does had none.
    """

    malignancy: float = float("nan")
    interval: tuple[float, float] = (float("nan"), float("nan"))
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    methods: Mapping[str, tuple[float, tuple[float, float]]] = field(default_factory=dict)
    diameter_mm: float = float("nan")


def answer_of(tensors: Mapping[str, np.ndarray], model: ServedModel) -> Answer:
    """Convert a model's output tensors to an answer."""
    values: dict[str, Any] = {}
    if "MALIGNANCY_PROBABILITY" in tensors:
        values["malignancy"] = float(tensors["MALIGNANCY_PROBABILITY"][0])
    if "MALIGNANCY_INTERVAL" in tensors:
        values["interval"] = _pair(tensors["MALIGNANCY_INTERVAL"])
    if "MALIGNANCY_BY_METHOD" in tensors:
        methods = model.names("methods")
        intervals = tensors.get("INTERVAL_BY_METHOD", np.full((len(methods), 2), np.nan))
        scores = zip(tensors["MALIGNANCY_BY_METHOD"].tolist(), map(_pair, intervals), strict=True)
        values["methods"] = dict(zip(methods, scores, strict=True))
    if "DIAMETER_MM" in tensors:
        values["diameter_mm"] = float(tensors["DIAMETER_MM"][0])
    named = {"ATTRIBUTES": ("attributes", "attributes"), "HIGH_PROBABILITY": ("high", "high_attributes")}
    for tensor, (field_name, parameter) in named.items():
        if tensor in tensors:
            found = zip(model.names(parameter), tensors[tensor].tolist(), strict=True)
            values[field_name] = {name: value for name, value in found if np.isfinite(value)}
    maps = {found: array for name, array in tensors.items() if (found := _map_name(name)) is not None}
    return Answer(**values, maps=dict(sorted(maps.items(), key=lambda item: _PLACES.get(item[0], 1))))


def _map_name(tensor: str) -> str | None:
    """Name of an output in :attr:`Answer.maps`; None if it is not a map."""
    if tensor.startswith(_MAP_OF_METHOD):
        return tensor.removeprefix(_MAP_OF_METHOD).lower()
    return next((name for name, output in _MAPS.items() if output == tensor), None)


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
