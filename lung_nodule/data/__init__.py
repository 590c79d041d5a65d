"""From the nodule table to what a network sees."""

from .crops import RandTightenCrop
from .datalist import (
    fingerprint,
    labelled,
    nodule_datalist,
    patients_of,
    refuse_seen_patients,
    require_dataset,
)
from .dataset import NoduleSlices, one_nodule
from .slices import FieldSlices, RandNoduleSlice
from .voi import LoadVOI

__all__ = [
    "FieldSlices",
    "LoadVOI",
    "NoduleSlices",
    "RandNoduleSlice",
    "RandTightenCrop",
    "fingerprint",
    "labelled",
    "nodule_datalist",
    "one_nodule",
    "patients_of",
    "refuse_seen_patients",
    "require_dataset",
]
