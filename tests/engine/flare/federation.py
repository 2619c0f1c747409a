"""Real FLARE processes on the loopback device, a link that can be slow, a look at sockets.

Processes are ended by their own ids.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import envoi

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
ANY = {"0.0.0.0", "::"}
LISTENING = "0A"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds, what):
    """Wait for a condition; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} seconds for {what}")


def is_open(port) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Party:
    """The FLARE process of a kit, with the job processes that it starts."""

    def __init__(self, kit: Path) -> None:
        self.kit, self.log = kit, kit.parent / f"{kit.name}.log"
        self.process: subprocess.Popen | None = None

    def start(self) -> "Party":
        source = str(Path(envoi.__file__).parents[1])
        paths = [source, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "envoi", "flare", "start", str(self.kit)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        return self

    def kill(self) -> None:
        """As a power cut would: the process and its job processes, at once."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def pids(self) -> set[int]:
        """Of the process and all that it has started; job processes have sessions of their own."""
        parents = dict(_parents())
        family = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        return family


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                status = (entry / "stat").read_text()
                yield int(entry.name), int(status.rpartition(")")[2].split()[1])


class Relay:
    """A link of a given speed from a site to the server; `passed` counts what the site sends."""

    def __init__(self, target: int) -> None:
        self.target, self.passed = target, 0
        self.bytes_per_second: float | None = None
        self._lines: list[socket.socket] = []
        self._listener = socket.socket()
        # Small buffers: what a killed site has sent must not go on from here.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection; new ones may be made."""
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                self._lines += [near, far]
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        down = threading.Thread(target=self._pump, args=(far, near, False), daemon=True)
        down.start()
        self._pump(near, far, True)
        down.join()
        near.close()
        far.close()

    def _pump(self, source, sink, is_upstream) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(8192):
                sink.sendall(data)
                if is_upstream:
                    self.passed += len(data)
                    if self.bytes_per_second:
                        time.sleep(len(data) / self.bytes_per_second)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Watch:
    """Looks at every socket of some parties, ten times a second, while it is entered."""

    def __init__(self, parties: list[Party]) -> None:
        self.parties, self.looks, self.found = parties, 0, set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            for party in self.parties:
                for pid in party.pids():
                    self.found |= set(_sockets(pid))
            self.looks += 1

    @property
    def outside(self) -> set[tuple[str, str]]:
        """Connections to, or listeners for, anything but this machine."""
        return {
            (kind, address)
            for kind, address in self.found
            if address not in LOOPBACK and not (kind == "peer" and address in ANY)
        }


def _sockets(pid: int) -> Iterator[tuple[str, str]]:
    """`("peer" | "listens", address)` of each internet socket of a process."""
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                link = str(entry.readlink())
                if link.startswith("socket:["):
                    inodes.add(link[8:-1])
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
                parts = line.split()
                if parts[9] in inodes:
                    listens = parts[3] == LISTENING
                    yield (
                        ("listens", _address(parts[1]))
                        if listens
                        else (
                            "peer",
                            _address(parts[2]),
                        )
                    )


def _address(text: str) -> str:
    packed = bytes.fromhex(text.partition(":")[0])
    words = b"".join(packed[i : i + 4][::-1] for i in range(0, len(packed), 4))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)
