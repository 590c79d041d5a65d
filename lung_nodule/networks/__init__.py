"""The networks of the bundles, and the files that hold their weights."""

from lung_nodule.networks.checkpoint import load_weights, mismatch_error, read_settings, read_side_file
from lung_nodule.networks.classnet import ClassNet
from lung_nodule.networks.e2emtl import E2EMTL, E2EMTLPredictor
from lung_nodule.networks.mtcnn import MTCNN, MTCNNPredictor, RunningViews, ViewNet
from lung_nodule.networks.mtmrnet import MTMRNet, MTMRNetPredictor
from lung_nodule.networks.mtnet import GuidedByCoarse, MTNet, MTNetPredictor
from lung_nodule.networks.outputs import AsPredictor, OneOutput
from lung_nodule.networks.pretrained import LAYOUTS, Layout, fitting_weights, load_pretrained
from lung_nodule.networks.segnet import CoarseSegNet, FineSegNet
from lung_nodule.networks.xception65 import AlignedXception65

__all__ = [
    "LAYOUTS",
    "AlignedXception65",
    "AsPredictor",
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
    "OneOutput",
    "RunningViews",
    "ViewNet",
    "fitting_weights",
    "load_pretrained",
    "load_weights",
    "mismatch_error",
    "read_settings",
    "read_side_file",
]
