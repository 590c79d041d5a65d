"""From predictions to metrics, intervals, trivial baselines and files."""

from lung_nodule.evaluation.activation_maps import SaveActivationMaps
from lung_nodule.evaluation.bootstrap import PatientBootstrap, bootstrap_interval
from lung_nodule.evaluation.candidate_report import CandidateReport
from lung_nodule.evaluation.detection import detection_results
from lung_nodule.evaluation.free_response import FreeResponse, match
from lung_nodule.evaluation.handlers import EvaluationReport, SaveNodules
from lung_nodule.evaluation.metrics import Overlap, classification_metrics, threshold_mask
from lung_nodule.evaluation.pictures import SaveReconstructions
from lung_nodule.evaluation.results import attribute_results, evaluation_results, summary
from lung_nodule.evaluation.save_findings import SaveFindings

__all__ = [
    "CandidateReport",
    "EvaluationReport",
    "FreeResponse",
    "Overlap",
    "PatientBootstrap",
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
