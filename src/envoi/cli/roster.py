"""Entering keys into a study.toml by hand's rules: comments and order stay."""

import re
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from envoi.errors import Problem, SettingsError, StudyError
from envoi.files import read_text, write_text
from envoi.study import Study, study_from


@dataclass(frozen=True, slots=True)
class Roster:
    """A study's roster after a site was entered.

    Attributes:
        study: With the new site; its `minimum_sites` is lowered while `missing` is above 0.
        missing: Sites that the roster still lacks for the study's minimum.
        is_new: Whether anything was entered that was not there already.
    """

    study: Study
    missing: int
    is_new: bool


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
    document = _document(file)
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
    return Roster(study, missing, is_new=known != key)


def enter_server(
    file: Path, *, receipts: str | None, encryption: str | None, replace: bool = False
) -> Roster:
    """Write the server's public keys into the study at `file`.

    Args:
        file: A study.toml.
        receipts: `ed25519:<base64>`; None leaves it as it is.
        encryption: `age1<bech32>`; None leaves it as it is.
        replace: Whether other keys may be replaced.

    Raises:
        SettingsError: No key is given.
        StorageError: The file cannot be read or written.
        StudyError: It is wrong, before or after; nothing is written.
    """
    given = {"receipts": receipts, "encryption": encryption}
    keys = {name: key for name, key in given.items() if key is not None}
    if not keys:
        remedy = "Give --receipts, --encryption or both, as `envoi server keygen` printed them."
        raise SettingsError(Problem("a public key of the server", "none", "set-server", remedy))
    document = _document(file)
    before, _ = _study(document, file.name)
    for name, key in keys.items():
        if before.server_keys.get(name) not in {None, key} and not replace:
            remedy = "Compare fingerprints with the server, and add --replace."
            where = f"server.{name}"
            raise StudyError(Problem("no key yet", "another key", where, remedy))
    if "server" not in document:
        document.add("server", tomlkit.table())
    for name, key in keys.items():
        document["server"][name] = key
    study, missing = _study(document, file.name)
    if study.digest != before.digest:
        write_text(file, tomlkit.dumps(document))
    return Roster(study, missing, is_new=study.digest != before.digest)


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


def _document(file: Path) -> tomlkit.TOMLDocument:
    text = read_text(file, what="a study file", remedy="Give the path of a study.toml.")
    try:
        return tomlkit.parse(text)
    except TOMLKitError as err:
        remedy = "Correct that place."
        raise StudyError(Problem("a TOML file", str(err)[:200], file.name, remedy)) from err


def _study(document: tomlkit.TOMLDocument, where: str) -> tuple[Study, int]:
    """The study, and how many sites its roster lacks."""
    values = document.unwrap()
    minimum, sites = values.get("minimum_sites"), values.get("sites")
    if isinstance(minimum, int) and isinstance(sites, dict) and len(sites) < minimum:
        relaxed = {**values, "minimum_sites": max(len(sites), 1)}
        return study_from(relaxed, where=where), minimum - len(sites)
    return study_from(values, where=where), 0
