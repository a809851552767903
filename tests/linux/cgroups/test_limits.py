"""Several limits at once: all of them or none; and 200 cgroups that come and go with theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import new_name
from hypothesis import given
from hypothesis import strategies as st
from inhabited import MIB, inside

from minidocker.errors import MissingFeature, SpecError, SyscallError
from minidocker.linux.cgroups import Cgroup, cpu, cpuset, limits, memory, mode, open_cgroup, pids

GOOD = {
    "pids.max": "30",
    "memory.swap.max": str(32 * MIB),
    "memory.max": str(64 * MIB),
    "cpu.max": "50000 100000",
    "cpu.weight": "200",
    "cpuset.cpus": "0",
    "memory.low": str(8 * MIB),
}
IMPOSSIBLE = [
    ("cpuset.cpus", "4000"),
    ("cpuset.cpus", "x"),
    ("cpuset.mems", "63"),
    ("cpu.max", "1 100000"),
    ("cpu.weight", "0"),
    ("pids.max", "-2"),
    ("memory.max", "much"),
    ("io.max", "4000:1 rbps=1"),
]


def state(group: Cgroup) -> dict[str, str]:
    return {file: group.read(file) for file in (*GOOD, "cpuset.mems", "io.max")}


def test_all_at_once(group: Cgroup) -> None:
    limits.set_first(group, GOOD)
    assert {file: group.read(file) for file in GOOD} == GOOD
    changed = GOOD | {"memory.max": str(128 * MIB), "memory.swap.max": "max", "pids.max": "max"}
    limits.apply(group, changed)
    assert {file: group.read(file) for file in GOOD} == changed
    limits.apply(group, GOOD)
    assert {file: group.read(file) for file in GOOD} == GOOD
    limits.apply(group, {"memory.max": "max", "memory.swap.max": "max"})
    assert memory.get_max(group) is None and memory.get_swap_max(group) is None


@pytest.mark.parametrize(("file", "value"), IMPOSSIBLE)
def test_an_impossible_value_changes_nothing_and_says_why(group: Cgroup, file: str, value: str) -> None:
    limits.set_first(group, GOOD)
    before = state(group)
    others = {"pids.max": "7", "memory.max": str(32 * MIB), "memory.swap.max": "max", "cpu.max": "max 100000", "cpu.weight": "50"}
    with pytest.raises(SpecError) as caught:
        limits.apply(group, others | {file: value})
    assert (file in str(caught.value) and value in str(caught.value)) or "number" in str(caught.value)
    assert state(group) == before


def test_a_limit_below_what_is_used_changes_nothing_and_kills_nobody(group: Cgroup) -> None:
    limits.set_first(group, GOOD | {"memory.swap.max": "0"})
    before = state(group)
    with inside(group, "block = bytearray(32 << 20); say('ate'); hear()") as child:
        child.line()
        with pytest.raises(SpecError, match="in use that cannot be reclaimed") as caught:
            limits.apply(group, {"pids.max": "7", "memory.max": str(8 * MIB)})
        assert caught.value.hint and state(group) == before
        child.go()
    assert memory.events(group).oom_kill == 0


def test_a_limit_below_what_is_cached_gives_the_cache_back(group: Cgroup, tmp_path: Path) -> None:
    limits.set_first(group, GOOD)
    code = "with open(sys.argv[1], 'wb') as file:\n    file.write(bytes(32 << 20)); os.fsync(file.fileno())\nsay('wrote'); hear()"
    with inside(group, code, str(tmp_path / "file")) as child:
        child.line()
        assert memory.current(group) > 32 * MIB
        limits.apply(group, {"memory.max": str(24 * MIB)})
        assert memory.current(group) <= 24 * MIB
        child.go()


@pytest.mark.skipif(mode() == "v2", reason="v2 has every file that v1 lacks")
def test_what_the_host_lacks_changes_nothing(group: Cgroup) -> None:
    limits.set_first(group, GOOD)
    before = state(group)
    with pytest.raises(MissingFeature, match=r"memory\.high"):
        limits.apply(group, {"pids.max": "7", "memory.max": str(32 * MIB), "memory.high": "1"})
    assert state(group) == before


def test_what_cannot_be_put_back_is_said_too() -> None:
    class Stuck:
        def __init__(self) -> None:
            self.values = {"pids.max": "1", "cpu.weight": "100"}

        def read(self, file: str) -> str:
            return self.values[file]

        def write(self, file: str, value: str) -> None:
            if file == "cpu.weight" or value == "1":
                raise SyscallError("write", 5, file)
            self.values[file] = value

    with pytest.raises(SyscallError) as caught:
        limits.apply(Stuck(), {"pids.max": "7", "cpu.weight": "5"})
    assert caught.value.filename == "cpu.weight" and "pids.max" in caught.value.hint


@given(
    st.permutations(["memory.swap.max", "memory.max", "pids.max", "io.max", "cpuset.cpus", "cpuset.mems"]), st.sampled_from(["max", "0"])
)
def test_the_order_does_not_depend_on_the_callers(files: list[str], swap: str) -> None:
    values = dict.fromkeys(files, "1") | {"memory.swap.max": swap, "io.max": "7:0 rbps=1\n7:1 rbps=2"}
    order = limits.in_order(values)
    names = [file for file, _ in order]
    assert (names.index("memory.swap.max") < names.index("memory.max")) == (swap == "max")
    assert names.index("cpuset.mems") < names.index("cpuset.cpus")
    assert [text for file, text in order if file == "io.max"] == ["7:0 rbps=1", "7:1 rbps=2"]
    assert sorted(set(names)) == sorted(files)


@pytest.mark.parametrize(
    ("file", "now", "new", "undo"),
    [
        ("pids.max", "7", "8", "7"),
        ("io.max", "", "7:0 rbps=1", "7:0 rbps=max wbps=max riops=max wiops=max"),
        ("io.max", "7:0 rbps=5 wbps=max\n7:1 rbps=6", "7:1 wbps=1", "7:1 rbps=6"),
        ("io.weight", "default 100\n7:0 50", "default 200", "default 100"),
        ("io.weight", "default 100\n7:0 50", "200", "default 100"),
        ("io.weight", "default 100\n7:0 50", "7:0 60", "7:0 50"),
        ("io.weight", "default 100", "7:0 60", "7:0 default"),
    ],
)
def test_how_a_value_is_put_back(file: str, now: str, new: str, undo: str) -> None:
    assert limits.undo_text(file, now, new) == undo


def test_two_hundred_come_and_go_with_their_limits() -> None:
    parent = new_name()
    for number in range(200):
        group = open_cgroup(f"{parent}/{number}")
        group.create()
        limits.set_first(group, GOOD)
        assert (pids.get_max(group), cpu.get_weight(group), cpuset.get_cpus(group)) == (30, 200, [0])
        group.remove_with_processes()
    open_cgroup(parent).remove()
    assert [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"/{parent}" in path] == []
