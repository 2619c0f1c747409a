import getpass
import math
import platform
import socket
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
import safetensors
import torch

from envoi.errors import CheckError, SignatureError, StorageError, StudyError, SubmissionError
from envoi.networks.descriptor import Descriptor
from envoi.settings import TrainingSettings
from envoi.study import AuditPolicy, StatisticsPolicy
from envoi.submission import (
    Moments,
    TrainingCard,
    build_network,
    open_submission,
    quantised,
    submission_bytes,
    write_submission,
)
from envoi.submission.layout import (
    FACTOR_SCALES,
    FEATURE_CORRELATIONS,
    FEATURE_DEVIATIONS,
    FEATURE_FACTORS,
    FEATURE_MEANS,
)
from envoi.submission.manifest import Audit

FORMATS = ["fp32", "fp16", "int8"]
CREATED = date(2026, 3, 4)


@pytest.fixture
def write(tmp_path, key):
    def write(release, study, **changes):
        path = tmp_path / "north.safetensors"
        given = {"site": "north", "sequence": 1, "key": key, "created": CREATED, **changes}
        return path, write_submission(path, release, study=study, **given)

    return write


@pytest.mark.parametrize("weight_format", FORMATS)
@pytest.mark.parametrize("architecture", ["resnet10-small", "vgg8"])
def test_round_trip(write, make_release, change, study, weight_format, architecture):
    study = change(study, weight_format=weight_format)
    release = make_release(study, architecture)
    path, manifest = write(release, study)
    submission = open_submission(path, study=study)
    expected = quantised(release.state, weight_format)
    assert submission.state.keys() == release.state.keys()
    assert all(torch.equal(submission.state[name], expected[name]) for name in expected)
    assert all(tensor.dtype == torch.float32 for tensor in submission.state.values())
    assert submission.manifest == manifest
    assert submission.class_counts == manifest.class_counts == (0, 10, 105)
    assert torch.equal(submission.moments.means[1:], release.moments.means[1:])
    assert not submission.moments.means[0].any()
    assert torch.equal(submission.moments.deviations, release.moments.deviations)
    correlations = submission.moments.correlations
    torch.testing.assert_close(correlations, release.moments.correlations, rtol=2**-11, atol=1e-7)
    assert torch.equal(correlations, correlations.T)
    assert submission.moments.has_correlations
    assert submission.temperature == 1.234
    assert (submission.site, submission.sequence) == ("north", 1)
    assert submission.architecture == architecture
    assert submission.bytes == path.stat().st_size == submission_bytes(study, architecture)


@pytest.mark.parametrize("rank", [1, 64])
def test_correlations_travel_as_factors_where_the_study_says_so(
    write, make_release, change, study, rank
):
    policy = study.statistics.model_copy(update={"moment_rank": rank})
    study = change(study, statistics=policy)
    release = make_release(study)
    path, manifest = write(release, study)
    assert path.stat().st_size == submission_bytes(study, "resnet10-small")
    assert {FEATURE_FACTORS, FACTOR_SCALES} < set(manifest.tensors)
    found = open_submission(path, study=study).moments
    wanted = Moments.taken_from(release.moments.encoded(rank))
    assert torch.equal(found.correlations, wanted.correlations)
    assert found.has_correlations
    few = make_release(study, class_counts=(4, 12, 87))
    assert not open_submission(write(few, study)[0], study=study).moments.has_correlations


def test_factors_of_what_is_not_finite_are_refused(write, make_release, change, study):
    policy = study.statistics.model_copy(update={"moment_rank": 2})
    study = change(study, statistics=policy)
    release = make_release(study)
    wrong = release.moments.correlations.clone()
    wrong[0, 1] = wrong[1, 0] = math.nan
    moments = replace(release.moments, correlations=wrong)
    with pytest.raises(SubmissionError, match=f"^{FACTOR_SCALES}: expected finite numbers") as told:
        write(make_release(study, moments=moments), study)
    assert "Compute the feature moments of the images again." in str(told.value)


