"""The networks of the bundles, and the files that hold their weights."""

from .checkpoint import load_network, load_weights, model_settings, read_settings
from .classnet import ClassNet
from .e2emtl import E2EMTL, E2EMTLPredictor
from .errors import CheckpointError, NetworkOptionError
from .mtcnn import MTCNN, MTCNNPredictor, RunningViews, ViewNet
from .mtmrnet import MTMRNet, MTMRNetPredictor
from .mtnet import GuidedByCoarse, MTNet, MTNetPredictor
from .outputs import AsPredictor, OneOutput
from .pretrained import LAYOUTS, Layout, load_pretrained
from .segnet import CoarseSegNet, FineSegNet
from .xception65 import AlignedXception65

__all__ = [
    "LAYOUTS",
    "AlignedXception65",
    "AsPredictor",
    "CheckpointError",
    "ClassNet",
    "CoarseSegNet",
    "E2EMTL",
    "E2EMTLPredictor",
    "FineSegNet",
    "GuidedByCoarse",
    "Layout",
    "MTCNN",
    "MTCNNPredictor",
    "MTMRNet",
    "MTMRNetPredictor",
    "MTNet",
    "MTNetPredictor",
    "NetworkOptionError",
    "OneOutput",
    "RunningViews",
    "ViewNet",
    "load_network",
    "load_pretrained",
    "load_weights",
    "model_settings",
    "read_settings",
]
