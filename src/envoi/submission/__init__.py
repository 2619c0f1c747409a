"""The one file that travels: written at a site, opened by the server, signed in between.

A submission is a plain safetensors file (network, statistics) with a signed manifest in its
metadata; a withdrawal is a small signed JSON notice. See `layout` for the bytes, `manifest` for
the fields, `open` for what is checked.
"""

import importlib
from typing import TYPE_CHECKING, Any

from envoi.submission.describe import describe
from envoi.submission.keys import fingerprint, generate_key, load_key, public_text, save_key
from envoi.submission.manifest import DifferentialPrivacy, Manifest, TrainingCard

if TYPE_CHECKING:
    from envoi.submission.layout import (
        largest_submission_bytes,
        network_bytes,
        submission_bytes,
    )
    from envoi.submission.moments import Moments
    from envoi.submission.open import Submission, build_network, open_submission
    from envoi.submission.quantise import quantised
    from envoi.submission.release import Release
    from envoi.submission.withdrawal import Withdrawal, open_withdrawal, write_withdrawal
    from envoi.submission.write import write_submission

# These load torch; keys and notices do without it, so that `envoi site keygen` answers at once.
_LATE = {
    "Moments": "moments",
    "Release": "release",
    "Submission": "open",
    "Withdrawal": "withdrawal",
    "build_network": "open",
    "largest_submission_bytes": "layout",
    "network_bytes": "layout",
    "open_submission": "open",
    "open_withdrawal": "withdrawal",
    "quantised": "quantise",
    "submission_bytes": "layout",
    "write_submission": "write",
    "write_withdrawal": "withdrawal",
}

__all__ = [
    "DifferentialPrivacy",
    "Manifest",
    "Moments",
    "Release",
    "Submission",
    "TrainingCard",
    "Withdrawal",
    "build_network",
    "describe",
    "fingerprint",
    "generate_key",
    "largest_submission_bytes",
    "load_key",
    "network_bytes",
    "open_submission",
    "open_withdrawal",
    "public_text",
    "quantised",
    "save_key",
    "submission_bytes",
    "write_submission",
    "write_withdrawal",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any public object)
    if name not in _LATE:
        raise AttributeError(f"module 'envoi.submission' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"envoi.submission.{_LATE[name]}"), name)
    globals()[name] = value
    return value