def test_fp32_is_exact(write, make_release, study):
    release = make_release(study)
    path, _ = write(release, study)
    state = open_submission(path, study=study).state
    assert all(torch.equal(state[name], tensor) for name, tensor in release.state.items())


@pytest.mark.parametrize("weight_format", FORMATS)
def test_any_safetensors_tool_reads_it(write, make_release, change, study, weight_format):
    study = change(study, weight_format=weight_format)
    path, manifest = write(make_release(study), study)
    with safetensors.safe_open(path, "pt") as file:
        names = set(file.keys())
        assert names == set(manifest.tensors)
        assert {FEATURE_MEANS, FEATURE_DEVIATIONS, FEATURE_CORRELATIONS} < names
        metadata = file.metadata()
        assert set(metadata) == {"manifest", "signature"}
        assert metadata["manifest"] == manifest.canonical()
        weights = file.get_tensor("network/conv1.weight")
        assert str(weights.dtype).split(".")[1] in {"float32", "float16", "int8"}
        assert file.get_tensor("network/bn1.running_var").dtype == torch.float32


def test_the_network_answers_as_it_did_at_the_site(write, make_release, study):
    release = make_release(study)
    network = study.network()
    network.load_state_dict(dict(release.state), strict=False)
    path, _ = write(release, study)
    built = build_network(open_submission(path, study=study), study)
    images = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    assert not built.training
    assert torch.equal(built(images), network.eval()(images))


def test_equal_arguments_give_equal_bytes(write, make_release, study):
    release = make_release(study)
    first = write(release, study)[0].read_bytes()
    assert write(release, study)[0].read_bytes() == first
    assert write(release, study, sequence=2)[0].read_bytes() != first


def test_memory_order_of_weights_does_not_matter(write, make_release, study):
    release = make_release(study)
    plain = {name: tensor.contiguous() for name, tensor in release.state.items()}
    first = write(release, study)[0].read_bytes()
    assert write(make_release(study, state=plain), study)[0].read_bytes() == first


def test_size_depends_on_nothing_but_the_study(write, make_release, study):
    sizes = {
        write(make_release(study, **values), study, sequence=sequence)[0].stat().st_size
        for sequence, values in [
            (0, {}),
            (2**53 - 1, {"class_counts": (10**9,) * 3, "temperature": None}),
            (1, {"epsilon": 1 / 3, "delta": 1e-5, "class_counts": (0, 0, 0)}),
        ]
    }
    assert sizes == {submission_bytes(study, "resnet10-small")}


def test_the_day_is_today_in_utc(write, make_release, study):
    before = datetime.now(UTC).date()
    _, manifest = write(make_release(study), study, created=None)
    assert before <= manifest.created <= datetime.now(UTC).date()


def test_nothing_identifies_the_machine(
    write, make_release, study, tmp_path, monkeypatch, key, change
):
    planted = tmp_path / "planted-ward-7" / "Jane_Doe_19700101"
    planted.mkdir(parents=True)
    monkeypatch.chdir(planted)
    for name in ("USER", "LOGNAME", "HOME", "HOSTNAME"):
        monkeypatch.setenv(name, f"planted-{name}")
    for module, function in ((socket, "gethostname"), (platform, "node"), (getpass, "getuser")):
        monkeypatch.setattr(module, function, lambda: "planted-machine")
    named = change(study, name="planted study", classes=("planted a", "planted b", "planted c"))
    path = planted / "planted-file.safetensors"
    write_submission(path, make_release(named), study=named, site="north", sequence=1, key=key)
    content = path.read_bytes()
    header = content[: 8 + int.from_bytes(content[:8], "little")].lower()
    assert b"planted" not in content
    for secret in (*planted.parts[1:], str(tmp_path)):
        assert secret.lower().encode() not in header


def test_no_suppressed_count_can_be_computed(write, make_release, study):
    _, manifest = write(make_release(study, class_counts=(4, 12, 103)), study)
    _, other = write(make_release(study, class_counts=(9, 12, 103)), study)
    assert manifest.model_dump() == other.model_dump()
    assert manifest.card.images == 115
    assert manifest.card.validation_accuracy == 0.91


