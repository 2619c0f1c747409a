"""The coordinator's loop beside a line that is played."""

from dataclasses import dataclass, field

import pytest

from envoi.engine.flare import run as module
from envoi.engine.flare.cargo import SUBMISSIONS, WITHDRAWALS, Cargo, Kind
from envoi.engine.flare.inbox import Outcome, deliver, delivered, note_outcome, outcomes_of
from envoi.engine.flare.jobs import job_prefix
from envoi.engine.flare.kit import Kit, Role, settings_text
from envoi.engine.flare.run import Patience, run
from envoi.engine.flare.session import Line, LineDownError
from envoi.errors import Problem, SettingsError

PATIENCE = Patience(
    wait_seconds=5, poll_seconds=0.01, retry_seconds=0.01, longest_retry_seconds=0.02
)


@dataclass
class Played(Line):
    """A server: at each look, the next scene of every job changes."""

    server: Kit
    cargo: Cargo = SUBMISSIONS
    connected: set[str] = field(default_factory=lambda: {"north", "south-clinic", "west"})
    endings: dict[str, list[Outcome | str]] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    down: int = 0

    def unfinished_jobs(self, cargo):
        assert cargo == self.cargo
        if self.down:
            self.down -= 1
            raise LineDownError(Problem("an answer", "silence", "server", "Wait."))
        jobs = dict(self.running)
        for site, job in jobs.items():
            self._end(site, job)
        return jobs

    def _end(self, site, job):
        outcome = self.endings.get(site, []).pop(0) if self.endings.get(site) else Outcome.DELIVERED
        del self.running[site]
        if outcome is Outcome.DELIVERED and self.cargo.kind is not Kind.STUDENT:
            deliver(f"{site} {job}".encode(), self.server.mailbox, site, self.cargo)
        if outcome != "killed":
            folder = outcomes_of(self.server, self.cargo)
            note_outcome(folder, site, job=job, outcome=outcome)

    def connected_sites(self):
        return self.connected

    def submit(self, folder):
        site = folder.name.removeprefix(job_prefix(self.cargo))
        self.submitted.append(site)
        self.running[site] = f"job {len(self.submitted)}"
        return self.running[site]

    def close(self):
        pass


@pytest.fixture
def server(tmp_path, study):
    root = tmp_path / "server"
    (root / "local").mkdir(parents=True)
    (root / "inbox").mkdir()
    (root / "local" / "envoi.toml").write_text(settings_text(Role.SERVER))
    return Kit(root, Role.SERVER, study)


@pytest.fixture
def played(server, monkeypatch):
    line = Played(server)
    monkeypatch.setattr(module, "require_flare", lambda: None)
    monkeypatch.setattr(module, "Line", lambda kit: line)
    return line


def fetch(server, cargo=SUBMISSIONS, patience=PATIENCE, **options):
    news = []
    coordinator = Kit(server.root.parent / "coordinator", Role.COORDINATOR, server.study)
    options = {"patience": patience, "on_news": lambda *told: news.append(told), **options}
    return run(coordinator, server, cargo, **options), news


def test_every_site_gets_one_job(server, played):
    late, news = fetch(server)
    assert late == ()
    assert played.submitted == ["north", "south-clinic", "west"]
    assert [site for site, told in news if told.startswith("delivered")] == played.submitted


def test_who_has_delivered_is_asked_only_by_name(server, played):
    deliver(b"old", server.mailbox, "north")
    late, news = fetch(server)
    assert late == ()
    assert played.submitted == ["south-clinic", "west"]
    assert news[0][0] == "north"
    assert news[0][1].startswith("delivered before: north")
    assert [told for _, told in fetch(server)[1]] == [
        f"delivered before: {delivered(server.mailbox, site)[-1]}"
        for site in ("north", "south-clinic", "west")
    ]
    fetch(server, sites=["north"])
    assert played.submitted[2:] == ["north"]


def test_a_site_that_sends_what_it_had_sent_is_told_so(server, played, monkeypatch):
    fetch(server)
    (before,) = delivered(server.mailbox, "north")
    content = (server.mailbox / before).read_bytes()
    monkeypatch.setattr(module, "write_job", lambda folder, site, cargo, **_: folder / f"{site}")
    monkeypatch.setattr(played, "submit", lambda folder: _again(played, folder.name, content))
    late, news = fetch(server, sites=["north"])
    assert not late
    assert news[-1][1].startswith(f"delivered what it had before, {before}")


def _again(played, site, content):
    """The job that brings the same bytes."""
    deliver(content, played.server.mailbox, site)
    note_outcome(outcomes_of(played.server, SUBMISSIONS), site, job="2", outcome=Outcome.DELIVERED)
    return "2"


