"""NIfTI files: what is read by permission only, and what nibabel finds in what is written."""

import gzip
import json
import re

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

import envoi
from envoi.data.nifti import VolumePermissions, mark_of, nifti_bytes, read_nifti, write_nifti
from envoi.errors import DataError, EnvoiWarning, SettingsError, StorageError
from envoi.volumes import Grid, Volume
from tests.data.heads import affine, brain, head, save

SECRET = "Mustermann_Erika_1964"


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"{SECRET}.nii.gz"


def refusal(path, permissions=None, kind=DataError):
    with pytest.raises(kind) as caught:
        read_nifti(path, permissions)
    told = str(caught.value)
    assert SECRET not in told
    assert str(path.parent) not in told
    return told


def tilted(degrees):
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine()


def test_a_file_in_order_is_read_as_it_is(path):
    volume = read_nifti(save(path))
    assert volume.grid == Grid((20, 28, 24), (6.0, 6.0, 6.0), (-60.0, -80.0, -50.0))
    top = np.percentile(brain()[brain() > 0], 99.5)
    np.testing.assert_allclose(volume.voxels, np.minimum(brain().T / top, 1), rtol=1e-6)
    assert ((volume.voxels > 0) == (brain().T > 0)).all()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_any_number_and_both_endings_are_read(tmp_path, name, dtype):
    voxels = (brain() / 4).astype(dtype)
    volume = read_nifti(save(tmp_path / name, voxels, dtype=dtype))
    wanted = np.minimum(voxels.T / np.percentile(voxels[voxels > 0], 99.5), 1)
    np.testing.assert_allclose(volume.voxels, wanted, rtol=1e-5)


@pytest.mark.parametrize("codes", ["LAS", "LPS", "PSR", "IRA"])
def test_axes_in_another_order_are_turned_when_that_is_permitted(path, codes):
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    voxels = nibabel.apply_orientation(brain(), turn)
    save(path, voxels, affine() @ inv_ornt_aff(turn, brain().shape))
    told = refusal(path)
    assert f"expected RAS orientation, found {codes}." in told
    assert "--reorient permits it (in Python, reorient=True)." in told
    turned = read_nifti(path, VolumePermissions(reorient=True))
    straight = read_nifti(save(path))
    assert turned.grid == straight.grid
    np.testing.assert_allclose(turned.voxels, straight.voxels, rtol=1e-6)


@pytest.mark.parametrize("degrees", [0.5, 10, 44])
def test_a_tilted_scan_is_straightened_when_both_are_permitted(path, degrees):
    save(path, matrix=tilted(degrees))
    wanted = "found a tilted scan. --reorient together with --spacing-mm permits it"
    for permissions in ({}, {"reorient": True}, {"spacing_mm": 6.0}):
        assert wanted in refusal(path, VolumePermissions(**permissions))
    volume = read_nifti(path, VolumePermissions(reorient=True, spacing_mm=6.0))
    place = np.argwhere(volume.voxels.T > 0.97).mean(axis=0)
    found = (volume.grid.affine @ [*place, 1])[:3]
    spot = np.argwhere(brain() == 900).mean(axis=0)
    np.testing.assert_allclose(found, (tilted(degrees) @ [*spot, 1])[:3], atol=4)


def test_a_tilt_too_small_to_matter_is_none(path):
    volume = read_nifti(save(path, matrix=tilted(0.01)))
    np.testing.assert_allclose(volume.grid.affine, affine(), atol=0.02)


def test_volumes_are_resampled_and_fitted_when_that_is_asked_for(path):
    volume = read_nifti(save(path), VolumePermissions(spacing_mm=12.0, shape=(9, 12, 10)))
    assert (volume.grid.shape, volume.grid.spacing_mm) == ((9, 12, 10), (12.0, 12.0, 12.0))
    told = refusal(path, VolumePermissions(shape=(9, 12, 10)))
    assert "NIfTI file: expected a brain of at most 9 x 12 x 10 voxels" in told


def test_a_brain_smaller_than_a_new_voxel_is_refused(path):
    told = refusal(save(path, matrix=affine(1.0)), VolumePermissions(spacing_mm=100.0))
    assert "found voxels so large that none is half filled. Choose a smaller --spacing-mm" in told