def test_means_of_suppressed_classes_leave_no_trace(write, make_release, study):
    release = make_release(study)
    means = release.moments.means.clone()
    means[0] = math.nan
    first = write(release, study)[0].read_bytes()
    again = make_release(study, moments=replace(release.moments, means=means))
    assert write(again, study)[0].read_bytes() == first


def test_moments_of_no_class_are_zero(write, make_release, study):
    release = make_release(study, class_counts=(1, 2, 3))
    nothing = torch.full_like(release.moments.deviations, math.nan)
    release = replace(release, moments=replace(release.moments, deviations=nothing))
    path, _ = write(release, study)
    moments = open_submission(path, study=study).moments
    assert not moments.means.any()
    assert not moments.deviations.any()
    assert not moments.has_correlations


@pytest.mark.parametrize(("told", "rounded"), [(True, 100), (False, 95)])
def test_correlations_leave_by_the_counts_that_leave(write, make_release, study, told, rounded):
    counts = (4, 12, 88) if told else (4, 12, 87)
    path, manifest = write(make_release(study, class_counts=counts), study)
    assert sum(manifest.class_counts) == rounded
    moments = open_submission(path, study=study).moments
    assert moments.has_correlations == told
    assert moments.deviations.all()


def test_only_what_the_policy_releases_leaves(write, make_release, study, change):
    study = change(study, statistics=StatisticsPolicy(release=()))
    path, manifest = write(make_release(study), study)
    assert manifest.class_counts is None
    assert manifest.temperature is None
    assert manifest.card.images == 119
    assert not any(name.startswith("statistics/") for name in manifest.tensors)
    submission = open_submission(path, study=study)
    assert submission.class_counts == (0, 0, 0)
    assert submission.moments is None
    assert submission.temperature is None


def test_moments_are_not_needed_where_none_are_asked_for(write, make_release, study, change):
    study = change(study, statistics=StatisticsPolicy())
    release = make_release(study, moments=None, temperature=None)
    path, _ = write(release, study)
    assert open_submission(path, study=study).class_counts == (0, 12, 103)


def test_counts_from_numpy_are_taken(write, make_release, study):
    counts = tuple(np.array([4, 12, 103]))
    _, manifest = write(make_release(study, class_counts=tuple(int(c) for c in counts)), study)
    assert manifest.class_counts == (0, 10, 105)


def test_the_card_carries_what_the_site_changed(write, make_release, study):
    settings = TrainingSettings(epochs=5, milestones=(1 / 3,))
    card = TrainingCard(epochs=4, images=1, validation_accuracy=None, settings=settings)
    path, _ = write(make_release(study, card=card, epsilon=3.5, delta=1e-5), study)
    manifest = open_submission(path, study=study).manifest
    assert manifest.card.settings == settings
    assert manifest.card.validation_accuracy is None
    assert manifest.privacy.epsilon == 3.5


def altered(release, name, value):
    tensor = release.state[name].clone()
    tensor.view(-1)[0] = value
    return {**release.state, name: tensor}


@pytest.mark.parametrize(
    ("weight_format", "name", "value", "message"),
    [
        ("fp32", "fc.weight", math.nan, "network/fc.weight: expected finite numbers, found a NaN"),
        ("fp32", "fc.bias", math.inf, "network/fc.bias: expected finite numbers, found an inf"),
        ("fp16", "fc.weight", 70000.0, "network/fc.weight: expected finite numbers, found an inf"),
        ("fp16", "fc.weight", 70000.0, "weight format (fp16)"),
        ("int8", "fc.weight", math.nan, "scale/fc.weight: expected finite numbers, found a NaN"),
        ("int8", "fc.weight", -math.inf, "scale/fc.weight: expected finite numbers, found an inf"),
        ("fp32", "bn1.running_var", -0.5, "expected variances of at least 0, found -0.5"),
        ("fp16", "bn1.running_var", 1e9, "expected numbers up to 1e+08, found"),
        ("int8", "bn1.running_mean", -1e9, "expected numbers up to 1e+08, found -1e+09"),
    ],
)
def test_numbers_that_must_not_leave(
    write, make_release, study, change, weight_format, name, value, message
):
    study = change(study, weight_format=weight_format)
    release = make_release(study)
    release = make_release(study, state=altered(release, name, value))
    with pytest.raises(SubmissionError) as caught:
        write(release, study)
    assert message in str(caught.value)


