"""The phantom: synthetic DICOM series with the real geometry, outlines and ratings of LIDC-IDRI.

``distance_fields`` and ``grid`` are the tools; ``anatomy`` fits body and lungs around the scan's nodules; ``chest``,
``skeleton``, ``vessels`` and ``nodule`` (with ``shape`` and ``calcium``) paint; ``drawing`` combines them into a scan;
``series`` writes DICOM; ``hard`` defines the hard cases; ``write`` processes the patients.
"""

from preprocessing.phantom.hard import HARD_CASES
from preprocessing.phantom.write import DEFAULT_30, DEFAULT_PATIENTS, NAMED_SETS, write_phantom

__all__ = ["DEFAULT_30", "DEFAULT_PATIENTS", "HARD_CASES", "NAMED_SETS", "write_phantom"]
