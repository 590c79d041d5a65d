"""The dataset on disk: rows, tables, records of finished scans, checksums, pictures, and its verification."""

from .assembly import assemble
from .conversion_settings import ConversionSettings
from .manifest import read_manifest, write_manifest
from .scan_records import is_synthetic, read_records
from .verification import verify

__all__ = [
    "ConversionSettings",
    "assemble",
    "is_synthetic",
    "read_manifest",
    "read_records",
    "verify",
    "write_manifest",
]
