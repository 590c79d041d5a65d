"""The phantom: synthetic DICOM series on the real geometry, outlines and ratings of LIDC-IDRI.

``fields`` and ``grid`` are the tools; ``anatomy`` places body and lungs around the scan's nodules; ``chest``,
``skeleton``, ``vessels`` and ``nodule`` (with ``shape`` and ``calcium``) paint; ``drawing`` puts a scan together;
``series`` writes DICOM; ``write`` goes through the patients.
"""

from .write import DEFAULT_PATIENTS, write_phantom

__all__ = ["DEFAULT_PATIENTS", "write_phantom"]
