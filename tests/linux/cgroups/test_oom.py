"""OomWatch: the kernel's word that it has killed, when it does."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

from inhabited import MIB, inside, outcome

from minidocker.linux.cgroups import Cgroup, memory
from minidocker.linux.cgroups.oom import OomWatch

EATER = "block = bytearray(64 << 20)"
FORKS_EATERS = """
def eat():
    global block
    open('/proc/self/oom_score_adj', 'w').write('1000')
    block = bytearray(64 << 20)
say(fork(eat)); hear(); say(fork(eat)); hear()
"""


def limited(group: Cgroup) -> Cgroup:
    memory.set_max(group, 32 * MIB)
    memory.set_swap_max(group, 4 * MIB)
    return group


def test_a_kill_is_heard_and_its_victim_named(make_group: Callable[[], Cgroup]) -> None:
    group, neighbour = limited(make_group()), limited(make_group())
    with OomWatch(group) as watch, OomWatch(neighbour) as other:
        assert watch.kills() == 0 and watch.victims() == []
        before = time.time()
        with inside(group, EATER, ends=False) as eater:
            poller = select.poll()
            poller.register(watch.fileno(), select.POLLIN)
            assert watch.wait(30) == 1
            assert outcome(eater) == -signal.SIGKILL
        (victim,) = watch.victims()
        assert (victim.pid, victim.cgroup) == (eater.pid, f"/{group.name}") and victim.comm.startswith("python")
        assert before - 1 <= victim.time <= time.time() + 1
        assert watch.kills() == 0 and watch.victims() == [] and not poller.poll(0)
        assert other.kills() == 0 and other.victims() == []


def test_each_kill_is_heard_once_though_the_first_process_lives(group: Cgroup) -> None:
    limited(group)
    with OomWatch(group) as watch, inside(group, FORKS_EATERS) as parent:
        for _ in range(2):
            assert watch.wait(30) == 1
            assert parent.line() == str(-signal.SIGKILL)
            assert watch.wait(0) == 0
            parent.go()
        assert len(watch.victims()) == 2
    assert memory.events(group).oom_kill == 2


def test_the_descriptor_is_readable_when_there_is_news(group: Cgroup) -> None:
    limited(group)
    with OomWatch(group) as watch, inside(group, EATER, ends=False) as eater:
        poller = select.poll()
        poller.register(watch.fileno(), select.POLLIN)
        total = 0
        while not total:
            assert poller.poll(30_000)
            total += watch.kills()
        assert total == 1 and outcome(eater) == -signal.SIGKILL


def test_reaching_the_limit_is_no_kill(group: Cgroup) -> None:
    limited(group)
    code = """
import tempfile
with tempfile.TemporaryFile() as file:
    for _ in range(64):
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
"""
    with OomWatch(group) as watch:
        with inside(group, code):
            pass
        assert memory.events(group).max > 0 and watch.kills() == 0 and watch.wait(0.01) == 0


def test_nothing_is_left_open_and_a_cgroup_may_go_first(group: Cgroup) -> None:
    before = set(os.listdir("/proc/self/fd"))
    watch = OomWatch(limited(group))
    assert set(os.listdir("/proc/self/fd")) > before
    group.remove()
    assert watch.kills() == 0 and watch.wait(0) == 0
    watch.close()
    watch.close()
    assert set(os.listdir("/proc/self/fd")) == before
