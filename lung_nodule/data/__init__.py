"""From the nodule table to what a network sees."""

from lung_nodule.data.adaptive import AdaptiveSlices, RandAdaptiveView
from lung_nodule.data.attributes import (
    ATTRIBUTE_COLUMNS,
    HIGH_COLUMNS,
    attribute_medians,
    binary_attributes,
    original_scale,
    scaled_attributes,
)
from lung_nodule.data.candidates import CutVOI, candidate_cohort, candidate_datalist, evaluated_scans
from lung_nodule.data.channels import CubeChannels
from lung_nodule.data.crop_variants import RandCropVariant
from lung_nodule.data.crops import RandCropMargin, RandPadParenchyma, TightenCrop
from lung_nodule.data.cubes import CubeView, ScannedCube, fill_channel_cache
from lung_nodule.data.datalist import (
    fingerprint,
    labelled,
    nodule_datalist,
    patients_of,
    refuse_seen_patients,
    require_dataset,
)
from lung_nodule.data.dataset import NoduleSlices, one_nodule
from lung_nodule.data.folds import training_folds, validation_fold
from lung_nodule.data.rand_affine import RandSliceAffined
from lung_nodule.data.scans import inference_datalist, require_inputs, scan_datalist
from lung_nodule.data.slices import PatchSlices, RandNoduleSlice, SliceView
from lung_nodule.data.tasks import (
    draws_of,
    evaluation_items,
    refuse_crop_changes,
    require_task_data,
    task_named,
    task_of,
    training_items,
)
from lung_nodule.data.views import NineViews, RandAugmentViews
from lung_nodule.data.voi import LoadVOI

__all__ = [
    "ATTRIBUTE_COLUMNS",
    "AdaptiveSlices",
    "HIGH_COLUMNS",
    "CubeChannels",
    "CubeView",
    "CutVOI",
    "PatchSlices",
    "LoadVOI",
    "NineViews",
    "NoduleSlices",
    "RandAugmentViews",
    "RandAdaptiveView",
    "RandPadParenchyma",
    "RandNoduleSlice",
    "RandSliceAffined",
    "RandCropMargin",
    "TightenCrop",
    "RandCropVariant",
    "ScannedCube",
    "SliceView",
    "attribute_medians",
    "binary_attributes",
    "candidate_cohort",
    "candidate_datalist",
    "draws_of",
    "evaluated_scans",
    "evaluation_items",
    "fill_channel_cache",
    "fingerprint",
    "inference_datalist",
    "labelled",
    "nodule_datalist",
    "one_nodule",
    "original_scale",
    "patients_of",
    "refuse_crop_changes",
    "refuse_seen_patients",
    "require_dataset",
    "require_inputs",
    "require_task_data",
    "scaled_attributes",
    "scan_datalist",
    "task_named",
    "task_of",
    "training_folds",
    "training_items",
    "validation_fold",
]
