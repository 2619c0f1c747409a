"""A new study.toml with a comment at every key, for a coordinator to fill in."""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.items import Table

from envoi.networks import ARCHITECTURES
from envoi.study.contract import WeightFormat
from envoi.study.file import study_document, study_from

_WIDTH = 94
_JOINED = "\0"
"""Stands for a blank within a command, which no line breaks."""

_COMMENTS: dict[str, str] = {
    "": """\
The study: what every hospital and the server agree on. Send this very file to all of them; any \
change to a value gives another study, whose files the server will not take.
Check it with: envoi study check study.toml""",
    "name": "What people call the study.",
    "classes": "The classes in label order: the first is label 0. All hospitals share them.",
    "seed": "Every hospital starts from the same random weights, drawn from this number.",
    "minimum_sites": "The server waits for so many hospitals before it builds the student ...",
    "image": "What one image looks like. Images of another size or kind are refused.",
    "image.channels": "1 is grey, 3 is colour.",
    "image.size_px": "Height and width in pixels.",
    "image.value_range": "Lowest and highest value that a stored pixel can have.",
    "image.mean": "A pixel is scaled to 0..1; then mean is taken off and the rest divided by "
    "deviation, channel by channel.",
    "model": "The network that hospitals train.",
    "model.architectures": "Hospitals choose from this list; the first is the default and the "
    "student's.\nKnown: {architectures}",
    "model.weight_format": "How weights travel: fp32 (exact), fp16 (half the bytes), int8 (a "
    "quarter).",
    "statistics": "What may leave a hospital beside the network. Nothing else does.",
    "statistics.release": "class_counts: how many images of each class (the best ensembles need "
    "them).\nfeature_moments: mean and covariance of a fixed description of the images, from "
    "which the coarse average image of each class can be drawn (method envoi needs them).\n"
    "temperature: one number that calibrates the network; it tells how far the network is too "
    "sure of itself on images that it has not learned from.",
    "statistics.minimum_class_size": "A class with fewer images than this is told as 0, and its "
    "mean is left out.",
    "statistics.count_rounding": "Counts are rounded to multiples of this.",
    "statistics.minimum_covariance_images": "A hospital with fewer images does not tell how "
    "parts of the description vary together.\nThe fewer it may have, the surer one can test "
    "whether a given image was among them.",
    "statistics.moment_rank": "Tell how parts of the description vary together by so many common "
    "factors, in place of all pairs (0): fewer bytes, and less told of single images.\n64 are a "
    "fifth of the bytes; fewer cost accuracy.",
    "training": "How hospitals are asked to train.",
    "training.rate": "Learning rate of SGD.",
    "training.milestones": "The rate falls tenfold after these fractions of all epochs.",
    "training.schedule": "steps (as above) or one-cycle.",
    "training.validation_fraction": "This part of a hospital's images only validates.",
    "training.patience": "Stop after so many epochs without progress; 0 never stops early.",
    "training.augment": "Random changes to each image: small shifts, and what the next six say.",
    "training.flip": "Mirror left and right; not done where classes tell the side.",
    "training.crop_area": "Crop at random and resize, keeping at least this share of the area; 1 "
    "does not.\nFor 224 pixels: 0.08 (the FedISCA paper), or 0.5 where small signs decide.",
    "training.brightness": "Brighter or darker by up to this share; the paper: 0.15.",
    "training.contrast": "More or less contrast, likewise; the paper: 0.1.",
    "training.rotation_degrees": "Turn by up to this angle; the paper, of fundus and skin: 50.",
    "training.shear": "Slant by up to this slope; the paper, of skin: 0.1.",
    "training.class_weights": "Weigh rare classes more, by the hospital's own counts. Answers "
    "then tell little of how common a class is there.",
    "training.logit_adjustment": "0 to 1: take this power of the hospital's own class mix out of "
    "the answers, in the loss. At 1 they tell little of how common a class is there, at 0 they "
    "tell it. Not beside class_weights.",
    "audit": "What a hospital must find out about its file before it leaves.",
    "sites": "The hospitals. Each makes its key with `envoi site keygen` and sends you the line "
    "that it prints; compare the fingerprint on the telephone. For example:\n"
    'north-clinic = "ed25519:<44 characters>"',
}
_SERVER = """\
If the server writes receipts, or files shall travel encrypted, make its keys with \
`envoi server keygen` and enter them with `envoi study set-server`, before anyone trains."""
_DEADLINE = """\
... or until this time, with those that have come. Remove the '#' to set it:
deadline = 2030-06-30T16:00:00Z"""
_INITIALISATION = """\
To start from a checkpoint (safetensors or .pth, torchvision's names) in place of the seed, put it \
beside this file at every hospital and remove the '#':
[model.initialisation]
file = "backbone.safetensors"
sha256 = "<64 characters, from sha256sum>\""""

