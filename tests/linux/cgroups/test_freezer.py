"""Frozen: not one instruction more, until the thaw."""

from __future__ import annotations

import select
import signal
from collections.abc import Callable

import pytest
from inhabited import inside, outcome, spinner

from minidocker.errors import MinidockerError
from minidocker.linux.cgroups import Cgroup, cpu, freezer


def ran(pid: int) -> int:
    """Nanoseconds on a CPU."""
    with open(f"/proc/{pid}/schedstat", encoding="utf-8") as file:
        return int(file.read().split()[0])


def let_run(seconds: float) -> None:
    select.select([], [], [], seconds)


def test_no_cpu_time_while_frozen(make_group: Callable[[], Cgroup]) -> None:
    group, neighbour = make_group(), make_group()
    with spinner(group) as child, spinner(neighbour) as other:
        freezer.freeze(group)
        assert freezer.is_frozen(group) and freezer.is_freezing(group) and not freezer.is_frozen(neighbour)
        before, usage, others = ran(child.pid), cpu.stat(group).usage_us, ran(other.pid)
        let_run(0.5)
        assert ran(child.pid) == before and cpu.stat(group).usage_us == usage
        assert ran(other.pid) > others
        freezer.thaw(group)
        let_run(0.3)
        assert ran(child.pid) > before and cpu.stat(group).usage_us > usage
        assert not freezer.is_freezing(group) and not freezer.is_frozen(group)


def test_all_of_a_family_stand_still(group: Cgroup) -> None:
    code = "for _ in range(20):\n    if os.fork() == 0: break\nelse: say('forked')\nwhile True: pass"
    with inside(group, code, ends=False) as child:
        child.line()
        freezer.freeze(group)
        pids = group.pids()
        before = [ran(pid) for pid in pids]
        let_run(0.2)
        assert len(pids) == 21 and [ran(pid) for pid in pids] == before
        group.kill()
        group.wait_empty()


def test_who_comes_in_is_frozen(make_group: Callable[[], Cgroup]) -> None:
    freezing, other = make_group(), make_group()
    freezer.freeze(freezing)  # an empty one: at once
    with spinner(other) as child:
        freezing.join(child.pid)
        assert freezing.wait_event("frozen 1", 10)
        before = ran(child.pid)
        let_run(0.2)
        assert ran(child.pid) == before
        freezer.thaw(freezing)


def test_a_frozen_process_can_be_killed(group: Cgroup) -> None:
    with inside(group, "say('ready'); hear()", ends=False) as child:
        child.line()
        freezer.freeze(group)
        group.kill()
        assert outcome(child) == -signal.SIGKILL
    freezer.thaw(group)


def test_who_cannot_be_frozen_lets_the_others_go_on(group: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(group), "wait_event", lambda self, line, timeout: False)
    with pytest.raises(MinidockerError, match="cannot be frozen") as caught:
        freezer.freeze(group, timeout=0.01)
    assert caught.value.hint and not freezer.is_freezing(group)
