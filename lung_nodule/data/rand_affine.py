"""A random affine map of a slice that keeps its proportions."""

from __future__ import annotations

import math
from typing import Any

from lung_nodule.errors import InputError
from monai.transforms import RandAffined, RandAffineGrid


class RandSliceAffined(RandAffined):
    """Rotate, shear, shift and scale an image and its label alike, in two dimensions.

    MONAI's :class:`~monai.transforms.RandAffined` reads a single number as the range of axis 0 alone, and draws one
    scale per axis where it is given two: shapes are stretched along one axis, and nothing moves along the other. Here
    a single number holds for both axes. The scale is one factor for both, so that a disc stays a disc; the shift has
    its own draw along each axis; the shear is along one axis, drawn at random.

    Args:
        rotate: largest angle in radians, either way.
        shear: largest shear factor, either way (the tangent of the shear angle).
        translate: largest shift along each axis in pixels, either way.
        scale: largest relative change of size: an image is magnified by a factor of 1 - ``scale`` to 1 + ``scale``.
        options: ``keys``, ``prob``, ``mode``, ``padding_mode`` and the others of ``RandAffined`` but its ranges.

    Raises:
        InputError: a range is negative or not a number, ``scale`` is 1 or more, or a range of MONAI's is given.
    """

    def __init__(
        self, *, rotate: float = 0.0, shear: float = 0.0, translate: float = 0.0, scale: float = 0.0, **options: Any
    ) -> None:
        unused = [name for name in options if name.endswith("_range")]
        if unused:
            raise InputError(f"{', '.join(unused)}: give rotate, shear, translate or scale, which hold for both axes")
        super().__init__(**options)
        ranges = {"rotate": rotate, "shear": shear, "translate": translate, "scale": scale}
        for name, value in ranges.items():
            if not 0 <= value < (1 if name == "scale" else math.inf):
                limit = "0 or more and below 1" if name == "scale" else "a finite number, 0 or more"
                raise InputError(f"{name} must be {limit}, got {value!r}")
        self.rand_affine.rand_affine_grid = _SliceGrid(**ranges)


class _SliceGrid(RandAffineGrid):
    """The grid of :class:`RandSliceAffined`. MONAI maps the output to the input, so the scale is inverted."""

    def __init__(self, *, rotate: float, shear: float, translate: float, scale: float) -> None:
        super().__init__(rotate_range=rotate, translate_range=(translate, translate))
        self.shear, self.scale = shear, scale

    def randomize(self, data: Any | None = None) -> None:
        super().randomize(data)
        magnified = self.R.uniform(1 - self.scale, 1 + self.scale)
        self.scale_params = [1 / magnified] * 2
        sheared = [self.R.uniform(-self.shear, self.shear), 0.0]
        self.shear_params = sheared if self.R.random_sample() < 0.5 else sheared[::-1]
