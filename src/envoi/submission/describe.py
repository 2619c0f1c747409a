"""All that leaves the hospital, in plain words, for the person who signs it off."""

from collections.abc import Sequence

from envoi.settings import TrainingSettings
from envoi.study import StatisticsPolicy
from envoi.submission.layout import (
    FACTOR_SCALES,
    FEATURE_CORRELATIONS,
    FEATURE_FACTORS,
    FEATURE_MEANS,
    NETWORK,
    SCALE,
)
from envoi.submission.manifest import Manifest
from envoi.types import ImageSpec
from envoi.wording import counted

_FORMATS = {
    "fp32": "in full precision (fp32)",
    "fp16": "in half precision (fp16)",
    "int8": "in 8-bit whole numbers (int8) with one scale for each channel",
}


def describe(
    manifest: Manifest,
    class_names: Sequence[str] = (),
    *,
    asked: TrainingSettings | None = None,
) -> list[str]:
    """One sentence for each thing that a submission holds; nothing in the file is left out.

    Args:
        manifest: Of the submission.
        class_names: The study's, in order; without them classes are numbered.
        asked: The training that the study asks for; without it a site that trained so is not
            told what its network betrays of its class mix.
    """
    proof = (
        f"A checksum (SHA-256) of each of the {len(manifest.tensors)} tensors above, and the "
        f"site's signature over all of this (file format {manifest.schema_version})."
    )
    return [
        *_who(manifest),
        *_network(manifest),
        *_counts(manifest, class_names),
        *_statistics(manifest),
        *_training(manifest, asked),
        _privacy(manifest),
        *_audit(manifest),
        proof,
        "No image, no patient identifier, and no path, host or user name is in the file.",
    ]


def told_policy(policy: StatisticsPolicy) -> str:
    """What a study releases beside networks, and how it is coarsened, in a few words."""
    rule = (
        f"fewer than {policy.minimum_class_size} told as 0, others rounded to multiples of "
        f"{policy.count_rounding}"
    )
    if policy.moment_rank:
        rule += f", correlations by {policy.moment_rank} factors"
    return f"{_listed(policy.release) or 'none'}; {rule}"


def _who(manifest: Manifest) -> list[str]:
    site, number = manifest.site, manifest.sequence
    study, classes = manifest.study[:12], manifest.label_map[:12]
    return [
        f"The site's id in the study, {site}, and the number of this file, {number}.",
        f"The day of writing, {manifest.created.isoformat()} (UTC).",
        f"Checksums of the study file ({study}...) and of its list of classes ({classes}...).",
    ]


def _network(manifest: Manifest) -> list[str]:
    names = [name for name in manifest.tensors if name.startswith(NETWORK)]
    norms = [name for name in names if name.endswith((".running_mean", ".running_var"))]
    scales = sum(name.startswith(SCALE) for name in manifest.tensors if name != FACTOR_SCALES)
    network = (
        f"A trained {manifest.architecture} network: {len(names) - len(norms)} tensors of "
        f"weights {_FORMATS[manifest.weight_format]}"
    )
    statistics = (
        f"{len(norms)} tensors of batch-norm statistics: mean and variance of each inner "
        "channel over the site's images."
    )
    coded = f"{network}, and {scales} tensors of such scales." if scales else f"{network}."
    return [coded, *([statistics] if norms else []), _image(manifest.image)]


def _image(image: ImageSpec) -> str:
    kind = "grey" if image.channels == 1 else "colour"
    low, high = image.value_range
    return (
        f"What the network's images look like: {kind}, {image.size_px} x {image.size_px} pixels, "
        f"values {low:g} to {high:g}, normalised by mean {_listed(image.mean)} and deviation "
        f"{_listed(image.deviation)}."
    )


