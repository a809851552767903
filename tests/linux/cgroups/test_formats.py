"""The text of cgroup files: every parser takes what the kernel writes, and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import SpecError
from minidocker.linux.cgroups import cpu, cpuset, formats, oom, pressure, v2

layout = v2.layout  # the module: the package hands on a function of the same name
keys = st.text("abcdefghijklmnopqrstuvwxyz_.", min_size=1, max_size=12)
numbers = st.integers(0, 2**64 - 1)
devices = st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1)).map(lambda pair: f"{pair[0]}:{pair[1]}")


@given(numbers)
def test_a_number_comes_back(value: int) -> None:
    assert formats.number(str(value)) == value == formats.limit(formats.limit_text(value))


@given(st.text(max_size=8))
def test_a_number_is_digits_only(text: str) -> None:
    if re.fullmatch("[0-9]+", text):
        assert formats.number(text) == int(text)
    else:
        with pytest.raises(SpecError):
            formats.number(text)


def test_no_limit_is_max() -> None:
    assert formats.limit("max") is None and formats.limit_text(None) == "max"
    for wrong in ("Max", "max ", "-1", "", "1k"):
        with pytest.raises(SpecError):
            formats.limit(wrong)
    with pytest.raises(SpecError, match="negative"):
        formats.limit_text(-1)


@given(st.dictionaries(keys, numbers))
def test_flat_keyed(content: dict[str, int]) -> None:
    assert formats.flat_keyed("".join(f"{key} {value}\n" for key, value in content.items())) == content


@pytest.mark.parametrize("text", ["key", "key ", " 1", "key x", "key 1 2", "key -1", "\n"])
def test_what_is_not_flat_keyed(text: str) -> None:
    with pytest.raises(SpecError):
        formats.flat_keyed(text)


@given(st.dictionaries(devices, st.dictionaries(keys, st.one_of(numbers.map(str), st.just("max")))))
def test_nested_keyed(content: dict[str, dict[str, str]]) -> None:
    lines = (" ".join([device, *(f"{key}={value}" for key, value in pairs.items())]) for device, pairs in content.items())
    assert formats.nested_keyed("\n".join(lines)) == content


@pytest.mark.parametrize("text", ["8:0 rbps", "8:0 =1", "8:0 rbps=", " rbps=1"])
def test_what_is_not_nested_keyed(text: str) -> None:
    with pytest.raises(SpecError):
        formats.nested_keyed(text)


@given(devices)
def test_a_device(text: str) -> None:
    assert formats.device(text) == text


@pytest.mark.parametrize("text", ["", "8", "8:", ":0", "8:0:0", "8:-1", "a:b", "/dev/sda", "8: 0", "8:0\n"])
def test_what_is_not_a_device(text: str) -> None:
    with pytest.raises(SpecError):
        formats.device(text)


# -- lists of CPUs -----------------------------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 200)))
def test_a_list_of_cpus_comes_back(numbers: set[int]) -> None:
    text = cpuset.format_list(numbers)
    assert cpuset.parse_list(text) == sorted(numbers)
    assert cpuset.format_list(cpuset.parse_list(text)) == text


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), min_size=1))
def test_ranges_may_overlap_and_come_in_any_order(ranges: list[tuple[int, int]]) -> None:
    text = ",".join(f"{low}-{low + more}" if more else str(low) for low, more in ranges)
    assert cpuset.parse_list(text) == sorted({number for low, more in ranges for number in range(low, low + more + 1)})


@given(st.text("0123456789-, x", max_size=10))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    """What is taken is what the pattern says, and whatever is taken is written in the kernel's form, which is taken again."""
    well_formed = re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", text)
    try:
        found = cpuset.parse_list(text)
    except SpecError as error:
        assert not well_formed or any(int(high) < int(low) or int(high) >= cpuset.MOST for low, high in bounds(text)), error
    else:
        assert well_formed and cpuset.parse_list(cpuset.format_list(found)) == found


def bounds(text: str) -> list[tuple[str, str]]:
    return [(part.partition("-")[0], part.rpartition("-")[2]) for part in text.split(",")]


