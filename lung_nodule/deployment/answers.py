"""What a served model says of itself, and its answer for one nodule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lung_nodule.io import patient_hash, voi_edge_mm

PANEL = "nodule_panel"
"""The model that asks every method."""
TITLES = {
    "mtnet": "MT-Net",
    "mtmrnet": "MTMR-Net",
    "mtcnn": "MT-CNN",
    "e2emtl": "End-to-end",
    PANEL: "Mean",
    "mean": "Mean",
}
"""The methods' names in a report; any other method is shown by the name it is served by."""
_MAPS = {"fine": "FINE_PROBABILITY", "coarse": "COARSE_PROBABILITY", "mask": "MASK_PROBABILITY"}
_MAP_OF_METHOD = "MASK_PROBABILITY_"
_PLACES = {"mean": 0, "coarse": 2}
"""Among the maps, which the masks are made of in their order; of every other map 1."""
_SCALARS = (
    "MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL", "MALIGNANCY_BY_METHOD", "INTERVAL_BY_METHOD", "ATTRIBUTES",
    "HIGH_PROBABILITY", "DIAMETER_MM",
)  # fmt: skip


@dataclass(frozen=True)
class ServedModel:
    """What the server reports about a model that takes a VOI.

    Attributes:
        name: of the model.
        version: of its weights.
        reach_mm: edge in mm of the cube that it samples, at least.
        reach_diameters: edge in diameters of the nodule, where it has been told one.
        inputs: names of its tensors.
        outputs: names of its tensors.
        parameters: all that the server says of it, as text.
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
        """Whether it was trained on a phantom."""
        return self.parameters.get("synthetic") == "yes"

    @property
    def asked(self) -> tuple[str, ...]:
        """The outputs that :class:`Answer` holds."""
        return tuple(name for name in self.outputs if name in _SCALARS or _map_name(name) is not None)

    def names(self, parameter: str) -> tuple[str, ...]:
        """The names that a parameter lists."""
        return tuple(self.parameters.get(parameter, "").split())

    def edge_mm(self, diameter: float | None = None) -> float:
        """Edge of the VOI to cut for a nodule."""
        return voi_edge_mm(max(self.reach_mm, self.reach_diameters * (diameter or 0.0)))

    def has_seen(self, patient_id: str) -> bool:
        """Whether the patient took part in the training."""
        return patient_hash(patient_id) in self.names("patients_seen")


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer for one VOI; what the model does not give is empty.

    Attributes:
        malignancy: probability of the nodule, 0..1; of the panel the mean of the methods. NaN where there is none.
        interval: its smallest and largest value over mirrored copies of the nodule; of the panel over the methods.
        maps: float32 ``[x, y, z]`` probabilities on the VOI's grid, by name; the first gives the mask (of the panel:
            the mean of the methods that segment).
        attributes: the readers' characteristics on their own scales, by name.
        high: probability that a characteristic is high, by name.
        methods: of the panel, each method's malignancy and its interval, by name.
        diameter_mm: the diameter that a method was given, its own or the declared one; NaN where none takes one.
    """

    malignancy: float = float("nan")
    interval: tuple[float, float] = (float("nan"), float("nan"))
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    methods: Mapping[str, tuple[float, tuple[float, float]]] = field(default_factory=dict)
    diameter_mm: float = float("nan")


def answer_of(tensors: Mapping[str, np.ndarray], model: ServedModel) -> Answer:
    """A model's output tensors by name, read as its parameters say."""
    values: dict[str, Any] = {}
    if "MALIGNANCY_PROBABILITY" in tensors:
        values["malignancy"] = float(tensors["MALIGNANCY_PROBABILITY"][0])
        values["interval"] = _pair(tensors["MALIGNANCY_INTERVAL"])
    if "MALIGNANCY_BY_METHOD" in tensors:
        scores = zip(tensors["MALIGNANCY_BY_METHOD"].tolist(), map(_pair, tensors["INTERVAL_BY_METHOD"]), strict=True)
        values["methods"] = dict(zip(model.names("methods"), scores, strict=True))
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
    """What an output is called among :attr:`Answer.maps`; None if it is no map."""
    if tensor.startswith(_MAP_OF_METHOD):
        return tensor.removeprefix(_MAP_OF_METHOD).lower()
    return next((name for name, output in _MAPS.items() if output == tensor), None)


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
