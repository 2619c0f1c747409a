"""`envoi mri demo`: made brains, a model of them, drawn volumes, scores and their page."""

from pathlib import Path
from typing import Annotated

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.mri_options import SeedOption


def demo(
    out: Annotated[Path, typer.Option("--out", help="The folder.")] = Path("runs/mri-demo"),
    minutes: Annotated[float, typer.Option(min=0.01, help="Of training.")] = 6.0,
    subjects: Annotated[int, typer.Option(min=16, help="Made brains.")] = 60,
    samples: Annotated[int, typer.Option(min=4, help="Volumes to draw.")] = 16,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train on made brains, draw new ones, score them, and write report.html: ten minutes."""
    from envoi.cli.progress import following
    from envoi.report.volumes import VolumeSets, write_volume_report
    from envoi.simulation.brains import BrainDemo, run_brain_demo, verdict
    from envoi.volumes import stacked

    settings = BrainDemo(
        subjects=subjects,
        held_out=subjects // 5,
        samples=samples,
        minutes=minutes,
        seed=seed,
    )
    with following() as on_step:
        result = run_brain_demo(out, settings, on_step=on_step, device=device_called(device))
    sets = VolumeSets(
        stacked(result.training),
        stacked(result.held_out),
        stacked(result.synthetic),
        result.training[0].volume.grid,
        of_phantoms=True,
    )
    words = {
        "Model": "joint",
        "Steps of training": f"{result.steps:,}",
        "Learnt from": f"{len(result.training)} made brains (phantoms)",
    }
    page = out / "report.html"
    write_volume_report(page, result.scores, sets, model=words)
    for line in verdict(result):
        typer.echo(line)
    typer.echo(f"report: {page}")
