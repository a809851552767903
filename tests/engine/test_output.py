"""Logs in part: lines put together from records, by stream, time and number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.engine.output import Lines, Selection, follow, past, split_at_newlines
from minidocker.runtime.log import Reader, Writer, timestamp

T = [timestamp(second * 10**9) for second in range(10)]


class Log:
    """A log with times of our own."""

    def __init__(self, records: list[tuple[str, bytes, str]]) -> None:
        self.all = list(records)

    def records(self) -> list[tuple[str, bytes, str]]:
        found, self.all = self.all, []
        return found


class Handle:
    """A container that writes some more while it is followed, and then ends."""

    def __init__(self, log: Log, later: list[list[tuple[str, bytes, str]]]) -> None:
        self.log, self.later, self.exit_code = log, later, None

    def wait_for_output(self) -> None:
        if self.later:
            self.log.all += self.later.pop(0)
        else:
            self.exit_code = 0


RECORDS = [
    ("stdout", b"one\ntw", T[1]),
    ("stderr", b"bad\n", T[2]),
    ("stdout", b"o\nthree\n", T[3]),
    ("stderr", b"part", T[4]),
    ("stdout", b"four\r\n\rfive", T[5]),
]


def text(**selection: object) -> bytes:
    return b"".join(data for _, data in past(Log(RECORDS), Selection(**selection)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        ({"stderr": False}, b"one\ntwo\nthree\nfour\r\n\rfive"),
        ({"stdout": False}, b"bad\npart"),
        ({"stdout": False, "stderr": False}, b""),
        ({"stderr": False, "tail": 2}, b"four\r\n\rfive"),
        ({"tail": 0}, b""),
        ({"tail": -1}, b""),
        ({"stderr": False, "since": 3}, b"three\nfour\r\n\rfive"),
        ({"stderr": False, "until": 1}, b"one\ntwo\n"),
        ({"stderr": False, "since": 3, "until": 4.9}, b"three\n"),
        ({"stdout": False, "timestamps": True}, T[2].encode() + b" bad\n" + T[4].encode() + b" part"),
    ],
)
def test_a_selection(selection: dict[str, object], wanted: bytes) -> None:
    assert text(**selection) == wanted


def test_follow_goes_on_until_the_end() -> None:
    log = Log(RECORDS[:1])
    handle = Handle(log, [[("stdout", b"o\n", T[2])], [("stderr", b"x\ny", T[3]), ("stdout", b"end", T[4])], []])
    selection = Selection(timestamps=True)
    found = list(follow(log, selection, handle))  # type: ignore[arg-type]
    assert found[:2] == [("stdout", f"{T[1]} one\n".encode()), ("stdout", f"{T[1]} tw".encode())]
    assert found[-2:] == [("stderr", f"{T[3]} x\n{T[3]} y".encode()), ("stdout", f"{T[4]} end".encode())]


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=20)), max_size=20))
def test_nothing_is_lost_or_mixed_however_it_is_cut(records: list[tuple[str, bytes]]) -> None:
    lines = Lines()
    found = [line for stream, data in records for line in lines.feed(stream, data, "t")] + list(lines.rest())
    for stream in ("stdout", "stderr"):
        pieces = [data for name, _, data in found if name == stream]
        assert b"".join(pieces) == b"".join(data for name, data in records if name == stream)
        assert all(piece.count(b"\n") == piece.endswith(b"\n") for piece in pieces)
        assert all(piece.endswith(b"\n") for piece in pieces[:-1])


@given(st.binary())
def test_split(data: bytes) -> None:
    assert b"".join(split_at_newlines(data)) == data and all(piece.rstrip(b"\n").count(b"\n") == 0 for piece in split_at_newlines(data))


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10))
def test_any_bytes_come_back_from_the_file(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    writer = Writer(str(path))
    for number, piece in enumerate(pieces):
        writer.write("stdout" if number % 2 else "stderr", piece)
    assert [data for _, data, _ in Reader(str(path)).records()] == pieces
    if writer.fd >= 0:
        os.close(writer.fd)


def test_a_reader_goes_on_where_it_was_and_waits_for_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = Reader(str(path))
    assert list(reader.records()) == []  # nothing has been written yet
    Writer(str(path)).write("stdout", b"a")
    assert [data for _, data, _ in reader.records()] == [b"a"] and list(reader.records()) == []
    with open(path, "ab") as file:
        file.write(b'{"log": "b", "stream": "stdout", ')
        file.flush()
        assert list(reader.records()) == []
        file.write(b'"time": "t"}\n')
    assert [data for _, data, _ in reader.records()] == [b"b"]


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_timestamps_sort_as_times(nanoseconds: int) -> None:
    assert len(timestamp(nanoseconds)) == 30 and timestamp(nanoseconds) < timestamp(nanoseconds + 1)
