"""One GET over HTTPS, from a byte on if need be, whose every failure is one line.

The standard library's client is enough: certificates are checked, proxies are those of the
environment, and a redirection is followed only to HTTPS. This machine itself (loopback) may be
asked without.
"""

import http.client
import ipaddress
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from envoi.errors import Problem, StorageError

_AGAIN = "Run the same command again; it goes on from where it was."
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_RANGE_NOT_SATISFIABLE = 416
FAILURES = (OSError, http.client.HTTPException)
"""What the standard library raises of a connection that fails, times out or is cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a server sends.

    Attributes:
        body: The bytes that follow.
        start: Where in the file they begin.
        total: Length of the whole file, if it is told.
        validator: A strong ETag, or else the date of the last change, by which the file is known
            again; None if the server tells neither.
    """

    body: http.client.HTTPResponse
    start: int
    total: int | None
    validator: str | None


@contextmanager
def asking(
    url: str, name: str, *, start: int = 0, validator: str | None = None, timeout_seconds: float
) -> Iterator[Answer]:
    """Ask for a file, from byte `start` on.

    Args:
        url: HTTPS, or plain HTTP on this machine.
        name: What messages call the file.
        start: First byte wanted; the server may send the whole file all the same.
        validator: The rest is wanted only if the file is still the one with this.
        timeout_seconds: Longest silence.

    Raises:
        StorageError: The address is not HTTPS, the server refuses, or it cannot be reached.
    """
    problem = _problem_of_address(url, name)
    if problem:
        raise StorageError(problem)
    body = _opened(url, name, start, validator, timeout_seconds)
    try:
        yield _read(body, name, start)
    finally:
        body.close()


def cut(name: str, err: Exception | None = None) -> StorageError:
    """A connection that ended too early, or was silent for too long."""
    found = "a connection that was cut"
    if isinstance(err, TimeoutError):
        found = "silence, longer than the timeout"
    return StorageError(Problem("the whole file", found, name, _AGAIN))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to HTTPS only; headers, the range among them, are kept."""

    def __init__(self, name: str) -> None:
        self.name = name

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: Any,  # noqa: ANN401  (typeshed and the library differ about it)
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        # Only who was asked on this machine may send to it.
        local = urlsplit(req.full_url).scheme == "http"
        problem = _problem_of_address(newurl, self.name, local=local)
        if problem:
            fp.close()
            raise StorageError(problem)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _problem_of_address(url: str, name: str, *, local: bool = True) -> Problem | None:
    try:
        parts = urlsplit(url)
        loopback = local and parts.scheme == "http" and _is_loopback(parts.hostname or "")
    except ValueError:
        parts, loopback = urlsplit(""), False
    if (parts.scheme == "https" and parts.hostname) or loopback:
        return None
    found = f"one that begins with {parts.scheme}:" if parts.scheme else "another"
    remedy = "Nothing was read from there. Get the file by hand, from its publisher over HTTPS."
    return Problem("an https address, in redirections too", found, name, remedy)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _opened(
    url: str, name: str, start: int, validator: str | None, timeout_seconds: float
) -> http.client.HTTPResponse:
    headers = {"Accept-Encoding": "identity", "User-Agent": "envoi"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  (checked by `asking`)
    opener = urllib.request.build_opener(_Redirects(name))
    try:
        body: Any = opener.open(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as err:
        err.close()
        if err.code == _RANGE_NOT_SATISFIABLE and start:
            return _opened(url, name, 0, None, timeout_seconds)
        raise _refused(err, name) from err
    except StorageError:
        raise
    except FAILURES as err:
        raise _unreachable(err, name) from err
    return body  # type: ignore[no-any-return]


def _read(body: http.client.HTTPResponse, name: str, start: int) -> Answer:
    """Where what follows begins, as the headers tell."""
    headers = body.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        remedy = "Get the file by hand: a compressed answer cannot be resumed."
        raise StorageError(Problem("bytes as they are", "a compressed answer", name, remedy))
    length = headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    first = 0
    if body.status == http.HTTPStatus.PARTIAL_CONTENT:
        told = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if told is None or int(told[1]) != start:
            remedy = "Remove the .part file and run the same command again."
            found = "another part, or one that does not say"
            raise StorageError(Problem(f"the file from byte {start} on", found, name, remedy))
        first, total = start, int(told[2]) if told[2].isdecimal() else None
    return Answer(body, first, total, _validator(headers))


def _validator(headers: http.client.HTTPMessage) -> str | None:
    tag = headers.get("ETag", "")
    strong = tag if tag.startswith('"') else ""
    return strong or headers.get("Last-Modified") or None


def _refused(err: urllib.error.HTTPError, name: str) -> StorageError:
    gone = err.code in {401, 403, 404, 410}
    remedy = "Get the file by hand, from its publisher's page." if gone else _AGAIN
    found = f"{err.code} {http.client.responses.get(err.code, '')}".strip()
    return StorageError(Problem("a file that the server gives", found, name, remedy))


def _unreachable(err: Exception, name: str) -> StorageError:
    reason = err.reason if isinstance(err, urllib.error.URLError) else err
    if isinstance(reason, TimeoutError):
        return cut(name, reason)
    words = getattr(reason, "strerror", None) or type(reason).__name__
    remedy = f"Check the network and its proxy. {_AGAIN}"
    return StorageError(Problem("a server that answers", f"{words}", name, remedy))
