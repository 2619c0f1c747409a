"""`envoi data keygen | pull`: images out of a hospital's archive, without who they are of."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import date

    from envoi.data.pacs import (
        Accessions,
        Dicomweb,
        Dimse,
        PacsQuery,
        PullCounts,
        PullSettings,
        Tls,
    )
    from envoi.data.pacs.connect import Credentials


_LINE_SECONDS = 10.0

WebOption = Annotated[
    str | None,
    typer.Option(
        "--dicomweb", metavar="URL", help="Where DICOMweb starts: https://pacs.example/dicom-web."
    ),
]
DimseOption = Annotated[
    str | None, typer.Option("--dimse", metavar="HOST:PORT", help="A PACS without DICOMweb.")
]
CalledOption = Annotated[
    str | None, typer.Option(metavar="TITLE", help="With --dimse: AE title of the PACS.")
]
CallingOption = Annotated[
    str, typer.Option(metavar="TITLE", help="With --dimse: yours, as the PACS knows it.")
]
PseudonymsOption = Annotated[Path, typer.Option("--key", help="Key file of `envoi data keygen`.")]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to fill; the same each time.")]
ModalityOption = Annotated[
    list[str] | None, typer.Option(metavar="MR", help="Only these; may be given several times.")
]
DatesOption = Annotated[
    str | None, typer.Option(metavar="YYYYMMDD-YYYYMMDD", help="Days of the studies.")
]
AccessionsOption = Annotated[
    Path | None, typer.Option(help="A file with an accession number in each line.", metavar="FILE")
]
DescriptionOption = Annotated[
    str, typer.Option(metavar="TEXT", help="A part of the study's description.")
]
RateOption = Annotated[float, typer.Option(help="Requests in a second at the most.", metavar="N")]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="Stop after so many new images.", metavar="N")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only count; fetch nothing.")]
AgeOption = Annotated[bool, typer.Option("--keep-age-and-sex", help="Keep both in the files.")]
SharedOption = Annotated[
    bool, typer.Option("--allow-shared-ids", help="All that bear one patient id are one patient.")
]
DoubtfulOption = Annotated[
    bool,
    typer.Option(
        "--allow-doubtful-pixels",
        help="Take captures, ultrasound and endoscopy that do not say that no text is in their "
        "pixels, and compressed overlays.",
    ),
]
NetrcOption = Annotated[
    Path | None, typer.Option(help="A netrc file with the user and password.", metavar="FILE")
]
TlsOption = Annotated[bool, typer.Option("--tls", help="With --dimse: encrypt the connection.")]
AuthoritiesOption = Annotated[
    Path | None,
    typer.Option(help="Trust these certificates, not the machine's (PEM).", metavar="FILE"),
]
CertificateOption = Annotated[
    Path | None, typer.Option(help="Your own certificate (PEM).", metavar="FILE")
]
TlsKeyOption = Annotated[
    Path | None, typer.Option(help="Its key, without a passphrase (PEM).", metavar="FILE")
]


def keygen(
    out: Annotated[Path, typer.Option(help="The key file to write.")] = Path("pseudonyms.key"),
) -> None:
    """Make the key of your site's pseudonyms, once."""
    from envoi.data.dicom.pseudonyms import new_pseudonym_key

    made = new_pseudonym_key(out)
    typer.echo(f"Wrote the key to {out}: fingerprint {made.fingerprint}.")
    typer.echo("Keep it secret: whoever has it can tell whose images a folder holds.")
    typer.echo("Keep a copy: without it nobody can match the images with labels.")