def test_fp16_keeps_large_statistics(write, make_release, study, change):
    study = change(study, weight_format="fp16")
    release = make_release(study)
    release = make_release(study, state=altered(release, "bn1.running_var", 70000.0))
    path, _ = write(release, study)
    assert open_submission(path, study=study).state["bn1.running_var"][0] == 70000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"class_counts": (1, 2)}, "class_counts: expected 3 counts of at least 0, found 2 counts"),
        ({"class_counts": (1, 2, -3)}, "found 3 counts, the smallest -3"),
        ({"class_counts": (1, 2, 10**10)}, "class_counts: expected 3 counts"),
        ({"temperature": math.nan}, "temperature: expected 0.01 to 100.0, found nan"),
        ({"temperature": 0.0}, "temperature: expected 0.01 to 100.0, found 0.0"),
        ({"moments": None}, "moments: expected feature moments, found nothing"),
        (
            {"card": TrainingCard(epochs=-1, images=3)},
            "card, epochs: expected greater than or equal to 0",
        ),
        ({"card": TrainingCard(1, 3, math.nan)}, "card, validation_accuracy"),
        ({"epsilon": 0.0}, "privacy: expected epsilon above 0"),
        ({"epsilon": math.nan}, "privacy: expected epsilon above 0"),
        ({"epsilon": 1.0, "delta": 1.0}, "delta from 0 to below 1, found epsilon 1.0, delta 1.0"),
    ],
)
def test_releases_that_do_not_fit(write, make_release, study, values, message):
    with pytest.raises(SubmissionError) as caught:
        write(make_release(study, **values), study)
    assert message in str(caught.value)


FEATURES = Descriptor(3, 28).dimension


def moments_of(features=FEATURES, **changes):
    """Moments of features that do not vary together, but for the changes."""
    plain = Moments(torch.zeros(3, features), torch.ones(features), torch.eye(features))
    return replace(plain, **changes)


def pair(value, row=1, column=0):
    """The identity, but for one pair of entries."""
    matrix = torch.eye(FEATURES)
    matrix[row, column] = matrix[column, row] = value
    return matrix


def indefinite():
    return pair(1.0) + pair(1.0, 2, 0) + pair(-1.0, 2, 1) - 2 * torch.eye(FEATURES)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (moments_of(5), f"feature_means: expected (3, {FEATURES}), found (3, 5)"),
        (moments_of(5), f"feature_deviations: expected ({FEATURES},), found (5,)"),
        (moments_of(5), f"correlations: expected ({FEATURES}, {FEATURES}), found (5, 5)"),
        (moments_of(correlations=2 * torch.eye(FEATURES)), "a diagonal of one, found another"),
        (moments_of(correlations=pair(0.5).tril()), "expected a symmetric matrix"),
        (moments_of(correlations=pair(math.nan)), "feature_correlations: expected finite numbers"),
        (moments_of(correlations=pair(1.01)), "statistics: expected correlations from -1 to 1"),
        (moments_of(correlations=indefinite()), "without a direction of negative variance"),
        (moments_of(correlations=indefinite()), "Compute the feature moments of the images again."),
        (moments_of(deviations=torch.full((FEATURES,), -2.0)), "at least 0, found -2"),
        (moments_of(means=torch.full((3, FEATURES), math.inf)), "feature_means: expected finite"),
    ],
)
def test_moments_that_must_not_leave(write, make_release, study, moments, message):
    with pytest.raises(SubmissionError) as caught:
        write(make_release(study, moments=moments), study)
    assert message in str(caught.value)


