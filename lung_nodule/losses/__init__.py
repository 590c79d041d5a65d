"""One loss per file."""

from lung_nodule.losses.e2emtl import EndToEndLoss
from lung_nodule.losses.hybrid import HybridLoss
from lung_nodule.losses.margin_ranking import MarginRankingLoss
from lung_nodule.losses.mtmr import MTMRLoss
from lung_nodule.losses.rank import RankLoss
from lung_nodule.losses.views import ViewLoss

__all__ = ["EndToEndLoss", "HybridLoss", "MTMRLoss", "MarginRankingLoss", "RankLoss", "ViewLoss"]
