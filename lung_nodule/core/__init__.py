"""Computations shared by training, inference, the served steps and the client; numpy only.

This package is copied unchanged next to the Python steps of the model repository, together with ``lidc.py`` and
``errors.py``, so it imports numpy, these two and itself only.
"""

from .components import MASK_THRESHOLD, central_component, cut_at_half, nodule_mask
from .cube_patch import CubePatch, ScannedCube
from .intensity import checked_window, window
from .measurements import MEASUREMENTS, measure, measure_ball
from .ratings import RATING_RANGE, original_scale
from .sizes import Size, equivalent_diameter_mm, mask_volume_mm3, size_of
from .slice_patch import SlicePatch
from .validation import LARGEST_DIAMETER_MM, SMALLEST_DIAMETER_MM, check_diameter, check_request, check_voi
from .views import (
    LOGIT,
    NETWORK_SCORE,
    OF_MEASUREMENTS,
    OF_NETWORK,
    PLANES,
    SQUARES,
    AdaptiveSquare,
    CubeView,
    Linear,
    MeasuredRatings,
    NoduleView,
    Patch,
    PlanesView,
    Prediction,
    Prepared,
    Readout,
    SlicesView,
    SquareView,
    feature_names,
    features_of,
    floats,
    fused_score,
    fusion_weights,
    logit,
    nine_planes,
    nodule_score,
    slice_weights,
)

__all__ = [
    "LARGEST_DIAMETER_MM",
    "SMALLEST_DIAMETER_MM",
    "LOGIT",
    "MASK_THRESHOLD",
    "MEASUREMENTS",
    "NETWORK_SCORE",
    "OF_MEASUREMENTS",
    "OF_NETWORK",
    "PLANES",
    "RATING_RANGE",
    "SQUARES",
    "AdaptiveSquare",
    "CubePatch",
    "CubeView",
    "Linear",
    "MeasuredRatings",
    "NoduleView",
    "Patch",
    "PlanesView",
    "Prediction",
    "Prepared",
    "Readout",
    "ScannedCube",
    "Size",
    "SlicePatch",
    "SlicesView",
    "SquareView",
    "central_component",
    "cut_at_half",
    "check_diameter",
    "check_request",
    "check_voi",
    "checked_window",
    "equivalent_diameter_mm",
    "feature_names",
    "features_of",
    "floats",
    "fused_score",
    "fusion_weights",
    "logit",
    "mask_volume_mm3",
    "measure",
    "measure_ball",
    "nine_planes",
    "nodule_mask",
    "nodule_score",
    "original_scale",
    "size_of",
    "slice_weights",
    "window",
]