def test_a_head_is_refused_or_taken_with_its_skull(path):
    save(path, head(), affine(4.0, (-110, -110, -110)))
    assert "or give --allow-skull (in Python, allow_skull=True)." in refusal(path)
    assert read_nifti(path, VolumePermissions(allow_skull=True)).voxels.max() == 1


def test_voxels_that_are_no_numbers_are_refused(path):
    voxels = brain()
    voxels[0, 0, 0] = np.nan
    assert "found 1 that are NaN or infinite" in refusal(save(path, voxels))


def test_a_little_below_zero_is_outside_and_standardised_scans_are_refused(path):
    voxels = brain()
    dark = np.argwhere(voxels > 0)[:5]
    voxels[tuple(dark.T)] = -1
    volume = read_nifti(save(path, voxels))
    assert ((volume.voxels > 0) == (voxels.T > 0)).all()
    standardised = np.where(brain() > 450, brain(), -brain())
    assert "found many below 0. Give the scan as it was" in refusal(save(path, standardised))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sform": 0, "qform": 0}, "an affine, found none (sform_code and qform_code are 0)"),
        ({"voxels": np.ones((4, 4, 4, 2), np.float32)}, "3 dimensions, found 4"),
        ({"voxels": np.ones((4, 4), np.float32)}, "3 dimensions, found 2"),
        ({"voxels": np.ones((4, 4, 4), np.complex64)}, "one number for each voxel, found colours"),
        ({"unit": "micron"}, "expected millimetres, found micron"),
        ({"srow_x": [0, 0, 0, 5]}, "an affine that places voxels, found one that does not"),
        ({"srow_y": [0, np.nan, 0, 5]}, "an affine that places voxels, found one that does not"),
        ({"dim": [3, 9000, 9000, 9000, 1, 1, 1, 1]}, "found 9000 x 9000 x 9000. Resample"),
    ],
)
def test_what_no_option_permits(tmp_path, change, told):
    path = tmp_path / f"{SECRET}.nii"
    save(path)
    if "dim" in change or "srow_x" in change or "srow_y" in change:
        edit_header(path, **change)
    else:
        save(path, **change)
    every = VolumePermissions(reorient=True, spacing_mm=6.0, allow_skull=True)
    assert told in refusal(path, every)


def edit_header(path, **fields):
    """Change fields in place, as no library would write them."""
    content = path.read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for key, value in fields.items():
        header[key] = value
    path.write_bytes(header.binaryblock + content[348:])


def test_colours_are_refused(path):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    told = refusal(save(path, np.zeros((4, 4, 4), kind), dtype=kind))
    assert "expected one number for each voxel, found colours or complex numbers" in told


def test_all_that_is_wrong_with_a_header_is_told_at_once(path):
    save(path, np.ones((4, 4, 4, 2), np.float32), sform=0, qform=0, unit="micron")
    told = refusal(path)
    assert len(told.splitlines()) == 3
    assert "expected an affine" in told


def test_the_qform_serves_where_there_is_no_sform(path):
    volume = read_nifti(save(path, sform=0, qform=1))
    np.testing.assert_allclose(volume.grid.affine, affine(), atol=1e-4)


@pytest.mark.parametrize("keep", [0, 100, 360, 5000])
@pytest.mark.parametrize("name", ["b.nii", "b.nii.gz"])
def test_a_file_cut_short_is_refused(tmp_path, name, keep):
    path = save(tmp_path / name)
    path.write_bytes(path.read_bytes()[:keep])
    told = refusal(path)
    assert told == (
        "NIfTI file: expected a whole NIfTI file, found one that cannot be read. "
        "Export the scan again; the file is damaged or of another format."
    )


def test_another_format_under_the_ending_is_refused(tmp_path):
    image = nibabel.MGHImage(brain(), affine())
    image.to_filename(tmp_path / "c.mgz")
    (tmp_path / "c.mgz").rename(tmp_path / "c.nii.gz")
    assert "found one that cannot be read" in refusal(tmp_path / "c.nii.gz")


def test_a_missing_file_and_another_ending_are_told(tmp_path, path):
    assert "expected a NIfTI file, found nothing" in refusal(path, kind=StorageError)
    told = refusal(tmp_path / f"{SECRET}.img", kind=SettingsError)
    assert "expected a name ending in .nii or .nii.gz, found one ending in '.img'" in told


