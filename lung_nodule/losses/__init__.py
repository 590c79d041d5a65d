"""One loss per file."""

from .e2emtl import EndToEndLoss
from .hybrid import HybridLoss
from .margin_ranking import MarginRankingLoss
from .mtmr import MTMRLoss
from .rank import RankLoss
from .views import ViewLoss

__all__ = ["EndToEndLoss", "HybridLoss", "MTMRLoss", "MarginRankingLoss", "RankLoss", "ViewLoss"]
