"""What a nodule's readers agree on: the consensus mask of any policy, and the soft mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lung_nodule.lidc import votes_needed


def consensus(masks: Sequence[np.ndarray], *, level: float | str) -> np.ndarray:
    """Voxels that enough of the readers marked.

    Args:
        masks: one bool array per reader, all of one shape.
        level: a policy, as :func:`lung_nodule.lidc.consensus_policy` takes it.

    Raises:
        ValueError: no such policy.
    """
    return np.sum(masks, axis=0) >= votes_needed(level, len(masks))


def soft_mean(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Share of the readers who marked each voxel, float32 in 0..1, of the masks' shape."""
    return np.mean(masks, axis=0, dtype=np.float32)
