"""One run of the server: nothing is repeated, nothing is lost, nothing stale is shown."""

import dataclasses

import numpy as np
import pytest

from envoi.errors import MethodError, SettingsError
from envoi.results import RunFolder
from envoi.server.collect import collect
from envoi.server.methods import method_called
from envoi.server.run import ServerRun
from envoi.settings import Budget
from envoi.simulation.judge import ImageJudge
from envoi.study import study_from
from envoi.submission import Release, TrainingCard, generate_key, public_text, write_submission
from envoi.types import ImageSet

KEYS = {site: generate_key() for site in ("north", "south")}
STUDY = study_from(
    {
        "name": "Cells",
        "classes": ["a", "b"],
        "minimum_sites": 1,
        "image": {"channels": 1, "size_px": 8},
        "model": {"architectures": ["resnet10-small"], "weight_format": "fp16"},
        "sites": {site: public_text(key) for site, key in KEYS.items()},
    }
)
BUDGET = Budget(outer_epochs=1, synthesis_steps=3, batch_size=4)
LOCAL = ["local/north", "local/south"]


def send(place, site, *, sequence=1, shift=0.0):
    """A file of `site` into the inbox; `shift` moves all its weights."""
    state = {n: t + shift for n, t in STUDY.network().state_dict().items() if t.dim()}
    card = TrainingCard(epochs=1, images=50)
    release = Release("resnet10-small", state, class_counts=(20, 30), card=card)
    file = place / "inbox" / f"{site}-{sequence}.safetensors"
    write_submission(file, release, study=STUDY, site=site, sequence=sequence, key=KEYS[site])
    collect(place / "inbox", place / "server", study=STUDY)


def images(seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    return ImageSet(pixels, np.arange(6) % 2, ("a", "b"))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "inbox").mkdir()
    for site in KEYS:
        send(tmp_path, site)
    return tmp_path


def run_of(place, *, budget=BUDGET, test=None, seed=0):
    judge = None if test is None else ImageJudge(test, STUDY.image)
    return ServerRun(
        STUDY, place / "server", RunFolder(place / "run"), budget, seed=seed, judge=judge
    )


def execute(place, *names, on_step=lambda _: None, **options):
    run = run_of(place, **options)
    return run.execute({name: method_called(name) for name in names}, on_step)


def test_a_run_has_a_row_of_each_method_and_site(place):
    result = execute(place, "fedavg", "fedisca", test=images())
    assert list(result.methods) == ["fedavg", "fedisca", *LOCAL]
    assert RunFolder(place / "run").result() == result
    assert run_of(place, test=images()).students(["fedavg", "nothing"]) == [
        place / "run" / "fedavg.safetensors"
    ]


def test_nothing_is_measured_without_test_images(place):
    result = execute(place, "fedavg")
    assert list(result.methods) == ["fedavg"]
    assert result.methods["fedavg"].metrics is None


def test_a_finished_method_is_not_repeated_after_an_interruption(place):
    def interrupt(info):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(place, "fedavg", "fedisca", on_step=interrupt)
    finished = place / "run" / "fedavg.safetensors"
    before = finished.stat().st_mtime_ns
    assert list(execute(place, "fedavg", "fedisca").methods) == ["fedavg", "fedisca"]
    assert finished.stat().st_mtime_ns == before


def test_methods_join_a_run_and_none_is_dropped(place):
    first = execute(place, "fedisca", test=images())
    second = execute(place, "fedavg", test=images())
    assert list(second.methods) == ["fedavg", "fedisca", *LOCAL]
    assert second.methods["fedisca"] == first.methods["fedisca"]
    assert second.wall_seconds > 0


def test_pictures_are_made_only_where_a_method_synthesises(place):
    steps = []
    assert execute(place, "fedavg", "ensemble_size", on_step=steps.append).gallery == ()
    assert steps == []
    assert execute(place, "dafl").gallery == ()  # its images are those of a generator
    shown = execute(place, "fedisca", on_step=steps.append).gallery
    assert {info.phase for info in steps} == {"fedisca", "gallery"}
    assert len(shown) == 4
    assert execute(place, "fedavg").gallery == shown
    assert {info.phase for info in RunFolder(place / "run").steps()} == {"dafl", "fedisca"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"budget": dataclasses.replace(BUDGET, temperature=3.0)},
            r"budget.temperature: \S+ then, 3.0 now",
        ),
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"test": images(1)}, "test_images"),
        ({"test": None}, "test_images"),
        ({"budget": Budget(), "seed": 1}, r"budget\..*; seed: 0 then, 1 now"),
    ],
)
def test_a_run_of_other_settings_does_not_go_on_in_the_folder(changes, found, place):
    execute(place, "fedavg", test=images())
    before = {file: file.read_bytes() for file in (place / "run").rglob("*") if file.is_file()}
    message = rf"run: expected the study, files, test images .*, found others \({found}\)"
    with pytest.raises(SettingsError, match=message):
        execute(place, "fedavg", **{"test": images(), **changes})
    assert before == {f: f.read_bytes() for f in (place / "run").rglob("*") if f.is_file()}


def test_a_replaced_file_needs_a_new_folder(place):
    execute(place, "fedisca")
    send(place, "north", sequence=2, shift=0.01)
    with pytest.raises(
        SettingsError, match=r"found others \(files\.north.*\)\. Name another folder"
    ):
        execute(place, "fedisca")


def test_the_same_content_under_another_number_is_another_file(place):
    execute(place, "fedavg")
    send(place, "south", sequence=2)
    with pytest.raises(SettingsError, match="files"):
        execute(place, "fedavg")


def test_only_the_students_of_the_methods_asked_for_are_listed(place):
    execute(place, "fedavg", "fedisca", "ensemble_size")
    (place / "run" / "stranger.safetensors").write_bytes(b"")
    assert [file.name for file in run_of(place).students(["fedisca", "ensemble_size"])] == [
        "fedisca.safetensors"
    ]


def test_whom_the_teacher_listened_to_is_told_without_test_images(place):
    budget = dataclasses.replace(BUDGET, bank_images=8, bank_steps=2, bank_batch=4)
    row = execute(place, "envoi", budget=budget).methods["envoi"]
    assert row.distillation is None
    assert [say.expert for say in row.says] == ["north", "south"]


def test_a_student_is_measured_beside_its_teacher(place):
    result = execute(place, "fedisca", test=images())
    assert result.methods["fedisca"].distillation.teacher.accuracy.value >= 0
    assert result.methods["local/north"].distillation is None
    assert 0 < result.sites[0].network_bytes < result.sites[0].bytes_sent


def test_a_process_that_assists_writes_nothing(place, monkeypatch):
    """As seen by the second of two: sums are left out, as there is no first one here."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda total: total)
    budget = dataclasses.replace(BUDGET, bank_images=600, bank_steps=2, bank_batch=4)
    run = run_of(place, budget=budget)
    run.assist({"envoi": method_called("envoi")})
    assert not (place / "run").exists()
    message = "several processes: expected methods that learn from a bank, .* found fedavg"
    for verb in (run.assist, run.execute):
        with pytest.raises(MethodError, match=message):
            verb({"envoi": method_called("envoi"), "fedavg": method_called("fedavg")})
