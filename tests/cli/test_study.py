import re

import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.study import load_study
from envoi.submission import fingerprint, generate_key, public_text, submission_bytes

runner = CliRunner()
NEW = ["--name", "Cells", "--classes", "a, b,c", "--channels", "1", "--size", "28"]


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path):
    assert run("study", "new", tmp_path, *NEW).exit_code == 0
    return tmp_path / "study.toml"


def test_new_writes_a_valid_study_with_comments(file):
    study = load_study(file)
    assert (study.name, study.classes) == ("Cells", ("a", "b", "c"))
    assert (study.image.channels, study.image.size_px) == (1, 28)
    assert file.read_text().count("\n#") > 10


def test_new_takes_a_file_name_and_all_options(tmp_path):
    path = tmp_path / "deep" / "mine.toml"
    options = ["--architecture", "vgg8", "--weight-format", "fp16", "--seed", 5]
    assert run("study", "new", path, *NEW, *options, "--minimum-sites", 4).exit_code == 0
    study = load_study(path)
    assert study.architectures == ("vgg8",)
    assert (study.weight_format, study.seed, study.minimum_sites) == ("fp16", 5, 4)


def test_new_never_overwrites(file):
    before = file.read_bytes()
    found = run("study", "new", file, *NEW)
    assert found.exit_code == 3
    assert "study.toml: expected a new file, found an existing one" in found.stderr
    assert file.read_bytes() == before


def test_new_says_every_problem_and_writes_nothing(tmp_path):
    wrong = ["--name", "x", "--classes", "a,a", "--channels", "2", "--size", "28"]
    found = run("study", "new", tmp_path / "s.toml", *wrong)
    assert found.exit_code == 3
    assert len(found.stderr.splitlines()) >= 2
    assert all(line.startswith("error: ") for line in found.stderr.splitlines())
    assert not (tmp_path / "s.toml").exists()


def test_check_tells_digest_sizes_and_doubts(file):
    found = run("study", "check", file)
    study = load_study(file)
    assert found.exit_code == 0
    assert f"digest {study.digest}" in found.output
    assert f"resnet18: {submission_bytes(study, 'resnet18')} bytes" in found.output
    assert "warning: No site is in the roster yet" in found.stderr


def test_check_tells_what_is_released_and_when_it_ends(file):
    found = run("study", "check", file).output
    assert (
        "released: class_counts; fewer than 10 told as 0, others rounded to multiples of 1\n"
        in (found)
    )
    assert "deadline" not in found
    assert "audit" not in found
    text = file.read_text().replace("# deadline", "deadline")
    text = text.replace("# [audit]", "[audit]").replace("# maximum_m", "maximum_m")
    text = text.replace('["class_counts"]', '["class_counts", "feature_moments"]')
    file.write_text(text)
    found = run("study", "check", file).output
    assert "released: class_counts, feature_moments; fewer than 10 told as 0" in found
    assert "correlations: of 1000 images or more\n" in found
    assert "deadline 2030-06-30 16:00 UTC\n" in found
    assert "audit: no file above 0.75 leaves (area under the ROC curve" in found
    file.write_text(text.replace("membership = 0.75", "membership = 1.0"))
    assert "audit: every file has one (" in run("study", "check", file).output


def test_check_says_every_problem_at_once(file):
    text = file.read_text().replace('"fp32"', '"fp31"').replace("channels = 1", "channels = 2")
    file.write_text(text + "\n[surplus]\nx = 1\n")
    found = run("study", "check", file)
    assert found.exit_code == 3
    for part in ("weight_format", "channels", "surplus"):
        assert part in found.stderr


