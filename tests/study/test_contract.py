import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import save_file

from envoi.errors import StudyError
from envoi.files import canonical_json, digest, file_digest
from envoi.settings import TrainingSettings
from envoi.study import (
    AuditPolicy,
    Initialisation,
    ServerKeys,
    StatisticsPolicy,
    Study,
    study_from,
    study_warnings,
)
from envoi.types import ImageSpec

BACKBONE = Initialisation(file="backbone.safetensors", sha256="0" * 64)
RECIPIENT = "age16jj4ypkd53xf52ud92jm7txfqzyvnhngvp854fzd3jk7f3qllexq8pc45w"
KEYS = (
    "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "ed25519:PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
)
# Digests of two studies as they were before a study could name its server's keys.
BEFORE_SERVER_KEYS = (
    (
        {
            "name": "Skin lesions",
            "classes": ["nevus", "melanoma"],
            "image": {"channels": 3, "size_px": 28},
            "model": {"architectures": ["resnet10-small"]},
            "sites": dict(zip(("north", "south"), KEYS, strict=True)),
        },
        "706d766404f1583f7b2be2e9bd53f8192b893645a8bcd5c8a9ae5212636e905d",
    ),
    (
        {
            "name": "Skin lesions",
            "classes": ["nevus", "melanoma"],
            "seed": 5,
            "minimum_sites": 1,
            "deadline": datetime(2030, 6, 30, 16, tzinfo=UTC),
            "image": {"channels": 1, "size_px": 28},
            "model": {
                "architectures": ["vgg8"],
                "weight_format": "int8",
                "initialisation": {"file": "b.safetensors", "sha256": "a" * 64},
            },
            "statistics": {"release": ["class_counts", "temperature"]},
            "training": {"epochs": 7},
        },
        "2b04f4f6ed12bc121e517a9513ea0b546b0b307e0193d9000965a33edc1e3566",
    ),
)
CHANGES = {
    "name": "Skin",
    "classes": ("melanoma", "nevus", "keratosis"),
    "image": ImageSpec.of(3, 32),
    "architectures": ("vgg8", "resnet10-small"),
    "seed": 8,
    "minimum_sites": 1,
    "deadline": datetime(2030, 1, 1, tzinfo=UTC),
    "weight_format": "int8",
    "statistics": StatisticsPolicy(minimum_class_size=11),
    "training": TrainingSettings(epochs=99),
    "audit": AuditPolicy(maximum_membership=0.7),
    "server": ServerKeys(encryption=RECIPIENT),
    "sites": {},
}


def changed(study, **values):
    return Study(**{**dict(study), **values})


@pytest.mark.parametrize("field", CHANGES)
def test_digest_binds_every_field(study, field):
    assert changed(study, **{field: CHANGES[field]}).digest != study.digest


@pytest.mark.parametrize(("document", "digest"), BEFORE_SERVER_KEYS)
def test_a_study_without_server_keys_keeps_its_digest(document, digest):
    assert study_from(document).digest == digest
    assert study_from({**document, "server": {"encryption": RECIPIENT}}).digest != digest


def test_digest_binds_the_initialisation(study):
    plain = changed(study, architectures=("vgg8",))
    files = [BACKBONE, BACKBONE.model_copy(update={"sha256": "1" * 64})]
    digests = {plain.digest, *(changed(plain, initialisation=file).digest for file in files)}
    assert len(digests) == 3


def test_a_study_without_later_keys_is_what_it_was_before_there_were_any(study):
    document = study.model_dump(mode="json", exclude={"audit", "server"})
    later = {"crop_area", "brightness", "contrast", "rotation_degrees", "shear"}
    document["training"] = {k: v for k, v in document["training"].items() if k not in later}
    assert study.digest == digest(canonical_json(document).encode())
    limits = {changed(study, audit=AuditPolicy(maximum_membership=m)).digest for m in (0.7, 0.8)}
    assert len(limits | {study.digest}) == 3


def test_every_field_is_in_the_test_above(study):
    assert CHANGES.keys() | {"initialisation"} == Study.model_fields.keys()


@pytest.mark.parametrize(
    ("field", "value"),
    [("channels", 1), ("value_range", (0.0, 1.0)), ("mean", (0.4,) * 3), ("deviation", (0.4,) * 3)],
)
def test_digest_binds_every_field_of_the_image(study, field, value):
    image = asdict(replace(study.image, **{field: value}))
    if field == "channels":
        image |= {"mean": (0.5,), "deviation": (0.5,)}
    assert changed(study, image=ImageSpec(**image)).digest != study.digest


