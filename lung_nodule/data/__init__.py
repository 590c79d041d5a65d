"""From the nodule table to a network's input."""

from lung_nodule.data.attributes import ATTRIBUTE_COLUMNS, attribute_medians, binary_attributes, scaled_attributes
from lung_nodule.data.augment_planes import RandAugmentViews
from lung_nodule.data.candidates import CutVOI, candidate_cohort, candidate_datalist, evaluated_scans
from lung_nodule.data.channel_cache import CubeChannels, fill_channel_cache
from lung_nodule.data.crops import CropMargin, MoveCenter, RandCropMargin, RandCropVariant, RandPadParenchyma
from lung_nodule.data.datalist import (
    fingerprint,
    is_synthetic,
    labelled,
    nodule_datalist,
    patients_of,
    patients_seen,
    refuse_seen_patients,
    require_dataset,
)
from lung_nodule.data.dataset import NoduleSlices, one_nodule
from lung_nodule.data.folds import training_folds, validation_fold
from lung_nodule.data.load_voi import LoadVOI
from lung_nodule.data.nodule_view import ViewNodule
from lung_nodule.data.rand_affine import RandSliceAffined
from lung_nodule.data.rank_rows import gather_rows
from lung_nodule.data.scans import inference_datalist, require_inputs, scan_datalist
from lung_nodule.data.tasks import (
    draws_of,
    evaluation_items,
    refuse_crops,
    require_task_data,
    task_named,
    task_of,
    training_items,
)
from lung_nodule.data.training_slice import RandNoduleSlice, RandSquarePart, ViewSlice
from lung_nodule.data.variant_images import RandVariantImage, VariantImages

__all__ = [
    "ATTRIBUTE_COLUMNS",
    "CubeChannels",
    "CutVOI",
    "LoadVOI",
    "MoveCenter",
    "NoduleSlices",
    "RandAugmentViews",
    "RandSquarePart",
    "RandPadParenchyma",
    "RandNoduleSlice",
    "RandSliceAffined",
    "RandCropMargin",
    "CropMargin",
    "RandCropVariant",
    "RandVariantImage",
    "VariantImages",
    "ViewSlice",
    "ViewNodule",
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
    "is_synthetic",
    "gather_rows",
    "labelled",
    "nodule_datalist",
    "one_nodule",
    "patients_of",
    "patients_seen",
    "refuse_crops",
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
