"""FedISCA in Envoi against a plain two-phase transcription of METHODS section 2.

Both get the same teachers, noise and budget, run in turn in processes of their own, and report
seconds per outer epoch, peak memory and the student they end with. Memory is measured at two
numbers of steps, to see whether it grows.

    python benchmarks/fedisca_speed.py --out benchmarks/results/fedisca_speed.json

The transcription does what the released code does: weights are not frozen, so their gradients
are computed and thrown away; all images of an epoch are kept in a list; teachers are swept from
realistic to noise in training mode; then the student is distilled over the list.
"""

import argparse
import json
import multiprocessing
import statistics
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from envoi.files import write_json
from envoi.meter import device_name, metered
from envoi.networks import build
from envoi.seeding import torch_generator
from envoi.server.kept import Held
from envoi.server.methods import fedisca
from envoi.server.teacher import Teacher, Teachers
from envoi.settings import Budget
from envoi.types import ImageSpec

CLASSES = 8
SITES = 5


def make_teachers(network: str) -> Teachers:
    """Five networks of one architecture whose batch norm has seen noise of different scale."""
    members = []
    for site in range(SITES):
        model = build(network, channels=3, classes=CLASSES, seed=0)
        generator = torch_generator(site, "benchmark")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
            for _ in range(5):
                model(torch.randn(32, 3, 28, 28, generator=generator) * (1 + 0.1 * site))
        names = tuple(str(label) for label in range(CLASSES))
        members.append(Teacher(f"site-{site}", network, Held(model), names, (100,) * CLASSES))
    return Teachers(tuple(members), ImageSpec.of(3, 28))


def transcription(teachers: Teachers, student: nn.Module, budget: Budget) -> nn.Module:
    """FedISCA as published, one phase after the other, nothing saved."""
    generator = torch.Generator().manual_seed(1)
    models = [
        member.network.to(memory_format=torch.contiguous_format) for member in teachers.members
    ]
    for model in models:
        model.requires_grad_(requires_grad=True)
    optimiser = torch.optim.SGD(
        student.parameters(), lr=budget.student_rate, momentum=0.9, weight_decay=5e-4
    )
    for _ in range(budget.outer_epochs):
        path = synthesis(models, budget, generator)
        sweep(models, path)
        distillation(models, student, path, optimiser, budget)
    return student.eval()


def synthesis(
    models: list[nn.Module], budget: Budget, generator: torch.Generator
) -> list[torch.Tensor]:
    """All images of one epoch, from noise to realistic."""
    seen: list[tuple[nn.BatchNorm2d, torch.Tensor]] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: seen.append((layer, inputs[0])))
        for model in models
        for layer in model.modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    images = torch.randn(budget.batch_size, 3, 28, 28, generator=generator).requires_grad_()
    targets = torch.arange(budget.batch_size) % CLASSES
    optimiser = torch.optim.Adam([images], lr=budget.pixel_rate)
    path = []
    for _ in range(budget.synthesis_steps):
        limit = budget.jitter_px
        shift = torch.randint(-limit, limit + 1, (2,), generator=generator).tolist()
        rolled = torch.roll(images, shift, dims=(2, 3))
        seen.clear()
        logits = torch.stack([model.eval()(rolled) for model in models]).mean(0)
        distance = sum(
            (u.mean((0, 2, 3)) - layer.running_mean).norm()
            + (u.var((0, 2, 3), correction=0) - layer.running_var).norm()
            for layer, u in seen
        )
        variation = (
            (rolled[..., :, 1:] - rolled[..., :, :-1]).norm()
            + (rolled[..., 1:, :] - rolled[..., :-1, :]).norm()
            + (rolled[..., 1:, 1:] - rolled[..., :-1, :-1]).norm()
            + (rolled[..., 1:, :-1] - rolled[..., :-1, 1:]).norm()
        )
        loss = functional.cross_entropy(logits, targets)
        loss = loss + budget.variation_weight * variation + budget.statistics_weight * distance
        for model in models:
            model.zero_grad()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        path.append(images.detach().clone())
    for hook in hooks:
        hook.remove()
    return path


