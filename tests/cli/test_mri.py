"""`envoi mri`: what is drawn is what is read, and refusals end in lines."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.cli.mri_options import fitted_to
from envoi.data.brains import load_brains
from envoi.data.held_out import read_held_out
from envoi.data.nifti import VolumePermissions, read_nifti, write_nifti
from envoi.errors import SettingsError
from envoi.mri.modes import plan_of
from envoi.mri.phantoms import draw_phantom, draw_phantoms
from envoi.mri.population import volume_bytes
from tests.data.heads import save

runner = CliRunner()


PHANTOM = ("phantom", "--subjects", 3, "--shape", "32x32x32", "--spacing-mm", 6)


def run(*arguments):
    return runner.invoke(app, ["mri", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantoms") / "brains"
    found = run(*PHANTOM, "--out", out)
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("sub-01: ")
    assert lines[3] == f"Wrote 3 made brains and participants.tsv to {out}."
    return out


def test_phantoms_are_read_back_as_they_were_drawn(folder):
    drawn = draw_phantoms(3, 0, (32, 32, 32), 6.0)
    read = load_brains(folder)
    assert [s.name for s in read] == ["sub-01", "sub-02", "sub-03"]
    for made, subject in zip(drawn, read, strict=True):
        assert (subject.age_years, subject.sex) == (made.subject.age_years, made.subject.sex)
        assert subject.volume.grid == made.subject.volume.grid
        np.testing.assert_allclose(
            subject.volume.voxels, made.subject.volume.voxels, atol=0.004, rtol=0.01
        )


def test_phantoms_say_that_they_are_made_and_tell_the_truth(folder):
    (made,) = draw_phantoms(1, 0, (32, 32, 32), 6.0)
    sidecar = json.loads((folder / "sub-01_T1w.json").read_text())
    assert sidecar["Synthetic"] is True
    assert sidecar["GeneratedBy"][0]["Name"] == "Envoi"
    assert (sidecar["Seed"], sidecar["Number"]) == (0, 1)
    assert sidecar["Settings"] == {"Shape": "32x32x32", "SpacingMM": 6.0}
    with (folder / "participants.tsv").open() as file:
        row = next(csv.DictReader(file, delimiter="\t"))
    assert float(row["ventricles_ml"]) == pytest.approx(made.ventricles_ml, abs=1e-3)
    assert sidecar["VentriclesML"] == pytest.approx(made.ventricles_ml, abs=1e-3)
    assert nibabel.load(folder / "sub-01_T1w.nii.gz").get_data_dtype() == np.uint8


def test_a_full_folder_is_left_alone(folder):
    before = sorted(folder.iterdir())
    found = run("phantom", "--subjects", 1, "--out", folder)
    assert found.exit_code == 3
    assert "expected a new or empty folder, found a full one" in found.stderr
    assert sorted(folder.iterdir()) == before


def test_phantoms_that_are_all_there_are_not_drawn_again(folder):
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    found = run(*PHANTOM, "--out", folder)
    assert found.exit_code == 0, found.output
    assert "3 made brains and participants.tsv were written before" in found.output
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_prepare_tells_each_subject_and_all_of_them(folder, tmp_path):
    command = ("prepare", folder, "--spacing-mm", 12, "--shape", "16x18x16", "--cache", tmp_path)
    found = run(*command)
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["scan 1", "scan 2", "scan 3"]
    ages = sorted(p.subject.age_years for p in draw_phantoms(3, 0, (32, 32, 32), 6.0))
    assert lines[3] == (
        f"3 brains, each a Volume(16 x 18 x 16, 12 x 12 x 12 mm), ages {ages[0]} to {ages[-1]}."
    )
    assert lines[4] == f"Kept in {tmp_path}; the same command reads them from there."
    assert len(list(tmp_path.iterdir())) == 3
    assert run(*command).output == found.output


@pytest.mark.parametrize(
    ("cached", "hint"), [(False, "nothing was written"), (True, "Run the same")]
)
def test_an_interrupted_preparation_says_what_is_kept(folder, tmp_path, monkeypatch, cached, hint):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("envoi.data.brains.read_nifti", interrupted)
    found = run("prepare", folder, *(["--cache", tmp_path] if cached else []))
    assert found.exit_code == 130
    assert f"interrupted: {hint}" in found.stderr


def test_what_is_not_permitted_is_refused_and_what_is_permitted_is_done(tmp_path):
    flipped = np.diag([-6.0, 6.0, 6.0, 1.0])
    for name in ("sub-01", "sub-02"):
        save(tmp_path / f"{name}_T1w.nii.gz", matrix=flipped)
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\tn/a\nsub-02\tn/a\n")
    found = run("prepare", tmp_path)
    assert found.exit_code == 3
    assert found.stderr == (
        "error: files 1 and 2 in name order: expected RAS orientation, found LAS. "
        "--reorient permits it (in Python, reorient=True).\n"
    )
    found = run("prepare", tmp_path, "--reorient")
    assert found.exit_code == 0
    assert "scan 1: brain " in found.output
    assert "sub-" not in found.output
    assert found.output.endswith(
        "2 brains, each a Volume(20 x 28 x 24, 6 x 6 x 6 mm), 2 without age, 2 without sex.\n"
    )


def test_an_interrupted_phantom_leaves_whole_brains_and_goes_on(folder, tmp_path, monkeypatch):
    out = tmp_path / "brains"
    asked = ("phantom", "--subjects", 3, "--out", out, "--shape", "32x32x32", "--spacing-mm", 6)

    def impatient(number, *others):
        if number == 3:
            raise KeyboardInterrupt
        return draw_phantom(number, *others)

    with monkeypatch.context() as patch:
        patch.setattr("envoi.mri.phantoms.draw_phantom", impatient)
        found = run(*asked)
    assert found.exit_code == 130
    assert found.stdout.startswith("sub-01: ")
    assert "interrupted: Run the same command again; what is finished is not" in found.stderr
    first = out / "sub-01_T1w.nii.gz"
    kept = first.stat().st_mtime_ns
    assert not (out / "participants.tsv").exists()
    assert run(*asked, "--seed", 1).exit_code == 3
    (out / "sub-02_T1w.nii.gz").unlink()  # stopped between a sidecar and its volume
    again = run(*asked)
    assert again.exit_code == 0, again.output
    assert first.stat().st_mtime_ns == kept
    for file in folder.iterdir():
        assert (out / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("shape", ["48", "48x56", "0x56x48", "axbxc", "48x56x48x1", "1x2x-3"])
@pytest.mark.parametrize(
    "command", [("phantom", "--subjects", 1, "--out", "new"), ("prepare", "folder")]
)
def test_a_shape_that_is_none_is_refused(command, shape):
    found = run(*command, "--shape", shape)
    assert found.exit_code == 2
    assert f"--shape: expected DEPTHxHEIGHTxWIDTH, found '{shape}'" in found.stderr


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "joint"
    found = run(
        "train", folder, "--out", out, "--steps", 2, "--batch", 1, "--held-out", 1
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "2 brains of 3 to learn from, ages 48.2 to 54.9; 1 person held out." in found.output
    assert "it needs 2 persons held out or more: give --held-out." in found.stderr
    assert "Mode joint, 32 x 32 x 32 voxels of 6 x 6 x 6 mm, slabs of 16 slices.\n" in found.output
    assert "At most 2 steps, batches of 1, seed 0, precision fp32, on " in found.output
    assert (out / "model.safetensors").exists()
    split = read_held_out(out)
    assert (split.persons, split.seed, split.permissions) == (1, 0, VolumePermissions())
    return out


class TestModels:
    """A tiny run on the phantoms: trained, drawn from, completed."""

    def test_drawn_volumes_are_marked_and_lie_on_the_grid(self, folder, trained, tmp_path):
        out = tmp_path / "drawn"
        found = run("sample", trained, "--out", out, "--count", 2, "--steps", 2, "--age", 70)
        assert found.exit_code == 0, found.output
        real = load_brains(folder)[0].volume
        for name in ("synthetic-0001_T1w", "synthetic-0002_T1w"):
            image = nibabel.load(out / f"{name}.nii.gz")
            np.testing.assert_allclose(image.affine, real.grid.affine)
            told = json.loads((out / f"{name}.json").read_text())
            assert told["Synthetic"] is True
            assert told["Cost"]["Seconds"] > 0
            assert told["Cost"]["PeakMemoryBytes"] > 2**20
            assert told["Settings"]["Steps"] == 2
            assert told["Settings"]["Precision"] == "fp32"  # what `auto` is on a CPU

    def test_sampling_goes_on_where_it_was_stopped(self, trained, tmp_path):
        out = tmp_path / "drawn"
        asked = ("sample", trained, "--out", out, "--count", 2, "--steps", 2)
        assert run(*asked).exit_code == 0
        first, second = (out / f"synthetic-000{number}_T1w.nii.gz" for number in (1, 2))
        content, kept = second.read_bytes(), first.stat().st_mtime_ns
        second.unlink()
        assert run(*asked).exit_code == 0
        assert second.read_bytes() == content
        assert first.stat().st_mtime_ns == kept
        other = run(*asked, "--seed", 1)
        assert other.exit_code == 3
        assert "expected volumes of this very command" in other.output
        assert "found those of another (Seed: 0 then, 1 now)." in other.output
        assert second.read_bytes() == content
        (out / "notes.txt").touch()
        beside = run(*asked)
        assert beside.exit_code == 3
        assert "expected a folder of drawn volumes" in beside.output

    def test_given_slices_of_a_scan_are_kept(self, folder, trained, tmp_path):
        scan = folder / "sub-01_T1w.nii.gz"
        out = tmp_path / "whole.nii.gz"
        found = run("complete", trained, "--given", scan, "--every", 4, "--out", out, "--steps", 2)
        assert found.exit_code == 0, found.output
        assert "around one in 4 axial slices of a volume that is marked as made" in found.output
        assert json.loads((tmp_path / "whole.json").read_text())["PartlyReal"] is False
        real = load_brains(folder)[0].volume.voxels
        made = nibabel.load(out).get_fdata().T
        inside = made[::4] > 0
        np.testing.assert_allclose(made[::4][inside], real[::4][inside], atol=1e-3)
        assert inside.mean() > 0.5 * (real[::4] > 0).mean()

    def test_what_is_completed_around_a_real_scan_says_so(self, folder, trained, tmp_path):
        scan, out = tmp_path / "scan.nii.gz", tmp_path / "whole.nii.gz"
        write_nifti(read_nifti(folder / "sub-01_T1w.nii.gz"), scan)  # without a mark
        found = run("complete", trained, "--given", scan, "--every", 4, "--out", out, "--steps", 2)
        assert found.exit_code == 0, found.output
        assert json.loads((tmp_path / "whole.json").read_text())["RealSlices"] == "every 4"
        assert b"Partly synthetic" in bytes(nibabel.load(out).header["descrip"])
        (tmp_path / "whole.json").unlink()  # its header still tells
        again, more = tmp_path / "again.nii.gz", ("--slices", "0:31", "--steps", 2)
        found = run("complete", trained, "--given", out, "--out", again, *more)
        assert found.exit_code == 0, found.output
        told = json.loads((tmp_path / "again.json").read_text())
        assert (told["PartlyReal"], told["GivenSlices"]) == (True, "0:31")

    @pytest.mark.parametrize(
        ("arguments", "code", "line"),
        [
            (["--slices", "30:60"], 2, "slices within 0:32"),
            (["--slices", "0:2"], 2, "background alone in 2 slices"),
            (["--every", "1"], 2, "expected slices to generate, found all 32 kept"),
            ([], 2, "found neither"),
            (["--slices", "3", "--every", "2"], 2, "found both"),
            (["--every", "2", "--plane", "slanted"], 2, "axial, coronal or sagittal"),
            (["--every", "2", "--sex", "x"], 2, "female or male"),
        ],
    )
    def test_what_cannot_be_completed_is_refused(
        self, folder, trained, tmp_path, arguments, code, line
    ):
        out = tmp_path / "whole.nii.gz"
        scan = folder / "sub-01_T1w.nii.gz"
        found = run("complete", trained, "--given", scan, "--out", out, *arguments)
        assert (found.exit_code, line in found.output) == (code, True), found.output
        assert not out.exists()

    def test_a_scan_of_another_grid_is_refused(self, trained, tmp_path):
        other = tmp_path / "other"
        made = run(
            "phantom", "--subjects", 2, "--out", other, "--shape", "27x32x27", "--spacing-mm", 6
        )
        assert made.exit_code == 0, made.output
        scan, out = other / "sub-01_T1w.nii.gz", tmp_path / "a.nii"
        found = run("complete", trained, "--given", scan, "--every", 2, "--out", out)
        assert found.exit_code == 3
        assert "Prepare the scan as the model's brains were" in found.output

    @pytest.mark.parametrize(
        ("name", "line"),
        [
            ("none", "none: expected a trained model, found no such folder. Check the path"),
            ("other", "other: expected a trained model, found no model.safetensors. Name a folder"),
            ("unfinished", "found a training that is not finished. Run the same `envoi mri train`"),
            ("damaged", "found a damaged model.safetensors. Restore the file, or train again"),
            ("damaged/model.safetensors", "damaged: expected a trained model, found a damaged m"),
        ],
    )
    def test_a_folder_without_a_model_is_told_by_its_cause(self, tmp_path, name, line):
        for folder in ("other", "unfinished", "damaged"):
            (tmp_path / folder).mkdir()
        (tmp_path / "unfinished" / "run.toml").write_text('subjects = "a"')
        (tmp_path / "damaged" / "model.safetensors").write_text("no model")
        found = run("sample", tmp_path / name, "--out", tmp_path / "out")
        assert found.exit_code == 3
        assert line in found.output
        assert not (tmp_path / "out").exists()

    def test_the_file_of_a_model_names_its_run(self, trained, tmp_path):
        words = ("--out", tmp_path / "drawn", "--steps", 2)
        assert run("sample", trained / "model.safetensors", *words).exit_code == 0
        again = run("sample", trained, *words, "--count", 2)
        assert again.exit_code == 0, again.output

    def test_damage_of_a_run_and_of_a_sidecar_is_told_in_a_line(self, folder, trained, tmp_path):
        place, drawn = shutil.copytree(trained, tmp_path / "run"), tmp_path / "drawn"
        sampled = ("sample", place, "--out", drawn, "--steps", 2)
        assert run(*sampled).exit_code == 0
        (drawn / "synthetic-0001_T1w.json").write_text("{")
        found = run(*sampled)
        assert (found.exit_code, found.stderr.count("\n")) == (3, 1)
        assert (
            "synthetic-0001_T1w.json: expected the sidecar of a volume, found a dam" in found.stderr
        )
        (place / "settings.json").write_text("{")
        again = ("train", folder, "--out", place, "--steps", 2, "--batch", 1, "--held-out", 1)
        found = run(*again)
        assert found.exit_code == 3
        assert "settings.json: expected the settings of a run, found a damaged" in found.stderr

    def test_a_finished_run_says_so_and_what_another_one_would_change(self, folder, trained):
        same = ("train", folder, "--out", trained, "--batch", 1, "--held-out", 1)
        found = run(*same, "--steps", 2)
        assert found.exit_code == 0, found.output
        assert "Was trained before, for 2 steps: " in found.output
        other = run(*same, "--steps", 3)
        assert other.exit_code == 2
        assert "found others (training.steps: 2 then, 3 now)." in other.stderr
        assert "remove" not in other.stderr

    def test_files_that_are_no_run_are_not_trained_among(self, folder, tmp_path):
        (tmp_path / "notes.txt").touch()
        found = run("train", folder, "--out", tmp_path, "--steps", 1)
        assert found.exit_code == 3
        assert "expected a new or empty folder, or that of a run, found 1 other" in found.stderr
        assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]

    def test_a_sex_is_written_as_in_participants_tsv(self, trained, tmp_path):
        for sex in ("female", "F", "Female"):
            words = ("--steps", 2, "--sex", sex, "--out", tmp_path / "drawn")
            found = run("sample", trained, *words)
            assert found.exit_code == 0, found.output
        told = json.loads((tmp_path / "drawn" / "synthetic-0001_T1w.json").read_text())
        assert told["Settings"]["Sex"] == "female"

    def test_what_a_model_never_learnt_is_not_drawn(self, folder, tmp_path):
        brains, place = shutil.copytree(folder, tmp_path / "brains"), tmp_path / "run"
        rows = "".join(f"sub-0{number}\t50\n" for number in (1, 2, 3))
        (brains / "participants.tsv").write_text(f"participant_id\tage\n{rows}")
        words = ("--steps", 1, "--batch", 1, "--held-out", 1)
        assert run("train", brains, "--out", place, *words).exit_code == 0
        asked = ("sample", place, "--steps", 1, "--out", tmp_path / "drawn")
        found = run(*asked, "--sex", "female")
        assert found.exit_code == 2
        assert "--sex: expected none, as in training, found female. Leave it out." in found.stderr
        assert not (tmp_path / "drawn").exists()
        found = run(*asked, "--age", 90)
        assert "warning: the model learnt from people of 50 to 50 years; what" in found.stderr

    def test_a_completed_volume_replaces_no_file(self, folder, trained, tmp_path):
        out = tmp_path / "mine.nii.gz"
        sidecar = tmp_path / "mine.json"
        sidecar.write_text("mine")
        scan = folder / "sub-01_T1w.nii.gz"
        found = run("complete", trained, "--given", scan, "--every", 4, "--out", out)
        assert found.exit_code == 3
        assert "--out: expected a new file, found its .json that exists." in found.stderr
        assert sidecar.read_text() == "mine"

    def test_an_interrupted_completion_says_that_it_starts_over(
        self, folder, trained, tmp_path, monkeypatch
    ):
        def interrupted(*arguments, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr("envoi.mri.drawing.drawn_intensities", interrupted)
        scan = folder / "sub-01_T1w.nii.gz"
        words = ("--given", scan, "--every", 4, "--out", tmp_path / "a.nii")
        found = run("complete", trained, *words)
        assert found.exit_code == 130
        assert "nothing was written; the same command starts from the beginning." in found.stderr
        assert not list(tmp_path.iterdir())

    def test_places_that_cannot_be_written_are_told_before_anything_is_read(self, tmp_path):
        (tmp_path / "taken").touch()
        below = tmp_path / "taken" / "new"
        for words in (
            ("complete", "none", "--given", "none.nii", "--every", 4, "--out", below / "a.nii"),
            ("sample", "none", "--out", below),
            ("train", "none", "--out", below),
            ("phantom", "--subjects", 1, "--out", below),
            ("evaluate", "none", "--synthetic", "none", "--held-out", 2, "--out", below / "a.json"),
        ):
            found = run(*words)
            assert found.exit_code == 3
            assert "taken: expected a folder, found a file of that name" in found.stderr

    def test_too_little_memory_for_any_plan_is_refused(self, folder, tmp_path):
        found = run("train", folder, "--out", tmp_path / "run", "--memory-gib", 0.01)
        assert found.exit_code == 2
        assert "GiB to train at 32x32x32, 0.00 of them for volumes" in found.output
        assert not (tmp_path / "run").exists()

    def test_volumes_that_are_learnt_from_count_on_the_cpu(self):
        """On a GPU they do not lie in its memory."""
        plan, people = plan_of("joint", (32, 32, 32), {"widths": (16, 32)}), 800
        held = people * volume_bytes(plan.shape)
        gib = 0.209  # 0.035 beside them and their reserve
        alone, beside, elsewhere = (
            fitted_to(plan, "train", gib, "fp32", device, people=learnt_from)
            for device, learnt_from in (("cpu", 0), ("cpu", people), ("cuda", people))
        )
        assert beside.use.batch < alone.use.batch == elsewhere.use.batch
        assert held < beside.bytes <= gib * 2**30
        with pytest.raises(SettingsError, match=r"at 32x32x32, 0\.15 of them for volumes"):
            fitted_to(plan, "train", 0.17, "fp32", "cpu", people=people)

    def test_memory_is_predicted_and_fitted(self):
        found = run("memory", "--size", 32)
        assert found.exit_code == 0, found.output
        assert [line.split(":")[0] for line in found.output.splitlines()] == [
            "sample", "train", "arithmetic", "Training keeps volumes in the CPU's memory on top",
            "Of tensors",
        ]  # fmt: skip
        assert "on top: 0.188 MiB for each brain learnt from." in found.output
        fitted = run("memory", "--size", "32x40x32", "--memory-gib", 1)
        assert "batches of 8, slabs of 16, fp32" in fitted.output

    @pytest.mark.parametrize(
        ("size", "line"),
        [
            ("foo", "--size: expected DEPTHxHEIGHTxWIDTH, found 'foo'."),
            ("0", "--size: expected DEPTHxHEIGHTxWIDTH, found '0x0x0'."),
            ("100000", "Write three numbers from 1 to 9999"),
            (
                "7",
                "shape: expected 16 slices or more along each axis, as many as of a slab, found 7",
            ),
        ],
    )
    def test_a_size_that_is_none_is_told_as_such(self, size, line):
        found = run("memory", "--size", size)
        assert found.exit_code == 2
        assert line in found.stderr
        assert "--shape" not in found.stderr

    def test_a_dry_run_writes_nothing(self, folder, tmp_path):
        found = run("train", folder, "--out", tmp_path / "run", "--dry-run")
        assert found.exit_code == 0
        assert "[plan]\nshape = [32, 32, 32]\nthickness = 16\n" in found.output
        assert "[training]\nsteps = 20000\n" in found.output
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("subjects", "held_out"), [(16, 3), (60, 12)])
def test_a_demonstration_holds_out_a_fifth(tmp_path, monkeypatch, subjects, held_out):
    told = []

    def noted(out, settings, **options):
        told.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("envoi.simulation.brains.run_brain_demo", noted)
    assert run("demo", "--subjects", subjects, "--out", tmp_path).exit_code == 130
    assert (told[0].subjects, told[0].held_out) == (subjects, held_out)
