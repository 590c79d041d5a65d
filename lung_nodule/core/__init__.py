"""Computations shared by training, inference, the served steps and the client; numpy only.

This package is copied unchanged next to the Python steps of the model repository, together with ``lidc.py`` and
``errors.py``, so it imports numpy, these two and itself only.
"""

from .components import MASK_THRESHOLD, central_component, nodule_mask
from .cube_patch import CubePatch, ScannedCube
from .intensity import checked_window, window
from .ratings import RATING_RANGE, original_scale
from .sizes import equivalent_diameter_mm, mask_volume_mm3
from .slice_patch import SlicePatch
from .validation import check_voi
from .views import (
    PLANES,
    SQUARES,
    AdaptiveSquare,
    CubeView,
    NoduleView,
    Patch,
    PlanesView,
    Prediction,
    Prepared,
    SlicesView,
    SquareView,
    floats,
    fused_score,
    fusion_weights,
    nine_planes,
    nodule_score,
    slice_weights,
)

__all__ = [
    "MASK_THRESHOLD",
    "PLANES",
    "RATING_RANGE",
    "SQUARES",
    "AdaptiveSquare",
    "CubePatch",
    "CubeView",
    "NoduleView",
    "Patch",
    "PlanesView",
    "Prediction",
    "Prepared",
    "ScannedCube",
    "SlicePatch",
    "SlicesView",
    "SquareView",
    "central_component",
    "check_voi",
    "checked_window",
    "equivalent_diameter_mm",
    "floats",
    "fused_score",
    "fusion_weights",
    "mask_volume_mm3",
    "nine_planes",
    "nodule_mask",
    "nodule_score",
    "original_scale",
    "slice_weights",
    "window",
]
