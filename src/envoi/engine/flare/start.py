"""One party's FLARE process in the foreground, as a service manager wants it."""

import fcntl
import os
import sys
from pathlib import Path
from typing import NoReturn

from envoi.engine.flare import policy, require_flare
from envoi.engine.flare.kit import CONFIRMED, TEMPORARY, Kit, Role, load_kit, make_private
from envoi.engine.flare.provision import PROJECT, organisation
from envoi.errors import Problem, SettingsError, StorageError
from envoi.files import read_text, write_json

_LOCK = "running.lock"
_MODULES = {
    Role.SERVER: "nvflare.private.fed.app.server.server_train",
    Role.SITE: "nvflare.private.fed.app.client.client_train",
}


def start(root: Path) -> NoReturn:
    """Become the FLARE process of the kit in `root`.

    The process id stays the same. Temporary files, jobs and logs stay inside the kit. A kit is run
    by one process: a second one of the same name would push the first aside.

    Raises:
        MissingExtraError: FLARE is not installed.
        SettingsError: The kit is the coordinator's, which has no process.
        StorageError: There is no kit, it cannot be written, or it is running.
    """
    require_flare()
    kit = load_kit(root)
    command = command_of(kit)
    prepare(kit)
    take(kit)
    os.umask(0o077)
    os.environ.update(environment(kit))
    os.execv(sys.executable, command)  # noqa: S606  (no shell, our own interpreter)


def take(kit: Kit) -> int:
    """Hold the kit until this process ends, whatever program it becomes; the open file's number.

    Raises:
        StorageError: Another process holds it.
    """
    number = os.open(kit.root / TEMPORARY / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(number)
        remedy = "Leave it running, or end it first."
        expected, found = "a kit that nobody runs", "one that is running"
        raise StorageError(Problem(expected, found, kit.root.name, remedy)) from err
    os.set_inheritable(number, True)  # noqa: FBT003  (the name says it)
    return number


def command_of(kit: Kit) -> list[str]:
    """The command line of the kit's process.

    Raises:
        SettingsError: The kit is the coordinator's.
    """
    if kit.role not in _MODULES:
        remedy = "Use it with `envoi flare run`."
        raise SettingsError(
            Problem("a kit of the server or a site", "the coordinator's", kit.root.name, remedy)
        )
    name = site_of(kit) if kit.role is Role.SITE else PROJECT
    settings = ["secure_train=true", f"org={organisation(name)}", "config_folder=config"]
    if kit.role is Role.SITE:
        settings.insert(1, f"uid={name}")
    options = ["-m", f"{kit.root}", "-s", f"{kit.role}", "--set", *settings]
    return [sys.executable, "-u", "-m", _MODULES[kit.role], *options]


def environment(kit: Kit) -> dict[str, str]:
    """What the process and its job processes find in their environment beside the usual."""
    return {
        "TMPDIR": f"{kit.root / TEMPORARY}",
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def prepare(kit: Kit) -> None:
    """Make the kit's folders, and tell the server where it stands now.

    Raises:
        StorageError: The kit cannot be written.
    """
    try:
        for folder in (TEMPORARY, "transfer"):
            make_private(kit.root / folder)
        if kit.role is Role.SITE:
            make_private(kit.root / CONFIRMED)
        kit.mailbox.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        remedy = "Make the kit's folder writable for this user."
        found = err.strerror or "an error"
        raise StorageError(Problem("a writable kit", found, kit.root.name, remedy)) from err
    if kit.role is Role.SERVER:
        resources = policy.server_resources(kit.root, sites=len(kit.study.sites))
        write_json(kit.root / "local" / "resources.json.default", resources)


def site_of(kit: Kit) -> str:
    """Id of the site that a kit is for.

    Raises:
        StorageError: The kit's startup file is damaged.
    """
    import json  # noqa: PLC0415

    path = kit.root / "startup" / Role.SITE
    remedy = "Ask the coordinator for a new kit."
    text = read_text(path, what="a site's startup file", remedy=remedy)
    return str(json.loads(text)["client"]["fqsn"])
