"""One loss per file."""

from .e2emtl import EndToEndLoss
from .errors import LossOptionError
from .hybrid import HybridLoss
from .margin_ranking import MarginRankingLoss
from .mtmr import MTMRLoss
from .rank import RankLoss
from .views import ViewLoss

__all__ = ["EndToEndLoss", "HybridLoss", "LossOptionError", "MTMRLoss", "MarginRankingLoss", "RankLoss", "ViewLoss"]
