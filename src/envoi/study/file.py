"""study.toml: reading it with every problem at once, and writing it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from envoi.errors import EnvoiError, Problem, StudyError
from envoi.files import read_text, write_text
from envoi.settings import TrainingSettings
from envoi.study.contract import AuditPolicy, Initialisation, StatisticsPolicy, Study
from envoi.study.server_keys import ServerKeys
from envoi.types import ImageSpec
from envoi.wording import did_you_mean, expected_by

MODEL_KEYS = ("architectures", "weight_format", "initialisation")
TABLES = ("image", "model", "statistics", "training", "audit", "server", "sites")
_IMAGE_KEYS = tuple(field.name for field in fields(ImageSpec))
_TOP_KEYS = tuple(key for key in Study.model_fields if key not in (*MODEL_KEYS, *TABLES))
_KNOWN_KEYS: dict[str, tuple[str, ...]] = {
    "": (*_TOP_KEYS, *TABLES),
    "initialisation": tuple(Initialisation.model_fields),
    "server": tuple(ServerKeys.model_fields),
    "statistics": tuple(StatisticsPolicy.model_fields),
    "audit": tuple(AuditPolicy.model_fields),
    "training": tuple(field.name for field in fields(TrainingSettings)),
}


def load_study(path: Path | str) -> Study:
    """Read a study.toml.

    Raises:
        StorageError: The file is missing, unreadable or not UTF-8.
        StudyError: It is not TOML, or its content is wrong; all problems at once.
    """
    path = Path(path)
    text = read_text(path, what="a study file", remedy="Give the path of a study.toml.")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        found = "nested too deeply" if isinstance(err, RecursionError) else str(err)
        raise StudyError(
            Problem("a TOML file", found[:200], path.name, "Correct that place.")
        ) from err
    return study_from(document, where=path.name).placed(path.parent)


def study_from(document: Mapping[str, Any], *, where: str = "study") -> Study:
    """A study from the tables of a study.toml, without any conversion of types.

    Args:
        document: Keys and tables as in a study.toml.
        where: Named in messages, such as the file.

    Raises:
        StudyError: All problems at once.
    """
    values, problems = _flattened(document, where)
    try:
        # Strict JSON takes arrays for tuples and still no "3" for 3.
        study = Study.model_validate_json(json.dumps(values, default=_iso), strict=True)
    except ValidationError as err:
        problems += _problems(err, where)
    if problems:
        raise StudyError(*problems)
    return study


def study_document(study: Study) -> dict[str, Any]:
    """The tables of the study.toml of `study`; what is None is left out."""
    values = {**study.model_dump(), "image": asdict(study.image)}
    tables = {key: values.pop(key) for key in TABLES if key != "model"}
    tables["model"] = {key: values.pop(key) for key in MODEL_KEYS}
    return _plain({**values, **{key: tables[key] for key in TABLES}})  # type: ignore[no-any-return]


def write_study(path: Path, study: Study) -> None:
    """Write `study` without comments; `load_study` gives a study of the same digest.

    Raises:
        StorageError: The file cannot be written.
    """
    write_text(path, tomlkit.dumps(study_document(study)))


def _flattened(document: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[Problem]]:
    values = dict(document)
    problems = [
        Problem(f"{key} in the table [model]", "it outside", f"{where}, {key}", "Move it there.")
        for key in MODEL_KEYS
        if values.pop(key, None) is not None
    ]
    model = values.pop("model", {})
    if isinstance(model, Mapping):
        known = {key: model[key] for key in model if key in MODEL_KEYS}
        problems += _unknown(model, MODEL_KEYS, f"{where}, model")
        values.update(known)
    else:
        problems.append(Problem("a table", ascii(model)[:80], f"{where}, model", "Write [model]."))
    # Dataclasses: one of them has no check for unknown keys, the other no further check after it.
    for name, known_keys in (("image", _IMAGE_KEYS), ("training", _KNOWN_KEYS["training"])):
        table = values.get(name)
        if isinstance(table, Mapping):
            problems += _unknown(table, known_keys, f"{where}, {name}")
            values[name] = {key: table[key] for key in table if key in known_keys}
    if isinstance(values.get("image"), dict):
        values["image"] = _with_defaults(values["image"])
    deadline = values.get("deadline")
    if deadline is not None and not (isinstance(deadline, datetime) and deadline.tzinfo):
        expected = "a time with its zone, such as 2030-06-30T16:00:00Z"
        found = ascii(f"{deadline}")[:80]
        problems.append(Problem(expected, found, f"{where}, deadline", "Add the zone."))
        del values["deadline"]
    return values, problems


def _unknown(table: Mapping[str, Any], known: Sequence[str], where: str) -> list[Problem]:
    return [_unknown_key(key, known, where) for key in table if key not in known]


def _unknown_key(key: str, known: Sequence[str], where: str) -> Problem:
    remedy = did_you_mean(key, known, otherwise="Remove it.", cutoff=0.0)
    return Problem("a known key", ascii(key)[:80], where, remedy)


def _with_defaults(image: dict[str, Any]) -> dict[str, Any]:
    """Mean and deviation of an image table that leaves them out follow its channels."""
    channels = image.get("channels")
    if type(channels) is not int or channels not in {1, 3}:
        return image
    usual = ImageSpec.of(channels, 0)
    return {"mean": usual.mean, "deviation": usual.deviation, **image}


def _problems(err: ValidationError, where: str) -> list[Problem]:
    problems: list[Problem] = []
    for item in err.errors():
        location = tuple(str(part) for part in item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, EnvoiError):
            problems += [
                replace(inner, where=f"{where}, {_place(location, inner.where)}")
                for inner in cause.problems
            ]
        elif item["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            table = "".join(location[-2:-1])
            key, known = location[-1], _KNOWN_KEYS.get(table, ())
            problems.append(_unknown_key(key, known, f"{where}, {_place(location[:-1])}"))
        else:
            problems.append(_wrong_value(item, f"{where}, {_place(location)}"))
    return problems


def _wrong_value(item: ErrorDetails, where: str) -> Problem:
    key = where.rsplit(", ", 1)[-1]
    if item["type"] == "missing":
        return Problem(expected_by(item), "none", where, f"Add {key}.")
    return Problem(expected_by(item), ascii(item["input"])[:80], where, f"Correct {key}.")


def _place(location: tuple[str, ...], inner: str = "") -> str:
    """Where in study.toml: `inner` is a key of the study or a key below `location`."""
    if not location:
        return inner or "the top"
    head = inner.split(".", 1)[0]
    if head in Study.model_fields:
        parts: tuple[str, ...] = (inner,)
    elif not inner or head == location[-1]:
        parts = location
    else:
        parts = (*location, inner)
    table = ("model",) if parts[0].split(".", 1)[0] in MODEL_KEYS else ()
    return ".".join((*table, *parts))


def _iso(value: object) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no TOML form")


def _plain(value: Any) -> Any:  # noqa: ANN401  (any TOML value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return list(value) if isinstance(value, tuple) else value
