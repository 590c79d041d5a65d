"""Files and geometry: DICOM series, NIfTI, tables, atomic writes (neither torch nor MONAI)."""

from lung_nodule.io.archive import is_archive, unpack
from lung_nodule.io.atomic import atomic_path, unfinished_writes, write_json, write_text
from lung_nodule.io.ct import Ct, check_hu, read_ct
from lung_nodule.io.dicom.duplicates import DUPLICATE_RULES
from lung_nodule.io.dicom.find import find_series, may_be_image, sort_series
from lung_nodule.io.dicom.read_series import LPS_TO_RAS, only_series, read_series
from lung_nodule.io.dicom.series import Series, SeriesFiles
from lung_nodule.io.dicom.slice_grid import SliceGrid, format_positions
from lung_nodule.io.folders import files_under, new_files, walk
from lung_nodule.io.hashes import file_sha256, files_sha256, patient_hash
from lung_nodule.io.masks import (
    LABELS,
    TABLE,
    ScanMasks,
    mask_path,
    occlusion_path,
    refuse_own_input,
    remove_earlier_masks,
)
from lung_nodule.io.names import as_file_names, check_file_names, check_unique, is_file_name, line_of, printable
from lung_nodule.io.nifti import read_nifti, write_nifti
from lung_nodule.io.nodules import CENTER, center_of, read_nodules
from lung_nodule.io.patient_names import patient_name, patient_names
from lung_nodule.io.slice_numbers import SliceNumbers, slice_numbers
from lung_nodule.io.tables import read_table, write_table
from lung_nodule.io.voi import Voi, cut_voi, paste, voi_edge_mm
from lung_nodule.io.volume import Grid, Volume

__all__ = [
    "DUPLICATE_RULES",
    "CENTER",
    "Ct",
    "Grid",
    "LABELS",
    "LPS_TO_RAS",
    "ScanMasks",
    "Series",
    "SeriesFiles",
    "SliceGrid",
    "SliceNumbers",
    "TABLE",
    "Voi",
    "Volume",
    "as_file_names",
    "atomic_path",
    "center_of",
    "check_file_names",
    "check_hu",
    "check_unique",
    "cut_voi",
    "file_sha256",
    "files_sha256",
    "files_under",
    "find_series",
    "format_positions",
    "is_archive",
    "is_file_name",
    "line_of",
    "mask_path",
    "may_be_image",
    "new_files",
    "only_series",
    "paste",
    "patient_hash",
    "patient_name",
    "patient_names",
    "printable",
    "occlusion_path",
    "read_ct",
    "read_nifti",
    "read_nodules",
    "read_series",
    "read_table",
    "refuse_own_input",
    "remove_earlier_masks",
    "slice_numbers",
    "sort_series",
    "unfinished_writes",
    "unpack",
    "voi_edge_mm",
    "walk",
    "write_json",
    "write_nifti",
    "write_table",
    "write_text",
]