def pull(
    key: PseudonymsOption,
    out: OutOption,
    *,
    dicomweb: WebOption = None,
    dimse: DimseOption = None,
    called_aet: CalledOption = None,
    calling_aet: CallingOption = "ENVOI",
    modality: ModalityOption = None,
    dates: DatesOption = None,
    accessions: AccessionsOption = None,
    description: DescriptionOption = "",
    per_second: RateOption = 5.0,
    limit: LimitOption = None,
    dry_run: DryRunOption = False,
    keep_age_and_sex: AgeOption = False,
    allow_shared_ids: SharedOption = False,
    allow_doubtful_pixels: DoubtfulOption = False,
    netrc: NetrcOption = None,
    tls: TlsOption = False,
    tls_authorities: AuthoritiesOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: TlsKeyOption = None,
) -> None:
    """Fetch images from a PACS, de-identified; run it again to go on or for what is new.

    User and password are read from ENVOI_PACS_USER and ENVOI_PACS_PASSWORD, or a bearer token
    from ENVOI_PACS_TOKEN, or both from --netrc.
    """
    from envoi.data.dicom.pseudonyms import load_pseudonym_key
    from envoi.data.pacs import PullSettings, Tls, connected, read_accessions
    from envoi.data.pacs import pull as pull_images
    from envoi.data.pacs.deidentify import Profile
    from envoi.data.pacs.pace import Patience

    trust = Tls(authorities=tls_authorities, certificate=tls_certificate, key=tls_key)
    archive = _archive(dicomweb, dimse, called_aet, calling_aet, trust, netrc, is_encrypted=tls)
    listed = None if accessions is None else read_accessions(accessions)
    query = _query(modality or [], dates, listed, description)
    pseudonyms = load_pseudonym_key(key)
    settings = PullSettings(
        patience=Patience(per_second=per_second),
        profile=Profile(
            keep_characteristics=keep_age_and_sex, allow_doubtful_pixels=allow_doubtful_pixels
        ),
        allow_shared_ids=allow_shared_ids,
        limit=limit,
        dry_run=dry_run,
    )
    _warn_of_plain_text(archive)
    with connected(archive) as source:
        counts = pull_images(source, query, out, pseudonyms, settings, on_pull=_following(settings))
    _tell(counts, settings, listed)
    if counts.failed:
        raise typer.Exit(3)


def _archive(
    dicomweb: str | None,
    dimse: str | None,
    called_aet: str | None,
    calling_aet: str,
    trust: "Tls",
    netrc: Path | None,
    *,
    is_encrypted: bool,
) -> "Dicomweb | Dimse":
    """The archive that the options name."""
    from envoi.data.pacs import Dicomweb, Dimse
    from envoi.errors import Problem, SettingsError

    if (dicomweb is None) is (dimse is None):
        found = "neither" if dicomweb is None else "both"
        remedy = "Ask the administrator of the PACS which one it speaks; DICOMweb if it does."
        raise SettingsError(Problem("--dicomweb or --dimse", found, "PACS", remedy))
    if dicomweb is not None:
        archive = Dicomweb(dicomweb, tls=trust)
        return Dicomweb(dicomweb, _credentials(archive.host, netrc), trust)
    host, _, port = (dimse or "").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        remedy = "Write it like pacs.example:11112."
        raise SettingsError(Problem("HOST:PORT", "something else", "--dimse", remedy))
    if called_aet is None:
        remedy = "Ask the administrator of the PACS for its AE title."
        raise SettingsError(Problem("an AE title", "none", "--called-aet", remedy))
    uses_tls = is_encrypted or trust.authorities is not None or trust.certificate is not None
    return Dimse(
        host=host.strip("[]"),
        port=int(port),
        called_aet=called_aet,
        calling_aet=calling_aet,
        tls=trust if uses_tls else None,
    )


def _credentials(host: str, path: Path | None) -> "Credentials":
    """User and password out of the environment or a netrc file, never out of the command line."""
    import netrc

    from envoi.data.pacs.connect import Credentials
    from envoi.errors import Problem, StorageError

    if path is None:
        words = (os.environ.get(f"ENVOI_PACS_{word}", "") for word in ("USER", "PASSWORD", "TOKEN"))
        user, password, token = words
        return Credentials(user=user, password=password, token=token)
    remedy = "Write a line: machine HOST login USER password PASSWORD"
    try:
        found = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        raise StorageError(Problem("a netrc file", "something else", path.name, remedy)) from None
    if found is None:
        problem = Problem("a line for the host of the PACS", "none", path.name, remedy)
        raise StorageError(problem)
    user, _, password = found
    return Credentials(user=user, password=password or "")