@pytest.mark.parametrize("text", ["3-1", "0-", "-1", "1,,2", ",", "0-1-2", "0-4000000000", "all", "0, 1", "٣"])
def test_what_is_not_a_list_of_cpus(text: str) -> None:
    with pytest.raises(SpecError):
        cpuset.parse_list(text)
    with pytest.raises(SpecError):
        cpuset.format_list([-1])


# -- cpu, pressure, the kernel's log ------------------------------------------------------------------------------------


@given(st.one_of(st.none(), numbers), numbers)
def test_cpu_max(quota: int | None, period: int) -> None:
    assert cpu.parse_max(f"{'max' if quota is None else quota} {period}") == (quota, period)


@pytest.mark.parametrize("text", ["", "max", "100000", "max max", "-1 100000", "1 2 3"])
def test_what_is_not_cpu_max(text: str) -> None:
    with pytest.raises(SpecError):
        cpu.parse_max(text)


@given(st.integers(*cpu.SHARES), st.integers(*cpu.SHARES))
def test_more_shares_are_never_less_weight(one: int, other: int) -> None:
    low, high = (cpu.weight_from_shares(shares) for shares in sorted([one, other]))
    assert cpu.WEIGHTS[0] <= low <= high <= cpu.WEIGHTS[1]


def test_the_defaults_of_shares_and_weight_are_the_same() -> None:
    assert cpu.weight_from_shares(1024) == 100 and cpu.shares_from_weight(100) == 1024
    assert (cpu.weight_from_shares(512), cpu.weight_from_shares(2048)) == (50, 200)
    for wrong in (1, 0, -5, 262_145):
        with pytest.raises(SpecError, match="shares"):
            cpu.weight_from_shares(wrong)


@given(st.integers(*cpu.WEIGHTS))
def test_a_weight_comes_back_from_shares(weight: int) -> None:
    assert cpu.nearest_weight(cpu.shares_from_weight(weight)) == weight


percentages = st.integers(0, 10000).map(lambda hundredths: hundredths / 100)
lines = st.builds(pressure.Line, percentages, percentages, percentages, numbers)


def text_of(kind: str, line: pressure.Line) -> str:
    return f"{kind} avg10={line.avg10:.2f} avg60={line.avg60:.2f} avg300={line.avg300:.2f} total={line.total_us}\n"


@given(lines, st.one_of(st.none(), lines))
def test_pressure(some: pressure.Line, full: pressure.Line | None) -> None:
    assert pressure.parse(text_of("some", some) + (text_of("full", full) if full else "")) == (some, full)


@pytest.mark.parametrize("text", ["", "full avg10=0.00", "some avg10=0.00 avg60=0.00 avg300=0.00", "some avg10=x avg60=0 avg300=0 total=0"])
def test_what_is_not_pressure(text: str) -> None:
    with pytest.raises(SpecError):
        pressure.parse(text)


@given(
    st.integers(1, 2**22),
    st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=15),
    st.text("abcdef0123456789-_.", min_size=1, max_size=64),
    st.integers(0, 2**40),
)
def test_a_victim_in_the_log(pid: int, comm: str, name: str, since_boot_us: int) -> None:
    """The command's name may hold what the line itself is made of."""
    text = (
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={name},mems_allowed=0,oom_memcg=/engine/{name},"
        f"task_memcg=/engine/{name},task={comm},pid={pid},uid=0"
    )
    found = oom.parse_victim(f"6,4711,{since_boot_us},-;{text}\n SUBSYSTEM=x\n")
    assert found is not None and found[:3] == (pid, comm, f"/engine/{name}")


@given(st.text())
def test_any_other_record_names_nobody(text: str) -> None:
    assert oom.parse_victim(text) is None
    assert oom.parse_victim(f"6,1,2,-;oom-kill:{text}") is None


# -- /proc/self/mounts ---------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(sorted(layout.CONTROLLERS)), unique=True, min_size=1), st.booleans())
def test_a_layout_names_each_controller_once(controllers: list[str], with_v2: bool) -> None:
    mounts = "".join(f"cgroup /cg/{name} cgroup rw,nosuid,{name} 0 0\n" for name in controllers)
    found = layout.parse(mounts + ("cgroup2 /cg/unified cgroup2 rw 0 0\n" if with_v2 else ""))
    assert found.unified == ("/cg/unified" if with_v2 else "")
    assert found.v1 == {name: f"/cg/{name}" for name in controllers if not (with_v2 and name == "freezer")}
