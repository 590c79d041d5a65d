"""What training, inference, the served steps and the client compute alike, in numpy alone.

This package is copied unchanged beside the Python steps of the model repository, so it imports numpy and itself only.
"""

from .adaptive import SQUARES, AdaptiveSquare
from .aggregate import MASK_THRESHOLD, nodule_mask, nodule_score, slice_weights
from .components import central_component
from .field import SliceField
from .intensity import window
from .validation import check_voi

__all__ = [
    "MASK_THRESHOLD",
    "SQUARES",
    "AdaptiveSquare",
    "SliceField",
    "central_component",
    "check_voi",
    "nodule_mask",
    "nodule_score",
    "slice_weights",
    "window",
]
