"""The manifest: everything about a submission but the tensors themselves, in canonical JSON.

No field takes free text, so nothing that identifies a patient, a person or a machine fits in.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictInt, with_config

from envoi.files import canonical_json
from envoi.settings import TrainingSettings
from envoi.study import StatisticsPolicy, WeightFormat
from envoi.types import ImageSpec

SCHEMA_VERSION: Final = 1
SEQUENCE_LIMIT = 2**53
COUNT_LIMIT = 10**9  # of one class at one site, before it is rounded
TEMPERATURE_RANGE = (0.01, 100.0)
EPSILON_LIMIT = 10**6
SIGNING_DOMAIN = b"envoi submission v1\n"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]
SiteId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\z")]
Sequence = Annotated[StrictInt, Field(ge=0, lt=SEQUENCE_LIMIT)]
_COOLEST, _HOTTEST = TEMPERATURE_RANGE
Temperature = Annotated[FiniteFloat, Field(ge=_COOLEST, le=_HOTTEST)]
Count = Annotated[StrictInt, Field(ge=0, le=2 * COUNT_LIMIT)]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class TrainingCard:
    """How a network was trained, without anything that identifies a site or a patient.

    Attributes:
        epochs: Epochs trained, early stopping included.
        images: Images that the site trained and validated on. In a submission it is derived
            from the released counts, so that it betrays no suppressed one.
        validation_accuracy: On the site's own validation part, 0..1, or None without one. In a
            submission it is rounded to two decimals.
        settings: Where they differ from what the study asks; None where they do not.
    """

    epochs: Annotated[int, Field(ge=0, le=10**6)]
    images: Annotated[StrictInt, Field(ge=0, le=10**13)]
    validation_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    settings: TrainingSettings | None = None


class DifferentialPrivacy(BaseModel):
    """The guarantee (epsilon, delta) that differentially private training gave."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: Annotated[FiniteFloat, Field(gt=0, le=EPSILON_LIMIT)]
    delta: Annotated[FiniteFloat, Field(ge=0, lt=1)]


class Audit(BaseModel):
    """What the site's audit came to, to two decimals (`envoi.site.audit`).

    Attributes:
        network: Area under the ROC curve of the membership attack on the network; 0.5 is guessing.
        moments: The same of the released moments, or None where none are released.
        standing_out: Share of the people in the training who stand out in the attack on the
            network where hardly anybody would by chance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Annotated[FiniteFloat, Field(ge=0, le=1)]
    moments: Annotated[FiniteFloat, Field(ge=0, le=1)] | None
    standing_out: Annotated[FiniteFloat, Field(ge=0, le=1)]

    @property
    def worst(self) -> float:
        """The larger of the two areas."""
        return max(self.network, self.moments or 0)


class Manifest(BaseModel):
    """What a submission says about itself, under the site's signature.

    Attributes:
        schema_version: Of this format.
        study: Digest of the study.
        site: Id in the study's roster.
        sequence: Grows with every file of the site; a server takes only higher ones.
        created: Day (UTC) of writing.
        architecture: Of the network.
        label_map: Digest of the class names in order.
        image: Specification of the images that the network takes.
        weight_format: How weights are stored.
        statistics: The policy that was applied to the statistics.
        class_counts: Images of each class, 0 for fewer than the policy's minimum; None where
            the policy releases no counts.
        temperature: Divides the logits for calibrated probabilities; None if not released.
        card: How the network was trained.
        privacy: The guarantee of differential privacy, or "none".
        tensors: SHA-256 of the bytes of every tensor by name.
        audit: What the site found out about this file, where the study asks for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    study: Digest
    site: SiteId
    sequence: Sequence
    created: date
    architecture: Annotated[str, Field(max_length=64)]
    label_map: Digest
    image: ImageSpec
    weight_format: WeightFormat
    statistics: StatisticsPolicy
    class_counts: tuple[Count, ...] | None
    temperature: Temperature | None
    card: TrainingCard
    privacy: DifferentialPrivacy | Literal["none"]
    tensors: dict[str, Digest]
    audit: Audit | None = None

    def canonical(self) -> str:
        """The one text of this manifest, which is signed."""
        absent = {"audit"} if self.audit is None else None
        return canonical_json(self.model_dump(mode="json", exclude=absent))
