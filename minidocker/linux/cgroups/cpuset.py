"""The cpuset controller: on which CPUs and memory nodes a cgroup may be.

Interface: get_cpus set_cpus get_mems set_mems effective_cpus effective_mems; parse_list format_list.
Man page: cpuset(7) "List format", "Cpuset" in cgroup-v2.rst. The same from a shell: taskset -cp PID, nproc. Notebook: 11.
"""

from __future__ import annotations

from collections.abc import Iterable

from minidocker.errors import SpecError
from minidocker.linux.cgroups import formats
from minidocker.linux.cgroups.v2 import Cgroup

MOST = 1 << 16  # no kernel is built for more CPUs; "0-4000000000" is a mistake, not a list to hold in memory


def parse_list(text: str) -> list[int]:
    """ "0,2-3" as [0, 2, 3], ascending, each once; "" as []. SpecError: not such a list, or a range that runs backwards."""
    found: set[int] = set()
    for part in text.split(",") if text else []:
        first, dash, last = part.partition("-")
        low = formats.number(first)
        high = formats.number(last) if dash else low
        if high < low or high >= MOST:
            raise SpecError(f"not a list of CPUs or nodes: {text!r}", hint="as in 0,2-3")
        found.update(range(low, high + 1))
    return sorted(found)


def format_list(numbers: Iterable[int]) -> str:
    """[0, 2, 3] as "0,2-3": the shortest form, which is the kernel's."""
    ranges: list[list[int]] = []
    for value in sorted(set(numbers)):
        if value < 0:
            raise SpecError(f"not the number of a CPU or node: {value}")
        if ranges and ranges[-1][1] == value - 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def get_cpus(cgroup: Cgroup) -> list[int]:
    """What was asked for. [] on v2: nothing, it has what the cgroup above has; v1 always shows a list."""
    return parse_list(cgroup.read("cpuset.cpus"))


def set_cpus(cgroup: Cgroup, cpus: Iterable[int]) -> None:
    """SyscallError EINVAL, ERANGE: no such CPU. v1 wants a part of what the cgroup above has (EACCES), and not an empty one (ENOSPC)."""
    cgroup.write("cpuset.cpus", format_list(cpus))


def get_mems(cgroup: Cgroup) -> list[int]:
    return parse_list(cgroup.read("cpuset.mems"))


def set_mems(cgroup: Cgroup, mems: Iterable[int]) -> None:
    cgroup.write("cpuset.mems", format_list(mems))


def effective_cpus(cgroup: Cgroup) -> list[int]:
    """Where its processes really may run: what was asked for, as far as the cgroups above and the machine have it."""
    return parse_list(cgroup.read("cpuset.cpus.effective"))


def effective_mems(cgroup: Cgroup) -> list[int]:
    return parse_list(cgroup.read("cpuset.mems.effective"))
