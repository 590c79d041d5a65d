"""One loss per file."""

from .hybrid import HybridLoss
from .margin_ranking import MarginRankingLoss
from .mtmr import MTMRLoss
from .rank import RankLoss
from .views import ViewLoss

__all__ = ["HybridLoss", "MTMRLoss", "MarginRankingLoss", "RankLoss", "ViewLoss"]
