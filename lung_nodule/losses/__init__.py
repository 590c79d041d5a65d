"""One loss per file."""

from .hybrid import HybridLoss
from .margin_ranking import MarginRankingLoss
from .mtmr import MTMRLoss
from .rank import RankLoss

__all__ = ["HybridLoss", "MTMRLoss", "MarginRankingLoss", "RankLoss"]
