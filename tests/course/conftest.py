"""A lab of the test's own: its name carries this run's mark, and its processes and directories are gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from minidocker.course import leftovers
from minidocker.course.lab import Lab


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A Lab that has not been started."""
    monkeypatch.setenv("MINIDOCKER_LAB", os.environ["MINIDOCKER_TEST"])
    monkeypatch.setenv(leftovers.TAG, "")
    made = Lab()
    yield made
    if made.number:
        made.stop()
