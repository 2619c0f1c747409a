"""A whole federation in miniature: resumed, compared, reported, and silent about the machine."""

import getpass
import json
import re
import shutil
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch

from envoi.data import phantom_federation
from envoi.errors import MethodError, SettingsError, StudyError
from envoi.files import file_digest
from envoi.networks import build
from envoi.report import write_report
from envoi.results import RunFolder
from envoi.server.methods import method_called
from envoi.settings import Budget, TrainingSettings
from envoi.simulation.bench import run_bench
from envoi.simulation.demo import DemoSettings, run_demo
from envoi.simulation.federation import Federation, FederationSettings
from envoi.simulation.multi_round import multi_round_called
from envoi.simulation.partition import Iid, Natural
from envoi.site.course import diverged
from envoi.study import load_study
from envoi.submission import open_submission

PLANTED = "Erika-Mustermann-19700101"
BUDGET = Budget(
    bank_images=64,
    bank_steps=3,
    bank_batch=8,
    outer_epochs=1,
    synthesis_steps=3,
    batch_size=8,
    student_start="average",
    student_rate=1e-4,
)
SETTINGS = FederationSettings(
    partition=Natural(),
    sites=2,
    networks=("convnet-small",),
    training=TrainingSettings(epochs=1, batch_size=16, rate=0.05),
)
ROUNDS = multi_round_called("fedavg_rounds_1")
METHODS = ("fedavg", "ensemble_mean_logits", "fedisca")


@pytest.fixture(scope="module")
def data():
    return phantom_federation(sites=2, images_per_site=48, test_images=32, size_px=16, seed=1)


def run(data, folder, settings=SETTINGS, methods=METHODS, **options):
    chosen = {name: method_called(name) for name in methods}
    return run_bench(data, settings, chosen, folder, budget=BUDGET, **options)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp(PLANTED) / "run"
    return folder, run(data, folder)


def test_every_row_has_its_cost_and_the_references_are_there(finished):
    _, result = finished
    assert set(result.methods) == {"pooled", "local/site-1", "local/site-2", *METHODS}
    student = result.methods["fedisca"]
    assert student.bytes_per_site == result.sites[0].bytes_sent > 100_000
    # 2 sites, 48 images each of 16 x 16 pixels in colour.
    assert result.methods["pooled"].bytes_per_site == 48 * 16 * 16 * 3
    assert student.server_seconds > 0
    assert student.server_flop > 1e8
    assert student.peak_bytes > 1e7
    assert any("outer_epochs: 100 -> 1" in change for change in student.changes)
    assert result.methods["ensemble_mean_logits"].changes == ()
    assert [picture.caption for picture in result.gallery] == [
        f"inversion, step {step} of 3" for step in (0, 1, 2, 3)
    ]


def test_a_students_row_keeps_what_its_teacher_does(finished):
    _, result = finished
    kept = result.methods["fedisca"].distillation
    assert kept.teacher == result.methods["ensemble_mean_logits"].metrics
    own = result.methods["fedisca"].metrics.confusion
    for label, recall in enumerate(kept.recalls):
        assert recall.student.value == pytest.approx(own[label][label] / sum(own[label]))
    assert result.methods["fedavg"].distillation is None
    assert result.methods["ensemble_mean_logits"].distillation is None


def test_every_row_tells_of_each_hospitals_test_images(finished):
    _, result = finished
    for row in result.methods.values():
        assert list(row.metrics.by_site) == ["site-1", "site-2"]
        parts = [sum(map(sum, part.confusion)) for part in row.metrics.by_site.values()]
        assert parts == [16, 16]


def test_sites_keep_the_names_that_the_data_gives_them(data, tmp_path):
    def renamed(images):
        return replace(images, sites=np.char.replace(images.sites, "site-", "ward-"))

    named = replace(data, train=renamed(data.train), test=renamed(data.test))
    natural = Federation(named, SETTINGS, tmp_path / "natural").train_sites()
    assert [(site.site, site.origin) for site in natural] == [
        ("site-1", "ward-1"),
        ("site-2", "ward-2"),
    ]
    dealt = replace(SETTINGS, partition=Iid())
    other = Federation(named, dealt, tmp_path / "iid").train_sites()
    assert [site.origin for site in other] == ["", ""]


