"""The packages of the extra `pacs`, and what they would say in logs, which is names of patients."""

import importlib
import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from envoi.errors import EnvoiWarning, MissingExtraError, Problem

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises of damaged data; its messages may quote them and are never shown."""

_TALKATIVE = ("pydicom", "pynetdicom", "dicomweb_client", "urllib3", "requests", "dicomanonymizer")


def extra(module: str) -> Any:  # noqa: ANN401  (a module)
    """A module of the extra.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        remedy = "In Envoi's repository run: pip install '.[pacs]'"
        package = module.partition(".")[0].replace("_", "-")
        raise MissingExtraError(Problem(package, "none", "installed packages", remedy)) from err


@contextmanager
def silence() -> Iterator[None]:
    """Within, these packages log nothing, and no warning of theirs is shown.

    They quote requests, answers and values: identifiers of patients, at levels that a program may
    have switched on long before.
    """
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", EnvoiWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
