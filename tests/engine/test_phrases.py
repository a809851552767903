"""Docker's words for times, sizes and states."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.engine import phrases

MINUTE, HOUR, DAY = 60, 3600, 86400


class State(NamedTuple):
    status: str = "created"
    pid: int = 0
    exit_code: int | None = None
    error: str = ""
    started_at: str = ""
    finished_at: str = ""


STARTED = State("running", pid=42, started_at="2026-11-24T08:30:00.000000000Z")
ENDED = State("exited", exit_code=3, started_at="2026-11-24T08:30:00.5Z", finished_at="2026-11-24T08:31:00.25Z")


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (0, "Less than a second"),
        (0.999, "Less than a second"),
        (-5, "Less than a second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (59.9, "59 seconds"),
        (MINUTE, "About a minute"),
        (2 * MINUTE - 1, "About a minute"),
        (2 * MINUTE, "2 minutes"),
        (HOUR - 1, "59 minutes"),
        (HOUR, "About an hour"),
        (1.4 * HOUR, "About an hour"),
        (1.5 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
        (56 * 365 * DAY, "56 years"),
    ],
)
def test_durations_as_docker_says_them(length: float, words: str) -> None:
    assert phrases.human_duration(length) == words


@given(st.floats(min_value=0, max_value=1e11))
def test_every_duration_has_words(length: float) -> None:
    number, _, unit = phrases.human_duration(length).partition(" ")
    assert unit
    assert number in ("Less", "About") or int(number) >= 1


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1984162, "1.98MB"),
        (2139136, "2.14MB"),
        (999_600, "1MB"),
        (123_456_789, "123MB"),
        (10**12, "1TB"),
    ],
)
def test_sizes_as_docker_says_them(size: int, words: str) -> None:
    assert phrases.human_size(size) == words


@given(st.integers(min_value=0, max_value=10**20))
def test_sizes_have_at_most_three_digits(size: int) -> None:
    assert "e+" not in phrases.human_size(size) or size >= 10**20


def test_timestamps_are_read_exactly_enough() -> None:
    assert phrases.seconds("1970-01-01T00:00:01.25Z") == 1.25
    assert phrases.seconds("2026-11-24T08:30:00Z") == 1795509000
    assert phrases.seconds(phrases.NEVER) < 0


def test_status_words() -> None:
    now = phrases.seconds("2026-11-24T08:40:00Z")
    assert phrases.status_text(State()) == "Created"
    assert phrases.status_text(STARTED, now) == "Up 10 minutes"
    assert phrases.status_text(STARTED._replace(status="paused"), now) == "Up 10 minutes (Paused)"
    assert phrases.status_text(ENDED, now) == "Exited (3) 8 minutes ago"
    assert phrases.status_text(State("dead")) == "Dead"
