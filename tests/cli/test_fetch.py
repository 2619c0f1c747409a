"""`envoi data fetch`, as a researcher calls it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.data import load_medmnist, public_sets
from envoi.data.fetch import Remote
from tests.data.served import serving

runner = CliRunner()
pytestmark = pytest.mark.network


def fetched(*words):
    return runner.invoke(app, ["data", "fetch", *map(str, words)])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The publisher of a small bloodmnist, on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = np.arange(192, dtype=np.uint8).reshape(4, 4, 4, 3)
        arrays[f"{part}_labels"] = np.array([[0], [1], [7], [2]])
    np.savez(tmp_path / "published.npz", **arrays)
    content = (tmp_path / "published.npz").read_bytes()
    with serving(content) as server:

        def public_set(name, size=None):
            found = real(name, size)
            (file,) = found.files
            return replace(
                found, files=(Remote(file.name, server.url, hashlib.md5(content).hexdigest()),)
            )

        real = public_sets.public_set
        monkeypatch.setattr(public_sets, "public_set", public_set)
        yield server


def test_a_set_is_fetched_and_read(server, tmp_path):
    server.cut_after = 100
    cut = fetched("bloodmnist", "--size", 64, "--out", "sets")
    assert cut.exit_code == 3
    assert "error: bloodmnist_64.npz: expected the whole file" in cut.output
    done = fetched("bloodmnist", "--size", 64, "--out", "sets")
    assert done.exit_code == 0, done.output
    assert "Licence: CC BY 4.0." in done.output
    assert "Next: envoi bench run sets/bloodmnist_64.npz" in done.output
    assert server.requests[1]["range"] == "bytes=100-"
    data = load_medmnist(tmp_path / "sets" / "bloodmnist_64.npz")
    assert data.train.class_names[7] == "platelet"


def test_what_needs_an_account_is_said_in_one_line(tmp_path):
    done = fetched("rsna-pneumonia", "--out", tmp_path / "sets")
    assert done.exit_code == 2
    assert done.output.count("error:") == 1
    assert "needs a Kaggle account" in done.output
    assert not (tmp_path / "sets").exists()
