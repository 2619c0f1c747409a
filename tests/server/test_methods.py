"""The contract that every method keeps, on three tiny sites."""

import dataclasses
import sys

import pytest
import torch

from envoi.checkpoint import Checkpoint
from envoi.errors import MethodError
from envoi.networks import build
from envoi.report.names import TEACHERS
from envoi.server.methods import ENSEMBLES, METHODS, method_called
from envoi.server.methods.method import flop_of, synthesises, teacher_of
from envoi.server.teacher import WEIGHTINGS, Ensemble, Teachers
from envoi.settings import Budget
from tests.conftest import TINY_CLASSES, make_teachers

BANK = {"bank_images": 12, "bank_steps": 4, "bank_batch": 4}
BUDGET = Budget(outer_epochs=2, synthesis_steps=3, batch_size=6, student_rate=0.01, **BANK)
GENERATORS = ("dafl", "dense", "dense_meta", "coboost")
DATA_FREE = ("fedisca", "fedisca_ema", "fedisca_none", *GENERATORS)
ENSEMBLE_NAMES = tuple(f"ensemble_{name}" for name in ENSEMBLES)
OWN = ("envoi", "closed_form", *ENSEMBLE_NAMES)
OF_MOMENTS = ("closed_form", "ensemble_site_gate")
# These average answers as they are and rule out no class.
PLAIN = (*(f"ensemble_{name}" for name in WEIGHTINGS), "ensemble_site_gate")


def fit(name, teachers, *, budget=BUDGET, seed=0, **options):
    student = build("resnet10-small", channels=teachers.image.channels, classes=3, seed=0)
    generator = torch.Generator().manual_seed(seed)
    method = method_called(name)
    return method.fit(teachers, student, budget=budget, generator=generator, **options)


def tensors_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(first[k].equal(second[k]) for k in first)


