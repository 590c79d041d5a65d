"""From predictions to numbers that can be believed: metrics, intervals, trivial baselines, files."""

from .activation_maps import SaveActivationMaps
from .attributes import attribute_results
from .baselines import threshold_mask
from .candidate_report import CandidateReport
from .classification import classification_metrics
from .detection import detection_results
from .findings import SaveFindings
from .free_response import FreeResponse, match
from .handlers import EvaluationReport, SaveNodules
from .intervals import bootstrap_interval
from .pictures import SaveReconstructions
from .results import evaluation_results, summary
from .segmentation import Overlap

__all__ = [
    "CandidateReport",
    "EvaluationReport",
    "FreeResponse",
    "Overlap",
    "SaveActivationMaps",
    "SaveFindings",
    "SaveNodules",
    "SaveReconstructions",
    "attribute_results",
    "bootstrap_interval",
    "classification_metrics",
    "detection_results",
    "evaluation_results",
    "match",
    "summary",
    "threshold_mask",
]
