"""Is this header what a site of this study signed? Looks at the header alone, not at tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from envoi.errors import ReplayError, SignatureError, SubmissionError
from envoi.study import Study
from envoi.submission import strict_json
from envoi.submission.keys import decode_signature, is_signed
from envoi.submission.layout import Layout
from envoi.submission.manifest import SCHEMA_VERSION, SIGNING_DOMAIN, Manifest
from envoi.submission.refusal import refused, shown

_SAME_STUDY = "Ask the site to use the study.toml of this study."


@dataclass(frozen=True, slots=True)
class _Header:
    """The parts of a header, parsed and not yet believed."""

    manifest: str
    signature: str
    tensors: Mapping[str, Any]


def verified_manifest(
    header: bytes,
    *,
    layouts: Mapping[str, Layout],
    study: Study,
    received: Mapping[str, int],
    where: str,
) -> Manifest:
    """The manifest in `header`, once every claim in it has been checked.

    Args:
        header: Exactly as it stands in the file.
        layouts: Of each architecture whose file has this size and this header length.
        study: Whose roster, classes and policy hold.
        received: Highest sequence number seen of each site.
        where: Names the file in messages.

    Raises:
        SubmissionError: It is not what `write_submission` would have written.
        SignatureError: It is not signed by the site that it names.
        ReplayError: Its sequence number is not above the highest one seen.
    """
    parts = _parts(header, where)
    manifest = _manifest(parts.manifest, where)
    check_signature(
        study,
        site=manifest.site,
        message=SIGNING_DOMAIN + parts.manifest.encode(),
        signature=parts.signature,
        where=where,
    )
    _check_study(manifest, study, where)
    _check_policy(manifest, study, where)
    _check_replay(manifest, received, where)
    if manifest.architecture not in layouts:
        expected = f"the size of a submission with {shown(manifest.architecture)}"
        raise refused(where, expected, "the size of another architecture")
    layout = layouts[manifest.architecture]
    _check_tensors(parts.tensors, layout, where)
    _check_digests(manifest, layout, where)
    if not _is_canonical(header, parts, layout):
        raise refused(where, "the header in its canonical form", "another spelling of it")
    return manifest


def check_signature(study: Study, *, site: str, message: bytes, signature: str, where: str) -> None:
    """Refuse what the site's key in the roster has not signed.

    Raises:
        SignatureError: The site is not in the roster, or the signature is not its.
    """
    if site not in study.sites:
        remedy = "Add the site's key to the roster, or refuse the file for good."
        found = f"the site {shown(site)}"
        raise refused(where, "a site of the roster", found, remedy, kind=SignatureError)
    raw = decode_signature(signature)
    if raw is None:
        found = "text that is no signature"
        raise refused(where, "64 bytes in base64", found, kind=SignatureError)
    if not is_signed(message, raw, study.sites[site]):
        remedy = "Call the site: the file was changed on its way, or another key signed it."
        expected, found = f"a signature by {site}", "a signature that does not match"
        raise refused(where, expected, found, remedy, kind=SignatureError)


def _parts(header: bytes, where: str) -> _Header:
    try:
        document = strict_json.parse(header)
    except strict_json.JsonError as err:
        raise refused(where, "a safetensors header", str(err)) from err
    metadata = document.pop("__metadata__", None) if isinstance(document, dict) else None
    if (
        not isinstance(metadata, dict)
        or set(metadata) != {"manifest", "signature"}
        or not all(isinstance(text, str) for text in metadata.values())
    ):
        found = "other metadata"
        raise refused(where, "metadata of a manifest and a signature", found)
    return _Header(metadata["manifest"], metadata["signature"], document)


def _manifest(text: str, where: str) -> Manifest:
    try:
        document = strict_json.parse(text)
    except strict_json.JsonError as err:
        raise refused(where, "a manifest", str(err)) from err
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        found, remedy = shown(version), "Let the site and the server use the same Envoi."
        raise refused(where, f"schema version {SCHEMA_VERSION}", found, remedy)
    try:
        manifest = Manifest.model_validate_json(text, strict=True)
    except ValidationError as err:
        raise _invalid(err, where) from err
    if manifest.canonical() != text:
        raise refused(where, "the manifest in its canonical form", "another spelling of it")
    return manifest


def _invalid(err: ValidationError, where: str) -> SubmissionError:
    """The first of pydantic's complaints, with nothing of the file in it but a safe form."""
    item = err.errors(include_url=False, include_context=False)[0]
    key = shown(".".join(str(part) for part in item["loc"]))
    if item["type"] == "missing":
        return refused(where, f"a manifest with {key}", "none")
    if item["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return refused(where, "a manifest of known fields", f"the field {key}")
    expected = item["msg"].removeprefix("Input should be ")
    return refused(where, f"{expected[:120]} at {key}", shown(item["input"]))


def _check_study(manifest: Manifest, study: Study, where: str) -> None:
    if manifest.study != study.digest:
        found = f"{manifest.study[:12]}..."
        raise refused(where, f"the study {study.digest[:12]}...", found, _SAME_STUDY)
    if manifest.architecture not in study.architectures:
        expected, found = f"one of {', '.join(study.architectures)}", shown(manifest.architecture)
        raise refused(where, expected, found, _SAME_STUDY)
    agreed = {
        "label map": manifest.label_map == study.label_map_digest,
        "image specification": manifest.image == study.image,
        "weight format": manifest.weight_format == study.weight_format,
        "statistics policy": manifest.statistics == study.statistics,
    }
    for what, is_same in agreed.items():
        if not is_same:
            raise refused(where, f"the study's {what}", "another one", _SAME_STUDY)


def _check_audit(manifest: Manifest, study: Study, where: str) -> None:
    told, asked = manifest.audit, study.audit
    if (told is None) != (asked is None):
        found = "none" if told is None else "one"
        raise refused(where, "an audit if and only if the study asks for it", found)
    if told is not None and asked is not None and told.worst > asked.maximum_membership:
        expected = f"an audit of at most {asked.maximum_membership:g}"
        raise refused(where, expected, f"{told.worst:g}")


def _check_policy(manifest: Manifest, study: Study, where: str) -> None:
    policy, counts = study.statistics, manifest.class_counts
    if (counts is not None) != ("class_counts" in policy.release):
        found = "no class counts" if counts is None else "class counts"
        raise refused(where, "the statistics that the policy releases", found)
    if manifest.temperature is not None and "temperature" not in policy.release:
        raise refused(where, "the statistics that the policy releases", "a temperature")
    _check_audit(manifest, study, where)
    if counts is None:
        return
    if len(counts) != len(study.classes):
        raise refused(where, f"{len(study.classes)} class counts", f"{len(counts)}")
    for count in counts:
        if count != policy.released_count(count):
            expected = (
                f"counts of 0 or at least {policy.minimum_class_size}, in steps of "
                f"{policy.count_rounding}"
            )
            raise refused(where, expected, f"{count}")
    if manifest.card.images != sum(counts):
        expected = f"{sum(counts)} images, the sum of the class counts"
        raise refused(where, expected, f"{manifest.card.images}")


def _check_replay(manifest: Manifest, received: Mapping[str, int], where: str) -> None:
    latest = received.get(manifest.site, -1)
    if manifest.sequence <= latest:
        raise refused(
            where,
            f"a sequence number above {latest} from {manifest.site}",
            f"{manifest.sequence}",
            "Nothing, if the file came before; else let the site write one with a higher number.",
            kind=ReplayError,
        )


def _check_tensors(found: Mapping[str, Any], layout: Layout, where: str) -> None:
    wanted = {place.name: place.entry() for place in layout.places}
    for name in found:
        if name not in wanted:
            raise refused(where, "the tensors of the architecture", f"a tensor {shown(name)}")
    for name, entry in wanted.items():
        if name not in found:
            raise refused(where, f"a tensor {name}", "none of that name")
        given = found[name]
        if given == entry:
            continue
        if not isinstance(given, dict) or given.keys() != entry.keys():
            raise refused(where, f"dtype, shape and offsets of {name}", shown(given))
        key = next(key for key in entry if given[key] != entry[key])
        raise refused(where, f"{key} {entry[key]} of {name}", shown(given[key]))


def _check_digests(manifest: Manifest, layout: Layout, where: str) -> None:
    names = {place.name for place in layout.places}
    if manifest.tensors.keys() != names:
        odd = min(manifest.tensors.keys() ^ names)
        raise refused(where, "the digest of every tensor", f"{shown(odd)} missing or unknown")


def _is_canonical(header: bytes, parts: _Header, layout: Layout) -> bool:
    try:
        return header == layout.header(parts.manifest, parts.signature)
    except ValueError:
        return False
