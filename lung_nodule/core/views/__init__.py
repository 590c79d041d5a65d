"""One view per method: from a nodule to the network's images, and from its outputs to a prediction."""

from .base import NoduleView, Patch, Prepared, feature_names, floats
from .cube import CubeView
from .measured_ratings import OF_MEASUREMENTS, MeasuredRatings
from .planes import PLANES, PlanesView, fused_score, fusion_weights, nine_planes
from .prediction import Prediction
from .readout import LOGIT, NETWORK_SCORE, OF_NETWORK, Linear, Readout, features_of, logit
from .slices import SlicesView, nodule_score, slice_weights
from .square import SQUARES, AdaptiveSquare, SquareView

__all__ = [
    "LOGIT",
    "NETWORK_SCORE",
    "OF_MEASUREMENTS",
    "OF_NETWORK",
    "PLANES",
    "SQUARES",
    "AdaptiveSquare",
    "CubeView",
    "Linear",
    "MeasuredRatings",
    "NoduleView",
    "Patch",
    "PlanesView",
    "Prediction",
    "Prepared",
    "Readout",
    "SlicesView",
    "SquareView",
    "feature_names",
    "features_of",
    "floats",
    "fused_score",
    "fusion_weights",
    "logit",
    "nine_planes",
    "nodule_score",
    "slice_weights",
]
