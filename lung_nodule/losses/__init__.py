"""The losses, one method per file."""

from lung_nodule.losses.e2emtl import EndToEndLoss
from lung_nodule.losses.hybrid import HybridLoss, RankLoss
from lung_nodule.losses.mtcnn import ViewLoss
from lung_nodule.losses.mtmr import MarginRankingLoss, MTMRLoss

__all__ = ["EndToEndLoss", "HybridLoss", "MTMRLoss", "MarginRankingLoss", "RankLoss", "ViewLoss"]
