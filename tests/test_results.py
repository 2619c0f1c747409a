"""The run folder: read back as written, and robust to kills."""

import dataclasses
import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.errors import SettingsError, StorageError
from envoi.results import (
    CalibrationBin,
    ClassRecall,
    Distillation,
    Interval,
    MethodResult,
    Metrics,
    Picture,
    Refusal,
    RunFolder,
    Say,
    SiteMetrics,
    SiteResult,
    StepInfo,
    StudyResult,
)

quick = settings(deadline=None, max_examples=30)

HALF = Interval(0.5, 0.4, 0.6)
MEASURED = Metrics(
    HALF,
    HALF,
    HALF,
    HALF,
    ((3, 1), (0, 4)),
    (CalibrationBin(0.9, 0.5, 8),),
    {"kermany": SiteMetrics(HALF, HALF, ((1, 1), (0, 2)))},
)
KEPT = Distillation(
    MEASURED, (ClassRecall(HALF, HALF, Interval(-0.1, -0.2, 0.0)), None), Interval(0.9, 0.8, 1)
)
RESULT = StudyResult(
    name="cells",
    partition="dirichlet-0.3",
    network="resnet10-small",
    seed=3,
    class_names=("a", "ä"),
    sites=(
        SiteResult("north", "resnet10-small", (10, 0), 1234, 5.5, ("weights",), 900, "kermany"),
    ),
    methods={
        "pooled": MethodResult(
            "pooled",
            MEASURED,
            1.5,
            0.1 + 0.2,
            0,
            2**40,
        ),
        "fedisca": MethodResult(
            "fedisca",
            None,
            2.0,
            1e15,
            9,
            8,
            ("jitter_px: 2 -> 1",),
            distillation=KEPT,
            says=(Say("north", (0.25, 0.0)),),
        ),
    },
    refusals=(Refusal(1, "not signed"),),
    gallery=(Picture("gallery/step-0001.png", "step 1"),),
    environment={"torch": "2"},
    wall_seconds=1.0,
)


def step(number, *, phase="fedisca", epoch=1, **losses):
    return StepInfo(phase, number, 10, losses or {"loss": 1 / number}, epoch)


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def test_an_interval_reads_as_people_write_it():
    assert str(Interval(0.5, 0.41236, 0.6)) == "0.500 [0.412, 0.600]"


def test_a_result_is_read_back_as_written(run):
    run.write_result(RESULT)
    assert run.result() == RESULT
    run.write_result(dataclasses.replace(RESULT, seed=4))
    assert run.result().seed == 4


def test_result_json_is_for_people_and_for_other_programs(run):
    run.write_result(RESULT)
    text = (run.path / "result.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert json.loads(text)["methods"]["pooled"]["metrics"]["accuracy"]["low"] == 0.4


def test_an_unfinished_run_is_told(run):
    message = "result.json: expected the result of a finished run, found No such file"
    with pytest.raises(StorageError, match=message):
        run.result()


@pytest.mark.parametrize(
    ("text", "found"),
    [("{}", "7 wrong fields"), ("{", "1 wrong field"), ('{"name": 3}', "7 wrong fields")],
)
def test_results_of_other_versions_are_told(text, found, run):
    run.path.mkdir()
    (run.path / "result.json").write_text(text)
    message = f"result.json: expected a result of this version, found {found}. Repeat the run."
    with pytest.raises(StorageError, match=message):
        run.result()


def test_settings_are_toml_without_nothing(run):
    settings = {"seed": 1, "none": None, "training": {"milestones": (0.5, 0.75), "x": None}}
    run.write_settings(settings)
    written = tomllib.loads((run.path / "run.toml").read_text())
    assert written == {"seed": 1, "training": {"milestones": [0.5, 0.75]}}


def test_a_folder_is_claimed_once(run):
    run.claim({"seed": 1, "test": None}, what="the settings")
    before = {file: file.stat().st_mtime_ns for file in run.path.iterdir()}
    assert {file.name for file in before} == {"run.toml", "settings.json"}
    run.claim({"test": None, "seed": 1}, what="the settings")
    assert before == {file: file.stat().st_mtime_ns for file in run.path.iterdir()}


def test_a_claim_of_other_settings_names_them(run):
    run.claim({"seed": 1, "budget": {"steps": 2}, "gone": 1}, what="the settings")
    with pytest.raises(SettingsError) as caught:
        run.claim({"seed": 1, "budget": {"steps": 3}, "new": 80 * "a"}, what="the settings")
    assert str(caught.value) == (
        "run: expected the settings that the folder was started with, found others "
        "(budget.steps: 2 then, 3 now; gone: 1 then, none now; new). "
        "Name another folder, or give the earlier settings again."
    )


@pytest.mark.parametrize("text", ["{", "", "[]", '{"seed": 1'])
def test_damaged_settings_are_told_in_a_line(text, run):
    run.claim({"seed": 1}, what="the settings")
    (run.path / "settings.json").write_text(text)
    message = "settings.json: expected the settings of a run, found a damaged file. Name another"
    with pytest.raises(StorageError, match=message):
        run.claim({"seed": 1}, what="the settings")
    (run.path / "run.toml").write_text("= 3")
    with pytest.raises(StorageError, match=r"run.toml: expected the settings .* a damaged file"):
        run.settings()


def test_no_steps_are_none(run):
    assert run.steps() == []


@quick
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=3))
def test_steps_are_read_back_to_the_last_bit(tmp_path_factory, losses):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    told = [step(number, loss=loss) for number, loss in enumerate(losses, start=1)]
    for info in told:
        run.append_step(info)
    assert run.steps() == told