@pytest.mark.parametrize("name", METHODS)
def test_equal_arguments_give_equal_bits_and_teachers_are_unchanged(name, teachers):
    before = [tensors_of(member.network) for member in teachers.members]
    first, second = fit(name, teachers), fit(name, teachers)
    assert same(tensors_of(first), tensors_of(second))
    assert not first.training
    after = [tensors_of(member.network) for member in teachers.members]
    assert all(same(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_answers_are_finite_logits_of_every_class(name, teachers, images):
    logits = fit(name, teachers)(images)
    assert logits.shape == (12, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", DATA_FREE)
@pytest.mark.parametrize("kill_at", [1, 2, 3, 5])
def test_killed_and_resumed_gives_the_same_bits(name, kill_at, teachers, tmp_path):
    budget = dataclasses.replace(BUDGET, student_optimiser="adam")
    whole = fit(name, teachers, budget=budget)
    path = tmp_path / "job"

    def kill(info):
        if info.step == kill_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            name,
            teachers,
            budget=budget,
            on_step=kill,
            checkpoint=Checkpoint(path, every_seconds=0),
        )
    seen = []
    resumed = (
        fit(
            name,
            teachers,
            budget=budget,
            seed=99,  # the checkpoint brings the generator back
            on_step=lambda info: seen.append(info.step),
            checkpoint=Checkpoint(path, every_seconds=0),
        )
        if path.exists()
        else fit(name, teachers, budget=budget)
    )
    assert same(tensors_of(whole), tensors_of(resumed))
    if name != "fedisca_ema":
        assert seen[0] == kill_at + 1  # a step is saved before it is told


@pytest.mark.parametrize("name", ["envoi", "fedisca", *GENERATORS])
def test_another_seed_gives_another_student(name, teachers):
    first, second = fit(name, teachers, seed=0), fit(name, teachers, seed=1)
    assert not same(tensors_of(first), tensors_of(second))


def test_no_teachers_are_refused(teachers):
    with pytest.raises(MethodError, match="at least one teacher, found none"):
        Teachers((), teachers.image)


def test_unequal_label_maps_are_refused(teachers):
    odd = dataclasses.replace(teachers.members[1], class_names=("a", "c", "b"))
    with pytest.raises(MethodError, match=r"teacher site-2: expected the label map of site-1"):
        Teachers((teachers.members[0], odd), teachers.image)


def test_other_numbers_of_classes_are_refused(teachers):
    odd = dataclasses.replace(teachers.members[1], class_counts=(1, 2))
    with pytest.raises(MethodError, match="logits and counts of 3 classes, found 3 and 2"):
        Teachers((teachers.members[0], odd), teachers.image)


def test_weights_that_are_not_finite_are_refused():
    odd = make_teachers()
    with torch.no_grad():
        odd.members[2].network.fc.bias[0] = float("nan")
    with pytest.raises(MethodError, match="teacher site-3: expected finite weights"):
        Teachers(odd.members, odd.image)


def test_finite_weights_that_answer_with_infinity_are_refused():
    odd = make_teachers()
    with torch.no_grad():
        odd.members[1].network.fc.weight.fill_(3e38)
    with pytest.raises(MethodError, match="teacher site-2: expected finite logits for noise"):
        Teachers(odd.members, odd.image)


def test_unknown_methods_are_named():
    with pytest.raises(MethodError, match=r"expected one of envoi, fedavg, .*found 'fedsica'"):
        method_called("fedsica")
    with pytest.raises(MethodError, match="found 'fedisc'. Did you mean 'fedisca'"):
        method_called("fedisc")
    with pytest.raises(MethodError, match="found 'wxyz'. Choose a known method"):
        method_called("wxyz")


@pytest.mark.parametrize(
    ("name", "held"),
    [("no.such.module:Name", "no/"), ("no_such_module:Name", r"no_such_module\.py")],
)
def test_a_module_that_is_not_found_wants_a_path(name, held):
    message = (
        f"^{name}: expected a module that can be imported, found No module named 'no.*'. "
        f"Run with PYTHONPATH=FOLDER, the folder that holds {held}, or"
    )
    with pytest.raises(MethodError, match=message):
        method_called(name)


def test_a_module_that_lacks_another_one_is_not_blamed_on_the_path(tmp_path, monkeypatch):
    (tmp_path / "outsiders_lacking.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MethodError, match="No module named 'no_such_module'. See") as caught:
        method_called("outsiders_lacking:X")
    assert "PYTHONPATH" not in str(caught.value)


def test_the_nearest_name_in_a_module_is_told():
    with pytest.raises(MethodError, match="Did you mean 'FedAvg'?"):
        method_called("envoi.server.methods.fedavg:FedAgv")


def test_an_outsiders_method_is_found_by_its_import_name(teachers):
    network = fit("envoi.server.methods.fedavg:FedAvg", teachers)
    assert same(tensors_of(network), tensors_of(fit("fedavg", teachers)))


def test_an_object_without_fit_is_refused():
    message = r"collections:OrderedDict: expected an object with fit\(teachers, student, \*, budget"
    with pytest.raises(MethodError, match=message):
        method_called("collections:OrderedDict")


OUTSIDERS = """
from dataclasses import dataclass
from functools import partial

class Plain:
    def fit(self, teachers, student, *, budget, generator, on_step, checkpoint):
        return student.eval()

class Open(Plain):
    def fit(self, *arguments, **options):
        return arguments[1].eval()

@dataclass(frozen=True)
class Demanding(Plain):
    rate: float

class Failing(Plain):
    def __init__(self):
        raise RuntimeError("no licence")

class Narrow:
    def fit(self, teachers, student):
        return student

instance = Demanding(0.1)
made = partial(Demanding, 0.1)
number = 5
"""


@pytest.fixture
def outsiders(tmp_path, monkeypatch):
    """The name of a module of methods from elsewhere, and of one that cannot be imported."""
    (tmp_path / "outsiders_methods.py").write_text(OUTSIDERS)
    (tmp_path / "outsiders_broken.py").write_text("raise OSError('no such disk')")
    monkeypatch.syspath_prepend(tmp_path)
    yield "outsiders_methods"
    sys.modules.pop("outsiders_methods", None)


@pytest.mark.parametrize("name", ["Plain", "Open", "instance", "made"])
def test_outsiders_methods_are_taken_without_flop(name, outsiders, teachers):
    method = method_called(f"{outsiders}:{name}")
    student = build("resnet10-small", channels=3, classes=3, seed=0)
    assert flop_of(method, teachers, student, budget=BUDGET) == 0
    assert not synthesises(method)
    assert fit(f"{outsiders}:{name}", teachers, on_step=print, checkpoint=None) is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Demanding", "a class or function that needs no arguments, found TypeError: .*'rate'"),
        ("Failing", "needs no arguments, found RuntimeError: no licence"),
        ("Narrow", r"expected an object with fit\(.*found Narrow with another fit"),
        ("number", r"expected an object with fit\(.*found int"),
        ("nothing", "expected one of envoi, fedavg, .*found 'outsiders_methods:nothing'"),
    ],
)
def test_what_cannot_be_used_ends_in_one_error(name, message, outsiders):
    with pytest.raises(MethodError, match=message) as caught:
        method_called(f"{outsiders}:{name}")
    assert len(caught.value.problems) == 1


def test_a_module_that_fails_at_its_import_ends_in_one_error(outsiders):
    message = "outsiders_broken:X: expected a module that can be imported, found OSError: no such"
    with pytest.raises(MethodError, match=message):
        method_called("outsiders_broken:X")


@pytest.mark.parametrize("name", ["", ":", ":X", ".x:Y", "no.such.module:"])
def test_names_of_no_module_are_told(name):
    with pytest.raises(MethodError, match="method: expected one of envoi, fedavg"):
        method_called(name)


@pytest.mark.parametrize("name", [*OWN, "fedisca", *GENERATORS])
def test_sites_may_differ_in_architecture(name, images):
    mixed = make_teachers().members[:2] + make_teachers(architecture="wrn-16-2").members[2:]
    assert fit(name, Teachers(mixed, make_teachers().image))(images).shape == (12, 3)


@pytest.mark.parametrize("name", [*OWN, "fedisca", *GENERATORS])
def test_networks_without_batch_norm_are_distilled_too(name, images):
    network = fit(name, make_teachers(architecture="resnet10-small-gn"))
    assert network(images).isfinite().all()


@pytest.mark.parametrize("name", [*OWN, "fedisca", *GENERATORS])
def test_grey_images_of_odd_size_are_distilled_too(name):
    network = fit(name, make_teachers(channels=1, size_px=9))
    assert network(torch.randn(2, 1, 9, 9, generator=torch.Generator())).isfinite().all()


TWELVE = tuple((5 * (k % 3), 10, 7 * (k % 2)) for k in range(12))
FEDERATIONS = {
    "one class per site": ((40, 0, 0), (0, 30, 0), (0, 0, 20)),
    "two sites": ((30, 10, 0), (0, 20, 40)),
    "twelve sites": TWELVE,
    "a class of nobody": ((30, 10, 0), (20, 30, 0)),
    "a site that tells nothing": ((30, 10, 5), (0, 0, 0)),
}


@pytest.mark.parametrize("federation", FEDERATIONS)
def test_every_federation_is_answered_for(federation, images):
    teachers = make_teachers(FEDERATIONS[federation])
    odd = torch.cat([images, 50 * images])
    seen = teachers.class_counts.sum(dim=0) > 0
    for name in OWN:
        logits = fit(name, teachers)(odd)
        assert logits.shape == (24, 3), name
        assert logits.isfinite().all(), name
        if name not in (*PLAIN, "envoi"):  # envoi's student has a few steps to learn it here
            assert (logits.softmax(dim=1)[:, ~seen] < 1e-6).all(), name


@pytest.mark.parametrize("federation", ["two sites", "one class per site"])
def test_sites_need_not_send_moments_unless_a_method_says_so(federation, images):
    teachers = make_teachers(FEDERATIONS[federation], moments=False)
    for name in [name for name in OWN if name not in OF_MOMENTS]:
        assert fit(name, teachers)(images).isfinite().all(), name


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_methods_that_need_moments_of_every_site_say_so_once(name, teachers):
    silent = dataclasses.replace(teachers.members[1], moments=None)
    some = Teachers((teachers.members[0], silent, teachers.members[2]), teachers.image)
    message = "expected moments of every site, found none from site-2"
    with pytest.raises(MethodError, match=message) as caught:
        fit(name, some)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", ["envoi", "ensemble_consensus"])
def test_moments_are_used_where_all_sites_sent_them(name, images):
    with_moments = fit(name, make_teachers())(images)
    assert not with_moments.equal(fit(name, make_teachers(moments=False))(images))


@pytest.mark.parametrize("name", [name for name in OWN if name != "envoi"])
def test_the_order_of_sites_does_not_matter(name, teachers, images):
    turned = Teachers(teachers.members[::-1], teachers.image)
    first, second = fit(name, teachers)(images), fit(name, turned)(images)
    torch.testing.assert_close(first.softmax(1), second.softmax(1), atol=1e-3, rtol=1e-3)


def test_starting_from_the_average_needs_a_site_of_the_students_kind():
    teachers = make_teachers(architecture="wrn-16-2")
    budget = dataclasses.replace(BUDGET, student_start="average")
    with pytest.raises(MethodError, match="a site with the student's architecture, found none"):
        fit("fedisca", teachers, budget=budget)


def test_averaging_equal_networks_gives_that_network(teachers):
    alike = tuple(
        dataclasses.replace(teachers.members[0], site=f"site-{n}", class_counts=(n, n, n))
        for n in range(1, 4)
    )
    averaged = tensors_of(fit("fedavg", Teachers(alike, teachers.image)))
    wanted = tensors_of(teachers.members[0].network)
    assert all(torch.allclose(averaged[k].double(), wanted[k].double()) for k in wanted)


def test_a_frozen_student_keeps_the_statistics_of_its_start(teachers):
    budget = dataclasses.replace(BUDGET, student_start="average", student_statistics="frozen")
    averaged, student = fit("fedavg", teachers), fit("fedisca", teachers, budget=budget)
    assert student.bn1.running_mean.equal(averaged.bn1.running_mean)
    assert not student.conv1.weight.equal(averaged.conv1.weight)


@pytest.mark.parametrize("name", ["fedisca", *GENERATORS])
def test_flop_is_proportional_to_the_steps(name, teachers):
    student = build("resnet10-small", channels=3, classes=3, seed=0)
    method = method_called(name)
    flop = method.flop(teachers, student, budget=BUDGET)
    twice = dataclasses.replace(BUDGET, outer_epochs=4)
    assert method.flop(teachers, student, budget=twice) == 2 * flop > 0


def test_an_ensemble_of_class_counts_silences_a_site_that_never_saw_a_class(teachers, images):
    ensemble = fit("ensemble_class_count", teachers)
    assert isinstance(ensemble, Ensemble)
    answers = torch.stack([member.network(images).softmax(1) for member in teachers.members])
    # Class "a" was seen by site 1 (30 images) and site 2 (5), never by site 3.
    for_a = 30 / 35 * answers[0, :, 0] + 5 / 35 * answers[1, :, 0]
    for_b = answers[:, :, 1].mul(torch.tensor([[10.0], [20.0], [10.0]]) / 40).sum(0)
    ratio = (ensemble(images)[:, 0] - ensemble(images)[:, 1]).exp()
    torch.testing.assert_close(ratio, for_a / for_b)
    assert TINY_CLASSES[0] == "a"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_teacher_is_the_row_that_the_report_takes_for_it(name, teachers, images):
    teacher = teacher_of(method_called(name), teachers)
    if name not in TEACHERS:
        assert teacher is None
        return
    assert teacher(images).equal(fit(TEACHERS[name], teachers)(images))


def test_an_outsiders_method_need_not_tell_its_teacher(teachers):
    assert teacher_of(object(), teachers) is None
