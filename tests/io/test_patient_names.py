"""Patients of LIDC-IDRI by their short names."""

from __future__ import annotations

import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import patient_name, patient_names


@pytest.mark.parametrize("given", ["LIDC-IDRI-0306", "lidc-idri-0306", "0306", "306", 306, " 306 ", "LIDC-IDRI-306"])
def test_one_name_for_every_form(given: object) -> None:
    assert patient_name(given) == "LIDC-IDRI-0306"
    assert patient_names(given, "--patients") == ["LIDC-IDRI-0306"]


@pytest.mark.parametrize(
    "given", ["SYN-0003", "LIDC-IDRI-", "12345", -3, 3.0, True, None, "", "0306_s0", "3e2", b"306"]
)
def test_anything_else_is_no_name(given: object) -> None:
    assert patient_name(given) is None


def test_lists_keep_their_order_and_name_each_patient_once() -> None:
    wanted = ["LIDC-IDRI-0306", "LIDC-IDRI-0013"]
    for given in ("0306,13", "LIDC-IDRI-0306, 0013 ,", (306, 13), ["0306", 13, "LIDC-IDRI-0306"]):
        assert patient_names(given, "--patients") == wanted
    assert patient_names(None, "--patients") is None


@pytest.mark.parametrize("given", [True, "", " , ", (), []])
def test_naming_nobody_is_refused(given: object) -> None:
    with pytest.raises(InputError, match="--patients names no patient: give LIDC-IDRI-0306, or 0306 or 306 for short"):
        patient_names(given, "--patients")


def test_what_is_no_name_is_named() -> None:
    with pytest.raises(
        InputError, match=r"--patients holds a value that is not a patient's name, 'default31', 7\.8: give"
    ):
        patient_names(["0306", "default31", 7.8], "--patients")
