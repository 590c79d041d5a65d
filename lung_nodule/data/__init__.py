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
from .channels import CubeChannels
from .crop_variants import RandCropVariant
from .crops import RandLoosenCrop, RandTightenCrop, TightenCrop
from .cubes import CubeView, ScannedCube, fill_channel_cache
from .datalist import fingerprint, labelled, nodule_datalist, patients_of, refuse_seen_patients, require_dataset
from .dataset import NoduleSlices, one_nodule
from .rand_affine import RandSliceAffined
from .scans import inference_datalist, require_inputs, scan_datalist
from .slices import FieldSlices, RandNoduleSlice, SliceView
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
    "fill_channel_cache",
    "fingerprint",
    "inference_datalist",
    "labelled",
    "nodule_datalist",
    "one_nodule",
    "original_scale",
    "patients_of",
    "refuse_seen_patients",
    "require_dataset",
    "require_inputs",
    "scaled_attributes",
    "scan_datalist",
]
