"""docs/submission.md against what Envoi writes: its auditor, its sizes, its int8 scheme."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from envoi.networks.descriptor import Descriptor
from envoi.study import AuditPolicy, StatisticsPolicy, Study
from envoi.submission import (
    Moments,
    Release,
    TrainingCard,
    generate_key,
    public_text,
    quantised,
    submission_bytes,
    write_submission,
)
from envoi.submission.layout import layout_of
from envoi.submission.manifest import Audit
from envoi.types import ImageSpec

DOCUMENT = Path(__file__).parent.parent / "docs" / "submission.md"
ROW = re.compile(r"^\| ([a-z0-9-]+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
FORMATS = ("fp32", "fp16", "int8")
KEY = generate_key()
FEATURES = Descriptor(3, 28).dimension
POLICY = StatisticsPolicy(release=("class_counts", "feature_moments", "temperature"))
BY_FACTORS = POLICY.model_copy(update={"moment_rank": 64})


def make_study(weight_format, architecture="resnet10-small", policy=POLICY):
    return Study(
        name="Blood",
        classes=tuple("abcdefgh"),
        image=ImageSpec.of(3, 28),
        architectures=(architecture,),
        weight_format=weight_format,
        minimum_sites=1,
        statistics=policy,
        sites={"north": public_text(KEY)},
    )


@pytest.fixture(params=[POLICY, BY_FACTORS], ids=["all pairs", "factors"])
def policy(request):
    return request.param


@pytest.fixture
def submission(tmp_path, policy, request):
    study = make_study(request.param, policy=policy)
    state = {name: t for name, t in study.network().state_dict().items() if t.dim()}
    release = Release(
        architecture="resnet10-small",
        state=state,
        class_counts=(20, 3, 30, 10, 11, 12, 13, 14),
        card=TrainingCard(epochs=2, images=113, validation_accuracy=0.5),
        moments=Moments(torch.ones(8, FEATURES), torch.ones(FEATURES), torch.eye(FEATURES)),
        temperature=1.25,
    )
    path = tmp_path / "north-1.safetensors"
    write_submission(path, release, study=study, site="north", sequence=1, key=KEY)
    return path


def audit(folder, path, key):
    (script,) = re.findall(
        r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (folder / "audit.py").write_text(script)
    words = [sys.executable, "-I", folder / "audit.py", path, key]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("submission", FORMATS, indirect=True)
def test_the_auditor_accepts_what_envoi_writes(submission, tmp_path):
    done = audit(tmp_path, submission, public_text(KEY))
    assert done.returncode == 0, done.stderr
    assert '"sequence": 1' in done.stdout


def test_the_auditor_accepts_audited_ones(tmp_path):
    study = make_study("fp16", policy=StatisticsPolicy()).model_copy(
        update={"audit": AuditPolicy()}
    )
    state = {name: t for name, t in study.network().state_dict().items() if t.dim()}
    found = Audit(network=0.61, moments=None, standing_out=0.02)
    card = TrainingCard(epochs=2, images=113, validation_accuracy=0.5)
    release = Release("resnet10-small", state, (20, 3, 30, 10, 11, 12, 13, 14), card, audit=found)
    path = tmp_path / "north-1.safetensors"
    write_submission(path, release, study=study, site="north", sequence=1, key=KEY)
    done = audit(tmp_path, path, public_text(KEY))
    assert done.returncode == 0, done.stderr
    assert '"standing_out": 0.02' in done.stdout


@pytest.mark.parametrize("submission", ["fp16"], indirect=True)
def test_the_auditor_refuses_changes(submission, tmp_path):
    stranger = audit(tmp_path, submission, public_text(generate_key()))
    assert "InvalidSignature" in stranger.stderr
    honest = submission.read_bytes()
    header_end = 8 + int.from_bytes(honest[:8], "little")
    changes = {
        "was changed": honest[:-1] + bytes([honest[-1] ^ 1]),
        "left over": honest + b"\0",
        "header is not canonical": honest[: header_end - 1] + b"\t" + honest[header_end:],
    }
    for complaint, content in changes.items():
        submission.write_bytes(content)
        done = audit(tmp_path, submission, public_text(KEY))
        assert done.returncode == 1
        assert complaint in done.stderr


def test_sizes():
    rows = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(rows) >= 5
    for architecture, *sizes in rows:
        for weight_format, size in zip(FORMATS, sizes, strict=True):
            study = make_study(weight_format, architecture, StatisticsPolicy())
            assert submission_bytes(study, architecture) == int(size)


@pytest.mark.parametrize("weight_format", FORMATS)
def test_size_of_the_moments(weight_format):
    text = DOCUMENT.read_text(encoding="utf-8")
    (kilobytes,) = re.findall(r"moments take (\d+\.\d) kB in every weight format", text)
    bare = StatisticsPolicy(release=("class_counts", "temperature"))
    studies = (make_study(weight_format), make_study(weight_format, policy=bare))
    moments, none = (submission_bytes(study, "resnet10-small") for study in studies)
    assert f"{(moments - none) / 1000:.1f}" == kilobytes
    factors, pairs = re.search(
        r"64 of them take (\d+\.\d) kB for colour images in place of the (\d+\.\d) kB", text
    ).groups()
    bytes_of = {
        policy.moment_rank: sum(
            place.stop - place.start
            for place in layout_of(make_study(weight_format, policy=policy), "vgg8").places
            if "feature_factors" in place.name or "feature_correlations" in place.name
        )
        for policy in (POLICY, BY_FACTORS)
    }
    assert (f"{bytes_of[64] / 1000:.1f}", f"{bytes_of[0] / 1000:.1f}") == (factors, pairs)
    numbers = re.search(r"(\d+) for grey images and (\d+) for colour\nof (\d+) pixels", text)
    grey, colour, size = (int(number) for number in numbers.groups())
    for pixels in (size, 28, 224):
        assert (Descriptor(1, pixels).dimension, Descriptor(3, pixels).dimension) == (grey, colour)
    assert Descriptor(3, size - 1).dimension < colour


def test_int8_scheme_in_numpy():
    generator = np.random.default_rng(5)
    weights = generator.normal(size=(6, 4, 3, 3)).astype(np.float32)
    weights[2] = 0
    weights[3] *= 1e-7
    flat = weights.reshape(6, -1)
    scale = np.maximum(np.abs(flat).max(axis=1) / np.float32(127), np.float32(2.0**-126))
    levels = np.clip(np.round(flat / scale[:, None]), -127, 127).astype(np.int8)
    expected = (levels.astype(np.float32) * scale[:, None]).reshape(weights.shape)
    found = quantised({"conv.weight": torch.from_numpy(weights)}, "int8")["conv.weight"]
    np.testing.assert_array_equal(found.numpy(), expected)
