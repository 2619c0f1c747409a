"""`envoi bench`, `envoi demo` and `envoi server distil`: words in, exit codes and files out."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from envoi.data import phantom_federation


def envoi(*words):
    return subprocess.run(
        [sys.executable, "-m", "envoi", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A MedMNIST-like file of tiny phantoms."""
    data = phantom_federation(sites=1, images_per_site=64, test_images=24, size_px=16)
    arrays = {}
    for part, images in (("train", data.train), ("val", data.test), ("test", data.test)):
        arrays[f"{part}_images"] = images.images.transpose(0, 2, 3, 1)
        arrays[f"{part}_labels"] = images.labels[:, None]
    path = tmp_path_factory.mktemp("data") / "cells.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.slow
def test_bench_runs_once_and_its_table_reads_by_program(file, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[budget]\nouter_epochs = 1\nsynthesis_steps = 2\nbatch_size = 8\n")
    words = ("bench", "run", file, "--out", tmp_path / "runs", "--sites", 2, "--epochs", 1)
    words += ("--partition", "iid", "--methods", "fedavg,fedisca", "--settings", settings)
    first = envoi(*words)
    assert first.returncode == 0, first.stderr
    assert "cells_iid_2_convnet-small_0: running" in first.stdout
    assert "finished before" in envoi(*words).stdout
    changed = envoi(*words, "--weight-format", "fp32")
    assert (changed.returncode, "finished before" in changed.stdout) == (2, False)
    assert "others (federation.weight_format: fp16 then, fp32 now). Name" in changed.stderr
    table = envoi("bench", "table", tmp_path / "runs")
    assert table.returncode == 0, table.stderr
    assert "### cells, iid, 2 sites, convnet-small" in table.stdout
    rows = list(csv.DictReader((tmp_path / "runs/table.csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == [
        "pooled",
        "local_best",
        "local_mean",
        "fedavg",
        "fedisca",
    ]
    assert rows[0]["ratio_accuracy"] == "1.0000"
    assert int(rows[-1]["bytes_per_site"]) > 100_000


@pytest.fixture
def table(tmp_path):
    """Pictures of two hospitals and their table, with parts and patients."""
    rng = np.random.default_rng(0)
    lines = ["path,label,split,site,who"]
    for number in range(64):
        label, site = "ab"[number % 2], ("east", "west")[number % 4 > 1]
        grey = rng.integers(0, 120, (20, 20)) + 120 * (number % 2)
        Image.fromarray(grey.astype(np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{label},{'test' if number < 16 else 'train'},{site},p{number}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path / "list.csv"


def test_a_backbone_is_told_in_the_runs_name_and_must_be_there(file, tmp_path):
    words = ("bench", "run", file, "--out", tmp_path / "runs", "--dry-run", "--backbone")
    missing = envoi(*words, tmp_path / "imagenet.pth")
    assert missing.returncode == 3
    assert "imagenet.pth: expected a checkpoint file" in missing.stderr
    (tmp_path / "imagenet.pth").write_bytes(b"weights")
    found = envoi(*words, tmp_path / "imagenet.pth")
    assert found.returncode == 0, found.stderr
    assert "cells_dirichlet-0.6_5_convnet-small-imagenet_0: " in found.stdout


@pytest.mark.slow
def test_every_run_gets_its_report_before_a_method_that_failed_is_told(file, tmp_path):
    settings = tmp_path / "settings.toml"
    budget = "outer_epochs = 1\nsynthesis_steps = 2\nbatch_size = 8\nstudent_rate = 1e30\n"
    settings.write_text(f"[budget]\n{budget}")
    words = ("bench", "run", file, "--out", tmp_path, "--sites", 2, "--epochs", 1, "--seeds", "0,1")
    words += ("--partition", "iid", "--methods", "fedisca,fedavg", "--settings", settings)
    result = envoi(*words)
    assert result.returncode == 3
    assert result.stdout.count("report: ") == 2
    for seed in (0, 1):
        assert f"cells_iid_2_convnet-small_{seed}, fedisca, step" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_bench_takes_the_hospitals_of_a_table_as_sites(table, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[budget]\nouter_epochs = 1\nsynthesis_steps = 2\nbatch_size = 8\n")
    words = ("bench", "run", table, "--out", tmp_path / "runs", "--partition", "natural")
    words += ("--size", 16, "--channels", 1, "--fit", "resize", "--column", "patient=who")
    words += ("--epochs", 1, "--methods", "fedavg", "--settings", settings)
    found = envoi(*words)
    assert found.returncode == 0, found.stderr
    assert "list-1x16-resize_natural_5_convnet-small_0: running" in found.stdout
    shown = envoi("bench", "table", tmp_path / "runs")
    assert "### list-1x16-resize, natural, 2 sites, convnet-small" in shown.stdout


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        ((), "--size: expected a size in pixels for the pictures of a table or folder", 2),
        (("--size", 16), "permit it with --fit resize", 3),
        (("--size", 20), "permit it with --allow-channel-conversion", 3),
        (("--size", 20, "--channels", 2), "--channels: expected 1 or 3, found '2'", 2),
        (("--size", 20, "--channels", 1, "--column", "x=y"), "expected MEANING=NAME", 2),
        (("--size", 20, "--channels", 1), None, 0),
        (("--size", 20, "--allow-channel-conversion"), None, 0),
    ],
)
def test_how_a_table_is_read_is_said(table, tmp_path, words, message, code):
    found = envoi("bench", "run", table, "--out", tmp_path / "runs", "--dry-run", *words)
    assert found.returncode == code, found.stderr
    assert message is None or message in found.stderr


def test_a_folder_of_classes_is_read(tmp_path):
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (12, 12), number).save(tmp_path / "set" / name / f"{number}.png")
    words = ("bench", "run", tmp_path / "set", "--out", tmp_path / "runs", "--dry-run")
    found = envoi(*words, "--size", 12, "--channels", 1)
    assert found.returncode == 0, found.stderr
    assert "set-1x12_dirichlet-0.6" in found.stdout


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (("--methods", "fedsica"), "expected one of envoi", 3),
        (("--methods", "fedprox_rounds"), "expected fedprox_rounds_R with a number", 3),
        (("--partition", "alphabetic"), "expected iid, dirichlet-ALPHA, one-class", 2),
        (("--seeds", "one"), "expected whole numbers with commas, found 'one'", 2),
        (("--weight-format", "fp8"), "expected fp32 or fp16 or int8, found 'fp8'", 2),
        (("--budget", "huge"), "expected one of smoke, short, full, found 'huge'", 2),
        (("--network", "alexnet"), "expected one of convnet-small", 3),
        (("--size", "28"), "pictures of a table or folder, and only for these, found '28'", 2),
    ],
)
def test_what_is_unknown_is_said_before_anything_runs(words, message, code, file, tmp_path):
    found = envoi("bench", "run", file, "--out", tmp_path, *words)
    assert (found.returncode, "Traceback" in found.stderr) == (code, False), found.stderr
    assert message in found.stderr


def test_a_partition_that_the_data_do_not_have_leaves_no_run(file, tmp_path):
    found = envoi("bench", "run", file, "--out", tmp_path / "runs", "--partition", "natural")
    assert (found.returncode, "column that names each image's site" in found.stderr) == (3, True)
    assert not list((tmp_path / "runs").iterdir())


def test_an_empty_folder_has_no_table(tmp_path):
    found = envoi("bench", "table", tmp_path)
    assert found.returncode == 3
    assert "expected at least one finished run, found none" in found.stderr


def test_a_dry_run_says_what_would_run(file, tmp_path):
    found = envoi("bench", "run", file, "--out", tmp_path / "runs", "--dry-run")
    assert found.returncode == 0, found.stderr
    assert "cells_dirichlet-0.6_5_convnet-small_0" in found.stdout
    assert not (tmp_path / "runs").exists()
