"""Processes are gone when ending.py says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from minidocker.course import ending


@pytest.fixture
def family():
    """A session of a shell and two sleeps."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60 & echo ready; wait"], stdout=subprocess.PIPE, start_new_session=True) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        yield shell
        ending.kill_all(lambda: ending.in_session(shell.pid))


def test_a_session_is_the_leader_and_its_children(family):
    assert len(ending.in_session(family.pid)) == 3


def test_after_kill_all_nobody_is_left(family):
    pids = ending.in_session(family.pid)
    ending.kill_all(lambda: ending.in_session(family.pid))
    stats = [Path(f"/proc/{pid}/stat") for pid in pids]
    assert {stat.read_text().rpartition(")")[2].split()[0] for stat in stats if stat.exists()} <= {"Z"}


def test_kill_of_a_process_that_is_gone_already_is_no_error(family):
    ending.kill([family.pid])
    family.wait()
    ending.kill([family.pid])
