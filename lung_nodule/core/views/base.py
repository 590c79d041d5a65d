"""The interface of every method's view: from a VOI to images, and from the network's outputs to a prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...lidc import ATTRIBUTES
from ..components import MASK_THRESHOLD
from ..cube_patch import CubePatch
from ..measurements import DENSITY, MEASUREMENTS, measure, measure_ball
from ..slice_patch import SlicePatch
from .flips import with_flips, without_flips
from .measured_ratings import OF_MEASUREMENTS
from .prediction import Prediction
from .readout import Readout

Patch = SlicePatch | CubePatch
Shape = tuple[int, ...]
Vector = tuple[float, float, float]
CORE_MM = 10.0
"""Diameter of the ball at a nodule's centre whose density is measured where nothing tells the nodule's size."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Network input of one nodule.

    Attributes:
        images: float32 ``[N, C, ...]`` in 0..1, the batch that the network takes.
        patch: position of the images in the VOI; it brings maps back onto the VOI's grid.
    """

    images: np.ndarray
    patch: Patch


class NoduleView(ABC):
    """View of a nodule by one method, shared by training, evaluation, inference and the served steps.

    Images are float32 in 0..1 with the batch first. The axes of a VOI are x (to the patient's left), y (to posterior)
    and z (to superior); those of an image are named by the subclass.
    """

    needs: tuple[str, ...] = ()
    """Columns of a table of nodules besides id and centre; ``diameter_mm`` is passed on as ``diameter``."""
    slicewise: bool = False
    """Whether the images of a nodule are its slices, so that their number differs from nodule to nodule."""
    segments: bool = False
    """Whether the method gives a mask."""
    readout: Readout | None = None
    """Read-out that joins the network's scores with measurements; without one, the scores are the network's."""
    flips: bool = False
    """Whether a prediction is the mean over the images and their mirrored copies (:mod:`.flips`)."""
    mask_threshold: float = MASK_THRESHOLD
    """Probability from which the network's own map is the nodule; a prediction's map is cut at 0.5."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> NoduleView:
        """The view of a trained model.

        Args:
            settings: the model's side file.

        Raises:
            KeyError: the side file lacks an entry.
            ValueError: an entry cannot be used.
        """

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, ...]:
        """``(C, ...)`` of one image."""

    @property
    @abstractmethod
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of the network's one tensor, in their order."""

    @property
    def has_score(self) -> bool:
        """Whether the network scores malignancy."""
        return True

    @property
    def rated(self) -> tuple[str, ...]:
        """The characteristics that a prediction rates on the readers' scales, as :data:`~lung_nodule.lidc.ATTRIBUTES`
        orders them."""
        return tuple(name for name in ATTRIBUTES if self.readout is not None and name in self.readout.outputs)

    @property
    def judged_high(self) -> tuple[str, ...]:
        """The characteristics of which a prediction has the probability that they are high."""
        return ()

    @property
    def reach_diameters(self) -> float:
        """Increase of :meth:`reach_mm` per mm of the declared diameter."""
        return 0.0

    @abstractmethod
    def reach_mm(self, diameter: float | None = None) -> float:
        """Edge in mm of the cube around the centre that holds all that is sampled.

        Args:
            diameter: the nodule's declared diameter in mm, for a view that needs it.

        Raises:
            ValueError: the view needs a diameter and was given none.
        """

    @abstractmethod
    def patch(self, shape: Shape, spacing: Vector, center: Vector, diameter: float | None = None) -> Patch:
        """Position of a nodule's images in its VOI.

        Args:
            shape: number of voxels of the VOI, (x, y, z).
            spacing: voxel size in mm.
            center: centre of the nodule as a fractional voxel index of the VOI.
            diameter: as :meth:`reach_mm`.
        """

    @abstractmethod
    def images(self, ct: np.ndarray, patch: Patch) -> np.ndarray:
        """The images of a patch: CT ``[X, Y, Z]`` in HU -> float32 ``[N, C, ...]`` in 0..1."""

    def batch(self, ct: np.ndarray, patch: Patch) -> np.ndarray:
        """Network input of a prediction: :meth:`images` and, with :attr:`flips`, their mirrored copies."""
        images = self.images(ct, patch)
        return with_flips(images) if self.flips else images

    @abstractmethod
    def aggregate(self, outputs: Mapping[str, np.ndarray], patch: Patch) -> Prediction:
        """Aggregate the network's outputs for a nodule's images to one prediction.

        Args:
            outputs: network outputs by name of :attr:`channels`, float32 ``[N, ...]``, a map or a score per image.
            patch: patch of the images.
        """

    def predict(
        self,
        outputs: Mapping[str, np.ndarray],
        patch: Patch,
        ct: np.ndarray,
        diameter: float | None = None,
        *,
        measure: bool = False,
    ) -> Prediction:
        """:meth:`aggregate`, then the read-out, where the model has one: what a user gets.

        With :attr:`flips`, maps and scores are means over the copies, and ``draws`` holds each copy's score.

        Args:
            outputs: network outputs as for :meth:`aggregate`, for the images of :meth:`batch`.
            patch: patch of the images.
            ct: VOI ``[X, Y, Z]`` in HU.
            diameter: as :meth:`reach_mm`.
            measure: whether to measure the nodule even where no read-out needs it.
        """
        prediction = self._aggregated(outputs, patch)
        readout = None if prediction.score is None else self.readout
        if measure or readout is not None:
            found = prediction.patch
            mask = prediction.mask if self.segments else None
            measured = self.measure_nodule(ct, found.spacing, found.center, mask=mask, diameter=diameter)
            prediction = prediction.with_values(measured=measured if readout is None else readout.rate(measured))
        if readout is None:
            return prediction
        draws = tuple(readout(prediction.with_values(score=score)).score for score in prediction.draws)
        return readout(prediction).with_values(draws=draws)

    def _aggregated(self, outputs: Mapping[str, np.ndarray], patch: Patch) -> Prediction:
        """The prediction without the read-out."""
        if not self.flips:
            return self.aggregate(outputs, patch)
        copies = without_flips(outputs, len(self.image_shape) - 1)
        mean = {name: np.mean([copy[name] for copy in copies], axis=0, dtype=np.float32) for name in outputs}
        prediction = self.aggregate(mean, patch)
        if prediction.score is None:
            return prediction
        return prediction.with_values(draws=tuple(self.aggregate(copy, patch).score for copy in copies))

    def measure_nodule(
        self,
        ct: np.ndarray,
        spacing: Any,
        center: Any,
        *,
        mask: np.ndarray | None = None,
        diameter: float | None = None,
    ) -> dict[str, float]:
        """Measurements of a nodule by name.

        ``mask_...`` within the mask, of a method that segments; of one that does not ``ball_...`` within the ball of
        the declared diameter (empty without a diameter); of one that needs neither ``core_...``, the density within
        the ball of :data:`CORE_MM` around the centre, which says nothing of the size.

        Args:
            ct: VOI ``[X, Y, Z]`` in HU.
            spacing: ``[3]`` voxel size in mm.
            center: ``[3]`` centre of the nodule as a fractional voxel index of ``ct``.
            mask: the method's own or the readers' mask, bool ``[X, Y, Z]``; used by a method that segments.
            diameter: as :meth:`reach_mm`.
        """
        spacing, center = np.array(spacing, dtype=np.float64), np.array(center, dtype=np.float64)
        if self.segments:
            assert mask is not None, "a method that segments measures its mask"
            found = measure(ct, mask, spacing)
        elif "diameter_mm" not in self.needs:
            found = measure_ball(ct, spacing, center, CORE_MM)
        elif diameter is None:
            return {}
        else:
            found = measure_ball(ct, spacing, center, diameter)
        return {f"{place}_{name}": found[name] for place, name in measurement_names(type(self))}

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Parameters for a client that prepares images and reads outputs: numbers, texts and lists of them, by name."""

    def prepare(self, ct: np.ndarray, spacing: Any, center: Any, diameter: float | None = None) -> Prepared:
        """A nodule's images and their position.

        Args:
            ct: VOI ``[X, Y, Z]`` in HU.
            spacing: ``[3]`` voxel size in mm.
            center: ``[3]`` centre of the nodule as a fractional voxel index of ``ct``.
            diameter: as :meth:`reach_mm`.
        """
        x, y, z = ct.shape
        patch = self.patch((x, y, z), floats(spacing), floats(center), diameter)
        return Prepared(self.batch(ct, patch), patch)

    def named(self, tensor: np.ndarray, channels: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The network's one tensor ``[N, C, ...]`` as :meth:`aggregate` takes it.

        Args:
            tensor: float32 network output.
            channels: names of its channels; :attr:`channels` when not given.

        Raises:
            ValueError: it has another number of channels.
        """
        names = self.channels if channels is None else channels
        if tensor.shape[1] != len(names):
            raise ValueError(f"the network gives {tensor.shape[1]} channels, {len(names)} have names")
        return {name: tensor[:, index] for index, name in enumerate(names)}


def floats(values: Any) -> Vector:
    """A vector's three numbers as Python floats."""
    x, y, z = (float(value) for value in values)
    return x, y, z


def measurement_names(view: type[NoduleView]) -> list[tuple[str, str]]:
    """Region (``mask``, ``ball`` or ``core``) and name of each measurement of :meth:`NoduleView.measure_nodule`."""
    if view.segments:
        return [("mask", name) for name in MEASUREMENTS]
    if "diameter_mm" in view.needs:
        return [("ball", name) for name in MEASUREMENTS]
    return [("core", name) for name in DENSITY]


def feature_names(view: type[NoduleView]) -> list[str]:
    """Features that a read-out of a view's model may join, apart from attribute ratings (see :func:`features_of`)."""
    measured = [f"{place}_{name}" for place, name in measurement_names(view)]
    return ["logit", *measured, f"{OF_MEASUREMENTS}malignancy"]
