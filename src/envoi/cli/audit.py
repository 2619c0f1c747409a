"""`envoi site audit`: all that would leave a hospital, and what it betrays of whom."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.train import SiteOption, StudyOption

if TYPE_CHECKING:
    from envoi.membership import Membership
    from envoi.site.workspace import Finished
    from envoi.study import Study
    from envoi.submission import Release
    from envoi.submission.write import Draft

IdentifiersOption = Annotated[
    Path | None,
    typer.Option(
        "--identifiers", help="A text file: one name or number a line that must not be sent."
    ),
]


def audit(
    study_file: StudyOption,
    site: SiteOption,
    work: Annotated[Path, typer.Option("--work", help="The working folder of `train`.")],
    identifiers: IdentifiersOption = None,
) -> None:
    """Say all that would leave, and what attacks on it come to; exits with 4 if it may not leave.

    Nothing is written and nothing is signed.
    """
    from envoi.site import Workspace
    from envoi.study import load_study
    from envoi.submission import describe
    from envoi.submission.write import check_audit, drafted

    study, workspace = load_study(study_file), Workspace(work, site)
    finished = workspace.load(study=study)
    number = workspace.last_sequence() + 1
    draft = drafted(finished.release, study=study, site=site, sequence=number)
    typer.echo("This would leave the hospital, and nothing else:\n")
    for line in describe(draft.manifest, study.classes, asked=study.training):
        typer.echo(f"  - {line}")
    typer.echo("\nByte by byte:\n")
    for line in bytes_of_parts(draft):
        typer.echo(f"  - {line}")
    typer.echo("\nWhat the study's policy holds back:\n")
    for line in held_back(finished.release, study):
        typer.echo(f"  - {line}")
    typer.echo("\nWhat somebody could find out who has the file and an image:\n")
    for line in told_of_audit(finished, study):
        typer.echo(f"  - {line}")
    typer.echo(f"\n{named_nobody(draft, identifiers, site)}")
    check_audit(finished.release, study)
    typer.echo("\nThe file may leave." if study.audit else "\nThe study sets no limit.")


def named_nobody(draft: "Draft", identifiers: Path | None, site: str) -> str:
    """That nobody is named in what the file says, and how many names were looked for.

    Raises:
        CheckError: Somebody is, or the machine.
    """
    import re

    from envoi.files import read_text
    from envoi.site.identifiers import SHORTEST, check_nobody_named, machine_names

    text = draft.manifest.canonical()
    machine = check_nobody_named(text, machine_names(), allowed=[site])
    told = [f"Names of this machine and its user: {machine}."]
    if identifiers is not None:
        remedy = "Write names or numbers, one a line or between commas."
        what = "a list of identifiers"
        listed = read_text(identifiers, what=what, remedy=remedy, is_written=True)
        names = re.split(r"[\n\r\t,;]", listed)
        told.append(f"Your list: {check_nobody_named(text, names, allowed=[site])}.")
    short = f"What has fewer than {SHORTEST} characters stands in any text by chance"
    return "\n".join([*told, f"{short}; the site's id, {site}, is meant to be there."])


def bytes_of_parts(draft: "Draft") -> list[str]:
    """How many bytes each kind of content has; they sum to the file."""
    layout, parts = draft.layout, dict[str, int]()
    for place in layout.places:
        kind = _KINDS.get(place.name.partition("/")[0], "statistics")
        parts[kind] = parts.get(kind, 0) + place.stop - place.start
    lines = [f"{size} bytes: {kind}." for kind, size in parts.items()]
    return [
        f"{layout.data_start} bytes: the manifest, the signature, and spaces that fill them up.",
        *lines,
        f"{layout.file_bytes} bytes in all.",
    ]


_KINDS = {"network": "the network", "scale": "scales of the network's 8-bit numbers"}


def held_back(release: "Release", study: "Study") -> list[str]:
    """What the statistics policy does to this site."""
    policy, counts = study.statistics, release.class_counts
    lines = []
    few = sum(0 < count < policy.minimum_class_size for count in counts)
    if "class_counts" in policy.release:
        moved = sum(policy.released_count(count) != count for count in counts) - few
        minimum, step = policy.minimum_class_size, policy.count_rounding
        lines.append(f"Classes of fewer than {minimum} images, {few} here: told as 0.")
        lines.append(f"Counts rounded to multiples of {step}: {moved} here.")
    if "feature_moments" in policy.release and sum(counts) < policy.minimum_covariance_images:
        lines.append(
            f"How features vary together: {sum(counts)} images are fewer than "
            f"{policy.minimum_covariance_images}."
        )
    return lines or ["The study releases no statistics."]


def told_of_audit(finished: "Finished", study: "Study") -> list[str]:
    """The attacks in words."""
    found = finished.audit
    if found is None or found.network is None:
        return ["Unknown: nobody was held out of the training (train with a validation part)."]
    lines = [_attack("From the network", found.network)]
    if found.moments is not None:
        lines.append(_attack("From the statistics", found.moments))
    settings = finished.release.card.settings or study.training
    if settings.patience:
        who = "People" if found.network.of_patients else "Images"
        lines.append(f"{who} held out chose where training ended (patience): attacks err low.")
    return [*lines, "A stronger attack may find more."]


def _attack(name: str, found: "Membership") -> str:
    auc = found.auc
    who, many = ("somebody", "people") if found.of_patients else ("an image", "images")
    return (
        f"{name}: whether {who} was in the training, with {auc.value:.2f} "
        f"[{auc.low:.2f}, {auc.high:.2f}] (area under the ROC curve; 0.5 is guessing). "
        f"{found.standing_out} of {found.members} {many} stand out, where {found.by_chance:.1f} "
        f"would by chance ({found.others} held out)."
    )
