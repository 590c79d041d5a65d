"""The phantom: synthetic DICOM series on the real geometry, outlines and ratings of LIDC-IDRI.

``fields`` and ``grid`` are the tools; ``anatomy`` places body and lungs around the scan's nodules; ``chest``,
``skeleton``, ``vessels`` and ``nodule`` (with ``shape`` and ``calcium``) paint; ``drawing`` puts a scan together;
``series`` writes DICOM; ``hard`` says what can be wrong with it; ``write`` goes through the patients.
"""

from .hard import HARD_CASES
from .write import DEFAULT_30, DEFAULT_PATIENTS, NAMED_SETS, write_phantom

__all__ = ["DEFAULT_30", "DEFAULT_PATIENTS", "HARD_CASES", "NAMED_SETS", "write_phantom"]
