r"""Peak memory of `envoi` by the number of sites: networks left in their files, and all in memory.

    python benchmarks/streaming.py --out benchmarks/results/streaming.json

Each measurement is a process of its own. The bank and its images are tiny, as they do not decide
how many networks are in memory at a time; the networks and the files are whole.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

from envoi.files import write_json
from envoi.meter import environment, metered
from envoi.seeding import torch_generator
from envoi.server.build import distil
from envoi.server.collect import accepted, accepted_copy, collect, load_ledger
from envoi.server.methods import envoi
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.study import Study, load_study, write_study
from envoi.submission import Release, TrainingCard, generate_key, public_text, write_submission
from envoi.types import ImageSpec

BUDGET = Budget(bank_images=32, bank_steps=2, bank_batch=16)
SITES = (5, 50)
MODES = ("in_files", "in_memory")
_CPU = torch.device("cpu")


def main() -> None:
    """Write the files once, then measure each mode and number of sites."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--measure", nargs=2, metavar=("MODE", "FOLDER"), help="for its processes")
    options = parser.parse_args()
    if options.measure:
        mode, folder = options.measure
        print(json.dumps(measured(mode, Path(folder))))
        return
    found: dict[str, dict[str, dict[str, float]]] = {mode: {} for mode in MODES}
    for sites in SITES:
        with tempfile.TemporaryDirectory() as name:
            prepare(Path(name), options.network, sites)
            for mode in MODES:
                words = [__file__, "--out", options.out, "--measure", mode, name]
                done = subprocess.run(
                    [sys.executable, *map(str, words)], capture_output=True, text=True, check=True
                )
                found[mode][f"{sites}"] = json.loads(done.stdout)
                print(mode, sites, found[mode][f"{sites}"], flush=True)
    weights = sum(t.numel() for t in _study({}, options.network).network().state_dict().values())
    told = {"network": options.network, "network_mib": _mib(4 * weights)}
    write_json(options.out, {**told, **found, "environment": environment()})


def prepare(folder: Path, network: str, sites: int) -> None:
    """A server's folder with the accepted files of so many sites, each with weights of its own."""
    keys = {f"site-{number:02d}": generate_key() for number in range(1, sites + 1)}
    study = _study({site: public_text(key) for site, key in keys.items()}, network)
    write_study(folder / "study.toml", study)
    (folder / "inbox").mkdir()
    state = {n: t for n, t in study.network().state_dict().items() if t.dim()}
    card = TrainingCard(epochs=1, images=60)
    for site, key in keys.items():
        noise = torch.randn(state["fc.weight"].shape, generator=torch_generator(0, site))
        own = {**state, "fc.weight": state["fc.weight"] + 0.01 * noise}
        file = folder / "inbox" / f"{site}.safetensors"
        release = Release(network, own, (20, 20, 20), card)
        write_submission(file, release, study=study, site=site, sequence=1, key=key)
    collect(folder / "inbox", folder / "server", study=study)


def measured(mode: str, folder: Path) -> dict[str, float]:
    """Peak memory and time of a distillation in this process, from the files to the student."""
    study, server = load_study(folder / "study.toml"), folder / "server"
    with metered() as cost:
        if mode == "in_files":
            files = load_ledger(server).current()
            opened = [partial(accepted_copy, server, file, study=study) for file in files]
            teachers = Teachers.from_files(opened, study)
        else:
            teachers = Teachers.from_submissions(accepted(server, study=study), study)
        distil("envoi", envoi(), teachers, study=study, budget=BUDGET, device=_CPU)
    return {"peak_mib": _mib(cost.peak_bytes), "seconds": round(cost.wall_seconds, 1)}


def _study(sites: dict[str, str], network: str) -> Study:
    return Study(
        name="streaming",
        classes=("a", "b", "c"),
        image=ImageSpec.of(3, 8),
        architectures=(network,),
        weight_format="fp16",
        sites=sites,
    )


def _mib(size: float) -> int:
    return round(size / 2**20)


if __name__ == "__main__":
    main()
