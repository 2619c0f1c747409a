"""All that leaves the hospital, in plain words, for the person who signs it off."""

from collections.abc import Sequence

from envoi.submission.layout import FEATURE_CORRELATIONS, FEATURE_MEANS, NETWORK, SCALE
from envoi.submission.manifest import Manifest
from envoi.types import ImageSpec

_FORMATS = {
    "fp32": "in full precision (fp32)",
    "fp16": "in half precision (fp16)",
    "int8": "in 8-bit whole numbers (int8) with one scale for each channel",
}


def describe(manifest: Manifest, class_names: Sequence[str] = ()) -> list[str]:
    """One sentence for each thing that a submission holds; nothing in the file is left out.

    Args:
        manifest: Of the submission.
        class_names: The study's, in order; without them classes are numbered.
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
        *_training(manifest),
        _privacy(manifest),
        proof,
        "No image, no patient identifier, and no path, host or user name is in the file.",
    ]


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
    scales = sum(name.startswith(SCALE) for name in manifest.tensors)
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
    policy, counts = manifest.statistics, manifest.class_counts
    rule = (
        f"fewer than {policy.minimum_class_size} told as 0, others rounded to multiples of "
        f"{policy.count_rounding}"
    )
    asked = f"The study's statistics policy: {_listed(policy.release) or 'none'}; {rule}."
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
        minimum = manifest.statistics.minimum_covariance_images
        lines.append(
            "How far this description varies within classes, and how its parts vary together "
            f"(only where at least {minimum} images stand behind it). Whoever has the file and an "
            "image can test whether it was among them; the fewer there are, the surer."
        )
    if manifest.temperature is not None:
        lines.append(f"The temperature that calibrates the network: {manifest.temperature:g}.")
    return lines or ["No feature moments and no temperature."]


def _training(manifest: Manifest) -> list[str]:
    card = manifest.card
    accuracy = card.validation_accuracy
    told = "unknown" if accuracy is None else f"{accuracy:.2f} (two decimals)"
    line = (
        f"How it was trained: {card.epochs} epochs on {card.images} images (by the counts "
        f"above); accuracy on the site's own validation images: {told}."
    )
    if card.settings is None:
        return [line, "Training settings: as the study asks."]
    given = ", ".join(
        f"{name} {getattr(card.settings, name)}" for name in card.settings.__dataclass_fields__
    )
    return [line, f"Training settings of the site: {given}."]


def _privacy(manifest: Manifest) -> str:
    if manifest.privacy == "none":
        return "Differential privacy: none. Whoever holds the network could try to learn from it."
    guarantee = manifest.privacy
    return f"Differential privacy: epsilon {guarantee.epsilon:g} at delta {guarantee.delta:g}."


def _listed(values: Sequence[object]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else f"{value}" for value in values)
