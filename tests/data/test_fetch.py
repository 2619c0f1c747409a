"""Downloads from a server on this machine: cut, resumed, wrong, refused, silent, redirected."""

import errno
import hashlib
import io
import json
import shutil
import urllib.request
from http.client import HTTPMessage

import pytest

from envoi.data.fetch import Remote, fetch
from envoi.data.https import _Redirects
from envoi.errors import StorageError
from tests.data.served import serving

pytestmark = pytest.mark.network

CONTENT = bytes(range(256)) * 10_000
MD5 = hashlib.md5(CONTENT).hexdigest()
CUT = 1_000_000


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


def get(server, folder, md5=MD5, **options):
    return fetch(Remote("set.npz", server.url, md5), folder, **options)


def refused(server, folder, md5=MD5, **options):
    with pytest.raises(StorageError) as caught:
        get(server, folder, md5, **options)
    (problem,) = caught.value.problems
    assert "\n" not in str(problem)
    return str(problem)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def cut_at(server, folder, size=CUT, md5=MD5):
    server.cut_after = size
    message = refused(server, folder, md5)
    assert "set.npz: expected the whole file, found a connection that was cut." in message
    assert "Run the same command again; it goes on from where it was." in message
    assert names(folder) == ["set.npz.part", "set.npz.part.json"]


def test_a_file_appears_whole_and_alone(server, tmp_path):
    told = []
    path = get(server, tmp_path / "new", on_step=told.append)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["set.npz"]
    assert [(info.step, info.steps) for info in told] == [(1, 2), (2, 2)]
    assert "range" not in server.requests[0]


def test_a_file_that_is_there_is_checked_and_not_asked_for(server, tmp_path):
    path = get(server, tmp_path)
    assert get(server, tmp_path) == path
    assert len(server.requests) == 1
    path.write_bytes(b"mine")
    message = refused(server, tmp_path)
    assert f"expected a file whose MD5 is {MD5}" in message
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("cuts", [(CUT,), (1, CUT, 17)])
def test_what_was_cut_goes_on_from_there(server, tmp_path, cuts):
    for size in cuts:
        cut_at(server, tmp_path, size)
    assert get(server, tmp_path).read_bytes() == CONTENT
    starts = [sum(cuts[:number]) for number in range(1, len(cuts) + 1)]
    assert [asked["range"] for asked in server.requests[1:]] == [f"bytes={at}-" for at in starts]
    assert {asked["if-range"] for asked in server.requests[1:]} == {'"1"'}
    assert names(tmp_path) == ["set.npz"]


def test_a_file_that_has_changed_is_read_anew(server, tmp_path):
    cut_at(server, tmp_path)
    server.headers["ETag"] = '"2"'
    server.content = CONTENT[::-1]
    path = get(server, tmp_path, hashlib.md5(server.content).hexdigest())
    assert path.read_bytes() == server.content


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    cut_at(server, tmp_path)
    server.ranges = False
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[1]["range"] == f"bytes={CUT}-"


def test_a_date_serves_where_there_is_no_strong_tag(server, tmp_path):
    date = "Mon, 02 Jan 2023 00:00:00 GMT"
    server.headers = {"ETag": 'W/"1"', "Last-Modified": date}
    cut_at(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT  # the date is not the tag: all again
    assert server.requests[1]["if-range"] == date


def test_without_a_validator_the_md5_alone_permits_to_go_on(server, tmp_path):
    server.headers = {}
    cut_at(server, tmp_path)
    get(server, tmp_path)
    assert server.requests[1]["range"] == f"bytes={CUT}-"
    assert "if-range" not in server.requests[1]
    cut_at(server, tmp_path / "other", md5=None)
    assert get(server, tmp_path / "other", None).read_bytes() == CONTENT
    assert "range" not in server.requests[3]


def test_a_wrong_checksum_leaves_no_file(server, tmp_path):
    wrong = "0" * 32
    message = refused(server, tmp_path, wrong)
    assert f"set.npz: expected a file whose MD5 is {wrong}, found {MD5}. It was removed." in message
    assert names(tmp_path) == []


def test_a_part_that_was_damaged_is_found_and_thrown_away(server, tmp_path):
    cut_at(server, tmp_path)
    part = tmp_path / "set.npz.part"
    part.write_bytes(b"x" + part.read_bytes()[1:])
    assert "It was removed." in refused(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert "range" not in server.requests[2]


def test_a_whole_part_is_not_asked_for_again(server, tmp_path):
    (tmp_path / "set.npz.part").write_bytes(CONTENT)
    kept = {"url": server.url, "validator": None, "total": len(CONTENT)}
    (tmp_path / "set.npz.part.json").write_text(json.dumps(kept))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[]",
        '{"url": "http://127.0.0.1/other", "validator": null, "total": null}',
        '{"url": "URL", "validator": null, "total": 5}',
    ],
)
def test_a_part_of_unknown_origin_is_not_gone_on_with(server, tmp_path, kept):
    (tmp_path / "set.npz.part").write_bytes(b"of something else")
    (tmp_path / "set.npz.part.json").write_text(kept.replace("URL", server.url))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert "range" not in server.requests[0]