@pytest.mark.parametrize("key", asdict(TrainingSettings()))
def test_digest_binds_every_training_setting(study, key):
    value = asdict(study.training)[key]
    other = {bool: not value, int: 5, float: 0.25, tuple: (0.3,), str: "one-cycle"}[type(value)]
    assert changed(study, training=TrainingSettings(**{key: other})).digest != study.digest


def test_digest_binds_every_part_of_the_policy(study):
    policies = [
        StatisticsPolicy(),
        StatisticsPolicy(release=()),
        StatisticsPolicy(release=("class_counts", "temperature")),
        StatisticsPolicy(minimum_class_size=9),
        StatisticsPolicy(count_rounding=5),
        StatisticsPolicy(minimum_covariance_images=50),
        StatisticsPolicy(moment_rank=64),
    ]
    assert len({changed(study, statistics=policy).digest for policy in policies}) == 7


def test_digest_binds_every_key(study, keys):
    other = changed(study, sites={**study.sites, "south": keys[2]})
    assert other.digest != study.digest


def test_digest_ignores_what_means_the_same(study):
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=5)))
    same = changed(
        study,
        image={"channels": 3, "size_px": 28, "value_range": (0, 255)},
        sites=dict(reversed(study.sites.items())),
        deadline=elsewhere,
    )
    assert same.digest == changed(study, deadline=noon).digest


def test_label_map_digest_follows_the_classes_alone(study):
    assert changed(study, seed=1).label_map_digest == study.label_map_digest
    swapped = changed(study, classes=CHANGES["classes"])
    assert swapped.label_map_digest != study.label_map_digest


def test_a_study_is_frozen(study):
    with pytest.raises(ValidationError, match="frozen"):
        study.seed = 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "", "1 to 100 printable"),
        ("name", "a\x1b[2J", "1 to 100 printable"),
        ("name", 3, "valid string"),
        ("classes", ("a",), "2 to 1000 class names"),
        ("classes", ("a", "a"), "'a' repeated"),
        ("classes", ("a", " b"), r"classes\.1"),
        ("classes", ("a", ""), r"classes\.1"),
        ("architectures", (), "found none"),
        ("architectures", ("resnet99",), "'resnet99'"),
        ("architectures", ("vgg8", "vgg8"), "'vgg8' repeated"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", True, "valid integer"),
        ("minimum_sites", 0, "greater than or equal to 1"),
        ("minimum_sites", 3, "at most 2, the number of sites"),
        ("deadline", datetime(2030, 1, 1), "timezone"),  # noqa: DTZ001
        ("deadline", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "a year from 2000"),
        ("weight_format", "fp8", "'fp32', 'fp16' or 'int8'"),
        ("initialisation", BACKBONE, "one architecture beside an initialisation"),
        ("image", ImageSpec(2, 28, mean=(0.5,) * 2, deviation=(0.5,) * 2), "1 .grey. or 3"),
        ("image", ImageSpec.of(3, 0), "8 to 1024 pixels"),
        ("image", ImageSpec(3, 28, value_range=(5.0, 5.0)), "low < high"),
        ("image", ImageSpec(3, 28, value_range=(0.0, float("inf"))), "low < high"),
        ("image", ImageSpec(1, 28), "1 finite values"),
        ("image", ImageSpec(3, 28, mean=(0.0, 0.0, float("nan"))), "3 finite values"),
        ("image", ImageSpec(3, 28, deviation=(1.0, 1.0, 0.0)), "above 0"),
        ("sites", {"North": "x"}, "a site id of at most 63"),
        ("sites", {"north": "x"}, "sites.north.*does not begin"),
    ],
)
def test_wrong_values(study, field, value, message):
    with pytest.raises(ValidationError, match=message):
        changed(study, **{field: value})


def test_two_sites_need_two_keys(study, keys):
    with pytest.raises(ValidationError, match=r"sites\.south.*the key of sites\.north"):
        changed(study, sites={"north": keys[0], "south": keys[0]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"release": ("feature_moments",)}, "class_counts wherever"),
        ({"release": ("class_counts", "class_counts")}, "repeated"),
        ({"release": ("images",)}, "'class_counts', 'feature_moments'"),
        ({"minimum_class_size": 0}, "greater than or equal to 1"),
        ({"minimum_covariance_images": 1}, "greater than or equal to 2"),
        ({"minimum_covariance_images": 10**7}, "less than or equal to 1000000"),
        ({"minimum_covariance_images": 99.0}, "a valid integer"),
        ({"moment_rank": -1}, "greater than or equal to 0"),
        ({"moment_rank": 129}, "less than or equal to 128"),
        ({"moment_rank": 64.0}, "a valid integer"),
        ({"count_rounding": 0}, "greater than or equal to 1"),
        ({"count_rounding": 2.0}, "valid integer"),
        ({"minimum": 3}, "Extra inputs"),
    ],
)
def test_wrong_policies(values, message):
    with pytest.raises(ValidationError, match=message):
        StatisticsPolicy(**values)


