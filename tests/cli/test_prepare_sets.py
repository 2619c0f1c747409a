"""`envoi data prepare` of public sets, as a researcher calls it."""

import re

import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.data import Reading, load_table
from envoi.types import ImageSpec
from tests.data.sets.packed import eyes, isic, rsna

runner = CliRunner()


def prepared(*words):
    return runner.invoke(app, ["data", "prepare", *map(str, words)])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_fed_isic2019(tmp_path):
    isic(tmp_path / "source", zipped=True, whole_lesions=False)
    words = ("fed-isic2019", "source", "--size", 16)
    done = prepared(*words, "--out", "set")
    assert done.exit_code == 0, done.output
    assert "warning: FLamby's split has 12 lesions (24 images) in training and test" in done.output
    assert "Passed over 1 picture that no label names." in done.output
    assert "Wrote set: 48 images, and labels.csv." in done.output
    assert done.output.endswith("--data set --fit crop\n")
    done = prepared(*words, "--out", "whole", "--split", "lesion", "--no-colour-constancy")
    assert done.exit_code == 0, done.output
    assert "warning" not in done.output
    assert "Wrote whole: 48 images of 24 groups (patients or lesions), and" in done.output
    assert prepared(*words, "--out", "x", "--split", "patient").exit_code == 2


def test_rsna_pneumonia(tmp_path):
    rsna(tmp_path / "source", mapping=True)
    words = ("rsna-pneumonia", "source", "--size", 16)
    done = prepared(*words, "--out", "set", "--labels", "class")
    assert done.exit_code == 0, done.output
    assert "Wrote set: 12 images of 4 groups" in done.output
    classes = re.findall(r"^3 classes: (.+)\.$", done.output, flags=re.MULTILINE)
    assert sum(int(part.split()[-1]) for part in classes[0].split(", ")) == 12
    assert done.output.endswith("--data set\n")
    data = load_table(tmp_path / "set" / "labels.csv", spec=ImageSpec.of(1, 16))
    assert not set(data.train.patients) & set(data.test.patients)
    refused = prepared(*words, "--out", "other", "--window", "5")
    assert refused.exit_code == 2
    assert not (tmp_path / "other").exists()


def test_diabetic_retinopathy(tmp_path):
    source = eyes(tmp_path / "source")
    (source / "train" / "10_left.jpeg").write_bytes(b"")
    (source / "train" / "10_right.jpeg").unlink()
    words = ("diabetic-retinopathy", "source", "--size", 16, "--crop-borders")
    refused = prepared(*words, "--out", "set")
    assert refused.exit_code == 3
    assert refused.output.count("error:") == 1
    assert "--allow-missing" in refused.output
    done = prepared(*words, "--out", "set", "--allow-missing", "--leave-out-unreadable")
    assert done.exit_code == 0, done.output
    assert "Passed over 1 label whose picture is not there." in done.output
    assert "Passed over 1 picture that cannot be read." in done.output
    assert "Wrote set: 18 images of" in done.output
    load_table(
        tmp_path / "set" / "labels.csv", spec=ImageSpec.of(3, 16), reading=Reading(fit="crop")
    )


def test_an_empty_folder_is_told_in_one_line(tmp_path):
    (tmp_path / "source").mkdir()
    for name in ("fed-isic2019", "rsna-pneumonia", "diabetic-retinopathy"):
        refused = prepared(name, "source", "--out", "set")
        assert refused.exit_code == 3
        assert refused.output.count("error:") == 1
        assert "source folder: expected the files of the set" in refused.output
        refused = prepared(name, "missing", "--out", "set")
        assert "source folder: expected a folder, found no such folder" in refused.output
