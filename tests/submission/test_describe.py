import re
from dataclasses import replace
from datetime import date

import pytest

from envoi.settings import TrainingSettings
from envoi.study import StatisticsPolicy
from envoi.submission import DifferentialPrivacy, Manifest, TrainingCard, describe, write_submission
from envoi.submission.layout import (
    FACTOR_SCALES,
    FEATURE_CORRELATIONS,
    FEATURE_DEVIATIONS,
    FEATURE_FACTORS,
)
from envoi.submission.manifest import Audit
from envoi.types import ImageSpec


@pytest.fixture
def manifest(study, make_release, change, key, tmp_path):
    small = change(study, weight_format="int8")
    settings = TrainingSettings(epochs=9)
    card = TrainingCard(epochs=9, images=119, validation_accuracy=0.91, settings=settings)
    return write_submission(
        tmp_path / "north.safetensors",
        make_release(small, card=card, epsilon=2.5, delta=1e-5),
        study=small,
        site="north",
        sequence=3,
        key=key,
        created=date(2026, 3, 4),
    )


def told(manifest):
    return "\n".join(describe(manifest))


OTHERS = {
    "study": "1" * 64,
    "site": "south",
    "sequence": 4,
    "created": date(2026, 3, 5),
    "architecture": "vgg8",
    "label_map": "1" * 64,
    "image": ImageSpec.of(1, 28),
    "weight_format": "fp16",
    "class_counts": (0, 10, 110),
    "temperature": 1.5,
    "privacy": "none",
    "tensors": {},
    "audit": Audit(network=0.61, moments=None, standing_out=0.02),
}


@pytest.mark.parametrize("field", sorted(OTHERS))
def test_every_field_is_told(manifest, field):
    assert told(manifest.model_copy(update={field: OTHERS[field]})) != told(manifest)


def test_all_fields_are_in_the_tests(manifest):
    nested = {"card", "statistics", "schema_version"}
    assert set(Manifest.model_fields) == set(OTHERS) | nested
    assert f"file format {manifest.schema_version}" in told(manifest)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("release", ("class_counts",)),
        ("minimum_class_size", 3),
        ("count_rounding", 7),
        ("minimum_covariance_images", 200),
        ("moment_rank", 16),
    ],
)
def test_every_part_of_the_policy_is_told(manifest, field, value):
    policy = manifest.statistics.model_copy(update={field: value})
    assert told(manifest.model_copy(update={"statistics": policy})) != told(manifest)


@pytest.mark.parametrize(
    "card",
    [
        TrainingCard(8, 115, 0.91, TrainingSettings(epochs=9)),
        TrainingCard(9, 110, 0.91, TrainingSettings(epochs=9)),
        TrainingCard(9, 115, 0.92, TrainingSettings(epochs=9)),
        TrainingCard(9, 115, None, TrainingSettings(epochs=9)),
        TrainingCard(9, 115, 0.91, None),
        TrainingCard(9, 115, 0.91, TrainingSettings(epochs=9, rate=0.5)),
    ],
)
def test_every_part_of_the_card_is_told(manifest, card):
    assert manifest.card == TrainingCard(9, 115, 0.91, TrainingSettings(epochs=9))
    assert told(manifest.model_copy(update={"card": card})) != told(manifest)


@pytest.mark.parametrize(
    "image",
    [
        ImageSpec.of(3, 32),
        ImageSpec(3, 28, (0.0, 1.0)),
        ImageSpec(3, 28, mean=(0.1, 0.5, 0.5)),
        ImageSpec(3, 28, deviation=(0.1, 0.5, 0.5)),
    ],
)
def test_every_part_of_the_image_is_told(manifest, image):
    assert told(manifest.model_copy(update={"image": image})) != told(manifest)


@pytest.mark.parametrize("field", ["epsilon", "delta"])
def test_every_part_of_the_guarantee_is_told(manifest, field):
    privacy = DifferentialPrivacy(**{"epsilon": 2.5, "delta": 1e-5, field: 0.5})
    assert told(manifest.model_copy(update={"privacy": privacy})) != told(manifest)


