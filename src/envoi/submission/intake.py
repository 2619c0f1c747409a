"""Getting at the bytes of a stranger's file: a regular file, of a known size, read once."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from envoi.errors import SubmissionError
from envoi.submission.refusal import refused, shown_name

# A link could lead anywhere and a pipe could block for ever: neither is followed nor awaited.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_REMEDY = "Put the file itself into the inbox."


@dataclass(frozen=True, slots=True)
class Intake:
    """An open file and its size in bytes at the time of opening; `where` names it in messages."""

    file: FileIO
    size: int
    where: str

    def read_into(self, buffer: memoryview) -> None:
        """Fill `buffer` from the file.

        Raises:
            SubmissionError: The file ends before, or cannot be read.
        """
        filled = 0
        while filled < len(buffer):
            try:
                count = self.file.readinto(buffer[filled:])
            except OSError as err:
                raise _unreadable(self.where, err) from err
            if not count:
                raise refused(self.where, f"{self.size} bytes", "a file that became shorter")
            filled += count

    def read(self, count: int) -> bytes:
        """The next `count` bytes; the caller has bounded `count`.

        Raises:
            SubmissionError: The file ends before, or cannot be read.
        """
        content = bytearray(count)
        self.read_into(memoryview(content))
        return bytes(content)

    def require_end(self) -> None:
        """Refuse a file that has grown since it was opened.

        Raises:
            SubmissionError: There are bytes left.
        """
        try:
            left = self.file.read(1)
        except OSError as err:
            raise _unreadable(self.where, err) from err
        if left:
            raise refused(self.where, f"{self.size} bytes", "a file that became longer")


@contextmanager
def intake(path: Path) -> Iterator[Intake]:
    """Open `path` for reading, without following a link or waiting for a pipe.

    Raises:
        SubmissionError: There is no regular file of that name, or it cannot be opened.
    """
    where = shown_name(path.name)
    descriptor = _opened(path, where)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise refused(where, "a regular file", found, _REMEDY)
        with FileIO(descriptor, "rb", closefd=False) as file:
            yield Intake(file, status.st_size, where)
    finally:
        os.close(descriptor)


def _opened(path: Path, where: str) -> int:
    try:
        return os.open(path, _FLAGS)
    except OSError as err:
        is_link = err.errno == errno.ELOOP
        found = "a symbolic link" if is_link else (err.strerror or "an error of the disk")
        raise refused(where, "a readable file", found, _REMEDY) from err
    except ValueError as err:
        raise refused(where, "a file name", "one with a NUL in it", _REMEDY) from err


def _unreadable(where: str, err: OSError) -> SubmissionError:
    found = err.strerror or "an error of the disk"
    return refused(where, "a readable file", found, "Copy the file again.")
