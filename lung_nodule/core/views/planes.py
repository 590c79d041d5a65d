"""MT-CNN's view: nine planes of a cube, three through its faces' middles, six through the diagonals of its faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InputError
from ...lidc import NETWORK_WINDOW
from ..cube_patch import CubePatch
from ..intensity import checked_window, window
from .base import NoduleView, Shape, Vector
from .prediction import Prediction
from .readout import Readout

Z, X, Y = 0, 1, 2  # axes of a cube [z, x, y], as CubePatch samples it
_HALF = np.sqrt(0.5)

PLANES: tuple[tuple[int, tuple[float, float, float]], ...] = (
    (Y, (0.0, 1.0, 0.0)),
    (Z, (0.0, 1.0, 0.0)),
    (Z, (0.0, 0.0, 1.0)),
    (X, (_HALF, 0.0, _HALF)),
    (X, (-_HALF, 0.0, _HALF)),
    (Y, (_HALF, _HALF, 0.0)),
    (Y, (-_HALF, _HALF, 0.0)),
    (Z, (0.0, _HALF, _HALF)),
    (Z, (0.0, _HALF, -_HALF)),
)
"""Per view: the axis along which the rows follow each other, and the direction (z, x, y) of a row's pixels.

1 axial (rows y, columns x), 2 coronal (z, x), 3 sagittal (z, y), 4-5 rows x, columns (y + z) and (y - z) over the root
of 2, 6-7 rows y, columns (x + z) and (x - z), 8-9 rows z, columns (x + y) and (x - y). x runs to the patient's left, y
to posterior, z to superior.
"""


@dataclass(frozen=True)
class PlanesView(NoduleView):
    """The nine planes of the cube around a nodule's centre as one image ``[9, rows, columns]``, as :data:`PLANES` says.

    The CT is resampled in HU, then windowed, as in the paper. Beyond the VOI its faces are repeated.

    Args:
        patch_mm: edge of the cube in mm.
        image_size: voxels along that edge, so pixels along a plane's.
        order: interpolation order of the resampling, 3 (cubic spline, published) or 1 (linear).
        hu_window: HU that become 0 and 1.
        weights: weights of the planes' probabilities, ``[9]``; None while they are being trained.
        readout: joins the score with the density at the nodule's centre.
        flips: whether a prediction is the mean over the images and their mirrored copies.

    Raises:
        InputError: ``order`` is neither, or ``hu_window`` no window.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import PlanesView
        >>> view = PlanesView(patch_mm=32.0, image_size=32, weights=[1 / 9] * 9)
        >>> prepared = view.prepare(np.full((40, 40, 20), -800.0), spacing=(1, 1, 2), center=(20, 20, 10))
        >>> prepared.images.shape
        (1, 9, 32, 32)
        >>> round(view.aggregate({name: np.array([0.25]) for name in view.channels}, prepared.patch).score, 6)
        0.25
    """

    patch_mm: float
    image_size: int
    order: int = 3
    hu_window: tuple[float, float] = NETWORK_WINDOW
    weights: Sequence[float] | None = None
    readout: Readout | None = None
    flips: bool = False

    def __post_init__(self) -> None:
        if self.order not in (1, 3):
            raise InputError(f"spline_order must be 3 (cubic) or 1 (linear), got {self.order!r}")
        checked_window(self.hu_window)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> PlanesView:
        """From ``patch`` (``patch_mm``, ``image_size``, ``order``), ``window`` and ``view_weights``."""
        patch = settings["patch"]
        return cls(
            patch_mm=float(patch["patch_mm"]),
            image_size=int(patch["image_size"]),
            order=int(patch["order"]),
            hu_window=checked_window(settings["window"]),
            weights=tuple(float(weight) for weight in settings["view_weights"]),
            readout=Readout.from_settings(settings.get("readout")),
            flips=bool(settings.get("flips", False)),
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Planes, rows, columns."""
        return len(PLANES), self.image_size, self.image_size

    @property
    def channels(self) -> tuple[str, ...]:
        """The planes, in their order."""
        return tuple(f"view_{plane + 1}" for plane in range(len(PLANES)))

    def reach_mm(self, diameter: float | None = None) -> float:
        """Edge of the cube, the same for every nodule."""
        return self.patch_mm

    def patch(self, shape: Shape, spacing: Vector, center: Vector, diameter: float | None = None) -> CubePatch:
        """The cube that the planes are cut from."""
        return CubePatch(shape, spacing, center, float(self.patch_mm), int(self.image_size), self.order)

    def images(self, ct: np.ndarray, patch: CubePatch) -> np.ndarray:
        """float32 ``[1, 9, rows, columns]``."""
        return nine_planes(window(patch.sample(ct), *self.hu_window))[None]

    def aggregate(self, outputs: Mapping[str, np.ndarray], patch: CubePatch) -> Prediction:
        """The planes' weighted mean (eq. 4); ``other_scores`` are their plain mean and each plane's own.

        Args:
            outputs: ``view_1`` to ``view_9``, ``[1]`` each.
            patch: patch of the planes.

        Raises:
            ValueError: the view has no weights, or not one per plane.
        """
        if self.weights is None:
            raise ValueError("the planes' weights are known after training: build the view from the side file")
        scores = np.array([outputs[name][0] for name in self.channels], dtype=float)
        others = {f"{name}_prob": float(score) for name, score in zip(self.channels, scores, strict=True)}
        others = {"mean_prob": float(scores.mean()), **others}
        return Prediction(patch, fused_score(scores, self.weights), other_scores=others)

    def describe(self) -> dict[str, Any]:
        """The cube, the window and the planes' weights."""
        return {
            "image_size": self.image_size,
            "window": list(self.hu_window),
            "patch_mm": self.patch_mm,
            "order": self.order,
            "image_channels": list(self.channels),
            "pred_channels": list(self.channels),
            "view_weights": list(self.weights or ()),
            "nodule_score": "the mean over the views, weighted by view_weights",
        }