def _counts(manifest: Manifest, class_names: Sequence[str]) -> list[str]:
    counts = manifest.class_counts
    asked = f"The study's statistics policy: {told_policy(manifest.statistics)}."
    if counts is None:
        return [asked, "No class counts: the study asks for none."]
    names = class_names or [f"class {index}" for index in range(len(counts))]
    told = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
    return [asked, f"How many images of each class: {told}."]


def _statistics(manifest: Manifest) -> list[str]:
    lines = []
    if FEATURE_MEANS in manifest.tensors:
        lines.append(
            "For each class the mean over its images of a fixed description: a picture of about "
            "ten by ten pixels, how much detail there is, and answers of random filters. Whoever "
            "has the file can draw the coarse average image of each class (nothing is told of "
            "classes under the minimum size)."
        )
    if FEATURE_CORRELATIONS in manifest.tensors:
        lines.append(_together(manifest.statistics, "how its parts vary together"))
    if FEATURE_FACTORS in manifest.tensors:
        factors = f"the {manifest.statistics.moment_rank} strongest ways in which its parts vary"
        lines.append(_together(manifest.statistics, f"{factors} together, in 8-bit numbers"))
    if manifest.temperature is not None:
        lines.append(
            f"The temperature that calibrates the network: {manifest.temperature:g}. One number, "
            "fitted on the site's own validation images: above 1, the network was too sure of "
            "itself on images that it had not learned from; under 1, not sure enough."
        )
    return lines or ["No feature moments and no temperature."]


def _together(policy: StatisticsPolicy, what: str) -> str:
    return (
        f"How far this description varies within classes, and {what} (only where at least "
        f"{policy.minimum_covariance_images} images stand behind it). Whoever has the file and an "
        "image can test whether it was among them; the fewer there are, the surer."
    )


def _training(manifest: Manifest, asked: TrainingSettings | None) -> list[str]:
    card = manifest.card
    accuracy = card.validation_accuracy
    told = "unknown" if accuracy is None else f"{accuracy:.2f} (two decimals)"
    line = (
        f"How it was trained: {counted(card.epochs, 'epoch')} on "
        f"{counted(card.images, 'image')} (by the counts above); accuracy on the site's own "
        f"validation images: {told}."
    )
    trained = card.settings or asked
    mix = [] if trained is None else [_class_mix(trained.mix_power)]
    if card.settings is None:
        return [line, "Training settings: as the study asks.", *mix]
    given = ", ".join(
        f"{name} {getattr(card.settings, name)}" for name in card.settings.__dataclass_fields__
    )
    return [line, f"Training settings of the site: {given}.", *mix]


def _class_mix(power: float) -> str:
    """What a network's answers tell of how common each class is at its site."""
    tells = "how common each class is at the site can be estimated from its answers"
    if power == 1:
        return f"The network answers common classes more readily: {tells}."
    if power == 0:
        return (
            "The network is trained to answer as if all classes of the site were equally common: "
            "its answers tell which classes the site has, and little of how common they are."
        )
    return (
        "The network is trained to answer as if the site's classes were less unlike in number "
        f"(each share to the power {power:g}): {tells}, once that power is known."
    )


def _privacy(manifest: Manifest) -> str:
    if manifest.privacy == "none":
        return "Differential privacy: none. Whoever holds the network could try to learn from it."
    guarantee = manifest.privacy
    return f"Differential privacy: epsilon {guarantee.epsilon:g} at delta {guarantee.delta:g}."


def _audit(manifest: Manifest) -> list[str]:
    """What the site found out about the file, where that is told."""
    told = manifest.audit
    if told is None:
        return []
    moments = "" if told.moments is None else f", by the moments with {told.moments:.2f}"
    line = (
        "What the site's audit came to: who has the file and somebody's images can tell whether "
        f"they were in the training, by the network with {told.network:.2f}{moments} (area under "
        f"the ROC curve; 0.5 is guessing); {told.standing_out:.0%} of those in it stand out."
    )
    return [line]


def _listed(values: Sequence[object]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else f"{value}" for value in values)
