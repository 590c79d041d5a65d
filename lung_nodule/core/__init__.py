"""What training, inference, the served steps and the client compute alike, in numpy alone.

This package is copied unchanged beside the Python steps of the model repository, so it imports numpy and itself only.
"""

from .adaptive import SQUARES, AdaptiveSquare
from .aggregate import MASK_THRESHOLD, nodule_mask, nodule_score, slice_weights
from .components import central_component
from .cube import CubePatch
from .fusion import fused_score, fusion_weights
from .intensity import window
from .patch import SlicePatch
from .sizes import equivalent_diameter_mm, mask_volume_mm3
from .validation import check_voi
from .views import VIEWS, nine_views

__all__ = [
    "CubePatch",
    "MASK_THRESHOLD",
    "SQUARES",
    "AdaptiveSquare",
    "SlicePatch",
    "VIEWS",
    "central_component",
    "check_voi",
    "equivalent_diameter_mm",
    "fused_score",
    "fusion_weights",
    "mask_volume_mm3",
    "nine_views",
    "nodule_mask",
    "nodule_score",
    "slice_weights",
    "window",
]
