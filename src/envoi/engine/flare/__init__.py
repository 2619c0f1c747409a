"""NVIDIA FLARE 2.9 as the courier (extra `envoi[flare]`): mutual TLS, roles, an audit log.

    provision   kits (certificates, policies) for the server, the sites and the coordinator
    policy      what a kit permits: roles, classes, the privacy filter, where FLARE keeps its files
    kit         a kit's folder, and where a site's approved files or the server's inbox lie
    start       one FLARE process in the foreground
    cargo       what a job carries: a submission, an evaluation, a notice of withdrawal, a student
    jobs        one job for each hospital, written by code
    run         the coordinator: a job for each hospital that has not delivered, again if it failed
    send        the coordinator: the same for a student that goes to each hospital
    students    where students are kept, at the server and at a site, and what is checked before
    approved    at the site: which file of the outbox may leave
    executor    at the site: hands the approved file to FLARE; puts a student into place
    privacy     at the site: lets one valid file of this site and study through, nothing else
    inbox       at the server: what has arrived, and how jobs ended
    controller  at the server: one task to one site, the file into the inbox, then the receipt

The engine decides nothing: the file is signed before, and `envoi server collect` and
`evaluations` judge it after.
The site is told "received" once its file is durable in the inbox. What FLARE keeps beside it (jobs,
logs) may be lost without loss of a file.

Only this package imports nvflare.
"""

import importlib.util

from envoi.errors import MissingExtraError, Problem

ACKNOWLEDGE = "acknowledge"
FILE = "file"
ENDORSEMENT = "endorsement"
DIGEST = "sha256"

__all__ = ["ACKNOWLEDGE", "DIGEST", "ENDORSEMENT", "FILE", "require_flare"]


def require_flare() -> None:
    """Refuse to go on without NVIDIA FLARE.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("nvflare") is None:
        remedy = "In Envoi's repository run `pip install '.[flare]'`."
        raise MissingExtraError(Problem("NVIDIA FLARE 2.9", "none", "nvflare", remedy))
