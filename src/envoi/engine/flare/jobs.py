"""One FLARE job for each hospital, written by code: two short configurations and no program.

A job names classes that are installed at the site and the server, and that their allow-lists
permit. It asks one site alone, so that no other site can hold it up or end it.
"""

from pathlib import Path

from envoi.engine.flare import ACKNOWLEDGE, DELIVER
from envoi.engine.flare.policy import CONTROLLER, EXECUTOR, Json
from envoi.files import write_json

# Sending is watched by progress: each window of 2 MiB must go through in this time, and the server
# must have written the file within it.
_ANSWER_SECONDS = 600.0
_MESSAGE_SECONDS = 60.0
# Heartbeats queue behind at most one window: 2 MiB in two minutes are 140 kbit/s.
WATCH_SECONDS = 120.0
_HEARTBEATS = 6
JOB_PREFIX = "envoi-"


def job_name(site: str) -> str:
    """Name of the jobs of a site."""
    return f"{JOB_PREFIX}{site}"


def write_job(folder: Path, site: str, *, watch_seconds: float = WATCH_SECONDS) -> Path:
    """Write the job that fetches the file of `site`; its folder, named after the job.

    Args:
        folder: Holds the jobs' folders.
        site: Its id in the roster.
        watch_seconds: A site without a sign of life for so long is taken to be dead.

    Raises:
        StorageError: The folder cannot be written.
    """
    place = folder / job_name(site)
    write_json(place / "meta.json", _meta(site))
    write_json(place / "server" / "config" / "config_fed_server.json", _server(site, watch_seconds))
    write_json(place / "site" / "config" / "config_fed_client.json", _site(watch_seconds))
    return place


def _meta(site: str) -> Json:
    return {
        "name": job_name(site),
        "deploy_map": {"server": ["server"], "site": [site]},
        "resource_spec": {},
        "min_clients": 1,
        "mandatory_clients": [site],
    }


def _server(site: str, watch_seconds: float) -> Json:
    arguments = {"site": site, "watch_seconds": watch_seconds}
    return {
        "format_version": 2,
        "server": {"heart_beat_timeout": _ANSWER_SECONDS},
        "task_request_interval": 0.5,
        "dead_client_grace_period": watch_seconds,
        "dead_client_check_lead_time": watch_seconds,
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
        "workflows": [{"id": "delivery", "path": CONTROLLER, "args": arguments}],
    }


def _site(watch_seconds: float) -> Json:
    executor = {"path": EXECUTOR, "args": {}}
    return {
        "format_version": 2,
        "job_heartbeat_interval": watch_seconds / _HEARTBEATS,
        "get_task_timeout": _MESSAGE_SECONDS,
        "task_check_timeout": _MESSAGE_SECONDS,
        "submit_task_result_timeout": _ANSWER_SECONDS,
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
        "executors": [{"tasks": [DELIVER, ACKNOWLEDGE], "executor": executor}],
    }