def test_all_parts_of_the_policy_are_in_the_test_above():
    names = {"release", "minimum_class_size", "count_rounding", "minimum_covariance_images"}
    names |= {"moment_rank"}
    assert set(StatisticsPolicy.model_fields) == names


def test_moments_are_told_by_what_can_be_drawn_from_them(manifest):
    assert "can draw the coarse average image of each class" in told(manifest)
    assert "(only where at least 100 images stand behind it)" in told(manifest)
    assert "an image can test whether it was among them" in told(manifest)


def test_factors_are_told_by_their_number_and_add_no_scale_of_weights(manifest):
    policy = manifest.statistics.model_copy(update={"moment_rank": 16})
    tensors = {name: text for name, text in manifest.tensors.items() if "correlat" not in name}
    tensors |= dict.fromkeys((FEATURE_FACTORS, FACTOR_SCALES), "0" * 64)
    text = told(manifest.model_copy(update={"statistics": policy, "tensors": tensors}))
    assert "and the 16 strongest ways in which its parts vary together, in 8-bit numbers" in text
    assert "(only where at least 100 images stand behind it)" in text
    (scales,) = re.findall(r"and (\d+) tensors of such scales", told(manifest))
    assert f"and {scales} tensors of such scales" in text


def test_a_temperature_is_told_by_what_it_betrays(manifest):
    assert "1.234. One number, fitted on the site's own validation images" in told(manifest)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "The network answers common classes more readily: how common each class is"),
        ({"class_weights": True}, "as if all classes of the site were equally common"),
        ({"logit_adjustment": 1.0}, "as if all classes of the site were equally common"),
        ({"logit_adjustment": 0.75}, "(each share to the power 0.25): how common each class is"),
    ],
)
def test_what_a_network_betrays_of_its_class_mix_is_told(manifest, changes, sentence):
    settings = TrainingSettings(**changes)
    own = manifest.model_copy(update={"card": replace(manifest.card, settings=settings)})
    asked = manifest.model_copy(update={"card": replace(manifest.card, settings=None)})
    assert sentence in told(own)
    assert sentence in "\n".join(describe(asked, asked=settings))
    assert sentence not in told(asked)
    other = TrainingSettings(logit_adjustment=0.5)
    assert sentence in "\n".join(describe(own, asked=other))


@pytest.mark.parametrize("group", ["network/", "scale/", "statistics/feature_m", "statistics/fe"])
def test_every_group_of_tensors_is_told(manifest, group):
    left = {name: text for name, text in manifest.tensors.items() if not name.startswith(group)}
    assert len(left) < len(manifest.tensors)
    assert told(manifest.model_copy(update={"tensors": left})) != told(manifest)


def test_every_tensor_belongs_to_a_group(manifest):
    groups = (
        "network/",
        "scale/",
        "statistics/feature_means",
        FEATURE_DEVIATIONS,
        FEATURE_CORRELATIONS,
    )
    assert all(name.startswith(groups) for name in manifest.tensors)


def test_batch_norm_is_told_where_there_is_some(manifest):
    assert "batch-norm statistics" in told(manifest)
    left = {name: text for name, text in manifest.tensors.items() if "running" not in name}
    assert "batch-norm" not in told(manifest.model_copy(update={"tensors": left}))


def test_class_names_stand_beside_their_counts(manifest, study):
    lines = describe(manifest, study.classes)
    assert "How many images of each class: nevus 0, melanoma 10, keratosis 105." in lines
    assert "class 0 0, class 1 10, class 2 105" in told(manifest)


def test_each_line_is_one_sentence_in_plain_words(manifest):
    lines = describe(manifest)
    assert all(line.endswith(".") and "\n" not in line and line.isprintable() for line in lines)
    assert len(lines) > 8


def test_what_is_withheld_is_told_too(manifest):
    policy = manifest.statistics.model_copy(update={"release": ()})
    bare = manifest.model_copy(
        update={
            "statistics": policy,
            "class_counts": None,
            "temperature": None,
            "tensors": {"network/fc.weight": "0" * 64},
        }
    )
    text = told(bare)
    assert "No class counts: the study asks for none." in text
    assert "No feature moments and no temperature." in text
    assert "statistics policy: none;" in text
