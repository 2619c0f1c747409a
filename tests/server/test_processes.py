"""Several processes against one: the same bank, and the same student within float error."""

import json

import pytest
import torch

from envoi.errors import SettingsError
from envoi.networks import build
from envoi.processes import Processes, current_processes, joined
from envoi.server.shared_batch_norm import shared_batch_norm
from tests.launched import TORCHRUN, python

# A server's folder, and a job that `torchrun` can start: the command, with a smaller budget.
JOB = """
import sys
from envoi.cli import main
from envoi.settings import Budget

Budget.preset = classmethod(
    lambda cls, name, size_px: cls(
        bank_images=600,
        bank_steps=6,
        bank_batch=7,
        bank_rate=0.01,
        bank_matrix_rate=0.02,
        bank_patience=3,
    )
)
main()
"""
PREPARE = """
from pathlib import Path
from envoi.server.collect import collect
from envoi.study import study_from, write_study
from envoi.submission import Release, TrainingCard, generate_key, public_text, write_submission

keys = {site: generate_key() for site in ("north", "south")}
study = study_from(
    {
        "name": "Cells",
        "classes": ["a", "b"],
        "minimum_sites": 1,
        "image": {"channels": 3, "size_px": 8},
        "model": {"architectures": ["resnet10-small"]},
        "sites": {site: public_text(key) for site, key in keys.items()},
    }
)
write_study(Path("study.toml"), study)
Path("inbox").mkdir()
for number, (site, key) in enumerate(keys.items()):
    state = {n: t + 0.01 * number for n, t in study.network().state_dict().items() if t.dim()}
    release = Release("resnet10-small", state, (20, 30), TrainingCard(epochs=1, images=50))
    file = Path(f"inbox/{site}.safetensors")
    write_submission(file, release, study=study, site=site, sequence=1, key=key)
collect(Path("inbox"), Path("server"), study=study)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torchrun")
    (folder / "job.py").write_text(JOB)
    assert python("-c", PREPARE, cwd=folder).returncode == 0
    return folder


def distil(place, out, *, processes=1, method="envoi"):
    start = [*TORCHRUN, f"{processes}"] if processes > 1 else []
    words = ["--study", "study.toml", "--folder", "server", "--out", out, "--method", method]
    return python(*start, "job.py", "server", "distil", *words, "--device", "cpu", cwd=place)


def losses(place, out):
    lines = (place / out / "steps.jsonl").read_text().splitlines()
    return [json.loads(line)["losses"] for line in lines]


@pytest.mark.slow
def test_two_processes_make_the_student_of_one(place):
    """Batches of 7 are shared as 4 and 3; the bank of 600 as 256 + 88 and 256."""
    from safetensors.torch import load_file

    assert distil(place, "one").returncode == 0
    both = distil(place, "two", processes=2)
    assert both.returncode == 0, both.stderr
    one, two = (load_file(place / out / "envoi.safetensors") for out in ("one", "two"))
    start = build("resnet10-small", channels=3, classes=2, seed=0).state_dict()
    learned = sum((one[name] - start[name]).square().sum() for name in one if one[name].dim())
    apart = sum((one[name] - two[name]).square().sum() for name in one if one[name].dim())
    assert one.keys() == two.keys()
    # Adam divides gradients by their size: where they all but vanish, rounding is seen.
    assert 0 <= apart.sqrt() < 1e-3 * learned.sqrt()
    assert [set(told) for told in losses(place, "one")] == [
        {"distillation", "held_out"} for _ in range(6)
    ]
    for told, wanted in zip(losses(place, "two"), losses(place, "one"), strict=True):
        assert told == pytest.approx(wanted, rel=1e-3)
    assert both.stdout.count("student:") == 1  # the first process alone writes and talks


@pytest.mark.slow
def test_methods_that_cannot_share_their_work_are_refused(place):
    found = distil(place, "refused", processes=2, method="envoi,fedavg")
    assert found.returncode != 0
    assert "several processes: expected methods that learn from a bank" in found.stderr
    assert "found fedavg. Run the others without torchrun." in found.stderr


def test_one_process_is_alone():
    with joined() as processes:
        assert processes == current_processes() == Processes()
    assert processes.first
    assert not Processes(1, 2).first
    tensor = torch.ones(2)
    assert processes.summed(tensor) is tensor


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_cover_all_and_are_disjoint(count):
    whole = torch.arange(11)
    shares = [Processes(rank, count).share(whole) for rank in range(count)]
    assert sorted(torch.cat(shares).tolist()) == whole.tolist()


@pytest.mark.parametrize(("work", "least"), [(1, 1), (511, 256)])
def test_a_process_without_work_is_refused(work, least):
    message = rf"bank_images: expected {2 * least} or more for 2 processes, found {work}"
    with pytest.raises(SettingsError, match=message):
        Processes(0, 2).require(work, what="bank_images", least=least)
    Processes(0, 2).require(2 * least, what="bank_images", least=least)


@pytest.mark.parametrize("mode", [True, False])
def test_batch_norm_that_is_shared_is_batch_norm(mode, images, monkeypatch):
    """Each of two processes has the same images: sums double, and so do the pixels."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda total: total.mul_(2))
    plain = build("resnet10-small", channels=3, classes=3, seed=0).train(mode)
    shared = build("resnet10-small", channels=3, classes=3, seed=0).train(mode)
    wanted = plain(torch.cat([images, images]))
    with shared_batch_norm(shared, Processes(0, 2)):
        found = shared(images)
        found.square().mean().backward()
    wanted.square().mean().backward()
    torch.testing.assert_close(found, wanted[: len(images)], atol=1e-4, rtol=1e-3)
    for one, other in zip(shared.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    gradients = zip(shared.parameters(), plain.parameters(), strict=True)
    for one, other in gradients:
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-2)
    assert all("forward" not in vars(module) for module in shared.modules())