def test_check_says_what_is_wrong_with_the_training(file):
    text = file.read_text().replace("momentum = 0.9", "momentum = -1.0")
    text = text.replace("weight_decay = 0.0005", "weight_decay = -1.0")
    text = text.replace("patience = 0", "patience = -3").replace("0.5, 0.75]", "5.0, -2.0]")
    file.write_text(text.replace("batch_size = 128", "batch_size = 1"))
    found = run("study", "check", file)
    assert found.exit_code == 3
    lines = found.stderr.splitlines()
    for name in ("batch_size", "momentum", "weight_decay", "milestones", "patience"):
        assert sum(f"training.{name}: expected " in line for line in lines) == 1


def test_add_site_keeps_comments_and_binds_the_key(file):
    before = file.read_text()
    keys = {site: public_text(generate_key()) for site in ("north", "south")}
    for site, key in keys.items():
        found = run("study", "add-site", file, site, key)
        assert found.exit_code == 0, found.stderr
        assert f"fingerprint {fingerprint(key)}" in found.output
    study = load_study(file)
    assert study.sites == keys
    assert study.digest in found.output
    after = file.read_text()
    comments = re.findall(r"(?m)^#.*$", before)
    assert re.findall(r"(?m)^#.*$", after) == comments
    assert fingerprint(keys["south"]) in run("study", "check", file).output


def test_add_site_changes_a_key_on_purpose_only(file):
    old, new = public_text(generate_key()), public_text(generate_key())
    run("study", "add-site", file, "south", public_text(generate_key()))
    for _ in range(2):
        assert run("study", "add-site", file, "north", old).exit_code == 0
    found = run("study", "add-site", file, "north", new)
    assert found.exit_code == 3
    assert "compare fingerprints, and add --replace" in found.stderr
    assert load_study(file).sites["north"] == old
    assert run("study", "add-site", file, "north", new, "--replace").exit_code == 0
    assert load_study(file).sites["north"] == new


def test_what_was_there_already_makes_no_other_study(file):
    run("study", "add-site", file, "south", public_text(generate_key()))
    words = ("study", "add-site", file, "north", public_text(generate_key()))
    assert "The study is another one now" in run(*words).output
    before = file.read_bytes()
    again = run(*words).output
    assert "It was there already: the study is as it was." in again
    assert "another one" not in again
    words = ("study", "set-server", file, "--receipts", public_text(generate_key()))
    assert file.read_bytes() == before
    assert "The study is another one now" in run(*words).output
    assert "It was there already: the study is as it was." in run(*words).output


def test_a_roster_is_filled_one_site_at_a_time(file):
    found = run("study", "add-site", file, "north", public_text(generate_key()))
    assert "1 more to come for the study's minimum" in found.output
    assert "digest" not in found.output
    assert run("study", "check", file).exit_code == 3
    run("study", "add-site", file, "south", public_text(generate_key()))
    assert run("study", "check", file).exit_code == 0


def test_add_site_refuses_a_file_that_is_no_study(tmp_path):
    file = tmp_path / "study.toml"
    key = public_text(generate_key())
    assert "found No such file" in run("study", "add-site", file, "north", key).stderr
    file.write_text("name = ")
    assert "expected a TOML file" in run("study", "add-site", file, "north", key).stderr
    file.write_text("name = 'x'")
    found = run("study", "add-site", file, "north", key)
    assert (found.exit_code, file.read_text()) == (3, "name = 'x'")


@pytest.mark.parametrize(("site", "key"), [("North Clinic", None), ("north", "ed25519:AAAA")])
def test_add_site_refuses_what_no_study_may_hold(file, site, key):
    before = file.read_bytes()
    found = run("study", "add-site", file, site, key or public_text(generate_key()))
    assert found.exit_code == 3
    assert found.stderr.startswith("error: study.toml, sites.")
    assert file.read_bytes() == before


def test_add_site_takes_the_whole_line_of_its_own_site(file):
    key = public_text(generate_key())
    other = run("study", "add-site", file, "south", f'north = "{key}"')
    assert other.exit_code == 3
    assert "expected the line of south, found that of north" in other.stderr
    assert run("study", "add-site", file, "north", f' north = "{key}"\n').exit_code == 0
    assert key in file.read_text()