_AUDIT = """\
To have every hospital attack its own file before it leaves, and refuse files by which one could \
tell too well who was in the training (0.5 is guessing, 1 is certain), remove the '#':
[audit]
maximum_membership = 0.75"""


def study_template(  # noqa: PLR0913  (one argument for each thing that a study is about)
    name: str,
    *,
    classes: Sequence[str],
    channels: int,
    size_px: int,
    architecture: str = "resnet18",
    weight_format: WeightFormat = "fp32",
    seed: int = 0,
    minimum_sites: int = 2,
) -> str:
    """The text of a commented study.toml, valid as it stands; its roster is empty.

    Args:
        name: What people call the study.
        classes: Class names in label order.
        channels: 1 or 3.
        size_px: Height and width of an image in pixels.
        architecture: The network; more can be added to the text.
        weight_format: How weights travel.
        seed: Of the shared initialisation.
        minimum_sites: Submissions that the server waits for.

    Raises:
        StudyError: A value is wrong; all problems at once.
    """
    study = study_from(
        {
            "name": name,
            "classes": list(classes),
            "seed": seed,
            "minimum_sites": minimum_sites,
            "image": {"channels": channels, "size_px": size_px},
            "model": {"architectures": [architecture], "weight_format": weight_format},
        },
        where="study",
    )
    text = tomlkit.dumps(_commented(study_document(study)))
    # A comment belongs to the table that follows it; tomlkit puts a blank line in between.
    return re.sub(r"(?m)^(# .*)\n\n\[", r"\1\n[", text)


def _commented(document: dict[str, Any]) -> tomlkit.TOMLDocument:
    text = tomlkit.document()
    _comment(text, _COMMENTS[""])
    for key, value in document.items():
        text.add(tomlkit.nl())
        _comment(text, _COMMENTS[key])
        text.add(key, _table(key, value) if isinstance(value, dict) else _item(value))
        if key == "minimum_sites":
            _comment(text, _DEADLINE)
    return text


def _table(name: str, values: dict[str, Any]) -> Table:
    table = tomlkit.table()
    for key, value in values.items():
        _comment(table, _COMMENTS.get(f"{name}.{key}", ""))
        table.add(key, _item(value))
    if name == "model":
        _comment(table, _INITIALISATION)
    if name == "training":
        _comment(table, _AUDIT)
        table.add(tomlkit.nl())
        _comment(table, _SERVER)
    return table


def _item(value: Any) -> Any:  # noqa: ANN401  (any TOML value)
    item = tomlkit.item(value)
    if isinstance(value, list) and len(repr(value)) > 70:
        item.multiline(multiline=True)
    return item


def _comment(place: tomlkit.TOMLDocument | Table, text: str) -> None:
    filled = text.replace("{architectures}", ", ".join(ARCHITECTURES))
    whole = re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", _JOINED), filled)
    for line in whole.splitlines():
        for short in textwrap.wrap(line, _WIDTH, break_on_hyphens=False):
            place.add(tomlkit.comment(short.replace(_JOINED, " ")))
