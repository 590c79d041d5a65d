"""From predictions to numbers that can be believed: metrics, intervals, trivial baselines, files."""

from .activation_maps import SaveActivationMaps
from .attributes import attribute_results
from .baselines import threshold_mask
from .classification import classification_metrics
from .findings import SaveFindings
from .handlers import EvaluationReport, SaveNodules
from .intervals import bootstrap_interval
from .pictures import SaveReconstructions
from .results import evaluation_results, summary
from .segmentation import Overlap

__all__ = [
    "EvaluationReport",
    "Overlap",
    "SaveActivationMaps",
    "SaveFindings",
    "SaveNodules",
    "SaveReconstructions",
    "attribute_results",
    "bootstrap_interval",
    "classification_metrics",
    "evaluation_results",
    "summary",
    "threshold_mask",
]