@pytest.mark.parametrize("spacing_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spacing_that_is_none_is_refused(spacing_mm):
    with pytest.raises(SettingsError, match="spacing_mm: expected millimetres above 0"):
        VolumePermissions(spacing_mm=spacing_mm)


def test_a_shape_that_is_none_is_refused():
    with pytest.raises(SettingsError, match=re.escape("shape: expected three numbers above 0")):
        VolumePermissions(shape=(4, 0, 4))


@pytest.fixture
def made():
    grid = Grid((6, 7, 8), (2.0, 3.0, 4.0), (-10.0, -20.0, -30.0))
    voxels = np.random.default_rng(0).uniform(0, 1, grid.shape).astype(np.float32)
    return Volume(np.where(voxels > 0.5, voxels, 0), grid)


@pytest.mark.parametrize("name", ["made.nii", "made.nii.gz"])
def test_nibabel_finds_voxels_and_affine_as_they_were(tmp_path, made, name):
    write_nifti(made, tmp_path / name)
    image = nibabel.load(tmp_path / name)
    assert image.get_data_dtype() == np.float32
    assert (image.get_fdata() == made.voxels.T).all()
    for matrix, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        np.testing.assert_allclose(matrix, made.grid.affine, atol=1e-6)
        assert code == 2
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.header.get_xyzt_units()[0] == "mm"
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert image.header["descrip"] == b""


def test_bytes_carry_a_scale(tmp_path, made):
    write_nifti(made, tmp_path / "made.nii.gz", stored_as="uint8")
    image = nibabel.load(tmp_path / "made.nii.gz")
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.get_fdata(), made.voxels.T, atol=0.5 / 255 + 1e-6)
    assert (image.get_fdata() == 0).sum() == (made.voxels == 0).sum()


def test_a_made_volume_is_marked_in_its_sidecar_and_in_itself(tmp_path, made):
    write_nifti(made, tmp_path / "sub-01_T1w.nii.gz", {"Seed": 3, "Synthetic": False})
    assert json.loads((tmp_path / "sub-01_T1w.json").read_text()) == {
        "Seed": 3,
        "Synthetic": True,
        "GeneratedBy": [{"Name": "Envoi", "Version": envoi.__version__}],
    }
    header = nibabel.load(tmp_path / "sub-01_T1w.nii.gz").header
    assert header["descrip"] == f"Synthetic, made by Envoi {envoi.__version__}".encode()


def test_equal_volumes_are_equal_files(tmp_path, made):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(made, tmp_path / name, {})
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "a.nii.gz").read_bytes())) == 352 + 4 * 6 * 7 * 8


