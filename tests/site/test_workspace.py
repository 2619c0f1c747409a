import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch
from safetensors.torch import load_file, save_file

from envoi.errors import SettingsError, StorageError, StudyError
from envoi.site import Finished, Workspace, release, train

ALL = ["class_counts", "feature_moments", "temperature"]


@pytest.fixture
def finished(make_images, make_study):
    study = make_study(statistics={"release": ALL, "minimum_covariance_images": 48})
    images = make_images()
    trained = train(images, study=study, seed=1)
    return study, Finished(release(trained, images, study=study), 0.5, trained.seconds, "job")


def test_a_training_comes_back_whole(finished, tmp_path):
    study, wanted = finished
    workspace = Workspace(tmp_path / "work", "north")
    workspace.save(wanted, study=study)
    found = workspace.load(study=study)
    assert (found.accuracy_as_sent, found.seconds) == (0.5, wanted.seconds)
    assert found.release.card == wanted.release.card
    assert found.release.class_counts == wanted.release.class_counts
    assert found.release.temperature == wanted.release.temperature
    moments = (found.release.moments.encoded(), wanted.release.moments.encoded())
    assert moments[0].keys() == moments[1].keys()
    assert all(torch.equal(moments[0][name], moments[1][name]) for name in moments[0])
    assert found.release.moments.has_correlations
    assert found.release.state.keys() == wanted.release.state.keys()
    assert all(torch.equal(found.release.state[n], t) for n, t in wanted.release.state.items())


def test_a_new_roster_keeps_a_training_and_new_images_do_not(finished, make_study, tmp_path):
    study, wanted = finished
    workspace = Workspace(tmp_path, "north")
    workspace.save(wanted, study=study)
    later = make_study(
        statistics={"release": ALL, "minimum_covariance_images": 48},
        minimum_sites=2,
        deadline=datetime(2031, 1, 1, tzinfo=UTC),
    )
    assert later.digest != study.digest
    assert workspace.load(study=later).release.card == wanted.release.card
    with pytest.raises(StudyError, match="expected a training for this study"):
        workspace.load(study=make_study())


def test_a_training_without_moments_comes_back_without(finished, tmp_path):
    study, wanted = finished
    bare = replace(wanted, release=replace(wanted.release, moments=None))
    Workspace(tmp_path, "north").save(bare, study=study)
    assert Workspace(tmp_path, "north").load(study=study).release.moments is None


def test_only_the_same_job_is_taken_for_finished(finished, tmp_path):
    study, wanted = finished
    workspace = Workspace(tmp_path, "north")
    assert workspace.finished_job("job", study=study) is None
    workspace.save(wanted, study=study)
    assert workspace.finished_job("job", study=study).seconds == wanted.seconds
    with pytest.raises(StorageError, match="add --again to drop that training"):
        workspace.finished_job("another", study=study)
    workspace.clear()
    assert workspace.finished_job("another", study=study) is None


def test_no_training_is_said_in_one_line(study, tmp_path):
    with pytest.raises(
        StorageError, match=r"finished training, found none. Run `envoi site train`"
    ):
        Workspace(tmp_path, "north").load(study=study)


@pytest.mark.parametrize("kind", ["bytes", "foreign", "record"])
def test_a_damaged_training_is_refused(finished, tmp_path, kind):
    study, wanted = finished
    workspace, path = Workspace(tmp_path, "north"), tmp_path / "trained.safetensors"
    workspace.save(wanted, study=study)
    if kind == "bytes":
        path.write_bytes(path.read_bytes()[:100])
    else:
        save_file(load_file(path), path, metadata={"record": "{}"} if kind == "record" else None)
    with pytest.raises(StorageError, match="found a damaged or foreign file"):
        workspace.load(study=study)
    workspace.clear()
    assert not path.exists()


def test_numbers_of_files_only_grow(tmp_path):
    workspace = Workspace(tmp_path, "north")
    assert workspace.last_sequence() == 0
    workspace.reserve(1)
    workspace.reserve(7)
    for used in (7, 3):
        with pytest.raises(SettingsError, match=f"a number above 7, .* found {used}"):
            workspace.reserve(used)
    assert Workspace(tmp_path, "north").last_sequence() == 7
    workspace.clear()
    assert workspace.last_sequence() == 7


def test_a_folder_belongs_to_its_site(finished, tmp_path):
    study, wanted = finished
    Workspace(tmp_path, "north").save(wanted, study=study)
    other = Workspace(tmp_path, "south")
    told = "expected the working folder of south, found that of north"
    with pytest.raises(StudyError, match=told):
        other.load(study=study)
    with pytest.raises(StudyError, match=told):
        other.finished_job("job", study=study)
    with pytest.raises(StudyError, match=f"trained.safetensors: {told}"):
        other.clear()
    assert (tmp_path / "trained.safetensors").exists()
    Workspace(tmp_path, "north").reserve(1)
    for step in (other.last_sequence, lambda: other.reserve(2), other.clear):
        with pytest.raises(StudyError, match=f"sent.json: {told}"):
            step()
    with pytest.raises(StudyError, match=told):
        other.finished_job("job", study=study)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"sequence": 3}', '{"site": "north", "sequence": "3"}', "[1]"]
)
def test_a_damaged_number_is_refused(tmp_path, text):
    (tmp_path / "sent.json").write_text(text)
    with pytest.raises(StorageError, match="give a number above your last submission's"):
        Workspace(tmp_path, "north").last_sequence()


def test_the_folder_names_no_place_or_person(finished, tmp_path, monkeypatch):
    study, wanted = finished
    folder = tmp_path / "planted-host-and-user"
    workspace = Workspace(folder, "north")
    workspace.save(wanted, study=study)
    workspace.reserve(3)
    for file in folder.iterdir():
        assert b"planted" not in file.read_bytes()
    assert json.loads((folder / "sent.json").read_text()) == {"site": "north", "sequence": 3}
