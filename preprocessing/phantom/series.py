"""Write a drawn scan as a DICOM series in the form of LIDC-IDRI's, labelled as synthetic."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from preprocessing.lidc.records import ScanRecord
from preprocessing.phantom.drawing import Drawing
from preprocessing.phantom.grid import SIZE
from preprocessing.phantom.hard import HardCase, Page

EDITION = "2"  # incremented when the voxels change, so that series of older editions are redrawn
SOFTWARE = f"phantom edition {EDITION}"
MANUFACTURER = "SYNTHETIC PHANTOM"
DESCRIPTION = "Synthetic phantom on LIDC-IDRI geometry, no patient data"
INTERCEPT, PADDING = -1024, -2000
PARTIAL = ".partial"
PLAIN = HardCase("plain", patient="", about="no irregularity")


def series_folder(out: Path, scan: ScanRecord) -> Path:
    """``<out>/<patient>/<date-study>/<series>`` as in a TCIA download."""
    study, series = scan.study_uid[-5:], scan.series_uid[-5:]
    return out / scan.patient_id / f"01-01-2000-{study}" / f"{_series_number(scan)}-{series}"


def is_written(out: Path, scan: ScanRecord, case: HardCase = PLAIN) -> bool:
    """Whether the scan's series exists, complete, of this edition and of the same hard case."""
    paths = sorted(series_folder(out, scan).glob("*.dcm"))
    if len(paths) != len(case.pages(len(scan.slice_positions))):
        return False
    try:
        header = pydicom.dcmread(paths[0], specific_tags=["SoftwareVersions", "SeriesInstanceUID"])
    except (InvalidDicomError, EOFError):
        return False
    return header.get("SoftwareVersions") == _software(case) and header.get("SeriesInstanceUID") == scan.series_uid


def write_series(out: Path, scan: ScanRecord, drawing: Drawing, case: HardCase = PLAIN) -> Path:
    """Write the series to a temporary folder, then move it into place.

    Args:
        out: root of the phantom.
        scan: record with geometry and identity.
        drawing: drawn voxels.
        case: irregularity of the files.

    Returns:
        The series' folder; its files are numbered from the top slice down.
    """
    final, partial = series_folder(out, scan), out / PARTIAL / scan.series_uid
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        dataset = _common(scan, drawing, case)
        for number, page in enumerate(case.pages(len(scan.slice_positions)), start=1):
            _place(dataset, scan, drawing, page, number)
            case.save(dataset, partial / f"{number:06d}.dcm", number)
        shutil.rmtree(final, ignore_errors=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def _software(case: HardCase) -> str:
    return SOFTWARE if case is PLAIN else f"{SOFTWARE}, hard case {case.name}"


def _series_number(scan: ScanRecord) -> int:
    return 3000000 + scan.key


def _common(scan: ScanRecord, drawing: Drawing, case: HardCase) -> FileDataset:
    """The dataset with the attributes that all slices share."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _identify(dataset, scan)
    _describe_pixels(dataset, scan)
    dataset.SoftwareVersions = _software(case)
    dataset.ImageOrientationPatient = list(drawing.orientation)
    case.describe(dataset)
    return dataset


def _identify(dataset: Dataset, scan: ScanRecord) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20000101"
    dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.StudyID = ""
    dataset.Modality = "CT"
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = "preprocessing.phantom"
    dataset.SeriesDescription = DESCRIPTION
    dataset.PatientName = "SYNTHETIC^PHANTOM"
    dataset.PatientID = scan.patient_id
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientIdentityRemoved = "YES"
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = scan.study_uid
    dataset.SeriesInstanceUID = scan.series_uid
    dataset.SeriesNumber = _series_number(scan)
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["phantom frame", scan.series_uid])
    dataset.PositionReferenceIndicator = ""


def _describe_pixels(dataset: Dataset, scan: ScanRecord) -> None:
    dataset.SliceThickness = format_number_as_ds(scan.slice_thickness_mm)
    dataset.ReconstructionDiameter = format_number_as_ds(SIZE * scan.pixel_spacing_mm)
    dataset.PixelSpacing = [format_number_as_ds(scan.pixel_spacing_mm)] * 2
    dataset.Rows = dataset.Columns = SIZE
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.PixelPaddingValue = PADDING
    dataset.QualityControlImage = "YES"  # DICOM: a phantom, not a patient
    dataset.WindowCenter, dataset.WindowWidth = -600, 1600
    dataset.RescaleIntercept, dataset.RescaleSlope = INTERCEPT, 1


def _place(dataset: FileDataset, scan: ScanRecord, drawing: Drawing, page: Page, number: int) -> None:
    """Set the position and pixels of one file in the dataset."""
    position, image = page
    z = format_number_as_ds(float(scan.slice_positions[position]))
    surplus = [str(number)] if number > len(scan.slice_positions) else []
    uid = generate_uid(entropy_srcs=["phantom slice", scan.series_uid, z, *surplus])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [*(format_number_as_ds(round(mm, 4)) for mm in drawing.corner_mm), z]
    dataset.SliceLocation = z
    stored = np.where(_outside_scanner(), PADDING, drawing.hu[image] - INTERCEPT)
    dataset.PixelData = stored.astype("<i2").tobytes()


@functools.cache
def _outside_scanner() -> np.ndarray:
    """Pixels beyond the circle that the scanner reconstructs, bool [512, 512]."""
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    return axis[:, None] ** 2 + axis[None, :] ** 2 > (SIZE / 2) ** 2
