"""`envoi study`: write a study, check one, enter a hospital's key."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from envoi.study import Study

app = typer.Typer(no_args_is_help=True, help="Write and check the study that all parties share.")

_UNCHANGED = "It was there already: the study is as it was."

StudyFile = Annotated[Path, typer.Argument(help="The study.toml.", show_default=False)]


@app.command()
def new(
    *,
    path: Annotated[Path, typer.Argument(help="A folder, or the file to write (.toml).")],
    name: Annotated[str, typer.Option(help="What people call the study.")],
    classes: Annotated[str, typer.Option(help="Class names in label order, with commas.")],
    channels: Annotated[int, typer.Option(help="1 for grey images, 3 for colour.")],
    size: Annotated[int, typer.Option(help="Height and width of an image, in pixels.")],
    architecture: Annotated[str, typer.Option(help="The network.")] = "resnet18",
    weight_format: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    seed: Annotated[int, typer.Option(help="Of the shared initial weights.")] = 0,
    minimum_sites: Annotated[int, typer.Option(help="Sites that the server waits for.")] = 2,
) -> None:
    """Write a study.toml with comments, valid as it stands, to be completed by hand."""
    from envoi.errors import Problem, StorageError
    from envoi.files import write_text
    from envoi.study import study_template

    file = path if path.suffix == ".toml" else path / "study.toml"
    text = study_template(
        name,
        classes=[part.strip() for part in classes.split(",")],
        channels=channels,
        size_px=size,
        architecture=architecture,
        weight_format=weight_format,  # type: ignore[arg-type]  # checked there
        seed=seed,
        minimum_sites=minimum_sites,
    )
    if file.exists():
        remedy = "Choose another place, or move the old study away."
        raise StorageError(Problem("a new file", "an existing one", file.name, remedy))
    write_text(file, text)
    typer.echo(f"Wrote {file}.")
    typer.echo("Next: read it through, enter the sites with `envoi study add-site`, check it with")
    typer.echo(f"`envoi study check {file}`, and send it to every site.")


@app.command()
def check(file: StudyFile) -> None:
    """Say everything that is wrong or doubtful in a study, and what it comes to."""
    from envoi.study import load_study, study_warnings

    study = load_study(file)
    from envoi.submission import fingerprint, submission_bytes  # loads torch: errors come first

    for doubt in study_warnings(study):
        typer.echo(f"warning: {doubt}", err=True)
    typer.echo(f"study {study.name}: valid")
    typer.echo(f"digest {study.digest}")
    typer.echo(f"classes {', '.join(study.classes)}")
    for name in study.architectures:
        size = submission_bytes(study, name)
        typer.echo(f"one submission with {name}: {size} bytes ({size / 1e6:.1f} MB)")
    for line in _terms(study):
        typer.echo(line)
    typer.echo(f"sites {len(study.sites)}, minimum {study.minimum_sites}")
    for site, key in study.sites.items():
        typer.echo(f"  {site}  fingerprint {fingerprint(key)}")
    for name, key in study.server_keys.items():
        typer.echo(f"server, {name}: fingerprint {fingerprint(key)}")


def _terms(study: "Study") -> list[str]:
    """What leaves a hospital beside the network, until when, and what may not."""
    from envoi.submission.describe import told_policy

    policy, lines = study.statistics, [f"released: {told_policy(study.statistics)}"]
    if "feature_moments" in policy.release:
        lines.append(f"correlations: of {policy.minimum_covariance_images} images or more")
    if study.deadline is not None:
        lines.append(f"deadline {study.deadline:%Y-%m-%d %H:%M} UTC")
    if study.audit is not None:
        limit = study.audit.maximum_membership
        rule = "every file has one" if limit == 1 else f"no file above {limit:g} leaves"
        lines.append(f"audit: {rule} (area under the ROC curve of attacks; 0.5 is guessing)")
    return lines


@app.command("add-site")
def add_site(
    file: StudyFile,
    site: Annotated[str, typer.Argument(help="The site's id: a-z, 0-9 and '-'.")],
    key: Annotated[str, typer.Argument(help="Its public key, as `envoi site keygen` printed it.")],
    replace: Annotated[bool, typer.Option("--replace", help="Change the key of a site.")] = False,
) -> None:
    """Enter a site's public key into the roster; comments and order of the file stay."""
    from envoi.cli.roster import enter_site, key_of_line

    roster = enter_site(file, site, key, replace=replace)
    from envoi.submission import fingerprint  # loads torch: errors come first

    typer.echo(f"{site} is in the roster: fingerprint {fingerprint(key_of_line(key, site))}.")
    typer.echo("Compare it with the site on the telephone.")
    if roster.missing:
        typer.echo(f"{roster.missing} more to come for the study's minimum.")
        return
    typer.echo(f"digest {roster.study.digest}")
    if roster.is_new:
        typer.echo("The study is another one now: send this file to all sites, old and new.")
    else:
        typer.echo(_UNCHANGED)


@app.command("set-server")
def set_server(
    file: StudyFile,
    receipts: Annotated[
        str | None, typer.Option(help="Public key that signs receipts: ed25519:...")
    ] = None,
    encryption: Annotated[
        str | None, typer.Option(help="age recipient that sites encrypt to: age1...")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change a key.")] = False,
) -> None:
    """Enter the server's public keys, as `envoi server keygen` printed them."""
    from envoi.cli.roster import enter_server

    roster = enter_server(file, receipts=receipts, encryption=encryption, replace=replace)
    from envoi.submission import fingerprint  # loads torch: errors come first

    for name, key in roster.study.server_keys.items():
        typer.echo(f"server, {name}: fingerprint {fingerprint(key)}.")
    typer.echo("Every site compares them with you on the telephone.")
    if not roster.missing:
        typer.echo(f"digest {roster.study.digest}")
    if roster.is_new:
        typer.echo(
            "The study is another one now: send this file to all sites before anyone trains."
        )
    else:
        typer.echo(_UNCHANGED)
