import json

import pytest

from envoi.engine.flare import policy
from envoi.engine.flare.cargo import SUBMISSIONS, WITHDRAWALS, Cargo, Kind
from envoi.engine.flare.jobs import write_job


def test_the_coordinator_may_submit_and_end_jobs_and_no_more():
    (rights,) = policy.authorization()["permissions"].values()
    granted = {right for right, who in rights.items() if who != "none"}
    assert granted == {"submit_job", "manage_job"}
    assert rights["byoc"] == rights["shell_commands"] == "none"
    (at_server,) = policy.authorization(at_server=True)["permissions"].values()
    assert {right for right in rights if rights[right] != at_server[right]} == {"operate", "view"}


def test_a_site_builds_three_classes_and_streams_no_log():
    resources = policy.site_resources()
    assert resources["class_allow_list"] == [
        "envoi.engine.flare.executor.OutboxExecutor",
        "envoi.engine.flare.executor.StudentExecutor",
        "envoi.engine.flare.privacy.SignedFileFilter",
    ]
    assert resources["class_list_enforcement_mode"] == "enforce"
    assert resources["allow_log_streaming"] is False
    assert "Streamer" not in json.dumps(resources)


def test_every_result_passes_the_filter():
    (scope,) = policy.privacy()["scopes"]
    assert policy.privacy()["default_scope"] == scope["name"]
    assert scope["task_result_filters"] == [{"path": policy.FILTER, "args": {}}]


def test_the_server_keeps_everything_in_its_own_folder(tmp_path):
    resources = policy.server_resources(tmp_path, sites=40)
    assert resources["class_allow_list"] == [
        "envoi.engine.flare.controller.FetchController",
        "envoi.engine.flare.controller.StudentController",
    ]
    arguments = {part["id"]: part["args"] for part in resources["components"]}
    assert arguments["job_manager"]["uri_root"] == str(tmp_path / "store" / "jobs")
    snapshots = resources["snapshot_persistor"]["args"]["storage"]["args"]
    assert snapshots["root_dir"] == str(tmp_path / "store" / "snapshots")
    assert "/tmp/nvflare" not in json.dumps(resources)
    assert arguments["job_scheduler"]["max_jobs"] == 40


def test_a_slow_line_is_not_filled_with_copies_of_what_is_still_on_its_way():
    settings = policy.communication()
    bits = 8 * (settings["streaming_window_size"] + settings["streaming_chunk_size"])
    assert bits / settings["streaming_retry_wait"] < 200_000
    assert settings["streaming_retry_timeout"] > settings["streaming_retry_wait"]


@pytest.mark.parametrize(
    ("cargo", "name", "tasks"),
    [
        (SUBMISSIONS, "envoi-submission-north", ["submission", "acknowledge"]),
        (WITHDRAWALS, "envoi-withdrawal-north", ["withdrawal", "acknowledge"]),
        (
            Cargo(Kind.EVALUATION, "5" * 64),
            "envoi-evaluation-5555555555555555-north",
            ["evaluation", "acknowledge"],
        ),
        (Cargo(Kind.STUDENT, "5" * 64), "envoi-student-5555555555555555-north", ["student"]),
    ],
)
def test_a_job_asks_one_site_and_brings_no_program(tmp_path, cargo, name, tasks):
    folder = write_job(tmp_path, "north", cargo, watch_seconds=60)
    assert folder.name == name
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "meta.json",
        "server/config/config_fed_server.json",
        "site/config/config_fed_client.json",
    }
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["deploy_map"] == {"server": ["server"], "site": ["north"]}
    assert meta["mandatory_clients"] == ["north"]
    site = json.loads((folder / "site" / "config" / "config_fed_client.json").read_text())
    (entry,) = site["executors"]
    assert entry["tasks"] == tasks
    assert entry["executor"]["path"] in policy.site_resources()["class_allow_list"]
    assert entry["executor"]["args"] == {}
    assert site["job_heartbeat_interval"] == 10
    server = json.loads((folder / "server" / "config" / "config_fed_server.json").read_text())
    (workflow,) = server["workflows"]
    allowed = policy.server_resources(tmp_path, sites=1)["class_allow_list"]
    assert workflow["path"] in allowed
    assert workflow["args"] == {
        "site": "north",
        "watch_seconds": 60,
        "kind": cargo.kind,
        "student": cargo.student,
    }