def test_what_was_written_is_read_back(tmp_path):
    save(tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii")
    write_nifti(volume, tmp_path / "b.nii.gz")
    again = read_nifti(tmp_path / "b.nii.gz")
    assert again.grid == volume.grid
    np.testing.assert_allclose(again.voxels, volume.voxels, rtol=1e-6)


@pytest.mark.parametrize("stored_as", ["float32", "uint8"])
@pytest.mark.parametrize("brightest", [0.5, 1.0])
def test_a_made_volume_is_as_bright_as_it_was_written(tmp_path, stored_as, brightest):
    scan = read_nifti(save(tmp_path / "a.nii"))
    made = scan.with_voxels(brightest * scan.voxels)
    write_nifti(made, tmp_path / "b.nii.gz", {}, stored_as=stored_as)
    again = read_nifti(tmp_path / "b.nii.gz", normalise=False)
    np.testing.assert_allclose(again.voxels, made.voxels, atol=0.51 / 255)
    assert again.voxels.max() == pytest.approx(brightest, abs=0.51 / 255)
    assert read_nifti(tmp_path / "b.nii.gz").voxels.max() == 1


@pytest.mark.parametrize("found", ["0 to 1.5", "-0.001 to 0.75"])
def test_a_made_volume_beyond_0_to_1_is_refused(path, found):
    low, high = (float(word) for word in found.split(" to "))
    voxels = high / 900 * brain()
    voxels[0, 0, 0] = low
    save(path, voxels)
    with pytest.raises(DataError) as caught:
        read_nifti(path, normalise=False, where="file 1")
    line = f"file 1: expected a made volume's intensities, 0 to 1, found {found}. Name the files"
    assert line in str(caught.value)


def test_only_a_nifti_name_is_written(tmp_path, made):
    with pytest.raises(SettingsError, match="expected a name ending in .nii or .nii.gz"):
        write_nifti(made, tmp_path / "made.mgz", {})
    assert list(tmp_path.iterdir()) == []


def test_bytes_are_those_of_the_file_and_tell_made_volumes_apart(tmp_path):
    grid = Grid((3, 4, 5), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    volume = Volume(np.linspace(0, 1, 60, dtype=np.float32).reshape(grid.shape), grid)
    partly = {"PartlyReal": True}
    for sidecar, mark in ((None, ""), ({}, "Synthetic"), (partly, "Partly synthetic")):
        write_nifti(volume, tmp_path / "a.nii", sidecar, stored_as="uint8")
        made = nifti_bytes(volume, stored_as="uint8", mark=mark)
        assert made == (tmp_path / "a.nii").read_bytes()
        told = bytes(nibabel.load(tmp_path / "a.nii").header["descrip"]).rstrip(b"\0").decode()
        assert told == (f"{mark}, made by Envoi {envoi.__version__}" if mark else "")


def test_a_mark_is_read_from_the_sidecar(tmp_path, made):
    assert mark_of(tmp_path / "a.nii") == {}
    write_nifti(made, tmp_path / "a.nii", {"Seed": 3})
    assert mark_of(tmp_path / "a.nii")["Seed"] == 3
    (tmp_path / "a.json").write_text('{"Manufacturer": "of a real scan"}')
    save(tmp_path / "a.nii")
    assert mark_of(tmp_path / "a.nii") == {}


@pytest.mark.parametrize("partly", [False, True])
def test_a_mark_is_read_from_the_header_where_the_sidecar_is_lost(tmp_path, made, partly):
    write_nifti(made, tmp_path / "a.nii.gz", {"Seed": 3, "PartlyReal": partly})
    (tmp_path / "a.json").unlink()
    assert mark_of(tmp_path / "a.nii.gz") == {"Synthetic": True, "PartlyReal": partly}
    (tmp_path / "a.json").write_text('{"Synthetic": true, "PartlyReal": false}')  # of another
    assert mark_of(tmp_path / "a.nii.gz")["PartlyReal"] is partly
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.nii.gz").write_bytes(b"no volume")
    assert mark_of(tmp_path / "a.nii.gz") == {}


def test_a_voxel_that_was_damaged_on_its_way_is_told(path):
    voxels = np.random.default_rng(0).integers(1, 4000, brain().shape) * (brain() > 0)
    content = bytearray(save(path, voxels.astype(np.int16), dtype=np.int16).read_bytes())
    content[-8] ^= 1  # the checksum itself: all that is before it is whole
    path.write_bytes(content)
    assert "expected a whole NIfTI file" in refusal(path)


def test_a_file_that_nobody_may_read_is_not_called_damaged(tmp_path, monkeypatch):
    def forbidden(*arguments, **options):
        raise PermissionError

    file = save(tmp_path / "a.nii.gz")
    monkeypatch.setattr("envoi.data.nifti.nibabel.load", forbidden)
    with pytest.raises(DataError) as caught:
        read_nifti(file, where="file 1")
    assert str(caught.value) == (
        "file 1: expected a file that may be read, found no permission. "
        "Change its permissions, or ask who may."
    )


def test_remarks_of_nibabel_become_warnings_and_its_arithmetic_is_silent(tmp_path, capfd):
    odd = tmp_path / "a.nii"
    content = bytearray(save(odd).read_bytes())
    content[80:84] = np.float32(0).tobytes()  # pixdim[1]
    odd.write_bytes(content)
    with pytest.warns(EnvoiWarning, match=r"^scan: the header is odd \(pixdim\[1,2,3\]") as told:
        read_nifti(odd, where="scan")
    assert len(told) == 1
    content[112:116] = np.float32(1e38).tobytes()  # the slope, of which warnings are errors here
    odd.write_bytes(content)
    with pytest.raises(DataError, match="that are NaN or infinite"), pytest.warns(EnvoiWarning):
        read_nifti(odd, where="scan")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("last", "line"), [(1, "It is one volume: save it"), (2, "Save one volume")]
)
def test_a_fourth_dimension_is_told_by_what_it_holds(tmp_path, last, line):
    file = save(tmp_path / "a.nii.gz", np.stack([brain()] * last, axis=-1))
    with pytest.raises(DataError, match=f"expected 3 dimensions, found 4. {line}"):
        read_nifti(file)
