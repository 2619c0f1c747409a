"""Folders of brains: who is who, what is kept, and persons on one side of a split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envoi.data.brains
from envoi.data.brains import count_marked, load_brains, split_subjects
from envoi.data.nifti import VolumePermissions, read_nifti
from envoi.errors import DataError, EnvoiWarning, SettingsError, StorageError
from envoi.volumes import Grid, Subject, Volume
from tests.data.heads import affine, brain, head, save

quick = settings(deadline=None, max_examples=50)
SECRET = "MustermannErika1964"


def table(folder, **ages):
    rows = [f"{name.replace('_', '-')}\t{age}\tf" for name, age in ages.items()]
    (folder / "participants.tsv").write_text("\n".join(["participant_id\tage\tsex", *rows]) + "\n")


@pytest.fixture
def folder(tmp_path):
    """Two persons, the first scanned twice."""
    for number, name in enumerate(("sub-02_T1w", "sub-01_ses-2_T1w", "sub-01_ses-1_T1w"), start=1):
        save(tmp_path / f"{name}.nii.gz", brain() * number)
    table(tmp_path, sub_01=30, sub_02="n/a")
    return tmp_path


def refusal(folder, *arguments, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        load_brains(folder, *arguments, **options)
    assert SECRET not in str(caught.value)
    assert str(folder) not in str(caught.value)
    return str(caught.value)


def test_brains_are_read_with_what_is_known_of_their_persons(folder):
    seen = []
    (folder / ".hidden.nii").write_text("")
    (folder / "sub-01_T1w.json").write_text("{}")
    subjects = load_brains(folder, on_subject=seen.append)
    assert list(subjects) == seen
    assert [(s.name, s.age_years, s.sex) for s in subjects] == [
        ("sub-01_ses-1", 30, "female"),
        ("sub-01_ses-2", 30, "female"),
        ("sub-02", None, "female"),
    ]
    alone = read_nifti(folder / "sub-02_T1w.nii.gz")
    assert subjects[2].volume.grid == alone.grid
    assert (subjects[2].volume.voxels == alone.voxels).all()


def test_masks_and_other_contrasts_are_passed_over_and_counted(folder):
    wanted = load_brains(folder)
    save(folder / "sub-02_desc-brain_mask.nii.gz", np.float32(brain() > 0))
    with pytest.warns(EnvoiWarning, match=r"^1 NIfTI file passed over: only sub-\*_T1w"):
        load_brains(folder)
    (folder / "sub-02_T2w.nii").write_text("not looked at")
    with pytest.warns(EnvoiWarning, match="^2 NIfTI files passed over") as told:
        subjects = load_brains(folder)
    assert [s.name for s in subjects] == [s.name for s in wanted]
    assert len(told) == 1


def test_made_scans_among_real_ones_are_told(folder):
    mark = '{"Synthetic": true}'
    (folder / "sub-02_T1w.json").write_text(mark)
    (folder / "sub-01_ses-1_T1w.json").write_text("damaged")
    with pytest.warns(EnvoiWarning, match="^1 of 3 scans are marked as made, not real"):
        load_brains(folder)
    for name in ("sub-01_ses-1", "sub-01_ses-2"):
        (folder / f"{name}_T1w.json").write_text(mark)
    load_brains(folder)  # phantoms alone
    assert count_marked(folder) == 3


def test_what_is_larger_than_a_brain_is_told(folder, monkeypatch):
    monkeypatch.setattr("envoi.data.brains._LARGE_BRAIN_ML", 0.0)
    with pytest.warns(EnvoiWarning) as told:
        load_brains(folder)
    words = [str(one.message) for one in told]
    assert len(words) == 3
    assert words[1].startswith("file 2 in name order: ")
    assert words[1].endswith("ml, more than brains have. Is its skull off?")


def nested(folder, name, *parts):
    """Move a scan to where a BIDS data set has the scans of `parts`."""
    place = folder.joinpath(*parts, "anat")
    place.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_T1w.nii.gz").rename(place / f"{name}_T1w.nii.gz")
    return place


def test_a_bids_data_set_is_read_as_a_flat_folder_is(folder):
    wanted = load_brains(folder)
    for name in ("sub-01_ses-1", "sub-01_ses-2", "sub-02"):
        place = nested(folder, name, *name.split("_"))
        (place / f"{name}_T1w.json").write_text("{}")
        (place / f"{name}_T2w.nii.gz").write_text("not looked at")
    (folder / "sub-02/func").mkdir()
    (folder / "sub-02/func/sub-02_task-rest_bold.nii.gz").write_text("not looked at")
    subjects = load_brains(folder)
    assert [s.name for s in subjects] == [s.name for s in wanted]
    for one, other in zip(subjects, wanted, strict=True):
        assert (one.volume.voxels == other.volume.voxels).all()


def test_a_scan_in_the_folder_of_another_person_or_session_is_refused(folder):
    nested(folder, "sub-02", "sub-02")
    nested(folder, "sub-01_ses-2", "sub-02", "ses-2")
    nested(folder, "sub-01_ses-1", "sub-01", "ses-2")
    assert refusal(folder) == (
        "files 1 and 2 in name order: expected a name that begins as its folders, "
        "found another. Move the file, or name it after its folders."
    )


def test_a_folder_with_both_layouts_is_refused(folder):
    nested(folder, "sub-02", "sub-02")
    assert "found 2 in the folder and 1 in sub-*/anat" in refusal(folder)


def test_files_without_a_row_and_rows_without_a_file_are_told_together(folder):
    save(folder / f"sub-{SECRET}_T1w.nii")
    table(folder, sub_01=30, sub_02=40, sub_03=50)
    assert refusal(folder) == (
        "file 4 in name order: expected a row for each file, found none. "
        "Add the row to participants.tsv, or name the file after its participant_id.\n"
        "participants.tsv, line 4: expected a file for each row, found none. "
        "Add the file, or remove the row."
    )


def test_two_files_of_one_scan_are_told_apart_by_nobody(folder):
    save(folder / "sub-02_T1w.nii")
    told = refusal(folder)
    assert "file 4 in name order: expected each scan once, found that of file 3" in told
    assert "Keep one contrast and one format, or tell scans apart as ses-1 and ses-2." in told


def test_one_person_is_refused_however_many_the_scans(tmp_path):
    for session in (1, 2):
        save(tmp_path / f"sub-01_ses-{session}_T1w.nii.gz")
    table(tmp_path, sub_01=30)
    assert refusal(tmp_path) == (
        "folder: expected two subjects or more, found 1. "
        "Add subjects: with one, nobody can be held out."
    )


def test_an_empty_folder_and_none_are_told(tmp_path):
    table(tmp_path)
    assert refusal(tmp_path) == (
        "folder: expected scans called as sub-01_T1w.nii.gz, found no scans. "
        "Name scans so, or check the path."
    )
    save(tmp_path / "brain.nii.gz")
    assert "found 1 NIfTI file of other names" in refusal(tmp_path)
    save(tmp_path / "sub-01_T1w.nii.gz")
    (tmp_path / "brain.nii.gz").unlink()
    (tmp_path / "participants.tsv").rename(tmp_path / "file")
    assert "folder: expected a folder of brains" in refusal(tmp_path / "no", kind=StorageError)
    assert "participants.tsv: expected a table" in refusal(tmp_path, kind=StorageError)


def test_a_folder_that_cannot_be_listed_is_told(folder, monkeypatch):
    monkeypatch.setattr(envoi.data.brains, "read_participants", lambda folder: {})
    told = refusal(folder / "participants.tsv", kind=StorageError)
    assert told.startswith("folder: expected a folder of brains, found ")
    assert told.endswith("or a BIDS data set, with a participants.tsv.")


def test_volumes_of_unlike_shapes_are_refused(folder):
    save(folder / "sub-02_T1w.nii.gz", brain((24, 28, 24)))
    assert refusal(folder) == (
        "file 3 in name order: expected all volumes like the first, a Volume(20 x 28 x 24, "
        "6 x 6 x 6 mm), found a Volume(24 x 28 x 24, 6 x 6 x 6 mm). "
        "Give --spacing-mm and --shape (in Python, spacing_mm and shape)."
    )
    assert len(load_brains(folder, VolumePermissions(shape=(24, 28, 24)))) == 3


def test_volumes_of_unlike_spacing_are_refused(folder):
    save(folder / "sub-02_T1w.nii.gz", matrix=affine(5.0))
    assert "found a Volume(20 x 28 x 24, 5 x 5 x 5 mm)" in refusal(folder)


def test_all_files_that_are_wrong_are_told_at_once(folder):
    save(folder / "sub-01_ses-1_T1w.nii.gz", head(), affine(4.0))
    save(folder / "sub-01_ses-2_T1w.nii.gz", sform=0, qform=0)
    (folder / "sub-02_T1w.nii.gz").write_bytes(b"none")
    told = refusal(folder).splitlines()
    assert [line.split(":")[0] for line in told] == [f"file {n} in name order" for n in (1, 2, 3)]
    assert "--allow-skull" in told[0]


@pytest.fixture
def counted(monkeypatch):
    """How often a file was read."""
    calls = []

    def count(path, *arguments, **options):
        calls.append(path.name)
        return read_nifti(path, *arguments, **options)

    monkeypatch.setattr(envoi.data.brains, "read_nifti", count)
    return calls


def test_what_was_prepared_is_not_read_again(folder, counted):
    cache = folder / "cache"
    first = load_brains(folder, VolumePermissions(spacing_mm=12.0), cache=cache)
    again = load_brains(folder, VolumePermissions(spacing_mm=12.0), cache=cache)
    assert len(counted) == 3
    for old, new in zip(first, again, strict=True):
        assert (old.name, old.age_years, old.volume.grid) == (
            new.name,
            new.age_years,
            new.volume.grid,
        )
        assert (old.volume.voxels == new.volume.voxels).all()
    assert not any("sub" in file.name for file in cache.iterdir())


def test_other_permissions_and_another_content_are_prepared_anew(folder, counted):
    cache = folder / "cache"
    load_brains(folder, cache=cache)
    load_brains(folder, VolumePermissions(spacing_mm=12.0), cache=cache)
    assert len(counted) == 6
    save(folder / "sub-02_T1w.nii.gz", brain() + (brain() > 0))
    load_brains(folder, cache=cache)
    assert counted[6:] == ["sub-02_T1w.nii.gz"]


@pytest.mark.parametrize(
    "harm", [lambda content: content[:50], lambda content: b"", bytes.swapcase]
)
def test_a_damaged_cache_is_made_anew(folder, counted, harm):
    cache = folder / "cache"
    before = load_brains(folder, cache=cache)
    for file in cache.iterdir():
        file.write_bytes(harm(file.read_bytes()))
    after = load_brains(folder, cache=cache)
    assert len(counted) == 6
    assert (after[0].volume.voxels == before[0].volume.voxels).all()
    load_brains(folder, cache=cache)
    assert len(counted) == 6


def people(names):
    volume = Volume(np.ones((1, 1, 1), np.float32), Grid((1, 1, 1), (1.0, 1.0, 1.0)))
    return [Subject(name, volume) for name in names]


@quick
@given(st.lists(st.integers(1, 3), min_size=2, max_size=9), st.data())
def test_a_split_covers_all_and_parts_no_person(scans, data):
    names = [f"sub-{n}_ses-{s}" for n, count in enumerate(scans) for s in range(count)]
    held_out = data.draw(st.integers(1, len(scans) - 1))
    seed = data.draw(st.integers(0, 5))
    parts = split_subjects(people(names), held_out, seed)
    train, held = ([subject.name for subject in part] for part in parts)
    assert sorted(train + held) == sorted(names)
    persons = [{name.split("_")[0] for name in part} for part in (train, held)]
    assert persons[0] & persons[1] == set()
    assert len(persons[1]) == held_out
    assert train == [name for name in names if name in train]
    turned = split_subjects(people(names[::-1]), held_out, seed)
    assert {subject.name for subject in turned[1]} == set(held)


def test_another_seed_holds_out_others():
    subjects = people([f"sub-{n}" for n in range(40)])
    held = [{s.name for s in split_subjects(subjects, 10, seed)[1]} for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize("held_out", [0, -1, 3, 4])
def test_nobody_on_a_side_is_refused(held_out):
    with pytest.raises(SettingsError) as caught:
        split_subjects(people(["a", "b", "c_ses-1", "c_ses-2"]), held_out, 0)
    assert str(caught.value) == (
        f"held_out: expected 1 to 2 of 3 persons, found {held_out}. "
        "Hold out some and train on the others."
    )
