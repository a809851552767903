"""cpu: the ceiling, the share under contention, and what was used. All by what the kernel counted, on one CPU."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

import pytest
from inhabited import spinner

from minidocker.errors import SpecError, SyscallError
from minidocker.linux.cgroups import Cgroup, cpu, cpuset

SECONDS = 3.0


def let_run(seconds: float) -> float:
    """Let others run; for how long it was."""
    start = time.monotonic()
    select.select([], [], [], seconds)
    return time.monotonic() - start


@pytest.mark.parametrize(("quota", "period"), [(25_000, 50_000), (20_000, 100_000)])
def test_a_quota_is_what_is_used(group: Cgroup, last_cpu: int, quota: int, period: int) -> None:
    cpuset.set_cpus(group, [last_cpu])
    cpu.set_max(group, quota, period)
    assert cpu.get_max(group) == (quota, period)
    with spinner(group):
        let_run(2 * period / 1e6)
        before = cpu.stat(group)
        seconds = let_run(SECONDS)
        after = cpu.stat(group)
    used, periods = after.usage_us - before.usage_us, after.periods - before.periods
    assert used == pytest.approx(quota / period * seconds * 1e6, rel=0.05)
    assert used == pytest.approx(periods * quota, rel=0.05)
    assert after.throttled - before.throttled >= 0.9 * periods > 0
    assert after.throttled_us - before.throttled_us == pytest.approx(seconds * 1e6 - used, rel=0.1)


def test_without_a_quota_nothing_is_throttled(group: Cgroup) -> None:
    assert cpu.get_max(group) == (None, cpu.PERIOD_US)
    with spinner(group):
        let_run(0.2)
    assert cpu.stat(group).throttled == 0 and cpu.stat(group).usage_us > 0


def test_weights_share_a_contended_cpu(make_group: Callable[[], Cgroup], last_cpu: int) -> None:
    light, heavy = make_group(), make_group()
    for group, weight in ((light, 100), (heavy, 300)):
        cpuset.set_cpus(group, [last_cpu])
        cpu.set_weight(group, weight)
        assert cpu.get_weight(group) == weight
    with spinner(light), spinner(heavy):
        before = [cpu.stat(group).usage_us for group in (light, heavy)]
        let_run(SECONDS)
        one, three = (cpu.stat(group).usage_us - used for group, used in zip((light, heavy), before, strict=True))
    assert three / one == pytest.approx(3, rel=0.1)


def test_a_weight_limits_nothing_when_nobody_else_wants_the_cpu(group: Cgroup) -> None:
    cpu.set_weight(group, 1)
    with spinner(group):
        before = cpu.stat(group).usage_us
        seconds = let_run(0.5)
        assert cpu.stat(group).usage_us - before > 0.5 * seconds * 1e6


def test_usage_is_of_user_and_system(group: Cgroup) -> None:
    """As /proc has it for the only process, in ticks of 10 ms."""
    with spinner(group) as child:
        let_run(0.5)
        with open(f"/proc/{child.pid}/schedstat", encoding="utf-8") as file:
            by_proc = int(file.read().split()[0]) // 1000
        found = cpu.stat(group)
    assert found.user_us + found.system_us == pytest.approx(found.usage_us, abs=2)
    assert found.user_us > found.system_us
    assert found.usage_us == pytest.approx(by_proc, rel=0.25)


def test_saved_quota(group: Cgroup) -> None:
    cpu.set_max(group, 50_000)
    cpu.set_burst(group, 20_000)
    assert cpu.get_burst(group) == 20_000
    with pytest.raises(SyscallError) as caught:
        cpu.set_burst(group, 60_000)
    assert caught.value.errno == 22 and cpu.get_burst(group) == 20_000


@pytest.mark.parametrize(("quota", "period"), [(999, 100_000), (50_000, 999), (50_000, 1_000_001), (0, 100_000)])
def test_an_impossible_quota_changes_nothing(group: Cgroup, quota: int, period: int) -> None:
    cpu.set_max(group, 50_000, 200_000)
    with pytest.raises(SyscallError) as caught:
        cpu.set_max(group, quota, period)
    assert caught.value.errno == 22 and cpu.get_max(group) == (50_000, 200_000)


def test_a_quota_may_go_up_and_down_with_its_period(group: Cgroup) -> None:
    for quota, period in ((1000, 1000), (1_000_000, 1_000_000), (1000, 1_000_000), (None, 20_000), (150_000, 100_000)):
        cpu.set_max(group, quota, period)
        assert cpu.get_max(group) == (quota, period)


@pytest.mark.parametrize("weight", [0, -1, 10_001])
def test_no_weight(group: Cgroup, weight: int) -> None:
    with pytest.raises(SpecError, match="weight"):
        cpu.set_weight(group, weight)


@pytest.mark.parametrize("weight", [1, 99, 100, 10_000])
def test_a_weight_reads_as_it_was_set(group: Cgroup, weight: int) -> None:
    cpu.set_weight(group, weight)
    assert cpu.get_weight(group) == weight
