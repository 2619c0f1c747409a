"""A file server on this machine that does what a test tells it, and remembers what it was asked."""

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves `content` at any path.

    Attributes:
        requests: Headers of each request, lower-case names.
        cut_after: Bytes after which the connection is closed, once.
        silent_after: Bytes after which nothing comes any more.
        ranges: Whether it knows them.
        status: Of every answer, if not 200 or 206.
        headers: Sent beside the usual ones; None as a value leaves one out.
        redirect: Where it sends to, once.
    """

    def __init__(self, content):
        self.content = content
        self.requests = []
        self.cut_after = self.silent_after = self.status = self.redirect = None
        self.ranges, self.headers = True, {"ETag": '"1"'}
        self.released = threading.Event()

    def answer(self, handler):
        """One GET."""
        asked = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(asked)
        if self.redirect:
            location, self.redirect = self.redirect, None
            handler.send_response(302)
            handler.send_header("Location", location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if self.status:
            handler.send_response(self.status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = self._start(asked)
        if start is not None and start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        self._send(handler, start)

    def _start(self, asked):
        same = asked.get("if-range") in {None, self.headers.get("ETag")}
        if not self.ranges or "range" not in asked or not same:
            return None
        return int(asked["range"].removeprefix("bytes=").removesuffix("-"))

    def _send(self, handler, start):
        body = self.content[start or 0 :]
        handler.send_response(200 if start is None else 206)
        headers = {"Content-Length": str(len(body))}
        if start is not None:
            last = len(self.content) - 1
            headers["Content-Range"] = f"bytes {start}-{last}/{len(self.content)}"
        for name, value in {**headers, **self.headers}.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        if self.silent_after is not None:
            handler.wfile.write(body[: self.silent_after])
            handler.wfile.flush()
            self.released.wait(20)
            return
        if self.cut_after is not None:
            body, self.cut_after = body[: self.cut_after], None
        handler.wfile.write(body)


@contextmanager
def serving(content):
    """A server of `content`, and the address of a file on it."""
    server = Server(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with suppress(ConnectionError):  # clients may have read enough
                server.answer(self)

        def log_message(self, *words):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.url = f"http://127.0.0.1:{listening.server_port}/file"
    try:
        yield server
    finally:
        server.released.set()
        listening.shutdown()
        listening.server_close()
        thread.join()
