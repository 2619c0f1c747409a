"""NVIDIA FLARE 2.9 as the courier (extra `envoi[flare]`): mutual TLS, roles, an audit log.

    provision   kits (certificates, policies) for the server, the sites and the coordinator
    policy      what a kit permits: roles, classes, the privacy filter, where FLARE keeps its files
    kit         a kit's folder, and where a site's approved file or the server's inbox lies
    start       one FLARE process in the foreground
    jobs        one job for each hospital, written by code
    run         the coordinator: a job for each hospital that has not delivered, again if it failed
    executor    at the site: reads the approved file and hands it to FLARE
    privacy     at the site: lets one valid submission of this site and study through, nothing else
    controller  at the server: one task to one site, the file into the inbox, then the receipt

The engine decides nothing: the file is signed before, and `envoi server collect` judges it after.
The site is told "received" once its file is durable in the inbox. What FLARE keeps beside it (jobs,
logs) may be lost without loss of a submission.

Only this package imports nvflare.
"""

import importlib.util

from envoi.errors import MissingExtraError, Problem

DELIVER = "deliver"
ACKNOWLEDGE = "acknowledge"
SUBMISSION = "submission"
DIGEST = "sha256"

__all__ = ["ACKNOWLEDGE", "DELIVER", "DIGEST", "SUBMISSION", "require_flare"]


def require_flare() -> None:
    """Refuse to go on without NVIDIA FLARE.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("nvflare") is None:
        remedy = "Run `pip install 'envoi[flare]'`."
        raise MissingExtraError(Problem("NVIDIA FLARE 2.9", "none", "nvflare", remedy))