def test_losses_that_are_no_number_are_kept(run):
    run.append_step(step(1, loss=float("nan"), other=float("inf")))
    (info,) = run.steps()
    assert info.losses["loss"] != info.losses["loss"]
    assert info.losses["other"] == float("inf")


def test_repeated_steps_count_once_with_their_last_values(run):
    for info in (step(1), step(2), step(3), step(2, loss=7.0), step(3, loss=8.0), step(4)):
        run.append_step(info)
    assert [(s.step, s.losses["loss"]) for s in run.steps()] == [(1, 1), (2, 7), (3, 8), (4, 0.25)]


def test_an_epochs_summary_is_no_repetition_of_its_last_step(run):
    run.append_step(step(5, phase="north/train"))
    run.append_step(step(5, phase="north/train", train_loss=1.0))
    run.append_step(step(5, phase="south/train"))
    assert len(run.steps()) == 3


@pytest.mark.parametrize("kept", [1, 20, -2, -1])
def test_a_last_line_that_a_kill_cut_off_is_ignored(kept, run):
    run.append_step(step(1))
    whole = (run.path / "steps.jsonl").read_bytes()
    run.append_step(step(2))
    added = (run.path / "steps.jsonl").read_bytes()[len(whole) :]
    (run.path / "steps.jsonl").write_bytes(whole + added[:kept])
    assert [info.step for info in run.steps()] == [1]
    run.append_step(step(2))
    run.append_step(step(3))
    assert [info.step for info in run.steps()] == [1, 2, 3]
    lines = (run.path / "steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize("line", ['{"phase": }', '{"phase": "a"}', '{"other": 1}'])
def test_a_damaged_line_is_told(line, run):
    run.path.mkdir()
    (run.path / "steps.jsonl").write_text(f"{line}\n")
    with pytest.raises(StorageError, match="steps.jsonl: expected the steps .* a damaged line"):
        run.steps()


def test_a_first_line_that_a_kill_cut_off_is_ignored(run):
    run.path.mkdir()
    (run.path / "steps.jsonl").write_text('{"phase": "a"')
    assert run.steps() == []
    run.append_step(step(1))
    assert run.steps() == [step(1)]


def test_a_result_of_before_teachers_and_sites_were_kept_is_read(run):
    run.write_result(RESULT)
    content = json.loads((run.path / "result.json").read_text())
    for site in content["sites"]:
        del site["network_bytes"], site["origin"]
    for method in content["methods"].values():
        del method["distillation"], method["says"]
        if method["metrics"]:
            del method["metrics"]["by_site"]
    (run.path / "result.json").write_text(json.dumps(content))
    old = run.result()
    assert (old.sites[0].network_bytes, old.sites[0].origin) == (0, "")
    assert (old.methods["fedisca"].distillation, old.methods["fedisca"].says) == (None, ())
    assert old.methods["pooled"].metrics == dataclasses.replace(MEASURED, by_site={})
