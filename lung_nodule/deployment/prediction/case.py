"""Input and options of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lung_nodule.deployment.nodules.sources import SMALLEST_SCORE
from lung_nodule.deployment.prediction.manifest import Options


@dataclass(frozen=True)
class PredictionOptions:
    """Options of a prediction, the same for all cases of a worklist.

    Attributes:
        threshold: minimum score of a detection.
        note: note for the report, such as that the CT is synthetic.
        dicom_results: whether to write a DICOM segmentation and structured report for a DICOM series.
        explain: whether to compute occlusion maps, with up to 125 further requests per nodule.
    """

    threshold: float = SMALLEST_SCORE
    note: str = ""
    dicom_results: bool = True
    explain: bool = False


@dataclass(frozen=True)
class Case:
    """A CT and its nodules.

    Attributes:
        ct: NIfTI file in HU, or the folder or zip of a DICOM series.
        nodules: table with ``nodule_id`` and the centre in world coordinates (RAS, mm), or another source of
            :func:`~lung_nodule.deployment.nodules.sources.read_nodule_source`; a diameter, if given, is sent
            to a model that takes one.
        patient_id: use only this patient's rows of a table.
        series_uid: use only this series' rows of a table, and this series of a folder or zip.
        options: options of the prediction.
    """

    ct: Path
    nodules: Path
    patient_id: str | None = None
    series_uid: str | None = None
    options: PredictionOptions = PredictionOptions()

    def recorded_options(self) -> Options:
        """Everything but the two inputs, as ``nodules.json`` has it."""
        return {"patient_id": self.patient_id, "series_uid": self.series_uid, **vars(self.options)}
