"""NIfTI files: what is written is read back, the same voxels give the same bytes, bad files give one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import Volume, read_ct, read_nifti, write_nifti

AFFINE = np.array([[-0.7, 0, 0, 10], [0, -0.8, 0, 20.5], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])


def random_volume(dtype: str = "int16") -> Volume:
    return Volume(np.random.default_rng(1).integers(0, 200, size=(5, 6, 7)).astype(dtype), AFFINE)


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "bool"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_round_trip(tmp_path: Path, dtype: str, name: str) -> None:
    volume = random_volume(dtype)
    write_nifti(tmp_path / name, volume)
    back = read_nifti(tmp_path / name)
    np.testing.assert_array_equal(back.data, volume.data)
    assert back.data.dtype == ("uint8" if dtype == "bool" else dtype)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-6)


def test_other_readers_find_the_same_place(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    volume = random_volume()
    write_nifti(tmp_path / "a.nii.gz", volume)
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    for index in ([0, 0, 0], [4, 2, 6]):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(lps * [-1, -1, 1], volume.to_world(index), atol=1e-4)
        assert image.GetPixel(*index) == volume.data[tuple(index)]
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"


def test_equal_voxels_give_equal_bytes(tmp_path: Path) -> None:
    write_nifti(tmp_path / "one.nii.gz", random_volume())
    write_nifti(tmp_path / "two.nii.gz", random_volume())
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 4), (130, 140, 600)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_stream_is_plain_gzip_of_nibabels_own_bytes(tmp_path: Path, shape: tuple[int, ...], order: str) -> None:
    """Whatever library deflates: gzip of the standard library reads it, and inside is what nibabel would write."""
    data = np.asarray(np.random.default_rng(2).integers(-900, 900, size=shape).astype(np.int16), order=order)
    write_nifti(tmp_path / "a.nii.gz", Volume(data, AFFINE))
    write_nifti(tmp_path / "a.nii", Volume(data, AFFINE))
    image = nibabel.Nifti1Image(data, AFFINE)
    image.set_sform(AFFINE, code="scanner")
    image.set_qform(AFFINE, code="scanner")
    image.header.set_xyzt_units("mm")
    stream = (tmp_path / "a.nii.gz").read_bytes()
    assert gzip.decompress(stream) == (tmp_path / "a.nii").read_bytes() == image.to_bytes()
    assert stream[3:8] == bytes(5)  # no file name, no time


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError, nibabel.spatialimages.HeaderDataError)):
        write_nifti(tmp_path / "a.nii.gz", Volume(np.array([[["x"]]]), AFFINE))
    with pytest.raises(InputError, match=r"\.nii"):
        write_nifti(tmp_path / "a.mha", random_volume())
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such NIfTI file: .*absent\.nii\.gz"):
        read_nifti(tmp_path / "absent.nii.gz")
    write_nifti(tmp_path / "cut.nii.gz", random_volume("float32"))
    whole = (tmp_path / "cut.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nii.gz").write_text("no NIfTI")
    for name in ("cut.nii.gz", "text.nii.gz"):
        with pytest.raises(InputError, match=name):
            read_nifti(tmp_path / name)


def test_a_damaged_header_and_voxels_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    write_nifti(tmp_path / "whole.nii", random_volume())
    whole = bytearray((tmp_path / "whole.nii").read_bytes())
    for name, at, value in (("code.nii", 70, 1234), ("axis.nii", 42, -5)):
        damaged = whole[:at] + value.to_bytes(2, "little", signed=True) + whole[at + 2 :]
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match=name):
            read_nifti(tmp_path / name)
    colours = np.zeros((3, 3, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, AFFINE), tmp_path / "rgb.nii")
    with pytest.raises(InputError, match=r"the voxels of .*rgb.nii are not numbers"):
        read_nifti(tmp_path / "rgb.nii")


def test_a_ct_must_say_where_it_lies(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(random_volume().data, None), tmp_path / "ct.nii")
    assert read_nifti(tmp_path / "ct.nii").shape == random_volume().shape
    with pytest.raises(InputError, match="neither sform nor qform: set one"):
        read_ct(tmp_path / "ct.nii")


def test_read_ct_takes_files_and_says_what_is_missing(tmp_path: Path) -> None:
    write_nifti(tmp_path / "ct.nii.gz", random_volume())
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz").volume.data, random_volume().data)
    with pytest.raises(InputError, match="no such CT"):
        read_ct(tmp_path / "absent")
    write_nifti(tmp_path / "four.nii.gz", Volume(np.zeros((2, 2, 2, 3), np.uint8), AFFINE))
    with pytest.raises(InputError, match="three axes"):
        read_ct(tmp_path / "four.nii.gz")