def test_a_site_whose_job_failed_is_asked_again_and_holds_up_nobody(server, played):
    played.endings = {"north": [Outcome.SILENT, "killed", Outcome.NOTHING]}
    late, news = fetch(server)
    assert late == ()
    assert played.submitted.count("north") == 4
    assert played.submitted.count("west") == 1
    told = [line for site, line in news if site == "north"]
    assert any(line.startswith(Outcome.NOTHING) for line in told)
    assert told[-1].startswith("delivered")


def test_an_old_job_s_ending_is_not_taken_for_the_new_one_s(server, played):
    earlier = outcomes_of(server, SUBMISSIONS)
    note_outcome(earlier, "north", job="earlier", outcome=Outcome.DELIVERED)
    played.endings = {"north": ["killed"]}
    assert fetch(server)[0] == ()
    assert played.submitted.count("north") == 2


def test_a_job_that_an_earlier_run_left_is_adopted(server, played):
    played.running = {"north": "left behind"}
    assert fetch(server)[0] == ()
    assert "north" not in played.submitted


def test_a_server_that_restarts_is_waited_for(server, played):
    played.down = 3
    late, news = fetch(server)
    assert late == ()
    assert ("west", "the server does not answer (silence)") in news


def test_who_never_connects_is_late(server, played):
    played.connected = {"north"}
    late, news = fetch(server, patience=Patience(wait_seconds=1, poll_seconds=0.01))
    assert late == ("south-clinic", "west")
    assert news.count(("west", "not connected")) == 1


def test_an_unknown_site_or_the_wrong_kit_is_refused(server, played):
    with pytest.raises(SettingsError, match=r"expected a site of the roster .*, found 'east'"):
        fetch(server, sites=["east"])
    with pytest.raises(SettingsError, match="--coordinator: expected the kit of the coordinator"):
        run(server, server, patience=PATIENCE, on_news=print)


def test_evaluations_are_asked_of_who_has_sent_none_of_this_student(server, played):
    first, second = (Cargo(Kind.EVALUATION, digit * 64) for digit in "12")
    deliver(b"a submission", server.mailbox, "north")
    deliver(b"an evaluation", server.mailbox, "west", first)
    played.cargo = first
    late, news = fetch(server, first)
    assert late == ()
    assert played.submitted == ["north", "south-clinic"]
    assert ("north", "asked for its evaluation") in news
    assert all(delivered(server.mailbox, site, first) for site in server.study.sites)
    played.cargo = second
    assert fetch(server, second)[0] == ()
    assert played.submitted[2:] == ["north", "south-clinic", "west"]


def test_who_has_no_notice_of_withdrawal_has_answered(server, played):
    played.cargo = WITHDRAWALS
    played.endings = {"north": [Outcome.NOTHING], "west": [Outcome.SILENT, Outcome.NOTHING]}
    late, news = fetch(server, WITHDRAWALS)
    assert late == ()
    assert sorted(played.submitted) == ["north", "south-clinic", "west", "west"]
    assert ("north", f"{Outcome.NOTHING}") in news
    assert news[-1] == ("west", f"{Outcome.NOTHING}")
    assert delivered(server.mailbox, "south-clinic", WITHDRAWALS)
    played.submitted.clear()
    assert fetch(server, WITHDRAWALS)[0] == ()
    assert sorted(played.submitted) == ["north", "south-clinic", "west"]


def test_a_student_goes_to_who_has_not_got_it(server, played):
    played.cargo = cargo = Cargo(Kind.STUDENT, "1" * 64)
    played.endings = {"north": [Outcome.UNTAKEN]}
    late, news = fetch(server, cargo)
    assert late == ()
    assert played.submitted == ["north", "south-clinic", "west", "north"]
    told = [line for site, line in news if site == "north"]
    assert told[0] == "the student is on its way"
    assert told[1].startswith(f"{Outcome.UNTAKEN}; sent again in ")
    assert told[-1] == "delivered 1111111111111111.safetensors"
    late, news = fetch(server, cargo)
    assert (late, {line for _, line in news}) == ((), {f"delivered before: {told[-1][10:]}"})
    assert len(played.submitted) == 4
    assert fetch(server, cargo, sites=["west"])[0] == ()
    assert played.submitted[4:] == ["west"]
    other = Cargo(Kind.STUDENT, "2" * 64)
    played.cargo = other
    fetch(server, other)
    assert played.submitted[5:] == ["north", "south-clinic", "west"]
