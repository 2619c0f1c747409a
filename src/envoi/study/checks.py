"""What can be wrong in the parts of a study; each check gives problems and raises nothing."""

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence

from envoi.errors import Problem
from envoi.networks import ARCHITECTURES
from envoi.types import ImageSpec

KEY_PREFIX = "ed25519:"
CLASSES_LIMIT = 1000
SIZE_LIMIT_PX = 1024
NAME_LIMIT = 100

_SITE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
# Every point of small order: with such a key anyone can sign (RFC 8032, section 5.1.3; the
# encodings are those of the eight points and their non-canonical twins).
_WEAK_KEYS = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "00" * 31 + "80",
        "01" + "00" * 31,
        "01" + "00" * 30 + "80",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ec" + "ff" * 30 + "7f",
        "ec" + "ff" * 31,
        "ed" + "ff" * 30 + "7f",
        "ed" + "ff" * 31,
        "ee" + "ff" * 30 + "7f",
        "ee" + "ff" * 31,
    )
)


def is_site_id(text: str) -> bool:
    """Whether `text` is 1 to 63 of a-z, 0-9 and '-', not beginning with '-'."""
    return _SITE_ID.fullmatch(text) is not None


def decode_key(text: str) -> bytes:
    """The 32 bytes of a public key written as `ed25519:<base64>`.

    Raises:
        ValueError: It is not written like that; the message says what it is instead.
    """
    if not text.startswith(KEY_PREFIX):
        raise ValueError(f"text that does not begin with {KEY_PREFIX!r}")
    encoded = text[len(KEY_PREFIX) :]
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as err:
        raise ValueError("text that is not base64") from err
    if len(raw) != 32:
        raise ValueError(f"a key of {len(raw)} bytes")
    if base64.b64encode(raw).decode() != encoded:
        raise ValueError("base64 that is not in its standard form")
    if raw in _WEAK_KEYS:
        raise ValueError("a weak key, with which anyone can sign")
    return raw


def problems_of_roster(sites: Mapping[str, str]) -> list[Problem]:
    """Site ids that cannot name a file, keys that are none, one key for two sites."""
    problems = []
    owners: dict[bytes, str] = {}
    for site, text in sites.items():
        where = f"sites.{site if is_site_id(site) else ascii(site)[:80]}"
        if not is_site_id(site):
            problems.append(
                Problem(
                    "a site id of at most 63 of a-z, 0-9 and '-'",
                    ascii(site)[:80],
                    where,
                    "Choose a short id without spaces, such as 'north-clinic'.",
                )
            )
        try:
            raw = decode_key(text)
        except ValueError as err:
            remedy = "Ask the site for the line that `envoi site keygen` printed."
            problems.append(Problem("'ed25519:' and 44 base64 characters", str(err), where, remedy))
            continue
        if raw in owners:
            found = f"the key of {owners[raw]}"
            problems.append(
                Problem("a key of its own", found, where, "Ask one of the two for a new key.")
            )
        owners.setdefault(raw, where)
    return problems


def problems_of_image(spec: ImageSpec) -> list[Problem]:
    """Values that no image can have, or that do not fit one another."""
    low, high = spec.value_range
    right = {
        "channels": (spec.channels in {1, 3}, "1 (grey) or 3 (colour)"),
        "size_px": (8 <= spec.size_px <= SIZE_LIMIT_PX, f"8 to {SIZE_LIMIT_PX} pixels"),
        "value_range": (_finite(low, high) and low < high, "finite [low, high] with low < high"),
        "mean": (
            len(spec.mean) == spec.channels and _finite(*spec.mean),
            f"{spec.channels} finite values, one for each channel",
        ),
        "deviation": (
            len(spec.deviation) == spec.channels
            and _finite(*spec.deviation)
            and all(value > 0 for value in spec.deviation),
            f"{spec.channels} finite values above 0, one for each channel",
        ),
    }
    return [
        Problem(expected, f"{getattr(spec, name)}"[:80], name, f"Correct image.{name}.")
        for name, (is_right, expected) in right.items()
        if not is_right
    ]


def problems_of_architectures(names: Sequence[str]) -> list[Problem]:
    """Unknown or repeated names, or none at all."""
    problems = problems_of_repetition(names, "architectures")
    unknown = [ascii(name)[:40] for name in names if name not in ARCHITECTURES]
    if unknown or not names:
        problems.append(
            Problem(
                f"one or more of {', '.join(ARCHITECTURES)}",
                ", ".join(unknown[:5]) or "none",
                "architectures",
                "Choose known architectures.",
            )
        )
    return problems


def problems_of_classes(names: Sequence[str]) -> list[Problem]:
    """Names that are empty, repeated or not for people to read; too few or too many."""
    problems = problems_of_repetition(names, "classes")
    for index, name in enumerate(names):
        problems += problems_of_name(name, f"classes.{index}")
    if not 2 <= len(names) <= CLASSES_LIMIT:
        remedy = "List every class, in label order."
        problems.append(
            Problem(f"2 to {CLASSES_LIMIT} class names", f"{len(names)}", "classes", remedy)
        )
    return problems


def mirrored_classes(names: Sequence[str]) -> tuple[str, str] | None:
    """The first two classes that differ in left and right alone, as of a kidney, if there are any.

    Images of such classes may not be mirrored: the label would no longer hold.
    """
    known = {name.lower(): name for name in names}
    for name in names:
        other = name.lower().replace("left", "right")
        if other in known and other != name.lower():
            return name, known[other]
    return None


def problems_of_file_name(file: str) -> list[Problem]:
    """A name that leads into another folder, or is not plain."""
    if _FILE_NAME.fullmatch(file):
        return []
    expected = "a file name of letters, digits, '.', '_' and '-', without folders"
    remedy = "Put the checkpoint beside study.toml and give its name."
    return [Problem(expected, ascii(file)[:80], "file", remedy)]


def problems_of_name(text: str, where: str) -> list[Problem]:
    """Text that is empty, too long, blank at an end, or not printable."""
    if text.isprintable() and text.strip() == text and 0 < len(text) <= NAME_LIMIT:
        return []
    expected = f"1 to {NAME_LIMIT} printable characters, no blank at either end"
    return [Problem(expected, ascii(text)[:80], where, f"Correct {where}.")]


def problems_of_repetition(values: Sequence[str], where: str) -> list[Problem]:
    """Values that stand in a list more than once."""
    repeated = sorted({value for value in values if values.count(value) > 1})
    if not repeated:
        return []
    found = ", ".join(ascii(value)[:40] for value in repeated[:5])
    return [Problem("each value once", f"{found} repeated", where, "Remove the repetition.")]


def _finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)
