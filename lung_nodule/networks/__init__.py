"""The networks of the bundles, and the files that hold their weights."""

from .checkpoint import load_network, read_settings
from .classnet import ClassNet
from .e2emtl import E2EMTL, AsCubeMaps
from .errors import CheckpointError, NetworkOptionError
from .mtcnn import MTCNN, AsViewScores, RunningViews, ViewNet
from .mtmrnet import AsScores, MTMRNet
from .mtnet import AsMaps, GuidedByCoarse, MTNet
from .outputs import OneOutput
from .pretrained import LAYOUTS, Layout, load_pretrained
from .segnet import CoarseSegNet, FineSegNet
from .xception65 import AlignedXception65

__all__ = [
    "LAYOUTS",
    "AlignedXception65",
    "AsCubeMaps",
    "AsMaps",
    "AsScores",
    "AsViewScores",
    "CheckpointError",
    "ClassNet",
    "CoarseSegNet",
    "E2EMTL",
    "FineSegNet",
    "GuidedByCoarse",
    "Layout",
    "MTCNN",
    "MTMRNet",
    "MTNet",
    "NetworkOptionError",
    "OneOutput",
    "RunningViews",
    "ViewNet",
    "load_network",
    "load_pretrained",
    "read_settings",
]
