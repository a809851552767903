r"""A container's log: one JSON object a line, as Docker's json-file has it: {"log": "text\n", "stream": "stdout", "time": "..."}.

Interface: Writer(path).write(stream, data), read(path, ...) -> records, follow(...) in container.py.
Bytes that are not UTF-8 are kept (as lone surrogates, which JSON can carry), so what comes out is what went in.
A record is what one read(2) brought: it may hold several lines, or a part of one.
"""

from __future__ import annotations

import errno
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "container.log"


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, in UTC, as Docker writes it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


class Writer:
    """Appends records; the file is opened at the first, since most short runs write nothing."""

    def __init__(self, path: str) -> None:
        self.path, self.fd, self.mend = path, -1, b""

    def write(self, stream: str, data: bytes) -> None:
        """Append one record, whole: a reader never sees a part of a line as a line. A full disk loses it, and not the container."""
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            size = os.fstat(self.fd).st_size
            if size and os.pread(self.fd, 1, size - 1) != b"\n":  # a monitor was killed in the middle of a line
                self.mend = b"\n"
        text = data.decode("utf-8", "surrogateescape")
        record = json.dumps({"log": text, "stream": stream, "time": timestamp(time.time_ns())})
        line = self.mend + record.encode() + b"\n"
        try:
            while line:
                line = line[os.write(self.fd, line) :]
            self.mend = b""
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.mend = b"\n"


class Reader:
    """Reads records from a log that may still grow; `position` is where the next one begins."""

    def __init__(self, path: str, position: int = 0) -> None:
        self.path, self.position = path, position

    def records(self) -> Iterator[tuple[str, bytes, str]]:
        """(stream, data, time) of each record that has been written whole since the last call."""
        if not os.path.exists(self.path):
            return
        with open(self.path, "rb") as file:
            file.seek(self.position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.position += len(line)
                try:
                    record = json.loads(line)
                except ValueError:  # cut short, since its writer was killed, or the disk was full
                    continue
                yield record["stream"], record["log"].encode("utf-8", "surrogateescape"), record["time"]
