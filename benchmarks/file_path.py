"""The file path end to end, as hospitals would walk it.

Five site processes, five files, one inbox, one distillation:

    python benchmarks/file_path.py pneumoniamnist.npz --out benchmarks/results/file_path

Only the command line is used. Each site is given its rows of the training part by a
label-Dirichlet(0.6) partition. Commits nothing but result.json, the log and the report.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from envoi.data import load_medmnist
from envoi.files import write_json, write_text
from envoi.results import RunFolder
from envoi.simulation.partition import parse_partition, partition

SITES = 5


class Terminal:
    """Runs commands and keeps what was typed and printed, without folders of this machine."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.lines: list[str] = []
        self.seconds: dict[str, float] = {}

    def run(self, *words: str | Path) -> str:
        """Run `envoi ...`; a failure ends the benchmark."""
        typed = [str(word) for word in words]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "envoi", *typed], capture_output=True, text=True, check=False
        )
        spoken = self._plain(" ".join(typed))
        self.seconds[spoken] = round(time.monotonic() - began, 1)
        self.lines += [f"$ envoi {spoken}", self._plain(done.stdout)]
        if done.returncode:
            sys.exit(f"envoi {spoken} failed:\n{done.stderr}")
        return done.stdout

    def _plain(self, text: str) -> str:
        text = text.replace(str(self.data), self.data.name)
        return text.replace(f"{self.folder}/", "").replace(str(self.folder), ".")


def main() -> None:
    """Walk the path and keep what was printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where the results go")
    parser.add_argument("--work", type=Path, default=Path("runs/file_path"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--budget", default="smoke")
    options = parser.parse_args()
    work, data = options.work.resolve(), load_medmnist(options.data)
    work.mkdir(parents=True, exist_ok=True)
    terminal, study = Terminal(work, options.data), work / "study.toml"
    shape = data.train.images.shape
    terminal.run(
        *("study", "new", study, "--name", data.name),
        *("--classes", ",".join(data.train.class_names)),
        *("--channels", str(shape[1]), "--size", str(shape[2])),
        *("--architecture", "convnet-small", "--weight-format", "fp16"),
    )
    names = [f"site-{number}" for number in range(1, SITES + 1)]
    for name in names:
        printed = terminal.run("site", "keygen", name, "--out", work / f"{name}.key")
        key = next(word.strip('"') for word in printed.split() if word.startswith('"ed25519:'))
        terminal.run("study", "add-site", study, name, key)
    terminal.run("study", "check", study)
    scheme = parse_partition("dirichlet-0.6")
    parts = partition(data.train, scheme=scheme, sites=SITES, seed=0)
    for name, part in zip(names, parts, strict=True):
        rows = work / f"{name}.rows"
        write_text(rows, "\n".join(map(str, part.tolist())))
        folder = work / name
        terminal.run(
            *("site", "train", "--study", study, "--site", name, "--data", options.data),
            *("--split", "train", "--rows", rows, "--work", folder),
            *("--set", f"epochs={options.epochs}", "--set", "rate=0.05"),
            *("--set", "schedule=one-cycle", "--set", "batch_size=32", "--set", "augment=true"),
        )
        inbox = work / "inbox"
        inbox.mkdir(exist_ok=True)
        terminal.run(
            *("site", "submit", "--study", study, "--site", name, "--key", work / f"{name}.key"),
            *("--work", folder, "--out", inbox),
        )
    write_text(work / "inbox" / "holiday.safetensors", "not a submission")
    terminal.run("server", "collect", work / "inbox", "--study", study, "--folder", work / "server")
    terminal.run(
        *("server", "distil", "--study", study, "--folder", work / "server"),
        *("--out", work / "student", "--budget", options.budget, "--test", options.data),
        *("--method", "fedisca,fedavg,ensemble_mean_logits,ensemble_class_count"),
    )
    result = RunFolder(work / "student").result()
    rows = {
        name: {
            "accuracy": row.metrics.accuracy.value,
            "balanced_accuracy": row.metrics.balanced_accuracy.value,
        }
        for name, row in result.methods.items()
        if row.metrics is not None
    }
    write_json(options.out / "result.json", {"seconds": terminal.seconds, "methods": rows})
    write_text(options.out / "terminal.txt", "\n".join(terminal.lines))


if __name__ == "__main__":
    main()