def sweep(models: list[nn.Module], path: list[torch.Tensor]) -> None:
    """Update copies' running statistics from realistic to noise (changes no output)."""
    for model in models:
        kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.train()
        with torch.no_grad():
            for images in reversed(path):
                model(images)
        model.load_state_dict(kept, strict=False)


def distillation(
    models: list[nn.Module],
    student: nn.Module,
    path: list[torch.Tensor],
    optimiser: torch.optim.Optimizer,
    budget: Budget,
) -> None:
    """One step of the student on every kept batch."""
    tau = budget.temperature
    student.train()
    for step, images in enumerate(path):
        a = step / len(path)
        with torch.no_grad():
            exact = torch.stack([model.eval()(images) for model in models]).mean(0)
            kept = [{name: b.clone() for name, b in m.named_buffers()} for m in models]
            noisy = torch.stack([model.train()(images) for model in models]).mean(0)
            for model, buffers in zip(models, kept, strict=True):
                model.load_state_dict(buffers, strict=False)
        answers = functional.log_softmax(student(images) / tau, dim=1)
        loss = sum(
            weight
            * tau**2
            * functional.kl_div(answers, (wanted / tau).softmax(1), reduction="batchmean")
            for weight, wanted in ((a, exact), (1 - a, noisy))
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def measure(kind: str, network: str, budget: Budget, queue: "multiprocessing.Queue[dict]") -> None:
    """Run one of the two in this process and report."""
    teachers = make_teachers(network)
    student = build(network, channels=3, classes=CLASSES, seed=0)
    probe = torch.randn(64, 3, 28, 28, generator=torch.Generator().manual_seed(9))
    with metered() as cost:
        if kind == "transcription":
            student = transcription(
                teachers, student.to(memory_format=torch.contiguous_format), budget
            )
        else:
            student = fedisca().fit(
                teachers, student, budget=budget, generator=torch.Generator().manual_seed(1)
            )
    with torch.no_grad():
        answers = student(probe).softmax(1).tolist()
    queue.put({"seconds": cost.wall_seconds, "peak_bytes": cost.peak_bytes, "answers": answers})


def in_process(kind: str, network: str, budget: Budget) -> dict:
    """`measure` in a fresh process, so that peaks do not mix."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure, args=(kind, network, budget, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def main() -> None:
    """Measure both in turn and write the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", default="resnet10-small")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20, help="synthesis steps of an epoch")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"transcription": [], "envoi": []}
    peaks: dict[str, dict[str, int]] = {"transcription": {}, "envoi": {}}
    answers: dict[str, torch.Tensor] = {}
    for steps in (options.steps, 4 * options.steps):
        budget = Budget(outer_epochs=1, synthesis_steps=steps, batch_size=options.batch_size)
        for _ in range(options.repeats if steps == options.steps else 1):
            for kind in ("transcription", "envoi"):
                found = in_process(kind, options.network, budget)
                peaks[kind][str(steps)] = max(found["peak_bytes"], peaks[kind].get(str(steps), 0))
                if steps == options.steps:
                    seconds[kind].append(found["seconds"])
                    answers[kind] = torch.tensor(found["answers"])
    ratios = [a / b for a, b in zip(seconds["transcription"], seconds["envoi"], strict=True)]
    report = {
        "network": options.network,
        "sites": SITES,
        "batch_size": options.batch_size,
        "steps": options.steps,
        "device": device_name(),
        "seconds_per_outer_epoch": {kind: statistics.median(s) for kind, s in seconds.items()},
        "seconds": seconds,
        "speed_ratio_median": statistics.median(ratios),
        "peak_bytes_by_steps": peaks,
        "largest_difference_of_probability": float(
            (answers["transcription"] - answers["envoi"]).abs().max()
        ),
    }
    write_json(options.out, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