def nine_planes(cube: np.ndarray) -> np.ndarray:
    """The nine symmetry planes of a cube through its exact centre (MT-CNN, section III-A and Fig. 2b).

    The paper names no planes; these are the nine of Setio et al. 2016, which it follows. Pixels are as far apart as the
    cube's voxels, in diagonal views too; a pixel between voxels is interpolated linearly, and none leaves the cube.

    Args:
        cube: ``[size, size, size]``: z, x, y, as :class:`~lung_nodule.core.CubePatch` samples it.

    Returns:
        float32 ``[9, size, size]``, in the order of :data:`PLANES`.

    Raises:
        ValueError: the volume is not a cube of at least 2 voxels.
    """
    size = cube.shape[0]
    if cube.shape != (size,) * 3 or size < 2:
        raise ValueError(f"nine planes need a cube [size, size, size] of at least 2 voxels, got {list(cube.shape)}")
    return np.stack([_plane(np.asarray(cube, dtype=np.float32), rows, column) for rows, column in PLANES])


def _plane(cube: np.ndarray, rows: int, column: tuple[float, float, float]) -> np.ndarray:
    """``[size, size]``: rows lie on the voxels of their axis, so what is between voxels lies in the other two axes."""
    size = cube.shape[0]
    first, second = (axis for axis in (Z, X, Y) if axis != rows)
    steps, middle = np.arange(size) - (size - 1) / 2, (size - 1) / 2
    p, q = (middle + steps * column[axis] for axis in (first, second))
    low_p, low_q = (np.minimum(np.floor(position).astype(int), size - 2) for position in (p, q))
    part_p, part_q = (p - low_p).astype(np.float32), (q - low_q).astype(np.float32)
    stack = np.moveaxis(cube, rows, 0)
    near = stack[:, low_p, low_q] * (1 - part_q) + stack[:, low_p, low_q + 1] * part_q
    far = stack[:, low_p + 1, low_q] * (1 - part_q) + stack[:, low_p + 1, low_q + 1] * part_q
    return near * (1 - part_p) + far * part_p


def fusion_weights(aucs: Sequence[float]) -> np.ndarray:
    """Each view's share of the sum of the views' AUCs (MT-CNN, Algorithm 1, line 7).

    Args:
        aucs: ``[V]``, on nodules that the views were not trained on and that are not the test's.

    Returns:
        float64 ``[V]`` that add up to 1.

    Raises:
        ValueError: an AUC is not a number between 0 and 1, or all are 0.
    """
    values = np.asarray(aucs, dtype=float)
    if not ((values >= 0) & (values <= 1)).all() or not values.sum() > 0:
        raise ValueError(f"AUCs lie between 0 and 1 and not all at 0, got {values.tolist()}")
    return values / values.sum()


def fused_score(probabilities: np.ndarray, weights: Sequence[float]) -> float:
    """The weighted mean of the views' probabilities of one nodule (MT-CNN, eq. 4).

    Args:
        probabilities: ``[V]`` in 0..1.
        weights: ``[V]``, from :func:`fusion_weights`.

    Raises:
        ValueError: the numbers of views differ.
    """
    if np.shape(probabilities) != np.shape(weights):
        raise ValueError(f"{np.shape(probabilities)} view probabilities do not fit {np.shape(weights)} weights")
    return float(np.average(probabilities, weights=weights))
