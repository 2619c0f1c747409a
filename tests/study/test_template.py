from itertools import pairwise

import pytest

from envoi.errors import StudyError
from envoi.networks import ARCHITECTURES
from envoi.study import load_study, study_document, study_template
from envoi.types import ImageSpec


def load(tmp_path, text):
    (tmp_path / "study.toml").write_text(text)
    return load_study(tmp_path / "study.toml")


def test_the_template_is_valid_as_it_stands(tmp_path):
    text = study_template(
        'Eyes "2030" # test',
        classes=["none", "mild \\ early", "sevère"],
        channels=1,
        size_px=64,
        architecture="vgg8",
        weight_format="int8",
        seed=5,
        minimum_sites=3,
    )
    study = load(tmp_path, text)
    assert study.name == 'Eyes "2030" # test'
    assert study.classes == ("none", "mild \\ early", "sevère")
    assert study.image == ImageSpec.of(1, 64)
    assert study.architectures == ("vgg8",)
    assert (study.weight_format, study.seed, study.minimum_sites) == ("int8", 5, 3)


def test_a_coordinator_can_fill_it_in(tmp_path, keys):
    text = study_template("s", classes=["a", "b"], channels=3, size_px=28)
    text = text.replace("# deadline", "deadline").replace("# [model.init", "[model.init")
    text = text.replace("# file =", "file =").replace(
        '# sha256 = "<64 characters, from sha256sum>"', f'sha256 = "{"0" * 64}"'
    )
    sites = "".join(f'site-{index} = "{key}"\n' for index, key in enumerate(keys))
    study = load(tmp_path, text + sites)
    assert study.deadline is not None
    assert study.deadline.year == 2030
    assert study.initialisation is not None
    assert len(study.sites) == 3


def test_every_key_is_written_and_most_are_explained(tmp_path):
    text = study_template("s", classes=["a", "b"], channels=3, size_px=28)
    study = load(tmp_path, text)
    for table, values in study_document(study).items():
        assert f"\n{table} = " in text or f"\n[{table}]\n" in text
        if isinstance(values, dict):
            assert all(f"\n{key} = " in text for key in values)
    lines = text.splitlines()
    assert sum(line.startswith("# ") for line in lines) > 30
    assert max(map(len, lines)) <= 100
    assert all(name in text for name in ARCHITECTURES)


def test_comments_break_where_a_line_is_full_and_never_in_a_command():
    lines = study_template("s", classes=["a", "b"], channels=3, size_px=28).splitlines()
    pairs = [(a, b) for a, b in pairwise(lines) if a.startswith("# ") and b.startswith("# ")]
    early = [a for a, b in pairs if len(a) + 1 + len(b.split()[1]) <= 90]
    assert [a for a in early if not a.endswith((".", ":", "]")) and " = " not in a] == []
    assert all(line.count("`") % 2 == 0 for line in lines)
    words = [line.split()[1:] for line in lines if line.startswith("# ")]
    assert [line[0] for line in words if len(line) == 1] == ["[model.initialisation]", "[audit]"]


def test_many_classes_stand_one_a_line():
    text = study_template(
        "s", classes=[f"class number {n}" for n in range(9)], channels=3, size_px=28
    )
    assert '\n    "class number 8",\n' in text


def test_wrong_values_are_told_at_once():
    with pytest.raises(StudyError) as caught:
        study_template("", classes=["a"], channels=2, size_px=28, architecture="x")
    assert len(caught.value.problems) >= 4
