"""memory: what a cgroup uses, the limit that kills and the one that does not, and what its neighbours notice: nothing."""

from __future__ import annotations

import os
import select
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from inhabited import MIB, inside, outcome, spinner

from minidocker.errors import MissingFeature, SpecError, SyscallError
from minidocker.linux.cgroups import Cgroup, CgroupV1, layout, memory, mode

SWAP = 4 * MIB
EAT = "block = bytearray(int(sys.argv[1]) << 20); say('ate'); hear()"
on_v1 = pytest.mark.skipif(mode() == "v2", reason="this host's memory controller is v2's")
on_v2 = pytest.mark.skipif(
    mode() != "v2", reason="this host's memory controller is v1's, which has no memory.high, memory.min, memory.oom.group"
)


def limit(group: Cgroup, size: int) -> None:
    """With little swap, else memory beyond the limit would go there. (With none at all v1 does not count events.max.)"""
    memory.set_max(group, size)
    memory.set_swap_max(group, SWAP)


def test_a_limit_kills_who_wants_more_and_nobody_else(make_group: Callable[[], Cgroup]) -> None:
    group, neighbour = make_group(), make_group()
    limit(group, 32 * MIB)
    limit(neighbour, 32 * MIB)
    with inside(neighbour, EAT, "8") as other:
        assert other.line() == "ate"
        with inside(group, EAT, "64", ends=False) as eater:
            assert outcome(eater) == -signal.SIGKILL
        assert memory.events(group).oom_kill == 1 and memory.events(group).oom >= 1 and memory.events(group).max >= 1
        assert memory.events(neighbour) == memory.Events()
        assert 31 * MIB <= memory.peak(group) <= 32 * MIB
        assert Path(f"/proc/{other.pid}/stat").read_text().split()[2] in "SR"
        other.go()


def test_a_limit_that_is_enough_is_not_felt(group: Cgroup) -> None:
    limit(group, 64 * MIB)
    with inside(group, EAT, "32") as eater:
        assert eater.line() == "ate"
        assert 32 * MIB <= memory.current(group) <= memory.peak(group) <= 64 * MIB
        eater.go()
    assert memory.events(group).oom_kill == 0


def test_page_cache_is_given_back_instead(group: Cgroup, tmp_path: Path) -> None:
    """A file twice as large as the limit can be written and read: what is not needed for good only slows down."""
    limit(group, 24 * MIB)
    code = """
        with open(sys.argv[1], "wb") as file:
            for _ in range(48):
                file.write(bytes(1 << 20))
            os.fsync(file.fileno())
        with open(sys.argv[1], "rb") as file:
            while file.read(1 << 20): pass
        say("read"); hear()
        """
    with inside(group, textwrap.dedent(code), str(tmp_path / "file")) as reader:
        assert reader.line() == "read"
        assert memory.stat(group)["file"] > 4 * MIB and memory.current(group) <= 24 * MIB
        reader.go()
    events = memory.events(group)
    assert events.max > 0 and events.oom_kill == 0


def test_stat_tells_what_it_is_used_for(group: Cgroup, tmp_path: Path) -> None:
    code = """
        import mmap
        before = bytearray(16 << 20)
        shared = mmap.mmap(-1, 8 << 20); shared.write(bytes(8 << 20))
        with open(sys.argv[1], "wb") as file: file.write(bytes(12 << 20))
        say("ready"); hear()
        """
    with inside(group, textwrap.dedent(code), str(tmp_path / "file")) as child:
        assert child.line() == "ready"
        found = memory.stat(group)
        assert 16 * MIB <= found["anon"] <= 24 * MIB
        assert 8 * MIB <= found["shmem"] <= 9 * MIB
        assert 20 * MIB <= found["file"] <= 24 * MIB  # shared memory is counted here as well
        assert found["kernel"] > 0 and found["pgfault"] > 0
        assert sum(found[name] for name in ("anon", "file", "kernel")) <= memory.current(group) * 1.1
        child.go()


def test_what_cannot_be_given_back_is_no_limit(group: Cgroup) -> None:
    memory.set_swap_max(group, None)
    memory.set_max(group, 64 * MIB)
    memory.set_swap_max(group, 0)
    with inside(group, EAT, "32") as eater:
        assert eater.line() == "ate"
        with pytest.raises(SpecError, match="in use that cannot be reclaimed") as caught:
            memory.make_room(group, 16 * MIB)
            raise_as_v1(group, 16 * MIB)
        assert caught.value.hint and memory.get_max(group) == 64 * MIB
        eater.go()
    assert memory.events(group).oom_kill == 0