def _query(
    modalities: list[str], dates: str | None, listed: "Accessions | None", description: str
) -> "PacsQuery":
    from envoi.data.pacs import PacsQuery

    first, last = (None, None) if dates is None else _days(dates)
    return PacsQuery(
        modalities=tuple(modality.upper() for modality in modalities),
        first_day=first,
        last_day=last,
        description=description,
        accessions=() if listed is None else listed.numbers,
    )


def _days(text: str) -> "tuple[date, date]":
    """20200101-20201231 as two days; one day stands for itself."""
    from datetime import date

    from envoi.errors import Problem, SettingsError

    first, _, last = text.partition("-")
    remedy = "Write them like 20200101-20201231."
    problem = Problem("YYYYMMDD-YYYYMMDD", ascii(text)[:40], "--dates", remedy)
    if not all(len(day) == 8 and day.isdecimal() for day in (first, last or first)):
        raise SettingsError(problem)
    try:
        return date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        raise SettingsError(problem) from None


def _warn_of_plain_text(archive: "Dicomweb | Dimse") -> None:
    if not archive.is_encrypted and archive.host not in {"localhost", "127.0.0.1", "::1"}:
        option = "an https address" if hasattr(archive, "url") else "--tls"
        typer.echo(
            "warning: the connection is not encrypted; names of patients can be read on the way. "
            f"Use {option} if the PACS can.",
            err=True,
        )


def _following(settings: "PullSettings") -> "Callable[[PullCounts], None]":
    """A callback that says now and then how far the pull is, and when the PACS went away."""
    last, waits = time.monotonic(), 0

    def tell(counts: "PullCounts") -> None:
        nonlocal last, waits
        if counts.waits > waits:
            waits = counts.waits
            words = "The PACS does not answer, or hangs up; waiting before the next try."
            typer.echo(words, err=True)
        if time.monotonic() > last + _LINE_SECONDS:
            last = time.monotonic()
            typer.echo(_progress(counts, settings), err=True)

    return tell


def _progress(counts: "PullCounts", settings: "PullSettings") -> str:
    if not counts.studies:
        queries = "1 query" if counts.queries == 1 else f"{counts.queries} queries"
        return f"looking for studies: {queries} answered"
    return f"study {counts.studies_done + 1} of {counts.studies}: {_pulled(counts, settings)}"


def _pulled(counts: "PullCounts", settings: "PullSettings") -> str:
    from envoi.wording import counted

    verb = "would be pulled" if settings.dry_run else "pulled"
    return f"{counted(counts.pulled, 'image')} {verb}, {counts.present} there already"


def _tell(counts: "PullCounts", settings: "PullSettings", listed: "Accessions | None") -> None:
    """What became of all that was found."""
    from envoi.data.pacs.deidentify import Reason
    from envoi.wording import counted

    for line in () if listed is None else listed.told(counts.not_found):
        typer.echo(line)
    studies = "1 study" if counts.studies == 1 else f"{counts.studies} studies"
    typer.echo(f"{studies} found: {_pulled(counts, settings)}.")
    told = {
        Reason.NO_PIXELS: "without pixels",
        Reason.OTHER_KIND: "reports, video and other objects that are no plain image",
        Reason.TEXT_IN_PIXELS: "with text burned into the pixels",
        Reason.DOUBTFUL_PIXELS: (
            "captures, ultrasound, endoscopy or overlays that may show a name "
            "(--allow-doubtful-pixels takes them)"
        ),
        Reason.NO_PATIENT: "without a patient id",
        Reason.SHARED_ID: "since their patient id may be of two people",
    }
    for reason, words in told.items():
        if counts.left_out[reason]:
            typer.echo(f"Left out, {words}: {counts.left_out[reason]}.")
    if counts.shared_ids:
        typer.echo(
            f"warning: {counted(counts.shared_ids, 'patient id')} used with different names, birth "
            "dates, sexes or issuers. Have them corrected in the PACS and pull into a new folder, "
            "or take all that bear one id as one patient with --allow-shared-ids.",
            err=True,
        )
    if settings.limit is not None and counts.pulled >= settings.limit:
        typer.echo("The limit is reached; run the same command again for more.")
    if counts.failed:
        typer.echo(
            f"error: {counted(counts.failed, 'object')} damaged or not to be had. Run the same "
            "command again; what was pulled is kept.",
            err=True,
        )
