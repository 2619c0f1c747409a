"""`envoi mri evaluate`: a table, a file of all scores, and what it refuses."""

import json
import re
import shutil

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.cli.mri_evaluate import _told_by
from envoi.cli.mri_made import made_files, made_voxels
from envoi.data.nifti import write_nifti
from envoi.errors import DataError, SettingsError
from envoi.files import file_digest
from envoi.mri.modes import read_model
from envoi.mri.run import train_in
from envoi.mri.training import MriTraining
from tests.mri.conftest import PLANS, subjects

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, ["mri", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    out = tmp_path_factory.mktemp("brains") / "real"
    size = ("--shape", "32x32x32", "--spacing-mm", 6)
    assert run("phantom", "--subjects", 8, "--out", out, *size).exit_code == 0
    return out


@pytest.mark.slow
def test_copies_of_training_brains_are_found_and_real_ones_are_no_copies(brains, tmp_path):
    synthetic, scores = tmp_path / "made", tmp_path / "scores.json"
    synthetic.mkdir()
    for number in range(1, 9):
        shutil.copy(brains / f"sub-{number:02d}_T1w.nii.gz", synthetic)
    found = run(
        "evaluate",
        brains,
        "--synthetic",
        synthetic,
        "--held-out",
        2,
        "--out",
        scores,
        "--allow-unmarked",
    )
    assert found.exit_code == 0, found.output
    rows = [line.split()[0] for line in found.output.splitlines()]
    assert {"set", "synthetic", "held-out", "blurred", "anywhere", "copied"} <= set(rows)
    assert max(len(line) for line in found.stdout.splitlines()[:-2]) < 80
    assert "vent. d:\nCohen's d of ventricle volumes" in found.stdout
    told = json.loads(scores.read_text())
    assert (told["training_volumes"], told["synthetic"]["volumes"]) == (6, 8)
    assert max(one["copied"] for one in told["synthetic"]["copies"]) >= 6
    assert told["shape"] == [32, 32, 32]
    page = (tmp_path / "scores.html").read_text()
    assert "8 synthetic brains against 6 made ones that the model learnt from and 2 " in page
    assert str(tmp_path) not in page


def test_a_folder_of_too_few_volumes_is_refused(brains, tmp_path):
    found = run("evaluate", brains, "--synthetic", tmp_path, "--held-out", 2, "--out", "x.json")
    assert found.exit_code == 3
    assert "two volumes at least" in found.output


def test_volumes_of_another_grid_are_refused(brains, tmp_path):
    other = tmp_path / "other"
    size = ("--shape", "27x32x27", "--spacing-mm", 6)
    assert run("phantom", "--subjects", 2, "--out", other, *size).exit_code == 0
    found = run(
        "evaluate", brains, "--synthetic", other, "--held-out", 2, "--out", tmp_path / "x.json"
    )
    assert found.exit_code == 3
    assert "spacing that the model learned from" in found.output
    assert not (tmp_path / "x.json").exists()


@pytest.mark.slow
def test_a_run_tells_who_was_held_out_and_how_scans_were_prepared(brains, tmp_path):
    trained, made, scores = tmp_path / "run", tmp_path / "made", tmp_path / "scores.json"
    sizes = ("--spacing-mm", 12, "--shape", "16x18x16")
    options = ("--steps", 1, "--batch", 1, "--held-out", 3, "--seed", 5, *sizes)
    assert run("train", brains, "--out", trained, *options).exit_code == 0
    assert run("sample", trained, "--out", made, "--count", 2, "--steps", 1).exit_code == 0
    page = tmp_path / "page.html"
    command = ("evaluate", brains, "--synthetic", made, "--run", trained, "--out", scores)
    found = run(*command, "--report", page)
    assert found.exit_code == 0, found.output
    told = json.loads(scores.read_text())
    assert (told["training_volumes"], told["held_out"]["volumes"]) == (5, 3)
    assert (told["shape"], told["spacing_mm"]) == ([16, 18, 16], [12.0, 12.0, 12.0])
    assert (told["borders"], told["seed"]) == ([8], 0)
    text = page.read_text()
    for name, value in (
        ("Model", "joint"),
        ("Steps of training", "1"),
        ("Learnt from", "5 brains"),
        ("Drawn by", "envoi.mri, mode joint"),
        ("Steps of drawing", "1"),
    ):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text
    parameters = re.search(r"<dt>Parameters</dt><dd>(.*?) million</dd>", text)
    model = read_model(trained / "model.safetensors")
    assert float(parameters[1]) == pytest.approx(
        sum(value.numel() for value in model.parameters()) / 1e6, abs=0.005
    )
    for name in ("Arithmetic of one volume", "Drawing one took", "Device"):
        assert f"<dt>{name}</dt><dd>" in text
    assert not (tmp_path / "scores.html").exists()
    assert f"Report, with pictures of made scans: {page}" in found.output
    table = brains / "participants.tsv"
    others = shutil.copytree(brains, tmp_path / "others")
    (others / "sub-09_T1w.nii.gz").write_bytes((brains / "sub-01_T1w.nii.gz").read_bytes())
    row = table.read_text().splitlines()[1].replace("sub-01", "sub-09")
    (others / "participants.tsv").write_text(f"{table.read_text().rstrip()}\n{row}\n")
    found = run("evaluate", others, *command[2:], "--overwrite")
    assert found.exit_code == 2
    assert "expected the volumes that the run learnt from" in found.output


def test_windows_of_the_paper_s_model_meet_where_they_do(tmp_path):
    people = subjects(4)
    for mode, borders in (("paper", (6, 9)), ("full3d", None)):
        train_in(tmp_path / mode, people, mode, PLANS[mode], MriTraining(steps=1, batch=1))
        told = _told_by(tmp_path / mode, people)
        assert told.borders == borders
        assert told.words["Model"] == mode
        with pytest.raises(SettingsError, match="the volumes that the run learnt from"):
            _told_by(tmp_path / mode, people[1:])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((), "expected --run or --held-out, found neither"),
        (("--run", "run", "--held-out", 2), "expected --run or --held-out, found both"),
        (("--run", "run", "--spacing-mm", 4), "expected --run alone, found options that prepare"),
        (("--held-out", 2, "--report", "x.json"), "--out and --report: expected two files"),
    ],
)
def test_options_that_contradict_one_another_are_refused(brains, tmp_path, options, line):
    found = run("evaluate", brains, "--synthetic", tmp_path, "--out", "x.json", *options)
    assert found.exit_code == 2
    assert line in found.output


