r"""What fp16 and int8 weights cost in accuracy: one network, three formats, the same test images.

    python benchmarks/weight_formats.py pneumoniamnist.npz \
        --out benchmarks/results/weight_formats.json

The network is trained on all training images; each format is a round trip through the bytes that
a submission would carry.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from envoi.cli.bench_runs import TRAINING
from envoi.data import load_medmnist
from envoi.evaluation import evaluate
from envoi.files import write_json
from envoi.networks.initialisation import load_trained
from envoi.server.build import predict
from envoi.site.export import network_state
from envoi.site.train import train
from envoi.study import Study
from envoi.submission import quantised, submission_bytes
from envoi.types import ImageSpec


def main() -> None:
    """Train once, measure three times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", default="convnet-small")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    data = load_medmnist(options.data)
    shape = data.train.images.shape
    training = replace(TRAINING, epochs=options.epochs)
    study = Study(
        name=data.name,
        classes=data.train.class_names,
        image=ImageSpec.of(shape[1], shape[2]),
        architectures=(options.network,),
        training=training,
    )
    state = network_state(train(data.train, study=study, seed=0))
    report: dict[str, object] = {"dataset": data.name, "network": options.network}
    exact = None
    for weight_format in ("fp32", "fp16", "int8"):
        network = load_trained(study.network(), quantised(state, weight_format)).eval()
        answers = predict(network, data.test.images, study.image)
        exact = answers if exact is None else exact
        metrics = evaluate(answers, data.test.labels, patients=data.test.patients)
        carried = study.model_copy(update={"weight_format": weight_format})
        report[weight_format] = {
            "accuracy": metrics.accuracy.value,
            "balanced_accuracy": metrics.balanced_accuracy.value,
            "auroc": metrics.auroc.value,
            "largest_change_of_probability": float(abs(answers - exact).max()),
            "bytes": submission_bytes(carried, options.network),
        }
    write_json(options.out, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
