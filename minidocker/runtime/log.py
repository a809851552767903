r"""A container's log: one JSON object a line, as Docker's json-file has it: {"log": "text\n", "stream": "stdout", "time": "..."}.

Interface: Writer(path).write(stream, data), read(path, ...) -> records, follow(...) in container.py.
Bytes that are not UTF-8 are kept (as lone surrogates, which JSON can carry), so what comes out is what went in.
A record is what one read(2) brought: it may hold several lines, or a part of one.
"""

from __future__ import annotations

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
        self.path, self.fd = path, -1

    def write(self, stream: str, data: bytes) -> None:
        """Append one record, whole: a reader never sees a part of a line as a line."""
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        text = data.decode("utf-8", "surrogateescape")
        record = json.dumps({"log": text, "stream": stream, "time": timestamp(time.time_ns())})
        line = record.encode() + b"\n"
        while line:
            line = line[os.write(self.fd, line) :]


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
                record = json.loads(line)
                yield record["stream"], record["log"].encode("utf-8", "surrogateescape"), record["time"]
