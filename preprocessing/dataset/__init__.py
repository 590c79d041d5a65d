"""The dataset on disk: rows, tables, records of finished scans, checksums, pictures, and its verification."""

from preprocessing.dataset.assembly import assemble
from preprocessing.dataset.conversion_settings import ConversionSettings
from preprocessing.dataset.manifest import read_manifest, write_manifest
from preprocessing.dataset.scan_records import is_synthetic, read_records
from preprocessing.dataset.verification import verify

__all__ = [
    "ConversionSettings",
    "assemble",
    "is_synthetic",
    "read_manifest",
    "read_records",
    "verify",
    "write_manifest",
]
