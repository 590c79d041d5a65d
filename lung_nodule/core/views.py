"""The nine views of a cube: three through its faces' middles, six through the diagonals of its faces."""

from __future__ import annotations

import numpy as np

Z, X, Y = 0, 1, 2  # axes of a cube [z, x, y], as CubePatch samples it
_HALF = np.sqrt(0.5)

VIEWS: tuple[tuple[int, tuple[float, float, float]], ...] = (
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


def nine_views(cube: np.ndarray) -> np.ndarray:
    """The nine symmetry planes of a cube through its exact centre (MT-CNN, section III-A and Fig. 2b).

    The paper names no planes; these are the nine of Setio et al. 2016, which it follows. Pixels are as far apart as the
    cube's voxels, in diagonal views too; a pixel between voxels is interpolated linearly, and none leaves the cube.

    Args:
        cube: ``[size, size, size]``: z, x, y, as :class:`~lung_nodule.core.CubePatch` samples it.

    Returns:
        float32 ``[9, size, size]``, in the order of :data:`VIEWS`.

    Raises:
        ValueError: the volume is not a cube of at least 2 voxels.
    """
    size = cube.shape[0]
    if cube.shape != (size,) * 3 or size < 2:
        raise ValueError(f"nine views need a cube [size, size, size] of at least 2 voxels, got {list(cube.shape)}")
    return np.stack([_plane(np.asarray(cube, dtype=np.float32), rows, column) for rows, column in VIEWS])


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
