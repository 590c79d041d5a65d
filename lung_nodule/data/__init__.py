"""From the nodule table to what a network sees."""

from .crops import RandTightenCrop
from .datalist import nodule_datalist, require_dataset
from .dataset import NoduleSlices, one_nodule
from .slices import FieldSlices, RandNoduleSlice
from .voi import LoadVOI

__all__ = [
    "FieldSlices",
    "LoadVOI",
    "NoduleSlices",
    "RandNoduleSlice",
    "RandTightenCrop",
    "nodule_datalist",
    "one_nodule",
    "require_dataset",
]