@pytest.mark.parametrize("size", [5, FEATURES + 1])
def test_correlations_of_other_features_must_not_leave(write, make_release, study, size):
    moments = moments_of()
    # Past the run-time types, which a hospital does not have.
    object.__setattr__(moments, "correlations", torch.eye(size))
    with pytest.raises(SubmissionError, match=rf"found \({size}, {size}\)"):
        write(make_release(study, moments=moments), study)


def test_states_that_do_not_fit_are_told_in_full(write, make_release, study):
    state = dict(make_release(study).state)
    del state["fc.bias"]
    state["fc.weight"] = torch.zeros(2, 128)
    state["bn1.num_batches_tracked"] = torch.tensor(3)
    with pytest.raises(SubmissionError) as caught:
        write(make_release(study, state=state), study)
    wrong = {problem.where: problem.found for problem in caught.value.problems}
    assert wrong == {
        "network, fc.bias": "nothing",
        "network, fc.weight": "(2, 128)",
        "network, bn1.num_batches_tracked": "()",
    }


def test_nothing_is_written_when_something_is_wrong(write, make_release, study, tmp_path):
    with pytest.raises(SubmissionError):
        write(make_release(study, class_counts=()), study)
    assert list(tmp_path.iterdir()) == []


def test_architectures_of_other_studies(write, make_release, study, change):
    release = make_release(change(study, architectures=("vgg11",)))
    with pytest.raises(StudyError, match="expected one of resnet10-small, vgg8, found vgg11"):
        write(release, study)


def test_the_signer_must_be_in_the_roster(write, make_release, study, other_key):
    release = make_release(study)
    with pytest.raises(SignatureError, match="site north: .* found another key"):
        write(release, study, key=other_key)
    with pytest.raises(SignatureError, match="site west: .* found no such site"):
        write(release, study, site="west")


@pytest.mark.parametrize("sequence", [-1, 2**53])
def test_sequence_numbers_out_of_range(write, make_release, study, sequence):
    with pytest.raises(SubmissionError, match=f"sequence: .* found {sequence}"):
        write(make_release(study), study, sequence=sequence)


def test_a_folder_that_cannot_be_written(make_release, study, key):
    from pathlib import Path

    with pytest.raises(StorageError, match="a writable file"):
        write_submission(
            Path("/proc/none/x"),
            make_release(study),
            study=study,
            site="north",
            sequence=1,
            key=key,
        )


class TestAudit:
    GOOD = Audit(network=0.61, moments=0.55, standing_out=0.02)
    BAD = Audit(network=0.61, moments=0.81, standing_out=0.02)

    @pytest.fixture
    def asking(self, study, change):
        return change(study, audit=AuditPolicy(maximum_membership=0.75))

    def test_what_is_asked_for_is_told_and_nothing_else(self, write, make_release, study, asking):
        path, manifest = write(make_release(study, audit=self.GOOD), asking)
        assert open_submission(path, study=asking).manifest.audit == self.GOOD
        assert path.stat().st_size == submission_bytes(asking, manifest.architecture)
        path, manifest = write(make_release(study, audit=self.GOOD), study)
        assert manifest.audit is None
        assert "audit" not in manifest.canonical()
        assert open_submission(path, study=study).manifest == manifest

    @pytest.mark.parametrize(
        ("audit", "message"),
        [(BAD, "at most 0.75, found 0.81"), (None, "an audit, as the study asks, found none")],
    )
    def test_what_betrays_too_much_is_not_written(
        self, audit, message, write, make_release, asking
    ):
        with pytest.raises(CheckError, match=message):
            write(make_release(asking, audit=audit), asking)

    def test_the_server_believes_no_site_that_passes_its_limit_over(
        self, write, make_release, study, asking, change, monkeypatch
    ):
        monkeypatch.setattr("envoi.submission.write.check_audit", lambda *_: None)
        path, _ = write(make_release(study, audit=self.BAD), asking)
        with pytest.raises(SubmissionError, match="an audit of at most 0.75, found 0.81"):
            open_submission(path, study=asking)
        path, _ = write(make_release(study, audit=None), asking)
        with pytest.raises(SubmissionError, match="only if the study asks for it, found none"):
            open_submission(path, study=asking)
