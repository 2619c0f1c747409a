"""Where networks are kept, and how many of them are in memory at a time."""

import gc
import weakref
from functools import partial

import pytest
import torch

from envoi.errors import StorageError
from envoi.networks.classifier import device_of
from envoi.server import kept
from envoi.server.bank import filled_bank
from envoi.server.build import distil
from envoi.server.collect import accepted, accepted_copy, collect, load_ledger
from envoi.server.consensus import Consensus
from envoi.server.kept import Filed, Held, Kept
from envoi.server.methods import METHODS, envoi
from envoi.server.methods.method import streams
from envoi.server.synthesis.moment_images import ProceduralImages
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.study import study_from
from envoi.submission import Release, TrainingCard, generate_key, public_text, write_submission

SITES = [f"site-{number}" for number in range(6)]
CPU = torch.device("cpu")
BUDGET = Budget(bank_images=300, bank_steps=2, bank_batch=4, outer_epochs=1, synthesis_steps=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study of six sites and the server's folder with their accepted files."""
    folder = tmp_path_factory.mktemp("server")
    keys = {site: generate_key() for site in SITES}
    study = study_from(
        {
            "name": "Cells",
            "classes": ["a", "b", "c"],
            "image": {"channels": 3, "size_px": 8},
            "model": {"architectures": ["resnet10-small"]},
            "sites": {site: public_text(key) for site, key in keys.items()},
        }
    )
    (folder / "inbox").mkdir()
    for number, (site, key) in enumerate(keys.items()):
        network = study.network()
        with torch.no_grad():
            network.fc.weight += 0.1 * number
        state = {key: t for key, t in network.state_dict().items() if t.dim()}
        release = Release("resnet10-small", state, (20, 30, 40), TrainingCard(epochs=1, images=90))
        file = folder / "inbox" / f"{site}.safetensors"
        write_submission(file, release, study=study, site=site, sequence=1, key=key)
    collect(folder / "inbox", folder / "accepted", study=study)
    return study, folder / "accepted"


def openers(study, folder):
    files = load_ledger(folder).current()
    return [partial(accepted_copy, folder, file, study=study) for file in files]


@pytest.fixture
def filed(place):
    study, folder = place
    return Teachers.from_files(openers(study, folder), study)


@pytest.fixture
def held(place):
    study, folder = place
    return Teachers.from_submissions(accepted(folder, study=study), study)


class Alive:
    """Counts the networks that were read from files and are still in memory."""

    def __init__(self, monkeypatch):
        self.most, self.read, self._seen, build = 0, 0, [], kept.build_network

        def counted(submission, study):
            network = build(submission, study)
            self._seen = [seen for seen in self._seen if seen() is not None]
            self._seen.append(weakref.ref(network))
            self.most, self.read = max(self.most, len(self._seen)), self.read + 1
            return network

        monkeypatch.setattr(kept, "build_network", counted)

    @property
    def now(self):
        return sum(seen() is not None for seen in self._seen)


def weights(network):
    return torch.cat([tensor.double().flatten() for tensor in network.state_dict().values()])


def test_a_held_network_is_the_same_object_and_frozen(place):
    network = place[0].network().train()
    place_of_it = Held(network)
    assert isinstance(place_of_it, Kept)
    assert place_of_it.network() is network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert place_of_it.device == device_of(network) == CPU


def test_a_filed_network_is_read_at_each_look(filed):
    member = filed.members[2]
    assert isinstance(member.kept, Filed)
    assert member.network is not member.network
    assert weights(member.network).equal(weights(member.network))
    assert not member.network.training
    assert not any(parameter.requires_grad for parameter in member.network.parameters())


def test_both_move_to_a_device_and_leave_the_others_where_they_are(place, filed, held):
    meta = torch.device("meta")
    for member in (filed.members[0], held.members[0]):
        moved = member.kept.on(meta)
        assert (moved.device, member.kept.device) == (meta, CPU)
        assert device_of(moved.network()) == meta
        assert device_of(member.network) == CPU


def test_filed_teachers_are_the_held_ones(filed, held):
    assert [member.site for member in filed.members] == [member.site for member in held.members]
    assert filed.class_counts.equal(held.class_counts)
    assert filed.device == held.device
    for one, other in zip(filed.members, held.members, strict=True):
        assert weights(one.network).equal(weights(other.network))
    in_memory = filed.in_memory()
    assert all(isinstance(member.kept, Held) for member in in_memory.members)
    assert weights(in_memory.members[3].network).equal(weights(held.members[3].network))
    assert held.in_memory() is held


def test_a_bank_of_filed_teachers_has_the_same_bits_and_needs_one_at_a_time(
    filed, held, monkeypatch
):
    source, alive = ProceduralImages(held), Alive(monkeypatch)
    banks = [
        filled_bank(source, Consensus(teachers), 300, torch.Generator().manual_seed(0), CPU)
        for teachers in (filed, held)
    ]
    assert banks[0].answers.equal(banks[1].answers)
    assert (alive.most, alive.read, alive.now) == (1, len(SITES), 0)


def test_a_whole_job_holds_no_more_than_two_networks(place, monkeypatch):
    """The one that is asked, and that by which arithmetic was counted (of each architecture)."""
    (study, folder), alive = place, Alive(monkeypatch)
    gc.disable()  # what waits for the collector is in memory, too
    try:
        teachers = Teachers.from_files(openers(study, folder), study)
        done = distil("envoi", envoi(), teachers, study=study, budget=BUDGET, device=CPU)
    finally:
        gc.enable()
    assert alive.most <= 2
    assert alive.read > 3 * len(SITES)
    wanted = distil("envoi", envoi(), teachers.in_memory(), study=study, budget=BUDGET, device=CPU)
    assert weights(done.network).equal(weights(wanted.network))


def test_methods_that_do_not_stream_get_networks_in_memory(place, filed, monkeypatch):
    study, alive = place[0], Alive(monkeypatch)
    distil("ensemble", METHODS["ensemble_consensus"](), filed, study=study, budget=BUDGET)
    assert (alive.most, alive.read) == (len(SITES), len(SITES))
    assert {name for name, make in METHODS.items() if streams(make())} == {"envoi", "closed_form"}
    assert not streams(object())


def test_a_file_that_was_changed_meanwhile_is_refused(place):
    study, folder = place
    teachers = Teachers.from_files(openers(study, folder), study)
    copy = next((folder / "accepted").glob("site-1-*"))
    before = copy.read_bytes()
    copy.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        with pytest.raises(StorageError, match="expected the copy that was received"):
            _ = teachers.members[1].network
    finally:
        copy.write_bytes(before)
