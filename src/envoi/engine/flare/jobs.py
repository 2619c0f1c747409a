"""One FLARE job for each hospital, written by code: two short configurations and no program.

A job names classes that are installed at the site and the server, and that their allow-lists
permit. It asks one site alone, so that no other site can hold it up or end it.
"""

from pathlib import Path

from envoi.engine.flare import ACKNOWLEDGE
from envoi.engine.flare.cargo import SUBMISSIONS, Cargo, Kind
from envoi.engine.flare.policy import (
    FETCH_CONTROLLER,
    OUTBOX_EXECUTOR,
    STUDENT_CONTROLLER,
    STUDENT_EXECUTOR,
    Json,
)
from envoi.files import write_json

# Sending is watched by progress: each window of 2 MiB must go through in this time, and the server
# must have written the file within it. So is what a site gets, by the time for a message.
_ANSWER_SECONDS = 600.0
_MESSAGE_SECONDS = 60.0
# Heartbeats queue behind at most one window: 2 MiB in two minutes are 140 kbit/s.
WATCH_SECONDS = 120.0
_HEARTBEATS = 6


def job_name(site: str, cargo: Cargo) -> str:
    """Name of the jobs of a site with a cargo."""
    return f"{job_prefix(cargo)}{site}"


def job_prefix(cargo: Cargo) -> str:
    """How names of all jobs with a cargo begin; the site's id follows."""
    return f"envoi-{cargo.label}-"


def write_job(
    folder: Path, site: str, cargo: Cargo = SUBMISSIONS, *, watch_seconds: float = WATCH_SECONDS
) -> Path:
    """Write the job that carries `cargo` from or to `site`; its folder, named after the job.

    Args:
        folder: Holds the jobs' folders.
        site: Its id in the roster.
        cargo: What is carried.
        watch_seconds: A site without a sign of life for so long is taken to be dead.

    Raises:
        StorageError: The folder cannot be written.
    """
    place = folder / job_name(site, cargo)
    server, client = _server(site, cargo, watch_seconds), _site(cargo, watch_seconds)
    write_json(place / "meta.json", _meta(site, cargo))
    write_json(place / "server" / "config" / "config_fed_server.json", server)
    write_json(place / "site" / "config" / "config_fed_client.json", client)
    return place


def _meta(site: str, cargo: Cargo) -> Json:
    return {
        "name": job_name(site, cargo),
        "deploy_map": {"server": ["server"], "site": [site]},
        "resource_spec": {},
        "min_clients": 1,
        "mandatory_clients": [site],
    }


def _server(site: str, cargo: Cargo, watch_seconds: float) -> Json:
    controller = STUDENT_CONTROLLER if cargo.kind is Kind.STUDENT else FETCH_CONTROLLER
    what = {"kind": cargo.kind, "student": cargo.student}
    arguments = {"site": site, "watch_seconds": watch_seconds, **what}
    return {
        "format_version": 2,
        "server": {"heart_beat_timeout": _ANSWER_SECONDS},
        "task_request_interval": 0.5,
        "dead_client_grace_period": watch_seconds,
        "dead_client_check_lead_time": watch_seconds,
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
        "workflows": [{"id": "delivery", "path": controller, "args": arguments}],
    }


def _site(cargo: Cargo, watch_seconds: float) -> Json:
    is_student = cargo.kind is Kind.STUDENT
    executor = {"path": STUDENT_EXECUTOR if is_student else OUTBOX_EXECUTOR, "args": {}}
    tasks = [cargo.kind] if is_student else [cargo.kind, ACKNOWLEDGE]
    return {
        "format_version": 2,
        "job_heartbeat_interval": watch_seconds / _HEARTBEATS,
        "get_task_timeout": _MESSAGE_SECONDS,
        "task_check_timeout": _MESSAGE_SECONDS,
        "submit_task_result_timeout": _ANSWER_SECONDS,
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
        "executors": [{"tasks": tasks, "executor": executor}],
    }
