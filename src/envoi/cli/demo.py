"""`envoi demo` and `envoi report`."""

from pathlib import Path
from typing import Annotated

import typer

from envoi.cli.device import DeviceOption, device_called


def demo(
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the whole demonstration.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Five phantom hospitals, one file each, one student: a whole study in minutes.

    The hospitals' images are generated blood smears; each has its own stain and its own mix of
    cells. Leaves report.html and summary.json in the run's folder.
    """
    from envoi.cli.progress import following
    from envoi.report import write_report
    from envoi.results import RunFolder
    from envoi.simulation.demo import DemoSettings, run_demo, verdict

    with following() as on_step:
        result = run_demo(
            out, DemoSettings(seed=seed), on_step=on_step, device=device_called(device)
        )
    for line in verdict(result):
        typer.echo(line)
    typer.echo(f"report: {write_report(RunFolder(out))}")


def report(folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")]) -> None:
    """Write a finished run's report.html anew."""
    from envoi.report import write_report
    from envoi.results import RunFolder

    typer.echo(f"report: {write_report(RunFolder(folder))}")
