"""v1 in v2's words: what was set is looked up in v1's own files, by v1's own names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import new_name
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import MissingFeature, SyscallError
from minidocker.linux.cgroups import CgroupV1, cpu, formats, freezer, memory, v1_files, v2

layout = v2.layout  # the module: the package hands on a function of the same name
MIB = 1 << 20
pytestmark = pytest.mark.skipif(layout.mode() == "v2", reason="this host has no v1 hierarchies")


@pytest.fixture
def group() -> Iterator[CgroupV1]:
    parent = CgroupV1(new_name())
    found = CgroupV1(f"{parent.name}/one")
    found.create()
    yield found
    found.remove_with_processes()
    parent.remove()


def shown(group: CgroupV1, controller: str, file: str) -> str:
    return Path(layout.layout().v1[controller], group.name, file).read_text().strip()


@pytest.mark.parametrize(
    ("file", "value", "controller", "v1_file", "v1_value"),
    [
        ("memory.max", "67108864", "memory", "memory.limit_in_bytes", "67108864"),
        ("memory.max", "max", "memory", "memory.limit_in_bytes", "9223372036854771712"),
        ("memory.low", "1048576", "memory", "memory.soft_limit_in_bytes", "1048576"),
        ("pids.max", "17", "pids", "pids.max", "17"),
        ("pids.max", "max", "pids", "pids.max", "max"),
        ("cpu.weight", "100", "cpu", "cpu.shares", "1024"),
        ("cpu.weight", "1", "cpu", "cpu.shares", "10"),
        ("cpu.weight", "10000", "cpu", "cpu.shares", "102400"),
        ("cpu.max", "50000 100000", "cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu.max", "50000 200000", "cpu", "cpu.cfs_period_us", "200000"),
        ("cpu.max", "max 100000", "cpu", "cpu.cfs_quota_us", "-1"),
        ("cpu.max.burst", "0", "cpu", "cpu.cfs_burst_us", "0"),
        ("cpuset.cpus", "0", "cpuset", "cpuset.cpus", "0"),
        ("cpuset.mems", "0", "cpuset", "cpuset.mems", "0"),
    ],
)
def test_a_limit_is_where_v1_keeps_it(group: CgroupV1, file: str, value: str, controller: str, v1_file: str, v1_value: str) -> None:
    group.write(file, value)
    assert shown(group, controller, v1_file) == v1_value
    assert group.read(file) == value


@pytest.mark.parametrize(("value", "errno"), [("0", 34), ("10001", 34), ("x", 22), ("", 22), ("-1", 22)])
def test_a_weight_has_v2s_bounds(group: CgroupV1, value: str, errno: int) -> None:
    with pytest.raises(SyscallError) as caught:
        group.write("cpu.weight", value)
    assert caught.value.errno == errno and group.read("cpu.weight") == "100"


def test_a_quota_without_a_period_keeps_it(group: CgroupV1) -> None:
    group.write("cpu.max", "50000 200000")
    group.write("cpu.max", "80000")
    assert group.read("cpu.max") == "80000 200000"


@pytest.mark.parametrize(("size", "swap"), [(32, 0), (32, 16), (128, 16), (64, None), (16, 64)])
def test_swap_is_the_difference_of_v1s_two_limits(group: CgroupV1, size: int, swap: int | None) -> None:
    memory.set_max(group, 64 * MIB)
    memory.set_swap_max(group, 8 * MIB)
    memory.set_max(group, size * MIB)
    assert int(shown(group, "memory", "memory.memsw.limit_in_bytes")) == (size + 8) * MIB
    memory.set_swap_max(group, None if swap is None else swap * MIB)
    both = int(shown(group, "memory", "memory.memsw.limit_in_bytes"))
    assert (both > v1_files.UNLIMITED) if swap is None else both == (size + swap) * MIB
    assert int(shown(group, "memory", "memory.limit_in_bytes")) == size * MIB


def test_a_refused_limit_leaves_both_as_they_were(group: CgroupV1, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.set_max(group, 64 * MIB)
    memory.set_swap_max(group, 0)
    real = v1_files.write

    def refuse(path: str, value: str) -> None:
        if value == str(128 * MIB) and path.endswith(v1_files.MEMORY):
            raise SyscallError("write", 16, path)
        real(path, value)

    monkeypatch.setattr(v1_files, "write", refuse)
    with pytest.raises(SyscallError):
        memory.set_max(group, 128 * MIB)
    assert (memory.get_max(group), memory.get_swap_max(group)) == (64 * MIB, 0)


def test_a_kernel_that_does_not_count_swap(group: CgroupV1, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v1_files, "BOTH", "memory.memsw.not_there")
    memory.set_max(group, 64 * MIB)
    assert memory.get_max(group) == 64 * MIB
    for call in (lambda: memory.set_swap_max(group, 0), lambda: memory.get_swap_max(group)):
        with pytest.raises(MissingFeature, match=r"memory\.swap\.max"):
            call()


@pytest.mark.parametrize("file", ["memory.high", "memory.min", "memory.oom.group", "cpu.idle", "memory.reclaim"])
def test_what_v1_cannot_do_is_said(group: CgroupV1, file: str) -> None:
    for call in (lambda: group.write(file, "1"), lambda: group.read(file)):
        with pytest.raises(MissingFeature, match=file) as caught:
            call()
        assert "v1" in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("file", ["memory.current", "memory.stat", "cpu.stat", "pids.current", "io.stat", "memory.events"])
def test_what_is_only_read(group: CgroupV1, file: str) -> None:
    group.read(file)
    with pytest.raises(SyscallError) as caught:
        group.write(file, "1")
    assert caught.value.errno == 13


def test_no_such_controller(group: CgroupV1, monkeypatch: pytest.MonkeyPatch) -> None:
    here = layout.layout()
    monkeypatch.setattr(layout, "_layouts", [layout.Layout(here.unified, {name: path for name, path in here.v1.items() if name != "pids"})])
    with pytest.raises(MissingFeature, match="pids controller") as caught:
        group.read("pids.max")
    assert caught.value.hint


def test_io_max_knows_four_words(group: CgroupV1) -> None:
    with pytest.raises(SyscallError) as caught:
        group.write("io.max", "7:0 speed=1")
    assert caught.value.errno == 22


def test_usage_and_events_are_read(group: CgroupV1) -> None:
    assert memory.current(group) >= 0 and group.read("pids.current") == "0"
    assert memory.events(group) == memory.Events()
    assert cpu.stat(group).usage_us == 0


def test_memory_has_v2s_names_and_includes_what_is_below(group: CgroupV1) -> None:
    found = memory.stat(group)
    assert set(found) == {*v1_files.MEMORY_STAT, "kernel"}
    assert all(name.startswith("total_") for name in v1_files.MEMORY_STAT.values())


@given(st.integers(0, v1_files.UNLIMITED - 1) | st.just("max"))
def test_a_limit_comes_back(limit: int | str) -> None:
    assert v1_files.limit_to_v2(v1_files.limit_from_v2(str(limit))) == str(limit)


@given(st.dictionaries(st.sampled_from(["7:0", "7:1", "8:16"]), st.tuples(st.integers(0, 2**40), st.integers(0, 2**40))))
def test_io_stat_from_v1s_lines(counts: dict[str, tuple[int, int]]) -> None:
    kinds = ("Read", "Write", "Sync", "Total")
    text = "".join(f"{device} {kind} {value}\n" for device, pair in counts.items() for kind, value in zip(kinds, pair * 2, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v1_files, "read", lambda path: f"{text}Total 5".strip())
        found = v1_files.read_io_stat(lambda controller: "")
    expected = {
        device: {"rbytes": str(read), "wbytes": str(written), "rios": str(read), "wios": str(written)}
        for device, (read, written) in counts.items()
    }
    assert formats.nested_keyed(found) == expected


def test_freezing_without_a_v2_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as this host can be one: its own freezer hierarchy is that of a pure v1 host."""
    text = "".join(line for line in Path("/proc/self/mounts").read_text().splitlines(keepends=True) if " cgroup2 " not in line)
    monkeypatch.setattr(layout, "_layouts", [layout.parse(text)])
    parent = CgroupV1(new_name())
    pure = CgroupV1(f"{parent.name}/one")
    pure.create()
    try:
        freezer.freeze(pure)
        assert freezer.is_freezing(pure) and freezer.is_frozen(pure) and shown(pure, "freezer", "freezer.state") == "FROZEN"
        freezer.thaw(pure)
        assert not freezer.is_frozen(pure) and not pure.wait_event("frozen 1", 0.01)
    finally:
        pure.remove()
        parent.remove()
