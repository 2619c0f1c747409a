"""The demonstration of the 3D half, on a few small brains and three steps."""

import json
from dataclasses import replace

import numpy as np
import pytest

from envoi.data.nifti import VolumePermissions, read_nifti
from envoi.errors import SettingsError
from envoi.simulation.brains import BrainDemo, run_brain_demo, summary, verdict

SMALL = BrainDemo(
    subjects=8,
    held_out=3,
    samples=3,
    steps=2,
    shape=(24, 28, 24),
    spacing_mm=8.0,
    training_steps=3,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("brains")


@pytest.fixture(scope="module")
def result(folder):
    return run_brain_demo(folder, SMALL)


def test_it_draws_and_scores_what_it_was_asked_for(result):
    assert (len(result.training), len(result.held_out), len(result.synthetic)) == (5, 3, 3)
    assert result.steps == 3
    assert result.scores.synthetic.volumes == 3
    assert not {one.name for one in result.training} & {one.name for one in result.held_out}


def test_drawn_volumes_are_files_that_are_marked(folder, result):
    files = sorted((folder / "drawn").glob("*.nii.gz"))
    assert len(files) == 3
    volume = read_nifti(files[0], VolumePermissions(allow_skull=True), where="file 1")
    np.testing.assert_array_equal(volume.voxels > 0, result.synthetic[0].volume.voxels > 0)
    sidecar = json.loads(files[0].with_name("synthetic-0001_T1w.json").read_text())
    assert sidecar["Settings"]["Steps"] == 2


def test_the_summary_is_of_what_was_measured(folder, result):
    found = json.loads((folder / "summary.json").read_text())
    assert found == summary(result)
    assert set(found["seconds"]) == {"training", "drawing", "scoring"}
    assert all(seconds >= 0 for seconds in found["seconds"].values())
    assert sum(found["seconds"].values()) > 0
    assert "threads" in found["environment"]["device"]
    assert {"envoi", "torch", "python"} < set(found["environment"])
    ventricles = result.scores.synthetic.anatomy[-1]
    assert found["ventricles_ml"]["mean"] == pytest.approx(np.mean(ventricles.millilitres))
    made = np.mean(ventricles.reference_millilitres)
    assert any(f"made brains {made:.0f} ml" in line for line in verdict(result))


def test_it_may_be_repeated_and_gives_the_same(folder, result):
    (folder / "drawn" / "synthetic-0004_T1w.nii.gz").touch()  # of one that drew more
    again = run_brain_demo(folder, SMALL)
    assert len(list((folder / "drawn").glob("*.nii.gz"))) == 3
    assert {**summary(again), "seconds": result.seconds} == summary(result)


def test_a_folder_of_another_demonstration_is_refused(folder, result):
    with pytest.raises(SettingsError, match="settings"):
        run_brain_demo(folder, replace(SMALL, seed=1))
