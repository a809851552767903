"""What limits a container: Docker's grammar and rules, what the kernel is told, and live changes that are made whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.engine import resources, unified
from minidocker.engine.record import ContainerRecord, Resources
from minidocker.errors import MissingFeature, SpecError

M = 1 << 20
CPUS = os.cpu_count() or 1


# -- grammar -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1b", 1), ("64m", 64 << 20), ("1.5g", 3 << 29), ("512KiB", 512 << 10), ("2 GB", 2 << 30), ("1T", 1 << 40), (7, 7)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert resources.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1mm", "1e3", "0x10", "१", "1" * 50 + "q", -1, "9" * 30, 1 << 63])
def test_no_sizes(text: str | int) -> None:
    with pytest.raises(SpecError, match="invalid size") as caught:
        resources.parse_size(text)
    assert caught.value.hint


@given(st.integers(0, 1 << 50))
def test_a_number_of_bytes_is_itself(size: int) -> None:
    assert resources.parse_size(size) == resources.parse_size(str(size)) == size


@given(st.integers(0, 1 << 12), st.sampled_from("bkmgtp"))
def test_units_are_powers_of_1024(number: int, unit: str) -> None:
    assert resources.parse_size(f"{number}{unit.upper()}") == number << 10 * "bkmgtp".index(unit)


refused_or = pytest.mark.parametrize(
    "parse",
    [
        resources.parse_size,
        resources.parse_swap,
        lambda text: resources.parse_rate(text, sized=True),
        lambda text: resources.parse_rate(text, sized=False),
        resources.parse_ulimit,
        resources.parse_conf,
    ],
)


@refused_or
@given(text=st.text(max_size=40) | st.from_regex(r"(/dev/)?[a-z]*[=:]-?[0-9]{0,22}[a-z:]*[0-9]*", fullmatch=True))
def test_whatever_is_typed_is_read_or_refused_with_a_hint(parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except SpecError as error:
        assert error.hint and len(str(error)) < 300


path = st.from_regex(r"/dev/[a-z][a-z0-9/]{0,20}", fullmatch=True)


@given(path, st.integers(0, (1 << 63) - 1))
def test_device_rates(device: str, rate: int) -> None:
    assert resources.parse_rate(f"{device}:{rate}", sized=True) == (device, rate)
    assert resources.parse_rate(f"{device}:{rate}", sized=False) == (device, rate)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/dev/sda", "bad format: /dev/sda"),
        (":1mb", "bad format: :1mb"),
        ("sda:1mb", "bad format for device path: sda:1mb"),
        (
            "/dev/sda:",
            "invalid rate for device: /dev/sda:. The correct format is <device-path>:<number>[<unit>]. Number must be a positive",
        ),
        ("/dev/sda:-1", "Unit is optional and can be kb, mb, or gb"),
        ("/dev/sda:1x", "invalid rate for device"),
        ("/dev/sda:1:2", "invalid rate for device"),
    ],
)
def test_no_device_rates(text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        resources.parse_rate(text, sized=True)
    assert words in str(caught.value) and caught.value.hint


def test_operations_have_no_unit() -> None:
    assert resources.parse_rate("/dev/sda:1mb", sized=True) == ("/dev/sda", M)
    with pytest.raises(SpecError, match=r"Number must be a positive integer$"):
        resources.parse_rate("/dev/sda:1mb", sized=False)


limits = st.integers(0, (1 << 63) - 1)


@given(st.sampled_from(resources.ULIMITS), limits, limits)
def test_ulimits(name: str, one: int, other: int) -> None:
    soft, hard = sorted((one, other))
    assert resources.parse_ulimit(f"{name}={soft}:{hard}") == (name, (soft, hard))
    assert resources.parse_ulimit(f"{name}={soft}") == (name, (soft, soft))
    assert resources.parse_ulimit(f"{name}={soft}:-1") == (name, (soft, -1))
    if soft < hard:
        with pytest.raises(SpecError, match="soft limit must be less than or equal to hard limit"):
            resources.parse_ulimit(f"{name}={hard}:{soft}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nofile", "invalid ulimit argument: nofile"),
        ("files=1", "invalid ulimit type: files"),
        ("nofile=1:2:3", "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`"),
        ("nofile=", "invalid ulimit value"),
        ("nofile=1:x", "invalid ulimit value"),
        ("nofile=-1:5", "ulimit soft limit must be less than or equal to hard limit: -1 > 5"),
    ],
)
def test_no_ulimits(text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        resources.parse_ulimit(text)
    assert words in str(caught.value) and caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "memory.high", "memory.high=", "=1", "cgroup.kill=1", "../x.y=1", "memory=1", "memory.max=1", "io.max=x"]
)
def test_no_files_of_cgroups(text: str) -> None:
    with pytest.raises(SpecError, match="invalid cgroup configuration") as caught:
        resources.parse_conf(text)
    assert caught.value.hint
    assert resources.parse_conf("memory.high=33554432") == ("memory.high", "33554432")


# -- rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"memory": 5 * M}, "Minimum memory limit allowed is 6MB"),
        ({"memory_reservation": 5 * M}, "Minimum memory reservation allowed is 6MB"),
        ({"memory": 8 * M, "memory_reservation": 9 * M}, "Minimum memory limit can not be less than memory reservation limit, see usage"),
        ({"memory_swap": 8 * M}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ({"memory": 8 * M, "memory_swap": 7 * M}, "Minimum memoryswap limit should be larger than memory limit, see usage"),
        ({"cpus": 0.001}, f"Range of CPUs is from 0.01 to {CPUS}.00, as there are only {CPUS} CPUs available"),
        ({"cpus": CPUS + 0.5}, "Range of CPUs is from 0.01"),
        ({"cpus": -1.0}, "Range of CPUs is from 0.01"),
        ({"cpus": float("nan")}, "Range of CPUs is from 0.01"),
        ({"cpus": 1.0, "cpu_period": 5000}, "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        ({"cpus": 1.0, "cpu_quota": 5000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        ({"cpu_period": 999}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        ({"cpu_period": 1_000_001}, "CPU cfs period can not be less than 1ms"),
        ({"cpu_quota": 999}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"cpu_quota": (CPUS + 1) * 100_000}, "CPU cfs quota can not be larger"),
        ({"cpu_shares": 1}, "the minimum allowed cpu-shares is 2"),
        ({"cpu_shares": 262145}, "the maximum allowed cpu-shares is 262144"),
        ({"blkio_weight": 9}, "Range of blkio weight is from 10 to 1000"),
        ({"cpuset_cpus": "1-"}, "Invalid value 1- for cpuset cpus"),
        ({"cpuset_cpus": "0,999"}, "Requested CPUs are not available - requested 0,999, available: "),
        ({"cpuset_mems": "9"}, "Requested memory nodes are not available - requested 9, available: 0"),
    ],
)
def test_rules(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        resources.check(Resources(**wrong))  # type: ignore[arg-type]
    assert words in str(caught.value) and caught.value.hint


def test_what_is_fine() -> None:
    for fine in (
        Resources(),
        Resources(memory=6 * M, memory_reservation=6 * M, memory_swap=6 * M),
        Resources(memory=6 * M, memory_swap=-1),
        Resources(cpus=float(CPUS)),
        Resources(cpu_quota=CPUS * 1000, cpu_period=1000),
        Resources(cpuset_cpus="0", cpuset_mems="0", cpu_shares=2, blkio_weight=1000),
    ):
        resources.check(fine)


def test_the_oom_killer_stays() -> None:
    assert resources.parse({"oom_kill_disable": False}) == {}
    with pytest.raises(MissingFeature) as caught:
        resources.parse({"oom_kill_disable": True})
    assert "memory.high" in caught.value.hint


def test_ulimits_above_what_we_may() -> None:
    resources.check_ulimits({"nofile": (10, 20), "locks": (1, 1), "core": (0, 0)})


# -- what the kernel is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, {}),
        ({"memory": 64 * M, "memory_swap": 96 * M}, {"memory.max": str(64 * M), "memory.swap.max": str(32 * M)}),
        ({"memory": 64 * M, "memory_swap": -1}, {"memory.max": str(64 * M), "memory.swap.max": "max"}),
        ({"memory_reservation": 32 * M}, {"memory.low": str(32 * M)}),
        ({"cpus": 1.5}, {"cpu.max": "150000 100000"}),
        ({"cpu_quota": 5000, "cpu_period": 10000}, {"cpu.max": "5000 10000"}),
        ({"cpu_quota": 5000}, {"cpu.max": "5000 100000"}),
        ({"cpu_period": 10000}, {"cpu.max": "max 10000"}),
        ({"cpu_shares": 1024}, {"cpu.weight": "100"}),
        ({"cpuset_cpus": "0,2-3", "cpuset_mems": "0"}, {"cpuset.cpus": "0,2-3", "cpuset.mems": "0"}),
        ({"pids_limit": 5}, {"pids.max": "5"}),
        ({"blkio_weight": 500}, {"io.weight": "default 100"}),
        ({"cgroup_conf": {"memory.high": "1"}}, {"memory.high": "1"}),
    ],
)
def test_files(asked: dict[str, object], told: dict[str, str]) -> None:
    assert unified.files(Resources(**asked)) == told  # type: ignore[arg-type]


def test_as_much_swap_as_memory_is_dockers_rule() -> None:
    expected = {"memory.swap.max": str(64 * M)} if unified.counts_swap() else {}
    assert unified.files(Resources(memory=64 * M)) == {"memory.max": str(64 * M)} | expected


def test_a_device_that_is_none() -> None:
    for device, words in (("/dev/nosuch", "no such device"), ("/dev/null", "not a block device")):
        with pytest.raises(SpecError, match=words) as caught:
            unified.files(Resources(device_read_bps={device: 1}))
        assert caught.value.hint


def test_changes_write_only_what_differs() -> None:
    before = {"memory.max": "1", "pids.max": "5", "cpuset.cpus": "0", "io.max": "7:0 rbps=1 wbps=2\n7:1 riops=3"}
    after = {"memory.max": "1", "cpu.max": "1 2", "io.max": "7:0 rbps=1"}
    assert unified.changes(before, before) == {}
    assert unified.changes(before, after) == {
        "cpu.max": "1 2",
        "pids.max": "max",
        "cpuset.cpus": unified.online("cpuset.cpus"),
        "io.max": "7:0 rbps=1 wbps=max\n7:1 riops=max",
    }
    with pytest.raises(SpecError, match="cannot take back hugetlb"):
        unified.changes({"hugetlb.2MB.max": "1"}, {})


def record(**limits: object) -> ContainerRecord:
    return ContainerRecord(id="a", name="n", created="", image="i", image_id="x", **limits)  # type: ignore[arg-type]


def test_an_update_keeps_what_was_not_named() -> None:
    before = record(memory=64 * M, cpus=1.0, cgroup_conf={"memory.min": "1"})
    after = resources.merged(before, resources.parse({"pids_limit": 7, "cgroup_conf": ["memory.high=2"]}))
    assert (after.memory, after.cpus, after.pids_limit, after.cgroup_conf) == (64 * M, 1.0, 7, {"memory.min": "1", "memory.high": "2"})
    assert resources.merged(before, {"cpu_quota": 2000}).cpus == 0, "the one replaces the other"
    assert resources.merged(record(cpu_quota=2000), {"cpus": 1.0}).cpu_quota == 0
    with pytest.raises(SpecError, match="Memory limit should be smaller than already set memoryswap limit") as caught:
        resources.merged(record(memory=64 * M, memory_swap=96 * M), {"memory": 128 * M})
    assert caught.value.hint
