"""From the nodule table to what a network sees."""

from .adaptive import AdaptiveSlices, RandAdaptiveView
from .attributes import (
    ATTRIBUTE_COLUMNS,
    ATTRIBUTE_MAXIMUM,
    ATTRIBUTES,
    attribute_medians,
    original_scale,
    scaled_attributes,
)
from .binary_attributes import HIGH_COLUMNS, HIGH_FROM, binary_attributes
from .candidates import CutVOI, candidate_cohort, candidate_datalist, evaluated_scans
from .channels import CubeChannels
from .crop_variants import RandCropVariant
from .crops import RandLoosenCrop, RandTightenCrop, TightenCrop
from .cubes import CubeView, ScannedCube, fill_channel_cache
from .datalist import fingerprint, labelled, nodule_datalist, patients_of, refuse_seen_patients, require_dataset
from .dataset import NoduleSlices, one_nodule
from .rand_affine import RandSliceAffined
from .scans import inference_datalist, require_inputs, scan_datalist
from .slices import FieldSlices, RandNoduleSlice, SliceView
from .tasks import (
    draws_of,
    evaluation_items,
    refuse_crop_changes,
    require_task_data,
    task_named,
    task_of,
    training_items,
)
from .views import NineViews, RandAugmentViews
from .voi import LoadVOI

__all__ = [
    "ATTRIBUTES",
    "ATTRIBUTE_COLUMNS",
    "ATTRIBUTE_MAXIMUM",
    "AdaptiveSlices",
    "HIGH_COLUMNS",
    "HIGH_FROM",
    "CubeChannels",
    "CubeView",
    "CutVOI",
    "FieldSlices",
    "LoadVOI",
    "NineViews",
    "NoduleSlices",
    "RandAugmentViews",
    "RandAdaptiveView",
    "RandLoosenCrop",
    "RandNoduleSlice",
    "RandSliceAffined",
    "RandTightenCrop",
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
    "training_items",
]
