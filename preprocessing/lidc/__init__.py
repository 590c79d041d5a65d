"""The annotations of LIDC-IDRI: nodules from the readers' contours, cohorts and folds; no image is needed."""

from preprocessing.lidc.cohorts import (
    Cohort,
    build_cohort,
    check_no_dataset,
    chosen_nodules,
    class_counts,
    cohort_counts,
    write_cohort,
)
from preprocessing.lidc.database import nodules, scans
from preprocessing.lidc.folds import committed_folds, fold_file
from preprocessing.lidc.masks import consensus, nodule_box, reader_mask, soft_mean
from preprocessing.lidc.nodule_volume import NoduleVolume, build_nodule, label_map
from preprocessing.lidc.presets import PRESETS, Preset, preset_named
from preprocessing.lidc.records import AnnotationRecord, ContourRecord, NoduleRecord, ScanRecord

__all__ = [
    "AnnotationRecord",
    "Cohort",
    "ContourRecord",
    "NoduleRecord",
    "NoduleVolume",
    "PRESETS",
    "Preset",
    "ScanRecord",
    "build_cohort",
    "build_nodule",
    "check_no_dataset",
    "chosen_nodules",
    "class_counts",
    "cohort_counts",
    "committed_folds",
    "consensus",
    "fold_file",
    "label_map",
    "nodule_box",
    "nodules",
    "preset_named",
    "reader_mask",
    "scans",
    "soft_mean",
    "write_cohort",
]
