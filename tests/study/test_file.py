import contextlib
from datetime import UTC, date, datetime

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.errors import StorageError, StudyError
from envoi.networks import ARCHITECTURES
from envoi.settings import TrainingSettings
from envoi.study import (
    Initialisation,
    StatisticsPolicy,
    Study,
    load_study,
    study_from,
    write_study,
)
from envoi.types import ImageSpec


def refusal(document):
    with pytest.raises(StudyError) as caught:
        study_from(document)
    assert all("\n" not in str(problem) for problem in caught.value.problems)
    return caught.value


names = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20
)
channels = st.sampled_from([1, 3])
values = st.fixed_dictionaries(
    {
        "name": names,
        "classes": st.lists(names, min_size=2, max_size=6, unique=True).map(tuple),
        "image": st.tuples(channels, st.integers(8, 300)),
        "architectures": st.lists(
            st.sampled_from(sorted(ARCHITECTURES)), min_size=1, max_size=3, unique=True
        ).map(tuple),
        "seed": st.integers(0, 2**63 - 1),
        "deadline": st.none()
        | st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        "weight_format": st.sampled_from(["fp32", "fp16", "int8"]),
        "statistics": st.fixed_dictionaries(
            {
                "release": st.sampled_from([(), ("class_counts",), ("temperature",)]),
                "minimum_class_size": st.integers(1, 100),
                "count_rounding": st.integers(1, 100),
                "minimum_covariance_images": st.integers(2, 1000),
                "moment_rank": st.integers(0, 128),
            }
        ),
        "training": st.fixed_dictionaries(
            {
                "epochs": st.integers(1, 500),
                "rate": st.floats(1e-9, 10),
                "milestones": st.lists(st.floats(0, 1), max_size=4).map(tuple),
                "augment": st.booleans(),
                "logit_adjustment": st.floats(0, 1),
            }
        ),
    }
)


@settings(max_examples=40)
@given(values=values)
def test_writing_and_loading_keeps_the_digest(values, tmp_path_factory):
    study = Study(**{**values, "image": ImageSpec.of(*values["image"])})
    path = tmp_path_factory.mktemp("round") / "study.toml"
    write_study(path, study)
    loaded = load_study(path)
    assert loaded.digest == study.digest
    assert loaded == study.placed(path.parent)


def test_round_trip_of_roster_and_initialisation(study, tmp_path):
    agreed = Initialisation(file="b.safetensors", sha256="a" * 64)
    whole = Study(**{**dict(study), "architectures": ("vgg8",), "initialisation": agreed})
    write_study(tmp_path / "study.toml", whole)
    loaded = load_study(str(tmp_path / "study.toml"))
    assert loaded.initialisation == agreed
    assert loaded.sites == study.sites
    assert loaded.digest == whole.digest


def test_the_file_is_laid_out_in_tables(study, tmp_path):
    write_study(tmp_path / "study.toml", study)
    document = tomlkit.parse((tmp_path / "study.toml").read_text()).unwrap()
    assert list(document) == [
        "name",
        "classes",
        "seed",
        "minimum_sites",
        "image",
        "model",
        "statistics",
        "training",
        "sites",
    ]
    assert document["model"] == {
        "architectures": ["resnet10-small", "vgg8"],
        "weight_format": "fp32",
    }