def raise_as_v1(group: Cgroup, size: int) -> None:
    """On v1 the kernel answers when the limit is set."""
    with pytest.raises(SyscallError) as caught:
        memory.set_max(group, size)
    assert caught.value.errno == 16
    raise memory.too_small(size, memory.current(group))


@on_v2
def test_setting_a_limit_below_what_is_used_kills_on_v2(group: Cgroup) -> None:
    with inside(group, EAT, "32", ends=False) as eater:
        assert eater.line() == "ate"
        limit(group, 16 * MIB)
        assert outcome(eater) == -signal.SIGKILL
    assert memory.events(group).oom_kill == 1


def test_limits_move_in_both_directions(group: Cgroup) -> None:
    """With a limit on swap each way is another order of v1's two files."""
    assert memory.get_max(group) is None and memory.get_swap_max(group) is None
    limit(group, 64 * MIB)
    for size in (128, 32, 64):
        memory.set_max(group, size * MIB)
        assert (memory.get_max(group), memory.get_swap_max(group)) == (size * MIB, SWAP)
    for swap in (16 * MIB, 0, 64 * MIB):
        memory.set_swap_max(group, swap)
        assert (memory.get_max(group), memory.get_swap_max(group)) == (64 * MIB, swap)
    memory.set_swap_max(group, None)
    memory.set_max(group, None)
    assert memory.get_max(group) is None and memory.get_swap_max(group) is None


@on_v1
def test_v1_cannot_limit_swap_alone_and_says_so(group: Cgroup) -> None:
    with pytest.raises(MissingFeature, match="swap") as caught:
        memory.set_swap_max(group, 0)
    assert "memory.max" in caught.value.hint
    limit(group, 64 * MIB)
    with pytest.raises(MissingFeature, match="swap") as caught:
        memory.set_max(group, None)
    assert "memory.swap.max" in caught.value.hint and memory.get_max(group) == 64 * MIB


def test_a_reservation_is_kept(group: Cgroup) -> None:
    memory.set_low(group, 16 * MIB)
    assert memory.get_low(group) == 16 * MIB and memory.swap_current(group) == 0


@on_v1
def test_what_v1_lacks_is_said_by_name(group: Cgroup) -> None:
    for file, call in {
        "memory.high": lambda: memory.set_high(group, MIB),
        "memory.min": lambda: memory.set_min(group, MIB),
        "memory.oom.group": lambda: memory.set_oom_group(group, value=True),
    }.items():
        with pytest.raises(MissingFeature, match=file) as caught:
            call()
        assert "v1" in str(caught.value) and caught.value.hint


@on_v2
def test_v2_brakes_and_protects(group: Cgroup) -> None:
    memory.set_min(group, MIB)
    memory.set_high(group, 16 * MIB)
    memory.set_swap_max(group, 0)
    assert (memory.get_min(group), memory.get_high(group)) == (MIB, 16 * MIB)
    with inside(group, EAT, "24", ends=False):
        wait_for(group, "high")
    assert memory.events(group).high > 0 and memory.events(group).oom_kill == 0


def wait_for(group: Cgroup, name: str) -> None:
    """Until memory.events counts more than 0 of *name*, told by the kernel."""
    with open(f"{group.path}/memory.events", encoding="utf-8") as file:
        poller = select.poll()
        poller.register(file, select.POLLPRI)
        while f"{name} 0\n" in os.pread(file.fileno(), 4096, 0).decode():
            assert poller.poll(30_000), f"no {name}"


@on_v2
def test_all_are_killed_together_on_v2(group: Cgroup) -> None:
    memory.set_oom_group(group, value=True)
    assert memory.get_oom_group(group)
    limit(group, 32 * MIB)
    with spinner(group) as other, inside(group, EAT, "64", ends=False) as eater:
        assert (outcome(eater), outcome(other)) == (-signal.SIGKILL, -signal.SIGKILL)
    assert memory.events(group).oom_group_kill == 1 and memory.events(group).oom_kill == 2


def test_a_file_that_does_not_exist_is_a_missing_feature(group: Cgroup) -> None:
    with pytest.raises(MissingFeature, match=r"memory\.nonsense"):
        group.read("memory.nonsense")
    group.remove()
    with pytest.raises(SyscallError) as caught:
        group.read("memory.max")
    assert caught.value.errno == 2
    assert isinstance(group, CgroupV1) == bool(layout().v1)
