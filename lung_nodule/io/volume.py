"""A voxel array in patient coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel import orientations

LPS = "LPS"


@dataclass(frozen=True, eq=False)
class Grid:
    """Geometry of a voxel array, without the voxels.

    Attributes:
        shape: number of voxels along the array's axes.
        affine: float64 [4, 4], voxel index -> RAS world position in mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray


@dataclass(frozen=True, eq=False)
class Volume:
    """An array and the affine that places its voxels.

    Attributes:
        data: [x, y, z] (more axes may follow, e.g. readers), any dtype; HU for a CT.
        affine: float64 [4, 4], voxel index -> RAS world position in mm (NIfTI's convention).

    Example:
        >>> import numpy as np
        >>> from lung_nodule.io import Volume
        >>> ct = Volume(np.full((4, 5, 6), -850, np.int16), np.diag([-0.7, -0.7, 2.5, 1.0]))
        >>> ct.spacing.round(3).tolist()
        [0.7, 0.7, 2.5]
        >>> ct.to_world([0, 0, 2]).round(3).tolist()
        [0.0, 0.0, 5.0]
        >>> part = ct.crop((slice(1, 3), slice(0, 5), slice(2, 6)))
        >>> part.shape, part.to_index(ct.to_world([1, 0, 2])).tolist()
        ((2, 5, 4), [0.0, 0.0, 0.0])
    """

    data: np.ndarray
    affine: np.ndarray

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.det(affine) == 0:
            raise ValueError(f"affine must be an invertible 4 x 4 matrix of finite numbers, got {affine.tolist()}")
        if self.data.ndim < 3:
            raise ValueError(f"a volume has at least three axes, got shape {self.data.shape}")
        object.__setattr__(self, "affine", affine)

    def spatial(self) -> Volume:
        """The volume without further axes of length 1, which some tools write."""
        x, y, z, *others = self.data.shape
        return self if set(others) != {1} else Volume(self.data.reshape(x, y, z), self.affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        x, y, z = self.data.shape[:3]
        return x, y, z

    @property
    def grid(self) -> Grid:
        """Geometry of the voxels."""
        return Grid(self.shape, self.affine)

    @property
    def spacing(self) -> np.ndarray:
        """Distance in mm between neighbouring voxels along each array axis, float64 [3]."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def to_world(self, ijk: np.ndarray) -> np.ndarray:
        """RAS positions in mm [..., 3] of voxel indices [..., 3] (0 is the centre of the first voxel)."""
        return np.asarray(ijk, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, ras: np.ndarray) -> np.ndarray:
        """Fractional voxel indices [..., 3] of RAS positions in mm [..., 3]."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(ras, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]

    def canonical(self) -> Volume:
        """The same voxels with axes permuted and flipped to LPS order, nothing resampled.

        The first index then runs to the patient's Left, the second to Posterior, the third to Superior, as nearly as
        the scan's own axes allow. World positions of the voxels stay as they are; the data may be a view.
        """
        wanted = orientations.axcodes2ornt(tuple(LPS))
        change = orientations.ornt_transform(orientations.io_orientation(self.affine), wanted)
        affine = self.affine @ orientations.inv_ornt_aff(change, self.shape)
        return Volume(orientations.apply_orientation(self.data, change), affine)

    def crop(self, box: tuple[slice, slice, slice]) -> Volume:
        """The part of the volume inside three slices with start and stop, 0 <= start < stop, as a view."""
        starts = np.array([part.start for part in box], dtype=np.float64)
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(starts)
        return Volume(self.data[box], affine)
