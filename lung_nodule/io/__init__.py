"""Files and geometry: DICOM series, NIfTI, tables, atomic writes (neither torch nor MONAI)."""

from .atomic import atomic_path, write_json, write_text
from .ct import read_ct
from .dicom import find_series, read_series
from .errors import InputError, report_in_one_line, user_can_mend
from .hashes import file_sha256
from .names import check_file_names, check_unique
from .nifti import read_nifti, write_nifti
from .series import Series, SeriesFiles
from .slices import SliceGrid, format_positions
from .tables import read_table, write_table
from .volume import Volume

__all__ = [
    "InputError",
    "Series",
    "SeriesFiles",
    "SliceGrid",
    "Volume",
    "atomic_path",
    "check_file_names",
    "check_unique",
    "file_sha256",
    "find_series",
    "format_positions",
    "read_ct",
    "read_nifti",
    "read_series",
    "read_table",
    "report_in_one_line",
    "user_can_mend",
    "write_json",
    "write_nifti",
    "write_table",
    "write_text",
]
