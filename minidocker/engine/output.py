"""A container's output, from its log: all of it, its last lines, what came since, or as it grows.

Interface: read(path, selection) -> bytes, follow(path, selection, handle) -> (stream, bytes), Selection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from minidocker.runtime.container import Handle
from minidocker.runtime.log import Reader, timestamp

if TYPE_CHECKING:
    from fractions import Fraction

Line = tuple[str, str, bytes]  # stream, time, bytes; ends with a newline, except the last of a stream


class Selection(NamedTuple):
    """Which part of a log: *since* and *until* in seconds of the epoch, *tail* a number of lines."""

    stdout: bool = True
    stderr: bool = True
    since: Fraction | float | None = None  # a float holds no nanoseconds
    until: Fraction | float | None = None
    tail: int | None = None
    timestamps: bool = False

    def wants(self, stream: str, time: str) -> bool:
        if not (self.stdout if stream == "stdout" else self.stderr):
            return False
        if self.since is not None and time < timestamp(int(self.since * 10**9)):
            return False
        return self.until is None or time <= timestamp(int(self.until * 10**9))


class Lines:
    """Cuts records into lines. A record may hold several lines, or a part of one: the rest waits for its newline."""

    def __init__(self) -> None:
        self.partial: dict[str, tuple[str, bytes]] = {}

    def feed(self, stream: str, data: bytes, time: str) -> Iterator[Line]:
        begun, waiting = self.partial.pop(stream, (time, b""))
        for piece in data.splitlines(keepends=True) if b"\r" not in data else split_at_newlines(data):
            whole = waiting + piece
            if whole.endswith(b"\n"):
                yield stream, begun, whole
                waiting = b""
                begun = time
            else:
                waiting = whole
        if waiting:
            self.partial[stream] = (begun, waiting)

    def rest(self) -> Iterator[Line]:
        """The lines whose newline never came."""
        for stream, (time, data) in self.partial.items():
            yield stream, time, data
        self.partial.clear()


def split_at_newlines(data: bytes) -> list[bytes]:
    """As splitlines, but a carriage return does not end a line."""
    pieces = data.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def shown(line: Line, selection: Selection) -> tuple[str, bytes]:
    stream, time, data = line
    return stream, (time.encode() + b" " + data) if selection.timestamps else data


def selected(reader: Reader, selection: Selection) -> Iterator[Line]:
    """The lines that are there now."""
    lines = Lines()
    for stream, data, time in reader.records():
        for line in lines.feed(stream, data, time):
            if selection.wants(line[0], line[1]):
                yield line
    for line in lines.rest():
        if selection.wants(line[0], line[1]):
            yield line


def past(reader: Reader, selection: Selection) -> Iterator[tuple[str, bytes]]:
    """What the log holds now."""
    lines: Iterator[Line] | deque[Line] = selected(reader, selection)
    if selection.tail is not None:
        lines = deque(lines, maxlen=max(0, selection.tail))
    for line in lines:
        yield shown(line, selection)


def follow(reader: Reader, selection: Selection, handle: Handle) -> Iterator[tuple[str, bytes]]:
    """What the log holds, then what is added until the container has ended. Lines are not waited for: a prompt has none."""
    yield from past(reader, selection)
    at_line_start = {"stdout": True, "stderr": True}
    while True:
        ended = handle.exit_code is not None
        for stream, data, time in reader.records():
            if not selection.wants(stream, time):
                continue
            if selection.timestamps:
                stamp = time.encode() + b" "
                pieces = split_at_newlines(data)
                marked = [stamp + piece if at_line_start[stream] or index else piece for index, piece in enumerate(pieces)]
                at_line_start[stream] = data.endswith(b"\n")
                data = b"".join(marked)
            yield stream, data
        if ended:
            return
        handle.wait_for_output()
