"""The parts of a session that need no container: detach keys, and times and durations that users type."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.cli.logs import moment
from minidocker.cli.session import DetachKeys
from minidocker.errors import SpecError

KEYS = st.sampled_from([b"\x10", b"\x11", b"a", b"\x1b[A"])


def feed(keys: DetachKeys, *pieces: bytes) -> tuple[bytes, bool]:
    passed = b""
    for piece in pieces:
        more, leaving = keys.feed(piece)
        passed += more
        if leaving:
            return passed, True
    return passed, False


@pytest.mark.parametrize(
    ("pieces", "passed", "leaving"),
    [
        ([b"ls\n"], b"ls\n", False),
        ([b"\x10\x11"], b"", True),
        ([b"a\x10", b"\x11b"], b"a", True),
        ([b"\x10"], b"", False),
        ([b"\x10x"], b"\x10x", False),
        ([b"\x10", b"\x10\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_detach_keys(pieces: list[bytes], passed: bytes, leaving: bool) -> None:
    assert feed(DetachKeys(), *pieces) == (passed, leaving)


@given(st.lists(KEYS, max_size=12))
def test_pieces_make_no_difference_and_nothing_is_lost(typed: list[bytes]) -> None:
    passed, leaving = feed(DetachKeys("ctrl-p,a,ctrl-q"), *typed)
    assert (passed, leaving) == feed(DetachKeys("ctrl-p,a,ctrl-q"), b"".join(typed))
    whole = b"".join(typed)
    assert leaving == (b"\x10a\x11" in whole)
    rest = whole[len(passed) :]
    assert whole.startswith(passed)
    assert rest.startswith(b"\x10a\x11") if leaving else b"\x10a\x11".startswith(rest)


@pytest.mark.parametrize(
    ("words", "sequence"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-a,d", b"\x01d"),
        ("ctrl-@", b"\0"),
        ("ctrl-[,ctrl-\\,ctrl-_", b"\x1b\x1c\x1f"),
        ("", b""),
    ],
)
def test_words_for_keys(words: str, sequence: bytes) -> None:
    assert DetachKeys(words).sequence == sequence


@pytest.mark.parametrize("words", ["foo", "ctrl-", "ctrl-1", "ctrl-pq", "a,,b", "é", "ctrl-é"])
def test_words_that_are_no_keys(words: str) -> None:
    with pytest.raises(SpecError, match="invalid detach keys"):
        DetachKeys(words)


def test_moments() -> None:
    assert moment("0", "since") == 0
    assert moment("1795509000.25", "since") == 1795509000.25
    assert moment("2026-11-24T08:30:00Z", "since") == 1795509000
    assert moment("2026-11-24T08:30:00.250000001Z", "since") * 10**9 == 1795509000250000001
    assert moment("2026-11-24T09:30:00+01:00", "since") == 1795509000
    assert moment("2026-11-24T08:30:00", "since") == time.mktime((2026, 11, 24, 8, 30, 0, 0, 0, -1))
    assert moment("2026-11-24", "since") == time.mktime((2026, 11, 24, 0, 0, 0, 0, 0, -1))
    assert abs(time.time() - 5400.5 - moment("1h30m500ms", "since")) < 1


@pytest.mark.parametrize("text", ["x", "", "10 m", "-5m", "1h30", "2026-13-01", "m", "1e3"])
def test_no_moments(text: str) -> None:
    with pytest.raises(SpecError, match='invalid value for "since"'):
        moment(text, "since")