def test_the_network_is_only_a_part_of_a_file_with_moments(finished):
    folder, result = finished
    for site in result.sites:
        assert 0 < site.network_bytes < site.bytes_sent - 100_000
    sent = open_submission(
        folder / "inbox" / "site-1.safetensors", study=load_study(folder / "study.toml")
    )
    numbers = sum(tensor.numel() for tensor in sent.state.values())
    assert 2 * numbers <= result.sites[0].network_bytes < 3 * numbers


def test_the_consensus_tells_whom_it_listened_to(data, tmp_path):
    """So few images of each class are no moments: the sites' networks share the say."""
    result = run(data, tmp_path, methods=("envoi",))
    row = result.methods["envoi"]
    assert [say.expert for say in row.says] == [site.site for site in result.sites]
    assert list(row.distillation.teacher.by_site) == ["site-1", "site-2"]


def test_a_finished_run_is_not_computed_again(finished, data):
    folder, result = finished
    told = []
    again = run(data, folder, on_step=told.append)
    assert not [info for info in told if info.phase != "pooled/train"]
    assert again.methods == result.methods


def test_an_interrupted_run_ends_in_the_same_weights(finished, data, tmp_path):
    whole, result = finished

    def interrupt(info):
        if info.phase == "fedisca" and info.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, on_step=interrupt)
    assert not (tmp_path / "result.json").exists()
    resumed = run(data, tmp_path)
    name = "methods/fedisca.safetensors"
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    for method in result.methods:
        assert resumed.methods[method].metrics == result.methods[method].metrics


def test_another_run_does_not_go_on_in_the_same_folder(finished, data):
    folder, _ = finished
    with pytest.raises(
        SettingsError, match=r"expected the data and settings .*\(federation.*seed: . then, 5 now"
    ):
        run(data, folder, replace(SETTINGS, seed=5))


def test_other_data_of_the_same_name_does_not_go_on_in_the_same_folder(finished, data):
    folder, _ = finished
    pixels = data.test.images.copy()
    pixels[0, 0, 0, 0] ^= 1
    other = replace(data, test=replace(data.test, images=pixels))
    with pytest.raises(SettingsError, match=r"found others \(data\.test\)"):
        run(other, folder)


def test_every_network_starts_from_the_backbone_that_is_given(data, tmp_path):
    start = build("convnet-small", channels=3, classes=len(data.train.class_names), seed=99)
    file = tmp_path / PLANTED / "start.pth"
    file.parent.mkdir()
    torch.save({"state_dict": start.state_dict()}, file)
    settings = replace(SETTINGS, backbone=file)
    folder = tmp_path / "run"
    federation = Federation(data, settings, folder)
    for name, tensor in federation.study.network().state_dict().items():
        assert tensor.equal(start.state_dict()[name]), name
    result = run(data, folder, settings, methods=("fedavg",))
    assert set(result.methods) == {"pooled", "local/site-1", "local/site-2", "fedavg"}
    assert load_study(folder / "study.toml").initialisation.sha256 == file_digest(file)
    for shared in (folder / "settings.json", folder / "run.toml", folder / "result.json"):
        assert PLANTED not in shared.read_text()
    torch.save(build("convnet-small", channels=3, classes=2, seed=1).state_dict(), file)
    with pytest.raises(SettingsError, match=r"others \(federation\.backbone"):
        run(data, folder, replace(settings), methods=("fedavg",))


def test_a_backbone_that_fits_nothing_is_refused(data, tmp_path):
    with pytest.raises(StudyError, match=r"none\.pth: expected a checkpoint file"):
        Federation(data, replace(SETTINGS, backbone=tmp_path / "none.pth"), tmp_path / "run")
    file = tmp_path / "start.pth"
    torch.save(build("convnet-small", channels=3, classes=2, seed=1).state_dict(), file)
    several = replace(SETTINGS, backbone=file, networks=("convnet-small", "vgg8"))
    with pytest.raises(StudyError, match="which fits only one"):
        Federation(data, several, tmp_path / "run")
    other = replace(SETTINGS, backbone=file, networks=("vgg8",))
    with pytest.raises(StudyError, match="a checkpoint of the study's architecture"):
        Federation(data, other, tmp_path / "run").train_sites()


def test_methods_join_a_run_and_none_is_dropped(finished, data, tmp_path):
    whole, result = finished
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    joined = run(data, folder, methods=("ensemble_size", "fedavg"))
    order = ("pooled", "local/site-1", "local/site-2", "ensemble_size", "fedavg")
    assert list(joined.methods) == [*order, "ensemble_mean_logits", "fedisca"]
    assert joined.methods["fedisca"] == result.methods["fedisca"]
    assert RunFolder(folder).result() == joined