@pytest.mark.parametrize("file", ["", "../b", "a/b", "a\\b", ".hidden", "a\x00", "a\nb", "x" * 129])
def test_initialisation_names_a_plain_file(file):
    with pytest.raises(ValidationError, match="a file name of letters"):
        Initialisation(file=file, sha256="0" * 64)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 64 + "\n", "G" * 64, "A" * 64])
def test_initialisation_needs_a_digest(sha256):
    with pytest.raises(ValidationError, match="match pattern"):
        Initialisation(file="a", sha256=sha256)


@given(
    count=st.integers(0, 10**6),
    minimum=st.integers(1, 300),
    step=st.integers(1, 300),
)
def test_released_counts(count, minimum, step):
    policy = StatisticsPolicy(minimum_class_size=minimum, count_rounding=step)
    told = policy.released_count(count)
    if count < minimum:
        assert told == 0
    else:
        assert told >= minimum
        assert told % step == 0
        assert abs(told - count) < step + (step > minimum) * step
    assert policy.released_count(told) == told


def test_network_is_the_same_everywhere(study):
    first, second = study.network(), study.network("resnet10-small")
    assert torch.equal(first.fc.weight, second.fc.weight)
    assert first.fc.out_features == 3
    assert first.training


def test_network_refuses_what_the_study_does_not_allow(study):
    with pytest.raises(StudyError, match="expected one of resnet10-small, vgg8, found 'resnet18'"):
        study.network("resnet18")
    with pytest.raises(StudyError, match="found ''"):
        study.network("")


def test_network_starts_from_the_agreed_file(study, tmp_path):
    given = changed(study, seed=99).network().state_dict()
    file = tmp_path / "backbone.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in given.items() if tensor.dim()}, file)
    agreed = Initialisation(file=file.name, sha256=file_digest(file))
    based = changed(study, architectures=("resnet10-small",), initialisation=agreed)
    network = based.placed(tmp_path).network()
    assert torch.equal(network.conv1.weight, given["conv1.weight"])
    assert based.placed(tmp_path).digest == based.digest
    with pytest.raises(StudyError, match="the study's initialisation file, found No such file"):
        based.placed(tmp_path / "elsewhere").network()
    file.write_bytes(b"other")
    with pytest.raises(StudyError, match="a file with the SHA-256"):
        based.placed(tmp_path).network()


def test_a_usual_study_raises_no_doubts(study):
    assert study_warnings(study) == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sites": {}}, "No site is in the roster"),
        ({"deadline": datetime(2020, 1, 1, tzinfo=UTC)}, "deadline has passed"),
        ({"minimum_sites": 1}, "minimum_sites is 1"),
        ({"statistics": StatisticsPolicy(minimum_class_size=4)}, "minimum_class_size is 4"),
        (
            {"statistics": StatisticsPolicy(release=("class_counts", "feature_moments"))},
            "whoever has a site's file can draw the coarse average image of each class",
        ),
        (
            {"statistics": StatisticsPolicy(release=("class_counts", "feature_moments"))},
            "can test whether an image was among a site's",
        ),
        (
            {
                "classes": ("left lung", "right lung", "heart"),
                "training": TrainingSettings(augment=True),
            },
            "Classes left lung and right lung tell left from right: no image will be flipped",
        ),
    ],
)
def test_doubts(study, values, sentence):
    (warning,) = study_warnings(changed(study, **values))
    assert sentence in warning


def test_a_deadline_is_judged_by_the_given_time(study):
    late = changed(study, deadline=datetime(2030, 1, 1, tzinfo=UTC))
    assert study_warnings(late, now=datetime(2029, 1, 1, tzinfo=UTC)) == []
    assert len(study_warnings(late, now=datetime(2031, 1, 1, tzinfo=UTC))) == 1


def test_loading_the_module_loads_no_torch():
    code = "import sys, envoi.study; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
