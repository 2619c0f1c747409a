"""`envoi flare`: NVIDIA FLARE as the courier between hospitals and the server."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from envoi.engine.flare.cargo import Cargo
    from envoi.engine.flare.run import Patience
    from envoi.study import Study

app = typer.Typer(
    no_args_is_help=True,
    help="Carry files between the sites and the server by NVIDIA FLARE (extra envoi[flare]).",
)

ServerOption = Annotated[Path, typer.Option("--server", help="The server's kit, on this machine.")]
CoordinatorOption = Annotated[Path, typer.Option("--coordinator", help="The coordinator's kit.")]
RenewOption = Annotated[
    list[str] | None,
    typer.Option("--renew", metavar="NAME", help="A kit that gets a new certificate; repeatable."),
]
SitesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--site", metavar="SITE", help="Ask this site, even if it has delivered; repeatable."
    ),
]
ReceiversOption = Annotated[
    list[str] | None,
    typer.Option("--site", metavar="SITE", help="Send to this site, even again; repeatable."),
]
WaitOption = Annotated[float, typer.Option(min=0, help="Hours to wait for all sites.")]
EvaluationsOption = Annotated[
    Path | None,
    typer.Option(
        "--evaluations",
        metavar="STUDENT",
        help="Ask for evaluations of this student .safetensors in place of submissions.",
    ),
]
WithdrawalsOption = Annotated[
    bool,
    typer.Option(
        "--withdrawals",
        help="Ask every site for a notice of withdrawal in place of submissions; none is fine.",
    ),
]
StatusEvaluationsOption = Annotated[
    Path | None,
    typer.Option("--evaluations", metavar="STUDENT", help="Of evaluations of this student."),
]
SentOption = Annotated[
    Path | None,
    typer.Option("--sent", metavar="STUDENT", help="Of this student: which sites have got it."),
]
StatusWithdrawalsOption = Annotated[
    bool, typer.Option("--withdrawals", help="Of notices of withdrawal.")
]


@app.command()
def provision(
    study_file: Annotated[Path, typer.Argument(help="The study.toml with the roster.")],
    out: Annotated[Path, typer.Option(help="The folder of all kits.")],
    host: Annotated[str, typer.Option(help="Name of the server, as sites reach it.")],
    port: Annotated[int, typer.Option(help="TCP port of the server.")] = 8002,
    renew: RenewOption = None,
) -> None:
    """Make the kits of the server, of every site of the roster and of the coordinator.

    May be repeated: new sites get kits, policies and study.toml are written anew, and certificates
    stay.
    """
    from envoi.engine.flare import require_flare
    from envoi.engine.flare.provision import AUTHORITY, Address
    from envoi.engine.flare.provision import provision as make_kits

    require_flare()
    kits = make_kits(study_file, out, address=Address(host, port), renew=renew or ())
    for kit in kits:
        typer.echo(f"{kit.name}: {kit}")
    typer.echo(f"{AUTHORITY}: makes certificates. Keep it here, keep a copy, give it to nobody.")
    typer.echo("Bring each kit to its party by a way that nobody else can read.")


@app.command()
def start(kit: Annotated[Path, typer.Argument(help="The kit of the server or of a site.")]) -> None:
    """Run the FLARE process of a kit in the foreground; a service manager restarts it."""
    from envoi.engine.flare.start import start as become

    become(kit)


@app.command()
def run(
    *,
    server: ServerOption,
    coordinator: CoordinatorOption,
    site: SitesOption = None,
    evaluations: EvaluationsOption = None,
    withdrawals: WithdrawalsOption = False,
    wait: WaitOption = 1.0,
) -> None:
    """Ask each site that has not delivered for its file, again if need be; a line for each.

    May be interrupted and run again at any time. Afterwards: `envoi server collect`, or
    `envoi server evaluations`.
    """
    from envoi.engine.flare.kit import load_kit
    from envoi.engine.flare.run import run as fetch

    own = load_kit(server)
    late = fetch(
        load_kit(coordinator),
        own,
        _asked(own.study, evaluations, withdrawals=withdrawals),
        sites=site or (),
        patience=_patience(wait),
        on_news=_say,
    )
    _require_all(late, "a file of every site", "none of", "inbox")


@app.command()
def send(
    student: Annotated[
        Path,
        typer.Argument(
            metavar="STUDENT",
            help="The student's .safetensors, with STUDENT.endorsement.json beside it.",
        ),
    ],
    server: ServerOption,
    coordinator: CoordinatorOption,
    site: ReceiversOption = None,
    wait: WaitOption = 1.0,
) -> None:
    """Carry a student that the server has signed to each site, again if need be; a line for each.

    Sign it with `envoi server endorse`. Each site checks the signature and keeps the student in
    its kit under students/. May be interrupted and run again at any time. Afterwards sites
    evaluate it: `envoi flare run --evaluations STUDENT` fetches what they approve.
    """
    from envoi.engine.flare.kit import load_kit
    from envoi.engine.flare.send import send as carry

    late = carry(
        load_kit(coordinator),
        load_kit(server),
        student,
        sites=site or (),
        patience=_patience(wait),
        on_news=_say,
    )
    _require_all(late, "the student at every site", "none at", "sites")


@app.command("shut-out")
def shut_out(
    site: Annotated[str, typer.Argument(help="The site whose process is refused from now on.")],
    coordinator: CoordinatorOption,
    undo: Annotated[bool, typer.Option("--undo", help="Let it in again.")] = False,
) -> None:
    """Refuse a site's certificate: it left the study, or its kit was lost. Its files stay."""
    from envoi.engine.flare import require_flare
    from envoi.engine.flare.kit import load_kit
    from envoi.engine.flare.session import Line
    from envoi.errors import Problem, SettingsError

    require_flare()
    kit = load_kit(coordinator)
    if site not in kit.study.sites:
        known = ", ".join(sorted(kit.study.sites))
        found, remedy = ascii(site)[:80], "Name one of those."
        raise SettingsError(Problem(f"a site of the roster ({known})", found, "site", remedy))
    line = Line(kit)
    try:
        (line.let_in if undo else line.shut_out)(site)
    finally:
        line.close()
    typer.echo(f"{site}: let in again." if undo else f"{site}: shut out.")


