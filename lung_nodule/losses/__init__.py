"""One loss per file."""

from .hybrid import HybridLoss
from .rank import RankLoss

__all__ = ["HybridLoss", "RankLoss"]