def test_a_part_longer_than_the_file_begins_anew(server, tmp_path):
    (tmp_path / "set.npz.part").write_bytes(CONTENT + b"more")
    kept = {"url": server.url, "validator": '"1"', "total": None}
    (tmp_path / "set.npz.part.json").write_text(json.dumps(kept))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert ["range" in asked for asked in server.requests] == [True, False]


def test_a_file_of_another_length_is_another_file(server, tmp_path):
    server.headers = {}
    cut_at(server, tmp_path)
    server.content = CONTENT + b"more"
    assert "expected the file that was begun, found one of another length" in refused(
        server, tmp_path
    )
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "found 404 Not Found. Get the file by hand"),
        (403, "found 403 Forbidden. Get the file by hand"),
        (503, "found 503 Service Unavailable. Run the same command again"),
    ],
)
def test_a_refusal_is_one_line_and_keeps_the_part(server, tmp_path, status, words):
    cut_at(server, tmp_path)
    server.status = status
    assert words in refused(server, tmp_path)
    server.status = None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1]["range"] == f"bytes={CUT}-"


def test_a_silent_server_is_waited_for_no_longer_than_asked(server, tmp_path):
    server.silent_after = CUT
    message = refused(server, tmp_path, timeout_seconds=0.3)
    assert "found silence, longer than the timeout. Run the same command again" in message
    server.silent_after = None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[1]["range"] == f"bytes={CUT}-"


def test_a_server_that_is_not_there_is_told(server, tmp_path):
    with serving(b"") as gone:
        pass
    message = refused(gone, tmp_path)
    assert "expected a server that answers, found Connection refused. Check the network" in message


def test_a_redirection_is_followed_with_the_range(server, tmp_path):
    cut_at(server, tmp_path)
    server.redirect = server.url.replace("/file", "/elsewhere")
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [asked["range"] for asked in server.requests[1:]] == [f"bytes={CUT}-"] * 2


@pytest.mark.parametrize("address", ["http://example.org/file", "ftp://127.0.0.1/file"])
def test_a_redirection_to_anything_but_https_is_refused(server, tmp_path, address):
    server.redirect = address
    message = refused(server, tmp_path)
    scheme = address.split(":")[0]
    assert (
        f"expected an https address, in redirections too, found one that begins with {scheme}:"
        in message
    )
    assert names(tmp_path) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1/x", "http://localhost/x", "http://a.org"])
def test_who_was_asked_over_https_may_not_send_elsewhere(address):
    asked = urllib.request.Request("https://example.org/file")
    with pytest.raises(StorageError, match="found one that begins with http:"):
        _Redirects("set.npz").redirect_request(asked, io.BytesIO(), 302, "", HTTPMessage(), address)
    followed = _Redirects("set.npz").redirect_request(
        asked, io.BytesIO(), 302, "", HTTPMessage(), "https://example.org/other"
    )
    assert followed.full_url == "https://example.org/other"


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", "file:///etc/passwd", "https://", "x", "http://[", "ftp://::1/x"],
)
def test_only_https_is_asked(tmp_path, url):
    with pytest.raises(StorageError, match="expected an https address"):
        fetch(Remote("set.npz", url), tmp_path)
    assert names(tmp_path) == []


def test_a_compressed_answer_is_refused(server, tmp_path):
    server.headers["Content-Encoding"] = "gzip"
    assert "found a compressed answer" in refused(server, tmp_path)


@pytest.mark.parametrize("told", [None, "bytes 5-9/10", "bytes nonsense"])
def test_another_part_than_asked_for_is_refused(server, tmp_path, told):
    cut_at(server, tmp_path)
    server.headers["Content-Range"] = told
    assert f"expected the file from byte {CUT} on" in refused(server, tmp_path)
    assert (tmp_path / "set.npz.part").read_bytes() == CONTENT[:CUT]


def test_ctrl_c_keeps_what_came(server, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path, on_step=stop)
    size = (tmp_path / "set.npz.part").stat().st_size
    assert size >= 1 << 20
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[1]["range"] == f"bytes={size}-"


def test_a_disk_that_is_too_small_is_told_before(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
    assert "expected 2 MiB of free space, found 0 MiB" in refused(server, tmp_path)
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_keeps_what_came(server, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("envoi.data.fetch.os.fsync", full)
    message = refused(server, tmp_path)
    assert "No space left on device. Free some space" in message


def test_a_file_in_place_of_the_folder_is_told(server, tmp_path):
    (tmp_path / "out").write_text("")
    assert "expected a folder" in refused(server, tmp_path / "out")
