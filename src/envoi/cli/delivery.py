"""`envoi site deliver` and `verify-receipt`: a file on its way to the server, and its answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.train import StudyOption

if TYPE_CHECKING:
    from rich.console import Console

_LINE_SECONDS = 10.0


def deliver(
    file: Annotated[Path, typer.Argument(help="The file that `submit` or `withdraw` wrote.")],
    inbox: Annotated[Path, typer.Argument(help="A folder: the server's inbox, a share, a stick.")],
) -> None:
    """Copy a file to where it is fetched or collected, checked by digest.

    After a cut, run it again: it goes on from what is there.
    """
    from envoi.submission.delivery import deliver as deliver_file

    with _following() as on_bytes:
        done = deliver_file(file, inbox, on_bytes=on_bytes)
    if done.kept_bytes == done.bytes:
        typer.echo(f"{done.path.name} was there already, whole.")
    elif done.kept_bytes:
        typer.echo(f"Went on after {done.kept_bytes} bytes that were there already.")
    told = f"{done.bytes} bytes, sha256 {done.sha256}, read back and compared"
    typer.echo(f"Delivered {done.path.name}: {told}.")


def verify_receipt(
    study_file: StudyOption,
    receipt: Annotated[Path, typer.Option("--receipt", help="What came out of the outbox.")],
    file: Annotated[Path, typer.Option("--file", help="The file that was sent, as it was sent.")],
    site: Annotated[
        str | None, typer.Option("--site", help="The site that the receipt must name.")
    ] = None,
    sequence: Annotated[
        int | None, typer.Option("--sequence", min=0, help="The number that it must name.")
    ] = None,
) -> None:
    """Check that the server has signed that it received this very file.

    Ends with exit code 4, and what does not match, if it has not. An encrypted file names no
    site and no number; --site and --sequence say which must stand in the receipt.
    """
    from envoi.study import load_study
    from envoi.submission.receipt import told_time
    from envoi.submission.receipt_check import check_receipt

    study = load_study(study_file)
    found = check_receipt(receipt, study=study, file=file, site=site, sequence=sequence)
    who = f"number {found.sequence} of {found.site}"
    is_notice = found.kind == "withdrawal"
    done = "carried out the withdrawal up to" if is_notice else "received this file as"
    when = f"{told_time(found.time)} by the server's clock"
    typer.echo(f"The server of the study {study.name} {done} {who}, {when}.")
    typer.echo(f"Signed with the key {found.server}; sha256 {found.sha256}.")
    if found.still_counting is not None:
        higher = (
            f"number {found.still_counting} of {found.site}, which came before it, still counts"
        )
        typer.echo(
            f"warning: {higher}. `envoi site withdraw --all` takes it back as well.", err=True
        )


@contextmanager
def encrypted_to(recipient: str | None, file: Path, work: Path) -> Iterator[Path]:
    """Where a submission is to be written so that `file` appears: itself, or encrypted.

    Args:
        recipient: The server's; None encrypts nothing.
        file: Appears when the block ends without an error.
        work: The site's working folder, in which the plain file lies meanwhile.
    """
    if recipient is None:
        yield file
        return
    from envoi.submission.encryption import encrypt_file, require_age

    require_age()
    plain = work / "submission.part"
    try:
        yield plain
        encrypt_file(plain, file, recipient)
    finally:
        plain.unlink(missing_ok=True)


@contextmanager
def _following() -> Iterator[Callable[[int, int], None]]:
    """A callback that shows bytes, rate and time left: a bar, or a line now and then."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with _bar(console) if console.is_terminal else _lines(console) as show:
        yield show


@contextmanager
def _bar(console: "Console") -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (BarColumn(bar_width=20), DownloadColumn(), TransferSpeedColumn(), Remaining())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("deliver", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _lines(console: "Console") -> Iterator[Callable[[int, int], None]]:
    began = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LINE_SECONDS:
            return
        last, rate = now, done / (now - began)
        left = (total - done) / rate
        line = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s"
        console.print(f"{line}, about {left:.0f} s left", markup=False, soft_wrap=True)

    yield show