def test_a_folder_that_is_no_run_is_refused(brains, tmp_path):
    command = ("evaluate", brains, "--synthetic", tmp_path, "--out", "x.json", "--run", tmp_path)
    found = run(*command)
    assert found.exit_code == 3
    assert "expected a trained model, found no model.safetensors" in found.output


def test_a_folder_of_made_volumes_that_is_none_is_told(brains, tmp_path):
    command = ("evaluate", brains, "--held-out", 2, "--out", tmp_path / "x.json", "--synthetic")
    found = run(*command, tmp_path / "nowhere")
    assert found.exit_code == 3
    assert "--synthetic: expected a folder of made volumes, found no such folder." in found.output
    assert "made volumes, found the folder of real ones" in run(*command, brains).output
    unmarked = tmp_path / "unmarked"
    unmarked.mkdir()
    for number in (1, 2):
        shutil.copy(brains / f"sub-0{number}_T1w.nii.gz", unmarked)
    shutil.copy(brains / "sub-01_T1w.json", unmarked)
    found = run(*command, unmarked)
    assert found.exit_code == 3
    assert "a sidecar that marks each volume as made, found 1 of 2 without it." in found.output
    (unmarked / "sub-01_T1w.json").write_text("{")
    assert (
        "sub-01_T1w.json: expected the sidecar of a volume, found a dam"
        in run(*command, unmarked).output
    )


