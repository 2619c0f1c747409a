"""Entering a site's key into a study.toml by hand's rules: comments and order stay."""

import re
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from envoi.errors import Problem, StudyError
from envoi.files import read_text, write_text
from envoi.study import Study, study_from


@dataclass(frozen=True, slots=True)
class Roster:
    """A study's roster after a site was entered.

    Attributes:
        study: With the new site; its `minimum_sites` is lowered while `missing` is above 0.
        missing: Sites that the roster still lacks for the study's minimum.
    """

    study: Study
    missing: int


def enter_site(file: Path, site: str, key: str, *, replace: bool = False) -> Roster:
    """Write the site and its public key into the roster of the study at `file`.

    A study is refused elsewhere while its roster is smaller than its minimum; here it is being
    filled, so that is allowed.

    Args:
        file: A study.toml.
        site: Its id.
        key: `ed25519:<base64>`, or the whole line `<site> = "ed25519:<base64>"`.
        replace: Whether another key of the same site may be replaced.

    Raises:
        StorageError: The file cannot be read or written.
        StudyError: It is wrong, before or after, or the line is another site's; nothing is
            written.
    """
    key = key_of_line(key, site)
    text = read_text(file, what="a study file", remedy="Give the path of a study.toml.")
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as err:
        remedy = "Correct that place."
        raise StudyError(Problem("a TOML file", str(err)[:200], file.name, remedy)) from err
    before, _ = _study(document, file.name)
    known = before.sites.get(site)
    if known not in {None, key} and not replace:
        remedy = "Call the site, compare fingerprints, and add --replace."
        raise StudyError(Problem("a site that is new", "another key of it", f"site {site}", remedy))
    if "sites" not in document:
        document.add("sites", tomlkit.table())
    document["sites"][site] = key
    study, missing = _study(document, file.name)
    if known != key:
        write_text(file, tomlkit.dumps(document))
    return Roster(study, missing)


def key_of_line(text: str, site: str) -> str:
    """The key in the line that `envoi site keygen` prints; any other text as it is.

    Raises:
        StudyError: The line names another site.
    """
    line = re.fullmatch(r'\s*([a-z0-9-]+)\s*=\s*"(ed25519:[^"]*)"\s*', text)
    if line is None:
        return text
    if line[1] != site:
        remedy = "Give the id that stands in the line, or ask the site for its own line."
        raise StudyError(Problem(f"the line of {site}", f"that of {line[1]}", "key", remedy))
    return line[2]


def _study(document: tomlkit.TOMLDocument, where: str) -> tuple[Study, int]:
    """The study, and how many sites its roster lacks."""
    values = document.unwrap()
    minimum, sites = values.get("minimum_sites"), values.get("sites")
    if isinstance(minimum, int) and isinstance(sites, dict) and len(sites) < minimum:
        relaxed = {**values, "minimum_sites": max(len(sites), 1)}
        return study_from(relaxed, where=where), minimum - len(sites)
    return study_from(values, where=where), 0
