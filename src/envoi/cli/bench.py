"""`envoi bench`: whole federations under identical conditions, and their comparison."""

from pathlib import Path
from typing import Annotated

import typer

from envoi.cli.device import DeviceOption
from envoi.cli.train import ColumnsOption, ConvertOption, FitOption

app = typer.Typer(no_args_is_help=True, help="Simulate federations and compare methods.")

DEFAULT_METHODS = (
    "fedavg,ensemble_mean_logits,ensemble_mean_probabilities,ensemble_size,"
    "ensemble_class_count,ensemble_consensus,closed_form,fedisca,envoi"
)

DataArgument = Annotated[
    str, typer.Argument(help="A MedMNIST-like .npz, a .csv table, a folder, or 'phantom'.")
]
PartitionOption = Annotated[
    str,
    typer.Option(
        help="iid, dirichlet-ALPHA, one-class, or natural (a table's column site); several with "
        "commas."
    ),
]
NetworkOption = Annotated[
    str, typer.Option(help="Architecture; several with commas are dealt to the sites.")
]
MethodsOption = Annotated[
    str,
    typer.Option(
        help="Names, with commas; fedavg_rounds_R and fedprox_rounds_R train R rounds.",
        show_default="fedavg, four ensembles, ensemble_consensus, closed_form, fedisca, envoi",
    ),
]
SettingsOption = Annotated[
    Path | None, typer.Option(help="TOML file with [training] and [budget] tables.")
]
BackboneOption = Annotated[
    Path | None,
    typer.Option(
        help="Checkpoint that every network starts from (torchvision's names; safetensors, .pth)."
    ),
]
SizeOption = Annotated[
    int | None, typer.Option(min=8, help="Of a table's or folder's images, in pixels.")
]
ChannelsOption = Annotated[
    int, typer.Option(help="Of a table's or folder's images: 3 for colour, 1 for grey.")
]


@app.command()
def run(
    data: DataArgument,
    out: Annotated[Path, typer.Option("--out", help="Where each run gets its folder.")],
    partition: PartitionOption = "dirichlet-0.6",
    sites: Annotated[int, typer.Option(min=1, help="Number of sites.")] = 5,
    network: NetworkOption = "convnet-small",
    methods: MethodsOption = DEFAULT_METHODS,
    seeds: Annotated[str, typer.Option(help="Numbers, with commas; one run each.")] = "0",
    budget: Annotated[str, typer.Option(help="smoke, short or full.")] = "short",
    settings: SettingsOption = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each site's training.")] = None,
    weight_format: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp16",
    backbone: BackboneOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = 3,
    fit: FitOption = "exact",
    convert: ConvertOption = False,
    columns: ColumnsOption = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor.")] = None,
    device: DeviceOption = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and stop.")] = False,
) -> None:
    """Run every partition and seed; finished runs are not repeated.

    Each run trains the sites, sends their signed files through the server's inbox, and measures
    every method, all images together (`pooled`) and each site alone on the same test images.
    """
    from envoi.cli.bench_runs import Plan, run_all
    from envoi.cli.images import Permissions

    run_all(
        Plan(
            data=data,
            out=out,
            partitions=tuple(partition.split(",")),
            sites=sites,
            networks=tuple(network.split(",")),
            methods=tuple(methods.split(",")),
            seeds=tuple(seeds.split(",")),
            budget=budget,
            settings=settings,
            epochs=epochs,
            weight_format=weight_format,
            backbone=backbone,
            size=size,
            channels=channels,
            permissions=Permissions(fit=fit, convert=convert, columns=columns or ()),
            threads=threads,
            device=device,
        ),
        dry_run=dry_run,
    )


@app.command()
def table(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where table.csv and table.md go; the same.")
    ] = None,
) -> None:
    """Print the comparison of all finished runs, and write table.csv and table.md."""
    from envoi.files import write_text
    from envoi.simulation.table import as_csv, as_markdown, comparison, read_runs

    rows = comparison(read_runs(folder))
    markdown = as_markdown(rows)
    write_text((out or folder) / "table.csv", as_csv(rows))
    write_text((out or folder) / "table.md", markdown)
    typer.echo(markdown)