def test_a_method_that_diverges_leaves_the_others_their_rows(data, tmp_path):
    chosen = {name: method_called(name) for name in ("fedisca", "ensemble_size")}
    wild = replace(BUDGET, student_rate=1e30)
    with pytest.raises(MethodError, match=r"found NaN or infinity in distillation"):
        run_bench(data, SETTINGS, chosen, tmp_path, budget=wild)
    kept = RunFolder(tmp_path).result().methods
    assert list(kept) == ["pooled", "local/site-1", "local/site-2", "ensemble_size"]


def test_rounds_that_diverge_leave_the_others_their_rows(data, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise diverged("a finite loss", "nan in epoch 1", "site-1")

    monkeypatch.setattr(Federation, "rounds", lambda *_: iter(fail, None))
    chosen = {"ensemble_size": method_called("ensemble_size"), "fedavg_rounds_1": ROUNDS}
    with pytest.raises(MethodError, match="training has diverged"):
        run_bench(data, SETTINGS, chosen, tmp_path, budget=BUDGET)
    assert "ensemble_size" in RunFolder(tmp_path).result().methods


def test_sites_of_several_architectures_make_one_student(data, tmp_path):
    mixed = replace(SETTINGS, networks=("convnet-small", "resnet10-small"))
    result = run(data, tmp_path, mixed)
    assert [site.architecture for site in result.sites] == ["convnet-small", "resnet10-small"]
    sent = [site.bytes_sent for site in result.sites]
    assert result.methods["fedavg"].bytes_per_site == max(sent) > min(sent)
    assert result.methods["fedisca"].metrics is not None


def test_the_server_sees_only_what_sites_sent(data, tmp_path):
    federation = Federation(data, SETTINGS, tmp_path)
    sent = federation.train_sites()
    files = sorted((tmp_path / "inbox").iterdir())
    assert [file.stat().st_size for file in files] == [site.bytes_sent for site in sent]
    first = open_submission(files[0], study=federation.study)
    exact = federation.images["site-1"].class_counts
    assert first.class_counts == tuple(n if n >= 10 else 0 for n in exact)
    assert [member.site for member in federation.teachers().members] == ["site-1", "site-2"]


def test_nothing_that_is_shared_names_the_machine_the_user_or_a_path(finished):
    folder, _ = finished
    report = write_report(RunFolder(folder))
    shared = [report, folder / "result.json", folder / "steps.jsonl", folder / "study.toml"]
    shared += [folder / "run.toml", folder / "server" / "ledger.json", *folder.glob("inbox/*")]
    host = socket.gethostname()
    words = {PLANTED, str(folder), str(folder.parent), host if len(host) > 5 else PLANTED}
    for file in shared:
        content = file.read_bytes()
        assert not [word for word in words if word.encode() in content], file.name
        user = getpass.getuser().encode()
        assert not re.search(rb"(home|Users)/" + user, content), file.name


def test_the_demo_leaves_the_files_that_programs_read(tmp_path):
    settings = DemoSettings(
        sites=2, images_per_site=120, test_images=32, epochs=1, budget=BUDGET, seed=3
    )
    run_demo(tmp_path, settings)
    summary = json.loads((tmp_path / "summary.json").read_text())
    wanted = {"pooled", "local_best", "fedavg", "ensemble_mean_logits", "ensemble_class_count"}
    assert wanted | {"fedisca", "envoi", "closed_form", "study"} <= set(summary)
    assert set(summary["fedisca"]) == {
        "accuracy",
        "balanced_accuracy",
        "auroc",
        "ece",
        "server_seconds",
        "bytes_per_site",
        "peak_bytes",
    }
    assert set(summary["study"]) == {"wall_seconds", "sites", "device", "seed"}
    assert write_report(RunFolder(tmp_path)).name == "report.html"


def test_a_data_set_that_no_study_allows_is_refused_in_lines(data, tmp_path):
    names = ("same",) * len(data.train.class_names)
    odd = replace(data, train=replace(data.train, class_names=names))
    with pytest.raises(StudyError, match="simulated study, classes: expected"):
        Federation(odd, SETTINGS, tmp_path)
