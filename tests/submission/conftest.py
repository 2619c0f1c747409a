"""A study, a trained-looking release, and a forge for files that no honest site writes."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import date

import pytest
import torch

from envoi.files import canonical_json
from envoi.networks.descriptor import Descriptor
from envoi.study import StatisticsPolicy, Study
from envoi.submission import Moments, Release, TrainingCard, generate_key, public_text
from envoi.submission.layout import (
    FACTOR_SCALES,
    FEATURE_CORRELATIONS,
    FEATURE_DEVIATIONS,
    FEATURE_FACTORS,
    FEATURE_MEANS,
    Layout,
)
from envoi.submission.manifest import SIGNING_DOMAIN, Manifest
from envoi.submission.open import read_file
from envoi.submission.write import bytes_of
from envoi.types import ImageSpec

ARCHITECTURE = "resnet10-small"
BY_FACTORS = {
    FEATURE_FACTORS: torch.tensor([[127, 0], [-64, 127], [0, 0]], dtype=torch.int8),
    FACTOR_SCALES: torch.tensor([1 / 127, 0.004, 2**-126]),
}
CREATED = date(2026, 3, 4)
TINY = Layout.of(
    [
        ("network/conv.weight", "I8", (2, 3)),
        ("network/fc.weight", "F16", (2, 2)),
        ("network/bn.running_mean", "F32", (2,)),
        ("network/bn.running_var", "F32", (2,)),
        ("scale/conv.weight", "F32", (2,)),
        (FEATURE_MEANS, "F32", (3, 3)),
        (FEATURE_DEVIATIONS, "F32", (3,)),
        (FEATURE_CORRELATIONS, "F16", (3,)),
    ],
    classes=3,
)


@pytest.fixture(scope="session")
def key():
    return generate_key()


@pytest.fixture(scope="session")
def other_key():
    return generate_key()


@pytest.fixture(scope="session")
def study(key, other_key):
    return Study(
        name="Skin",
        classes=("nevus", "melanoma", "keratosis"),
        image=ImageSpec.of(3, 28),
        architectures=(ARCHITECTURE, "vgg8"),
        sites={"north": public_text(key), "south": public_text(other_key)},
        statistics=StatisticsPolicy(
            release=("class_counts", "feature_moments", "temperature"),
            minimum_class_size=10,
            minimum_covariance_images=100,
            count_rounding=5,
        ),
    )


@pytest.fixture(scope="session")
def change():
    """The same study with other values."""
    return lambda study, **values: Study(**{**dict(study), **values})


@pytest.fixture(scope="session")
def make_release():
    """A release that fits a study, with weights that look trained."""

    made = {}

    def make(study, architecture=None, **values):
        name = architecture or study.architectures[0]
        if name not in made:
            made[name] = plain_release(study, name)
        return replace(made[name], **values)

    return make


def plain_release(study, architecture):
    generator = torch.Generator().manual_seed(3)
    network = study.network(architecture)
    state = {}
    for name, tensor in network.state_dict().items():
        if tensor.dim():
            noise = torch.randn(tensor.shape, generator=generator) * 0.05
            state[name] = (tensor + noise).abs() if "var" in name else tensor + noise
    return Release(
        architecture=architecture,
        state=state,
        class_counts=(4, 12, 103),
        card=TrainingCard(epochs=9, images=119, validation_accuracy=0.91234),
        moments=plain_moments(study, generator),
        temperature=1.2344,
    )


def plain_moments(study, generator):
    features = Descriptor(study.image.channels, study.image.size_px).dimension
    samples = torch.randn(2 * features, features, generator=generator)
    return Moments(
        means=torch.randn(len(study.classes), features, generator=generator),
        deviations=torch.rand(features, generator=generator),
        correlations=torch.corrcoef(samples.T),
    )


class Forge:
    """Makes tiny files of layout `TINY`, honest but for what is asked for, and reads them."""

    def __init__(self, study, key, folder):
        self.study, self.key, self.folder = study, key, folder
        self.layout = TINY
        self.tensors = {
            "network/conv.weight": torch.tensor([[1, -2, 3], [4, 5, -127]], dtype=torch.int8),
            "network/fc.weight": torch.tensor([[0.5, 1.5], [2, -3]], dtype=torch.float16),
            "network/bn.running_mean": torch.tensor([0.25, -1]),
            "network/bn.running_var": torch.tensor([0.0, 2.5]),
            "scale/conv.weight": torch.tensor([0.01, 0.02]),
            FEATURE_MEANS: torch.tensor([[0.0, 0.0, 0.0], [1, 2, 3], [4, 5, 6]]),
            FEATURE_DEVIATIONS: torch.tensor([2.0, 0.5, 0.0]),
            FEATURE_CORRELATIONS: torch.tensor([0.5, 0.25, -0.5], dtype=torch.float16),
        }
        self.manifest = json.loads(
            Manifest(
                study=study.digest,
                site="north",
                sequence=7,
                created=CREATED,
                architecture=ARCHITECTURE,
                label_map=study.label_map_digest,
                image=study.image,
                weight_format=study.weight_format,
                statistics=study.statistics,
                class_counts=(0, 10, 105),
                temperature=1.5,
                card=TrainingCard(epochs=3, images=115, validation_accuracy=0.9),
                privacy="none",
                tensors={},
            ).canonical()
        )

    def text(self, *, tensors=None, **changes):
        """The canonical manifest of `tensors` with top-level `changes`."""
        every = {**self.tensors, **(tensors or {})}
        digests = {name: hashlib.sha256(bytes_of(t)).hexdigest() for name, t in every.items()}
        return canonical_json({**self.manifest, "tensors": digests, **changes})

    def signature(self, text, key=None, domain=SIGNING_DOMAIN):
        """The signature of a manifest's text."""
        message = domain + text.encode("utf-8", "surrogatepass")
        return base64.b64encode((key or self.key).sign(message)).decode()

    def header(self, text, signature=None, *, entries=None, metadata=None):
        """A header of the right length, whose tensor entries or metadata may be others."""
        plain = {"manifest": text, "signature": signature or self.signature(text)}
        every = {place.name: place.entry() for place in self.layout.places}
        document = {"__metadata__": plain if metadata is None else metadata}
        document |= every if entries is None else entries
        return self.padded(json.dumps(document, separators=(",", ":")).encode())

    def padded(self, header):
        """`header` filled up with spaces."""
        assert len(header) <= self.layout.header_bytes
        return header.ljust(self.layout.header_bytes)

    def data(self, tensors=None):
        """The bytes of all tensors."""
        every = {**self.tensors, **(tensors or {})}
        return b"".join(bytes(bytes_of(every[place.name])) for place in self.layout.places)

    def file(self, header=None, *, data=None, length=None):
        """A whole file."""
        header = self.header(self.text()) if header is None else header
        length = len(header) if length is None else length
        return length.to_bytes(8, "little") + header + (self.data() if data is None else data)

    def signed(self, *, tensors=None, **changes):
        """A file whose site signed a changed manifest or changed tensors."""
        text = self.text(tensors=tensors, **changes)
        return self.file(self.header(text), data=self.data(tensors))

    def spelled(self, text):
        """A file whose site signed `text` as its manifest."""
        return self.file(self.header(text))

    def path(self, content, name="north.safetensors"):
        """Where a file with `content` lies."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def read(self, path, received=None):
        """What `open_submission` does, with the tiny layout."""
        return read_file(
            path,
            layouts={ARCHITECTURE: self.layout},
            study=self.study,
            received=received or {},
        )


@pytest.fixture
def forge(study, key, tmp_path):
    return Forge(study, key, tmp_path)


@pytest.fixture
def factor_forge(forge):
    """The same, of files that tell correlations by two factors."""
    kept = [(p.name, p.numbers, p.shape) for p in TINY.places if p.name != FEATURE_CORRELATIONS]
    told = [(FEATURE_FACTORS, "I8", (3, 2)), (FACTOR_SCALES, "F32", (3,))]
    forge.layout = Layout.of([*kept, *told], classes=3)
    del forge.tensors[FEATURE_CORRELATIONS]
    forge.tensors |= BY_FACTORS
    return forge
