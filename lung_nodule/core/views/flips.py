"""Test-time flips: a nodule's images mirrored along their axes, and the network's outputs mirrored back."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

Flip = tuple[int, ...]
"""Axes of an image, without its channels, that are mirrored."""


def all_flips(axes: int) -> tuple[Flip, ...]:
    """Every way to mirror images of so many axes, the images themselves first: 4 of a slice, 8 of a cube."""
    return tuple(flip for number in range(axes + 1) for flip in combinations(range(axes), number))


def with_flips(images: np.ndarray) -> np.ndarray:
    """Images and their mirrored copies as one batch.

    Args:
        images: ``[N, C, ...]``.

    Returns:
        ``[F * N, C, ...]``, copy after copy in the order of :func:`all_flips`.
    """
    return np.concatenate([np.flip(images, [axis + 2 for axis in flip]) for flip in all_flips(images.ndim - 2)])


def without_flips(outputs: Mapping[str, np.ndarray], axes: int) -> list[dict[str, np.ndarray]]:
    """Network outputs of each copy, with the maps mirrored back.

    Args:
        outputs: network outputs by name, ``[F * N, ...]``, a map with the axes of an image or a score per image.
        axes: mirrored axes of an image.

    Returns:
        for each copy, by name ``[N, ...]``.
    """
    flips = all_flips(axes)
    parts = {name: np.split(values, len(flips)) for name, values in outputs.items()}
    return [
        {name: _mirrored_back(copies[index], flip, axes) for name, copies in parts.items()}
        for index, flip in enumerate(flips)
    ]


def _mirrored_back(values: np.ndarray, flip: Flip, axes: int) -> np.ndarray:
    return np.flip(values, [axis + 1 for axis in flip]) if values.ndim == axes + 1 else values
