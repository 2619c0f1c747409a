"""Writing a submission: the one way out of a hospital."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor

from envoi.errors import CheckError, Problem, SignatureError, StudyError, SubmissionError
from envoi.files import writing
from envoi.study import Study
from envoi.submission.keys import public_text, sign
from envoi.submission.layout import FACTOR_SCALES, Layout, layout_of
from envoi.submission.manifest import (
    SEQUENCE_LIMIT,
    SIGNING_DOMAIN,
    DifferentialPrivacy,
    Manifest,
)
from envoi.submission.moments import problem_of_moments
from envoi.submission.quantise import encoded
from envoi.submission.release import (
    Release,
    problems_of_release,
    released_card,
    released_counts,
    released_moments,
    released_temperature,
)
from envoi.submission.values import problem_of_values


def write_submission(
    path: Path,
    release: Release,
    *,
    study: Study,
    site: str,
    sequence: int,
    key: Ed25519PrivateKey,
    created: date | None = None,
) -> Manifest:
    """Write the one file that a site sends, with the study's policy applied.

    The same arguments give the same bytes. Nothing of the machine (paths, host, user, time of
    day) is written.

    Args:
        path: Where the file appears, whole or not at all.
        release: Of the trained site, raw.
        study: Whose policy, format and roster hold.
        site: Its id in the roster.
        sequence: Above that of every earlier file of the site.
        key: The site's private key.
        created: Day of writing; None is today in UTC.

    Returns:
        The manifest; `describe` puts it into words.

    Raises:
        SubmissionError: The release does not fit the study, or holds numbers that no server
            would take (not finite, too large for fp16, negative variance); all problems at once.
        StudyError: The study does not allow the architecture.
        SignatureError: The roster has no such site, or another key for it.
        CheckError: The study asks for an audit, and there is none or it came to too much.
        StorageError: The file cannot be written.
    """
    check_signer(study, site=site, sequence=sequence, key=key)
    check_audit(release, study)
    draft = drafted(release, study=study, site=site, sequence=sequence, created=created)
    write_file(path, draft.manifest, draft.tensors, layout=draft.layout, key=key)
    return draft.manifest


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A submission before it is signed: all that would leave.

    Attributes:
        manifest: What it says of itself.
        tensors: In their stored form.
        layout: Where they stand in the file.
    """

    manifest: Manifest
    tensors: Mapping[str, Tensor]
    layout: Layout


def drafted(
    release: Release,
    *,
    study: Study,
    site: str,
    sequence: int,
    created: date | None = None,
) -> Draft:
    """What `write_submission` would sign, with the study's policy applied.

    Raises:
        SubmissionError: As `write_submission`.
        StudyError: As `write_submission`.
    """
    if release.architecture not in study.architectures:
        expected = f"one of {', '.join(study.architectures)}"
        remedy = "Train an architecture that the study allows."
        raise StudyError(Problem(expected, release.architecture, "architecture", remedy))
    layout = layout_of(study, release.architecture)
    tensors = _tensors(release, study, layout)
    digests = {place.name: _digest(tensors[place.name]) for place in layout.places}
    policy = study.statistics
    manifest = Manifest(
        study=study.digest,
        site=site,
        sequence=sequence,
        created=created or datetime.now(UTC).date(),
        architecture=release.architecture,
        label_map=study.label_map_digest,
        image=study.image,
        weight_format=study.weight_format,
        statistics=policy,
        class_counts=released_counts(release, policy),
        temperature=released_temperature(release, policy),
        card=released_card(release, policy),
        privacy=_privacy(release),
        tensors=digests,
        audit=None if study.audit is None else release.audit,
    )
    return Draft(manifest, tensors, layout)


def write_file(
    path: Path,
    manifest: Manifest,
    tensors: Mapping[str, Tensor],
    *,
    layout: Layout,
    key: Ed25519PrivateKey,
) -> None:
    """Sign `manifest` and write it with its tensors.

    Raises:
        StorageError: The file cannot be written.
    """
    text = manifest.canonical()
    header = layout.header(text, sign(key, SIGNING_DOMAIN + text.encode()))
    with writing(path) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for place in layout.places:
            file.write(bytes_of(tensors[place.name]))


def check_signer(study: Study, *, site: str, sequence: int, key: Ed25519PrivateKey) -> None:
    """Refuse to sign what the server would refuse for its signer.

    Raises:
        SignatureError: The roster has no such site, or another key for it.
        SubmissionError: The sequence number is out of range.
    """
    if study.sites.get(site) != public_text(key):
        found = "another key" if site in study.sites else "no such site"
        remedy = "Use the site's own key, or ask the coordinator to correct the roster."
        raise SignatureError(
            Problem("the key that the roster has for the site", found, f"site {site}", remedy)
        )
    if not 0 <= sequence < SEQUENCE_LIMIT:
        raise SubmissionError(
            Problem(
                f"0 up to below {SEQUENCE_LIMIT}", f"{sequence}", "sequence", "Count from 1 up."
            )
        )


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, without a copy."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _tensors(release: Release, study: Study, layout: Layout) -> dict[str, Tensor]:
    problems = problems_of_release(release, study, layout)
    if problems:
        raise SubmissionError(*problems)
    moments = released_moments(release, study.statistics)
    tensors = {**encoded(release.state, study.weight_format), **moments}
    wrong = [
        (name, fault)
        for name, tensor in tensors.items()
        if (fault := problem_of_values(name, tensor)) is not None
    ]
    if moments and not wrong:
        counts = released_counts(release, study.statistics) or ()
        minimum = study.statistics.minimum_covariance_images
        fault = problem_of_moments(moments, counts, minimum_images=minimum)
        wrong += [("statistics", fault)] if fault else []
    if wrong:
        raise SubmissionError(
            *(Problem(*fault, name, _remedy(name, study.weight_format)) for name, fault in wrong)
        )
    return tensors


def _remedy(name: str, weight_format: str) -> str:
    if name.startswith("statistics") or name == FACTOR_SCALES:
        return "Compute the feature moments of the images again."
    return f"Look at the training, or at the weight format ({weight_format})."


def check_audit(release: Release, study: Study) -> None:
    """Refuse to let out what the study does not want to be let out.

    Raises:
        CheckError: There is none, or an attack succeeds too well.
    """
    if study.audit is None:
        return
    limit = study.audit.maximum_membership
    if release.audit is None:
        remedy = "Train with a validation part of two patients or more."
        raise CheckError(Problem("an audit, as the study asks", "none", "audit", remedy))
    if release.audit.worst > limit:
        remedy = (
            "Train for fewer epochs or with augmentation, add images, or release less (the study's "
            "[statistics]); nothing was written."
        )
        found = f"{release.audit.worst:.2f}"
        raise CheckError(Problem(f"membership told with at most {limit:g}", found, "audit", remedy))


def _privacy(release: Release) -> DifferentialPrivacy | Literal["none"]:
    if release.epsilon is None:
        return "none"
    return DifferentialPrivacy(epsilon=release.epsilon, delta=release.delta)


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(bytes_of(tensor)).hexdigest()