@app.command()
def status(
    *,
    server: ServerOption,
    coordinator: CoordinatorOption,
    evaluations: StatusEvaluationsOption = None,
    sent: SentOption = None,
    withdrawals: StatusWithdrawalsOption = False,
) -> None:
    """Say which sites have delivered, and which are connected.

    Without options of their submissions.
    """
    from envoi.engine.flare.cargo import Kind
    from envoi.engine.flare.kit import load_kit
    from envoi.engine.flare.run import deliveries

    kit = load_kit(server)
    cargo = _asked(kit.study, evaluations, sent, withdrawals=withdrawals)
    done = "got" if cargo.kind is Kind.STUDENT else "delivered"
    words = {True: "connected", False: "not connected", None: "the server does not answer"}
    for found in deliveries(load_kit(coordinator), kit, cargo):
        told = f"{done} {found.file}" if found.file else f"nothing {done}"
        last = f"; last job: {found.ending}" if found.ending else ""
        typer.echo(f"{found.site}: {told}; {words[found.connected]}{last}")


def _asked(
    study: "Study", evaluations: Path | None, sent: Path | None = None, *, withdrawals: bool
) -> "Cargo":
    """What sites are asked for, or sent."""
    from envoi.engine.flare.cargo import SUBMISSIONS, WITHDRAWALS, Cargo, Kind
    from envoi.errors import Problem, SettingsError
    from envoi.files import file_digest
    from envoi.server.student import check_student_of

    named = {"--evaluations": evaluations, "--sent": sent, "--withdrawals": withdrawals or None}
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        remedy = "Ask for one after the other."
        raise SettingsError(Problem("one of them", " and ".join(given), "flare", remedy))
    student = evaluations or sent
    if student is None:
        return WITHDRAWALS if withdrawals else SUBMISSIONS
    check_student_of(student, study)
    return Cargo(Kind.STUDENT if sent else Kind.EVALUATION, file_digest(student))


def _patience(hours: float) -> "Patience":
    from envoi.engine.flare.run import Patience

    return Patience(wait_seconds=hours * 3600)


def _say(site: str, news: str) -> None:
    typer.echo(f"{site}: {news}")


def _require_all(late: Sequence[str], expected: str, found: str, where: str) -> None:
    from envoi.errors import CheckError, Problem

    if late:
        remedy = "Run the same command again, or call those sites."
        raise CheckError(Problem(expected, f"{found} {', '.join(late)}", where, remedy))