def test_what_is_left_out_has_its_default(document):
    study = study_from(document)
    assert study.image == ImageSpec.of(3, 28)
    assert study.training == TrainingSettings()
    assert study.statistics == StatisticsPolicy()
    assert study.weight_format == "fp32"
    grey = {"channels": 1, "size_px": 28}
    assert study_from({**document, "image": grey}).image == ImageSpec.of(1, 28)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "study, name: expected"),
        ({"classes": "ab"}, "study, classes: expected a valid array, found 'ab'"),
        ({"seed": "3"}, "study, seed: expected a valid integer, found '3'"),
        ({"seed": 3.0}, "study, seed: expected a valid integer, found 3.0"),
        ({"seed": 2**63}, "study, seed: expected less than 9223372036854775808"),
        ({"sead": 3}, "study, the top: expected a known key, found 'sead'. Did you mean 'seed'?"),
        ({"deadline": datetime(2030, 1, 1)}, "a time with its zone, such as"),  # noqa: DTZ001
        ({"deadline": date(2030, 1, 1)}, "a time with its zone, such as"),
        ({"deadline": "tomorrow"}, "a time with its zone, such as"),
        ({"deadline": 1893456000}, "a time with its zone, such as"),
        ({"image": 3}, "study, image: expected"),
        ({"image": {"size_px": 28}}, "study, image.channels: expected a value, found none"),
        ({"image": {"channels": [1], "size_px": 28}}, "study, image.channels"),
        ({"image": {"channels": 3, "size_px": "28"}}, "study, image.size_px: expected a valid"),
        ({"image": {"channels": 3, "size_px": 28, "men": 1}}, "found 'men'. Did you mean 'mean'?"),
        ({"image": {"channels": 3, "size_px": 28, "mean": [0.5]}}, "study, image.mean: expected 3"),
        ({"model": 3}, "study, model: expected a table, found 3. Write [model]."),
        ({"model": {}}, "study, model.architectures: expected a value, found none"),
        (
            {"model": {"architecture": ["vgg8"]}},
            "found 'architecture'. Did you mean 'architectures'?",
        ),
        (
            {"model": {"architectures": ["vgg8", "vgg9"]}},
            "study, model.architectures: expected one or more of",
        ),
        ({"weight_format": "fp16"}, "study, weight_format: expected weight_format in the table"),
        (
            {"model": {"architectures": ["vgg8"], "initialisation": {"file": "../x"}}},
            "study, model.initialisation.file: expected a file name",
        ),
        (
            {"model": {"architectures": ["vgg8"], "initialisation": {"file": "../x"}}},
            "study, model.initialisation.sha256: expected a value, found none",
        ),
        (
            {"statistics": {"release": ["class_count"]}},
            "study, statistics.release.0: expected 'class_counts'",
        ),
        (
            {"statistics": {"release": ["feature_moments"]}},
            "study, statistics.release: expected class_counts wherever",
        ),
        (
            {"statistics": {"minimum_size": 5}},
            "found 'minimum_size'. Did you mean 'minimum_class_size'?",
        ),
        ({"training": {"epochs": 0}}, "study, training.epochs: expected a whole number"),
        ({"training": {"epoch": 3}}, "study, training: expected a known key, found 'epoch'"),
        ({"training": {"rate": float("nan")}}, "study, training.rate: expected"),
        ({"training": {"momentum": float("inf")}}, "study, training.momentum: expected 0 up to"),
        ({"training": {"augment": 1}}, "study, training.augment: expected a valid boolean"),
        ({"sites": {"../x": "ed25519:"}}, "study, sites.'../x': expected a site id"),
        ({"sites": {"north": 3}}, "study, sites.north: expected a valid string, found 3"),
        ({"minimum_sites": 9}, "study, minimum_sites: expected at most 2"),
    ],
)
def test_one_problem_is_named_by_its_key(document, changes, message):
    assert message in str(refusal({**document, **changes}))


def test_all_problems_are_told_at_once(document):
    wrong = {
        **document,
        "name": "",
        "classes": ["a", "a"],
        "seed": -1,
        "extra": 1,
        "deadline": "soon",
        "image": {"channels": 4, "size_px": "x", "colour": True},
        "model": {"architectures": ["x"], "weight_format": "fp8"},
        "statistics": {"minimum_class_size": 0, "release": ["feature_moments"]},
        "training": {"epochs": "many", "rat": 1},
        "sites": {"A": "x", "north": "y"},
        "minimum_sites": 0,
    }
    keys = {str(problem).split(":")[0].split(", ")[1] for problem in refusal(wrong).problems}
    assert keys == {
        "name",
        "classes",
        "seed",
        "the top",
        "deadline",
        "image",
        "image.size_px",
        "model.architectures",
        "model.weight_format",
        "statistics.minimum_class_size",
        "statistics.release",
        "training",
        "training.epochs",
        "sites.'A'",
        "sites.north",
        "minimum_sites",
    }


def test_nothing_at_all():
    keys = {problem.where for problem in refusal({}).problems}
    assert keys == {f"study, {key}" for key in ("name", "classes", "image", "model.architectures")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ?", "study.toml: expected a TOML file, found Invalid value (at line 1, column 8)"),
        ("a = 1\na = 2\n", "at line 2, column 6"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "9" * 5000, "expected a TOML file"),
        ("\ufeffname = 1", "expected a TOML file"),
    ],
)
def test_what_is_not_toml(tmp_path, text, message):
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(StudyError) as caught:
        load_study(tmp_path / "study.toml")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(StorageError, match=r"none\.toml: expected a study file, found No such"):
        load_study(tmp_path / "none.toml")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(StorageError, match="bytes that are not UTF-8"):
        load_study(tmp_path / "image.png")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    key=st.sampled_from([*Study.model_fields, "model"]),
    value=json_values,
    inner=st.sampled_from(["channels", "mean", "architectures", "release", "epochs", "north"]),
)
def test_any_value_anywhere_ends_in_a_study_or_a_study_error(key, value, inner):
    base = {
        "name": "n",
        "classes": ["a", "b"],
        "image": {"channels": 3, "size_px": 28},
        "model": {"architectures": ["vgg8"]},
    }
    for changed in ({key: value}, {key: {inner: value}}):
        with contextlib.suppress(StudyError):
            assert len(study_from({**base, **changed}).digest) == 64
