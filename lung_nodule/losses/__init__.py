"""One loss per file."""

from .e2emtl import EndToEndLoss
from .hybrid import HybridLoss
from .rank import RankLoss
from .views import ViewLoss

__all__ = ["EndToEndLoss", "HybridLoss", "RankLoss", "ViewLoss"]
