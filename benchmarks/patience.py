"""Does it pay to end the student's course early? By a held-out part of the bank, without labels.

    python benchmarks/patience.py skin28.npz pneumoniamnist.npz --out FILE.json

`Budget.bank_patience` from 0 (never) to 10 checks of 40, on the same site networks: steps taken,
seconds of the processor, and how the student answers *validation* images (as what stands here
decides a default, test images have no say).
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from time import process_time

import torch
from small_federation import small_federation

from envoi.data import load_medmnist
from envoi.files import write_json
from envoi.meter import device_name
from envoi.results import StepInfo
from envoi.seeding import torch_generator
from envoi.server.methods import envoi
from envoi.settings import Budget
from envoi.simulation.federation import Federation
from envoi.simulation.judge import ImageJudge

PATIENCES = (0, 1, 2, 5, 10)


def main() -> None:
    """Distil with every patience, and write the file after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--partition", default="dirichlet-0.3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/patience"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    budget, rows = Budget.preset("smoke"), []
    settings = small_federation(options.partition, seed=options.seed, epochs=options.epochs)
    for file in options.data:
        data = load_medmnist(file)
        federation = Federation(data, settings, options.work / data.name)
        federation.train_sites()
        teachers = federation.teachers()
        judge = ImageJudge(data.validation, teachers.image)
        teacher = envoi().teacher(teachers)
        for patience in PATIENCES:
            steps: list[StepInfo] = []
            began = process_time()
            student = envoi().fit(
                teachers,
                federation.study.network(),
                budget=replace(budget, bank_patience=patience),
                generator=torch_generator(options.seed, "patience"),
                on_step=steps.append,
            )
            seconds, metrics = process_time() - began, judge(student)
            rows.append(
                {
                    "data": data.name,
                    "patience": patience,
                    "steps": steps[-1].step,
                    "processor_seconds": round(seconds, 1),
                    "accuracy": round(metrics.accuracy.value, 4),
                    "balanced_accuracy": round(metrics.balanced_accuracy.value, 4),
                    "agreement": round(judge.compare(student, teacher).agreement.value, 4),
                }
            )
            print(rows[-1], flush=True)
            told = {"partition": options.partition, "seed": options.seed, "device": device_name()}
            write_json(options.out, {**told, "budget": asdict(budget), "rows": rows})


if __name__ == "__main__":
    main()
