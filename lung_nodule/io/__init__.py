"""Files and geometry: DICOM series, NIfTI, tables, atomic writes (neither torch nor MONAI)."""

from .atomic import atomic_path, unfinished_writes, write_json, write_text
from .ct import check_hu, read_ct
from .dicom import read_series
from .duplicates import DUPLICATE_RULES
from .errors import InputError, report_in_one_line, user_can_mend
from .find import find_series, may_be_image, sort_series
from .folders import files_under, new_files, walk
from .hashes import file_sha256
from .masks import LABELS, TABLE, ScanMasks, mask_path, refuse_own_input, remove_earlier_masks
from .names import check_file_names, check_unique
from .nifti import read_nifti, write_nifti
from .nodules import CENTER, center_of, read_nodules
from .patient_names import patient_name, patient_names
from .series import Series, SeriesFiles
from .slices import SliceGrid, format_positions
from .tables import read_table, write_table
from .voi import Voi, cut_voi, paste, voi_edge_mm
from .volume import Grid, Volume

__all__ = [
    "DUPLICATE_RULES",
    "CENTER",
    "Grid",
    "InputError",
    "LABELS",
    "ScanMasks",
    "Series",
    "SeriesFiles",
    "SliceGrid",
    "TABLE",
    "Voi",
    "Volume",
    "atomic_path",
    "center_of",
    "check_file_names",
    "check_hu",
    "check_unique",
    "cut_voi",
    "file_sha256",
    "files_under",
    "find_series",
    "format_positions",
    "mask_path",
    "may_be_image",
    "new_files",
    "paste",
    "patient_name",
    "patient_names",
    "read_ct",
    "read_nifti",
    "read_nodules",
    "read_series",
    "read_table",
    "refuse_own_input",
    "remove_earlier_masks",
    "report_in_one_line",
    "sort_series",
    "unfinished_writes",
    "user_can_mend",
    "voi_edge_mm",
    "walk",
    "write_json",
    "write_nifti",
    "write_table",
    "write_text",
]
