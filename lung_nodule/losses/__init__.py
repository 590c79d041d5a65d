"""One loss per file."""

from .hybrid import HybridLoss
from .rank import RankLoss
from .views import ViewLoss

__all__ = ["HybridLoss", "RankLoss", "ViewLoss"]
