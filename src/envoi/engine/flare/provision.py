"""Kits for everyone: the server, each site of the study's roster, and the coordinator.

    out/server/        for the server's machine
    out/<site>/        for that hospital
    out/coordinator/   for the person who starts deliveries
    out/.authority/    the private key that makes certificates; it stays here

FLARE's own provisioning makes certificates and addresses; this replaces its policies by those of
`envoi.engine.flare.policy`. Running it again adds sites of a grown roster and writes policies and
study.toml anew; certificates, local/envoi.toml and everything else in a kit stay as they are.

A certificate is the key to the door alone. Who holds it can connect as the site, but cannot sign as
the site: that key never leaves the hospital.
"""

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envoi.engine.flare import policy
from envoi.engine.flare.kit import MAILBOX, SETTINGS, STUDY, Role, make_private, settings_text
from envoi.errors import EnvoiWarning, Problem, SettingsError, StorageError, StudyError
from envoi.files import check_folder, write_bytes, write_json, write_text
from envoi.study import Study, load_study

PROJECT = "envoi"
COORDINATOR = "coordinator@envoi.study"
SERVER_KIT, COORDINATOR_KIT, AUTHORITY = "server", "coordinator", ".authority"
# Sites' certificates end with the authority's at the latest: it must outlive many renewals.
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 360
SCHEME = "grpc"
_HOST = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_HOST_LIMIT = 63


@dataclass(frozen=True, slots=True)
class Address:
    """Where sites reach the server.

    Attributes:
        host: Name or IPv4 address; it stands in the server's certificate.
        port: TCP.
    """

    host: str
    port: int = 8002

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host) or len(self.host) > _HOST_LIMIT:
            expected = f"a host name of at most {_HOST_LIMIT} characters, or an IPv4 address"
            found = ascii(self.host)[:80]
            raise SettingsError(Problem(expected, found, "--host", "Give the server's name."))
        if not 1 <= self.port <= 65535:
            raise SettingsError(
                Problem("a port from 1 to 65535", f"{self.port}", "--port", "Choose a port.")
            )


def provision(
    study_file: Path, out: Path, *, address: Address, renew: Sequence[str] = ()
) -> tuple[Path, ...]:
    """Write the kits; their folders.

    Args:
        study_file: With the roster. Copied into every kit.
        out: Holds all kits and the authority; nobody but its owner can enter it.
        address: Of the server, as sites see it.
        renew: Kits that get a new certificate, by name: sites, `server`, `coordinator`.

    Raises:
        StudyError: The roster is empty, or a site's id is the name of another kit.
        SettingsError: A kit that is to be renewed does not exist.
        StorageError: The folder cannot be written, or FLARE could not make the certificates.
    """
    study = load_study(study_file)
    _check(study, renew)
    if "encryption" in study.server_keys:
        line = (
            "The study names a key for encryption: FLARE does not carry its encrypted "
            "submissions, whose content the sites' filter could not check. Carry these by hand."
        )
        warnings.warn(line, EnvoiWarning, stacklevel=2)
    check_folder(out)
    make_private(out)
    with _private_umask():
        made = _made_by_flare(study, out / AUTHORITY, address, renew)
        try:
            kits = [_server_kit(made / address.host, out / SERVER_KIT, study)]
            kits += [_site_kit(made / site, out / site) for site in study.sites]
            kits.append(_coordinator_kit(made / COORDINATOR, out / COORDINATOR_KIT))
        finally:
            shutil.rmtree(made)
        for kit in kits:
            shutil.copyfile(study_file, kit / STUDY)
    return tuple(kits)


def organisation(name: str) -> str:
    """Name of a party's organisation; FLARE takes no hyphen there."""
    return name.replace("-", "_")


def _check(study: Study, renew: Sequence[str]) -> None:
    problems = [
        Problem("a site's id", f"{name}, the name of another kit", "sites", "Choose another id.")
        for name in (SERVER_KIT, COORDINATOR_KIT)
        if name in study.sites
    ]
    if not study.sites:
        remedy = "Enter the sites' keys with `envoi study add-site`."
        problems.append(Problem("a roster of sites", "none", "sites", remedy))
    if problems:
        raise StudyError(*problems)
    known = (SERVER_KIT, COORDINATOR_KIT, *study.sites)
    for name in renew:
        if name not in known:
            remedy = "Name one of those."
            raise SettingsError(
                Problem(f"one of {', '.join(known)}", ascii(name)[:80], "--renew", remedy)
            )


