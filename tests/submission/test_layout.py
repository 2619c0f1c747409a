from dataclasses import replace
from datetime import date

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envoi.networks import ARCHITECTURES, build
from envoi.networks.descriptor import Descriptor
from envoi.settings import TrainingSettings
from envoi.study import AuditPolicy, StatisticsPolicy
from envoi.submission import (
    DifferentialPrivacy,
    Manifest,
    TrainingCard,
    network_bytes,
    submission_bytes,
)
from envoi.submission.layout import (
    FACTOR_SCALES,
    FEATURE_CORRELATIONS,
    FEATURE_FACTORS,
    NUMBER_BYTES,
    Layout,
    layout_of,
)
from envoi.submission.manifest import COUNT_LIMIT, SEQUENCE_LIMIT, Audit
from envoi.types import ImageSpec

LONG = 1.2345678901234567e-300


@pytest.mark.parametrize("weight_format", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_tensors_stand_without_gaps_and_aligned(study, change, architecture, weight_format):
    study = change(study, architectures=(architecture,), weight_format=weight_format)
    layout = layout_of(study, architecture)
    end = 0
    for place in layout.places:
        assert place.start == end
        assert (layout.data_start + place.start) % NUMBER_BYTES[place.numbers] == 0
        end = place.stop
    assert end == layout.data_bytes
    assert layout.header_bytes % 8 == 0
    assert submission_bytes(study, architecture) == 8 + layout.header_bytes + layout.data_bytes


@pytest.mark.parametrize("weight_format", ["fp32", "fp16", "int8"])
def test_bytes_of_the_network(study, change, weight_format):
    study = change(study, weight_format=weight_format, statistics=StatisticsPolicy())
    state = build("resnet10-small", channels=3, classes=3, seed=0).state_dict()
    one_dim = sum(4 * t.numel() for t in state.values() if t.dim() == 1)
    weights = {name: t for name, t in state.items() if t.dim() > 1}
    each = {"fp32": 4, "fp16": 2, "int8": 1}[weight_format]
    scales = 4 * sum(t.shape[0] for t in weights.values()) * (weight_format == "int8")
    expected = one_dim + scales + each * sum(t.numel() for t in weights.values())
    assert layout_of(study, "resnet10-small").data_bytes == expected


def test_all_that_is_one_dimensional_stays_fp32_but_correlations(study, change):
    layout = layout_of(change(study, weight_format="int8"), "resnet10-small")
    for place in layout.places:
        coded = place.name.startswith("network/") and len(place.shape) > 1
        half = place.name == FEATURE_CORRELATIONS
        assert place.numbers == ("I8" if coded else "F16" if half else "F32")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("architecture", ["resnet10-small", "vgg8"])
def test_bytes_of_moments_are_those_of_the_descriptor(study, change, channels, architecture):
    image = ImageSpec.of(channels, 28)
    study = change(study, image=image)
    bare = change(study, statistics=StatisticsPolicy())
    features = Descriptor(channels, 28).dimension
    expected = 4 * features * (len(study.classes) + 1) + features * (features - 1)
    layouts = [layout_of(each, architecture).data_bytes for each in (study, bare)]
    assert layouts[0] - layouts[1] == expected


@pytest.mark.parametrize("rank", [1, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_of_factors_are_those_of_their_rank(study, change, channels, rank):
    study = change(study, image=ImageSpec.of(channels, 28))
    policy = study.statistics.model_copy(update={"moment_rank": rank})
    layouts = [
        layout_of(change(study, statistics=each), "vgg8")
        for each in (policy, StatisticsPolicy(release=("class_counts",)))
    ]
    features = Descriptor(channels, 28).dimension
    expected = 4 * features * (len(study.classes) + 1) + features * (rank + 4)
    assert layouts[0].data_bytes - layouts[1].data_bytes == expected
    names = {place.name for place in layouts[0].places}
    assert {FEATURE_FACTORS, FACTOR_SCALES} < names
    assert FEATURE_CORRELATIONS not in names


def test_no_description_is_shorter_than_the_largest_rank():
    sizes = [Descriptor(channels, size).dimension for channels in (1, 3) for size in (8, 28, 224)]
    assert min(sizes) > 128


def widest(layout, study, architecture, audit=None):
    """The longest manifest that a valid study and a valid site can make."""
    settings = TrainingSettings(
        epochs=999_999_999,
        batch_size=999_999_999,
        rate=LONG,
        momentum=LONG,
        weight_decay=LONG,
        milestones=(LONG,) * 32,
        schedule="one-cycle",
        validation_fraction=LONG,
        patience=999_999_999,
        flip=False,
        logit_adjustment=LONG,
    )
    return Manifest(
        study="0" * 64,
        site="x" * 63,
        sequence=SEQUENCE_LIMIT - 1,
        created=date(9999, 12, 31),
        architecture=architecture,
        label_map="0" * 64,
        image=ImageSpec(3, 1024, (-LONG, LONG), (-LONG,) * 3, (LONG,) * 3),
        weight_format="fp32",
        statistics=StatisticsPolicy(
            release=("class_counts", "feature_moments", "temperature"),
            minimum_class_size=10**6,
            count_rounding=10**6,
            minimum_covariance_images=10**6,
            moment_rank=128,
        ),
        class_counts=(2 * COUNT_LIMIT,) * len(study.classes),
        temperature=1.2345678901234567,
        card=TrainingCard(10**6, 10**13, LONG, settings),
        privacy=DifferentialPrivacy(epsilon=LONG, delta=LONG),
        tensors={place.name: "0" * 64 for place in layout.places},
        audit=audit,
    ).canonical()


@pytest.mark.parametrize("classes", [2, 1000])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_longest_manifest_has_room(study, change, architecture, classes):
    names = tuple(f"class {index}" for index in range(classes))
    study = change(study, classes=names, architectures=(architecture,))
    layout = layout_of(study, architecture)
    header = layout.header(widest(layout, study, architecture), "A" * 88)
    assert len(header) == layout.header_bytes


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_an_audit_has_room_where_the_study_asks_for_it(study, change, architecture):
    plain = change(study, architectures=(architecture,))
    asking = change(plain, audit=AuditPolicy())
    layout = layout_of(asking, architecture)
    told = Audit(network=LONG, moments=LONG, standing_out=LONG)
    header = layout.header(widest(layout, asking, architecture, told), "A" * 88)
    assert len(header) == layout.header_bytes > layout_of(plain, architecture).header_bytes


def test_longer_ones_have_not(study):
    layout = layout_of(study, "vgg8")
    with pytest.raises(ValueError, match="a header of"):
        layout.header("x" * layout.header_bytes, "")


@given(
    shapes=st.lists(
        st.tuples(st.sampled_from(["F32", "F16", "I8"]), st.lists(st.integers(1, 5), max_size=3)),
        min_size=1,
        max_size=8,
    )
)
def test_order_of_the_given_tensors_does_not_matter(shapes):
    tensors = [(f"t{i}", numbers, tuple(shape)) for i, (numbers, shape) in enumerate(shapes)]
    layout = Layout.of(tensors, classes=2)
    assert Layout.of(tensors[::-1], classes=2) == layout
    sizes = {name: torch.empty(shape).numel() * NUMBER_BYTES[kind] for name, kind, shape in tensors}
    assert {place.name: place.stop - place.start for place in layout.places} == sizes


def test_an_empty_layout_has_no_data():
    assert Layout.of([], classes=2).data_bytes == 0
    assert replace(Layout.of([], classes=2), header_bytes=16).file_bytes == 24


@pytest.mark.parametrize("rank", [0, 64])
@pytest.mark.parametrize("weight_format", ["fp32", "fp16", "int8"])
def test_moments_are_no_bytes_of_the_network(study, change, weight_format, rank):
    plain = change(study, weight_format=weight_format, statistics=StatisticsPolicy())
    told = StatisticsPolicy(release=("class_counts", "feature_moments"), moment_rank=rank)
    telling = change(plain, statistics=told)
    ours = network_bytes(plain, "resnet10-small")
    assert network_bytes(telling, "resnet10-small") == ours
    assert layout_of(plain, "resnet10-small").data_bytes == ours
    assert layout_of(telling, "resnet10-small").data_bytes > ours
