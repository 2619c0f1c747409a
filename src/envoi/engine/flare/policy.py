"""What a kit permits: FLARE 2.9 leaves more open by default than a hospital needs.

FLARE's own defaults, and why they are replaced here:

- `project_admin` may do anything, custom code and shell commands at the sites included.
- Sites stream their error logs to the server; a log may hold local paths.
- The server keeps jobs and snapshots in /tmp/nvflare.
- Unknown top-level keys of a site's resources.json are sent to the server when it registers, so
  nothing of Envoi stands there.
- Up to 64 MiB are sent without waiting, so that a slow link shows no progress for minutes.
- What goes to a site is sent again after five seconds without an answer, and given up after sixty
  more: on links below 3 Mbit/s the copies fill the line until the transfer fails.
- Half a file, of a site that died, holds the server's job process for five minutes more.
"""

from pathlib import Path
from typing import Any

from envoi.engine.flare.kit import STORE

Json = dict[str, Any]

OUTBOX_EXECUTOR = "envoi.engine.flare.executor.OutboxExecutor"
STUDENT_EXECUTOR = "envoi.engine.flare.executor.StudentExecutor"
FETCH_CONTROLLER = "envoi.engine.flare.controller.FetchController"
STUDENT_CONTROLLER = "envoi.engine.flare.controller.StudentController"
FILTER = "envoi.engine.flare.privacy.SignedFileFilter"
COORDINATOR_ROLE = "project_admin"
SCOPE = "envoi"

_MIB = 2**20
_WINDOW_BYTES = 2 * _MIB
_CHUNK_BYTES = _MIB // 4
_ACKNOWLEDGED_EACH_BYTES = _MIB // 2
_HEARTBEAT_LIMIT_SECONDS = 600
# For the next 256 KiB to come: 35 kbit/s.
_READ_SECONDS = 60
# For a window to be answered before it is sent again: 140 kbit/s.
_SENT_AGAIN_SECONDS = 120
_SENDING_LIMIT_SECONDS = 600

_STORAGE = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
_LAUNCHERS = "nvflare.app_common.job_launcher"


def authorization(*, at_server: bool = False) -> Json:
    """authorization.json: the coordinator submits and aborts signed jobs; nobody does more.

    No custom code, no shell commands, no look at a site's machine, jobs or errors, no download.

    Args:
        at_server: Where the coordinator may look at jobs, stop the server and shut sites out.
    """
    at_server_alone = "any" if at_server else "none"
    return {
        "format_version": "1.0",
        "permissions": {
            COORDINATOR_ROLE: {
                "submit_job": "any",
                "manage_job": "any",
                "view": at_server_alone,
                "clone_job": "none",
                "download_job": "none",
                "operate": at_server_alone,
                "shell_commands": "none",
                "byoc": "none",
                "server-predeployed-flwr": "none",
            }
        },
    }


def privacy() -> Json:
    """A site's privacy.json: every result of every task passes the filter."""
    scope = {"name": SCOPE, "task_result_filters": [{"path": FILTER, "args": {}}]}
    return {"scopes": [scope], "default_scope": SCOPE}


def site_resources() -> Json:
    """A site's resources.json: three classes may be built for a job, and no log is streamed."""
    components = [
        _component(
            "resource_manager",
            "nvflare.app_common.resource_managers.gpu_resource_manager.GPUResourceManager",
            num_of_gpus=0,
            mem_per_gpu_in_GiB=0,
            expiration_period=300,
        ),
        _component(
            "resource_consumer",
            "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer",
        ),
        _component(
            "process_launcher", f"{_LAUNCHERS}.client_process_launcher.ClientProcessJobLauncher"
        ),
    ]
    return {
        **_allowing(OUTBOX_EXECUTOR, STUDENT_EXECUTOR, FILTER),
        "allow_log_streaming": False,
        "client": {"retry_timeout": 30, "compression": "Gzip"},
        "components": components,
    }


def server_resources(root: Path, *, sites: int) -> Json:
    """The server's resources.json: two classes, all sites at once, everything kept under `root`.

    Args:
        root: The kit's folder; FLARE takes absolute paths alone.
        sites: In the roster.
    """
    store = root.absolute() / STORE
    snapshots = {"root_dir": f"{store / 'snapshots'}", "uri_root": "/"}
    components = [
        _component(
            "job_scheduler",
            "nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler",
            max_jobs=max(sites, 1),
            min_schedule_interval=1.0,
            max_schedule_interval=30.0,
        ),
        _component(
            "job_manager",
            "nvflare.apis.impl.job_def_manager.SimpleJobDefManager",
            uri_root=f"{store / 'jobs'}",
            job_store_id="job_store",
        ),
        _component("job_store", _STORAGE),
        _component(
            "process_launcher", f"{_LAUNCHERS}.server_process_launcher.ServerProcessJobLauncher"
        ),
    ]
    return {
        **_allowing(FETCH_CONTROLLER, STUDENT_CONTROLLER),
        "servers": [
            {
                "admin_storage": "transfer",
                "max_num_clients": max(sites, 1),
                "heart_beat_timeout": _HEARTBEAT_LIMIT_SECONDS,
                "admin_timeout": 10.0,
            }
        ],
        "snapshot_persistor": {
            "path": "nvflare.app_common.state_persistors.storage_state_persistor."
            "StorageStatePersistor",
            "args": {"uri_root": "/", "storage": {"path": _STORAGE, "args": snapshots}},
        },
        "components": components,
    }


def communication() -> Json:
    """comm_config.json: small windows, so that slow links show progress and heartbeats get through.

    A party listens for its own job processes on the loopback device alone.
    """
    return {
        "allow_adhoc_conns": False,
        "internal": {"scheme": "tcp", "resources": {"host": "127.0.0.1"}},
        "streaming_chunk_size": _CHUNK_BYTES,
        "streaming_window_size": _WINDOW_BYTES,
        "streaming_ack_interval": _ACKNOWLEDGED_EACH_BYTES,
        "streaming_read_timeout": _READ_SECONDS,
        "streaming_retry_wait": _SENT_AGAIN_SECONDS,
        "streaming_retry_timeout": _SENDING_LIMIT_SECONDS,
    }


def _allowing(*classes: str) -> Json:
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": list(classes),
    }


def _component(name: str, path: str, **arguments: Any) -> Json:  # noqa: ANN401  (any JSON value)
    return {"id": name, "path": path, "args": arguments}