def _made_by_flare(study: Study, authority: Path, address: Address, renew: Sequence[str]) -> Path:
    """The folder in which FLARE has left what it makes for every party."""
    from nvflare.lighter.entity import Project  # noqa: PLC0415
    from nvflare.lighter.impl.cert import CertBuilder  # noqa: PLC0415
    from nvflare.lighter.impl.static_file import StaticFileBuilder  # noqa: PLC0415
    from nvflare.lighter.impl.workspace import WorkspaceBuilder  # noqa: PLC0415
    from nvflare.lighter.provisioner import Provisioner  # noqa: PLC0415

    project = Project(PROJECT, "")
    ports = {"fed_learn_port": address.port, "admin_port": address.port}
    project.set_server(address.host, PROJECT, ports)
    for site in study.sites:
        project.add_client(site, organisation(site), {})
    project.add_admin(COORDINATOR, PROJECT, {"role": policy.COORDINATOR_ROLE})
    make_private(authority)
    names = {SERVER_KIT: address.host, COORDINATOR_KIT: COORDINATOR}
    _forget(authority / PROJECT / "state" / "cert.json", [names.get(name, name) for name in renew])
    builders = [
        WorkspaceBuilder("master_template.yml"),
        StaticFileBuilder(config_folder="config", scheme=SCHEME, require_signed_jobs=True),
        CertBuilder(root_valid_days=AUTHORITY_DAYS),
    ]
    reports = _Reports()
    context = Provisioner(f"{authority}", builders).provision(project, logger=reports)
    place = context.get_result_location()
    if context.get("__build_error__") or not place:
        found = "; ".join(reports.errors)[:300] or "an error"
        remedy = "Look at that, or provision into a new folder."
        raise StorageError(Problem("kits made by FLARE", found, authority.name, remedy))
    return Path(place)


def _forget(state: Path, subjects: Sequence[str]) -> None:
    """Drop certificates, so that FLARE makes new ones; it would hand out the old ones for ever."""
    if not subjects or not state.exists():
        return
    kept = json.loads(state.read_text(encoding="utf-8"))
    for subject in subjects:
        kept.pop(subject, None)
    write_bytes(state, json.dumps(kept).encode(), mode=0o600)


def _server_kit(made: Path, kit: Path, study: Study) -> Path:
    _copy_startup(made, kit, Role.SERVER, "server")
    resources = policy.server_resources(kit, sites=len(study.sites))
    _write_local(
        made, kit, {"resources": resources, "authorization": policy.authorization(at_server=True)}
    )
    _write_own(kit, Role.SERVER)
    return kit


def _site_kit(made: Path, kit: Path) -> Path:
    _copy_startup(made, kit, Role.SITE, "client")
    policies = {"resources": policy.site_resources(), "authorization": policy.authorization()}
    _write_local(made, kit, policies)
    write_json(kit / "local" / "privacy.json", policy.privacy())
    _write_own(kit, Role.SITE)
    return kit


def _coordinator_kit(made: Path, kit: Path) -> Path:
    _copy_startup(made, kit, Role.COORDINATOR, "client")
    (kit / "local").mkdir(exist_ok=True)
    (kit / "transfer").mkdir(exist_ok=True)
    name = "resources.json.default"
    write_bytes(kit / "local" / name, (made / "local" / name).read_bytes())
    return kit


def _copy_startup(made: Path, kit: Path, role: Role, certificate: str) -> None:
    make_private(kit)
    names = (role, f"{certificate}.crt", f"{certificate}.key", "rootCA.pem")
    for name in names:
        content = (made / "startup" / name).read_bytes()
        write_bytes(kit / "startup" / name, content, mode=0o600)


def _write_local(made: Path, kit: Path, policies: Mapping[str, policy.Json]) -> None:
    """Policies under FLARE's names for defaults; a party may put a stricter file beside one."""
    name = "log_config.json.default"
    write_bytes(kit / "local" / name, (made / "local" / name).read_bytes())
    for what, content in policies.items():
        write_json(kit / "local" / f"{what}.json.default", content)
    write_json(kit / "local" / "comm_config.json", policy.communication())


def _write_own(kit: Path, role: Role) -> None:
    make_private(kit / MAILBOX[role])
    if not (kit / SETTINGS).exists():
        write_text(kit / SETTINGS, settings_text(role))


@contextmanager
def _private_umask() -> Iterator[None]:
    """FLARE writes the authority's private key with the permissions of the day."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


class _Reports:
    """What FLARE says while it makes kits: errors are kept, the rest is not for people."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def error(self, message: str) -> None:
        self.errors.append(message)

    def debug(self, message: str) -> None:
        pass

    info = warning = debug
