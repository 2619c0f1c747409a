r"""Seconds and peak memory of `envoi server collect` under load: many submissions of 45 MB at once.

    python benchmarks/load.py --out benchmarks/results/load.json

Each file is written and signed by a key of its own and differs from all others in one layer; the
full run (500 files) takes 45 GB of disk under --work: the inbox, and the server's copies. The
collector runs in a process of its own and writes receipts; then once more over the same inbox,
which is what a coordinator waits for who repeats the command. With --encrypted the files are
encrypted to the server's key (age).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from envoi.errors import CheckError, Problem
from envoi.files import write_json
from envoi.meter import environment, metered
from envoi.seeding import torch_generator
from envoi.server.collect import collect, standing
from envoi.server.outbox import Outbox
from envoi.study import ServerKeys, Study, load_study, write_study
from envoi.submission import (
    Release,
    TrainingCard,
    generate_key,
    load_key,
    public_text,
    save_key,
    submission_bytes,
    write_submission,
)
from envoi.submission.encryption import (
    encrypt_file,
    generate_identity,
    load_identity,
    save_identity,
)
from envoi.types import ImageSpec

NETWORK = "resnet18"
COUNT = 500


def main() -> None:
    """Write the files once, then measure the collector twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="a folder on the disk that is to be measured")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--encrypted", action="store_true")
    parser.add_argument("--measure", metavar="FOLDER", help="for its processes")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(Path(options.measure))))
        return
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        study = prepare(Path(name), options.count, is_encrypted=options.encrypted)
        runs = {}
        for run in ("first", "again"):
            words = [__file__, "--out", options.out, "--measure", name]
            done = subprocess.run(
                [sys.executable, *map(str, words)],
                env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},  # as the command line sets it
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            runs[run] = json.loads(done.stdout)
            print(run, runs[run], flush=True)
    told = {"network": NETWORK, "files": options.count, "encrypted": options.encrypted}
    told |= {"bytes_of_one": submission_bytes(study, NETWORK)}
    write_json(options.out, {**told, **runs, "environment": environment()})


def prepare(folder: Path, count: int, *, is_encrypted: bool) -> Study:
    """A study of so many sites, its server's keys, and an inbox with one file of each site."""
    server, identity = generate_key(), generate_identity() if is_encrypted else None
    save_key(folder / "server.key", server)
    if identity is not None:
        save_identity(folder / "age.key", identity)
    keys = {f"site-{number:03d}": generate_key() for number in range(1, count + 1)}
    study = Study(
        name="load",
        classes=tuple("abcdefgh"),
        image=ImageSpec.of(3, 28),
        architectures=(NETWORK,),
        server=ServerKeys(
            receipts=public_text(server), encryption=identity.recipient if identity else None
        ),
        sites={site: public_text(key) for site, key in keys.items()},
    )
    write_study(folder / "study.toml", study)
    (folder / "inbox").mkdir()
    room, needed = shutil.disk_usage(folder).free, 2 * count * submission_bytes(study, NETWORK)
    if room < needed:
        remedy = "Choose another folder with --work, or fewer files with --count."
        raise CheckError(Problem(f"{needed} bytes of free disk", f"{room}", "--work", remedy))
    state = {name: t for name, t in study.network().state_dict().items() if t.dim()}
    card = TrainingCard(epochs=1, images=160)
    for number, (site, key) in enumerate(keys.items(), start=1):
        noise = torch.randn(state["fc.weight"].shape, generator=torch_generator(0, site))
        own = {**state, "fc.weight": state["fc.weight"] + 0.01 * noise}
        file = folder / "inbox" / f"{site}-1.safetensors"
        release = Release(NETWORK, own, (20,) * 8, card)
        write_submission(file, release, study=study, site=site, sequence=1, key=key)
        if identity is not None:
            encrypt_file(file, file.with_suffix(".safetensors.age"), identity.recipient)
            file.unlink()
        if number % 50 == 0:
            print(f"{number} of {count} files written", flush=True)
    return study


def measured(folder: Path) -> dict[str, float]:
    """Time and peak memory of one collection in this process; every file must be received."""
    study, age = load_study(folder / "study.toml"), folder / "age.key"
    identity = load_identity(age) if age.exists() else None
    outbox = Outbox(folder / "outbox", load_key(folder / "server.key"))
    keys = {"identity": identity, "outbox": outbox}
    with metered() as cost:
        ledger = collect(folder / "inbox", folder / "server", study=study, **keys)
    received = len(standing(ledger, study).received)
    if received != len(study.sites):
        expected, found = f"{len(study.sites)} files received", f"{received}"
        raise CheckError(Problem(expected, found, "ledger.json", "Look at the reasons."))
    if len(list((folder / "outbox").iterdir())) != received:
        raise CheckError(Problem("one receipt a file", "others", "outbox", "Look at it."))
    return {"seconds": round(cost.wall_seconds, 1), "peak_mib": round(cost.peak_bytes / 2**20)}


if __name__ == "__main__":
    main()