def test_volumes_of_another_model_than_the_runs_are_refused(tmp_path):
    made, trained = tmp_path / "made", tmp_path / "run"
    trained.mkdir()
    (trained / "model.safetensors").write_text("a model")
    digest = file_digest(trained / "model.safetensors")
    volume = subjects(1)[0].volume
    for number, one in enumerate((digest, digest, "other"), start=1):
        write_nifti(volume, made / f"{number}.nii", {"ModelDigest": one})
    for allowed in (False, True):
        with pytest.raises(DataError, match="volumes of the run's model, found 1 of 3 by another"):
            made_files(made, tmp_path, trained, allow_unmarked=allowed)
    assert len(made_files(made, tmp_path, None, allow_unmarked=False)) == 3
    (made / "3.json").unlink()
    assert len(made_files(made, tmp_path, trained, allow_unmarked=True)) == 3


@pytest.mark.parametrize("mark", [{"PartlyReal": True}, {"GivenSlices": "every 4"}])
def test_volumes_that_were_completed_are_not_scored_as_drawn(tmp_path, mark):
    made = tmp_path / "made"
    for name, sidecar in (("1.nii", {}), ("2.nii", mark)):
        write_nifti(subjects(1)[0].volume, made / name, sidecar)
    for allowed in (False, True):
        with pytest.raises(DataError, match="drawn as a whole, found 1 of 2 completed around give"):
            made_files(made, tmp_path, None, allow_unmarked=allowed)


def dimmed(brightest):
    """A ball that is brighter towards the right."""
    ball = subjects(1)[0].volume
    voxels = ball.voxels * np.linspace(0.5, 1, ball.grid.shape[2], dtype=np.float32)
    return ball.with_voxels(np.float32(brightest) / voxels.max() * voxels)


def test_made_volumes_are_judged_as_bright_as_their_model_drew_them(tmp_path):
    files = [tmp_path / name for name in ("a.nii.gz", "b.nii.gz")]
    for file, brightest in zip(files, (0.25, 0.5), strict=True):
        write_nifti(dimmed(brightest), file, {})
    made = made_voxels(files, dimmed(1).grid)
    assert made.max(axis=(1, 2, 3)).tolist() == pytest.approx([0.25, 0.5])


def test_made_volumes_of_another_range_are_refused(tmp_path):
    volume = dimmed(1)
    image = nibabel.Nifti1Image(255 * volume.voxels.T, volume.grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.grid.affine, 2)
    image.to_filename(tmp_path / "a.nii")
    with pytest.raises(DataError, match="--synthetic, file 1: expected a made volume's intensit"):
        made_voxels([tmp_path / "a.nii"], volume.grid)


def test_scores_and_pages_that_exist_are_replaced_only_when_asked(brains, tmp_path):
    command = ("evaluate", brains, "--synthetic", tmp_path / "none", "--held-out", 2, "--out")
    for name, option in (("scores.json", "--out"), ("scores.html", "--report")):
        (tmp_path / name).touch()
        found = run(*command, tmp_path / "scores.json")
        assert found.exit_code == 3
        assert f"{option}: expected a new file, found one that exists." in found.output
        replaced = run(*command, tmp_path / "scores.json", "--overwrite")
        assert "found no such folder" in replaced.output
        (tmp_path / name).unlink()
    found = run(*command, tmp_path / "scores.txt")
    assert found.exit_code == 2
    assert "--out: expected a name ending in .json, found one ending in '.txt'." in found.output


def test_an_interrupted_evaluation_does_not_say_that_anything_is_kept(
    brains, tmp_path, monkeypatch
):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("envoi.data.brains.load_brains", interrupted)
    monkeypatch.setattr("envoi.cli.mri_made.made_files", lambda *_, **options: [])
    found = run(
        "evaluate", brains, "--synthetic", "x", "--held-out", 2, "--out", tmp_path / "x.json"
    )
    assert found.exit_code == 130
    assert "nothing was written; the same command starts from the beginning" in found.stderr
