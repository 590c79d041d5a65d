"""LUNA16's candidates on a converted dataset: volumes of interest, tables and ten folds."""

from preprocessing.candidates.candidate_settings import CandidateSettings
from preprocessing.candidates.extraction import Tables, write_candidates

__all__ = ["CandidateSettings", "Tables", "write_candidates"]
