"""Where each v2 file's fact is on v1, and how its text is turned into v2's form and back. This is the whole difference of the two.

Interface: TRANSLATION: v2 file -> File(read, write); each takes `where`, which gives the directory of a v1 controller.
What is not here does not exist on v1: memory.high, memory.min, memory.oom.group.
Man page: Documentation/admin-guide/cgroup-v1/ (memory.rst, cpusets.rst, blkio-controller.rst), cgroups(7).
"""

from __future__ import annotations

import errno
from collections import namedtuple

from minidocker.errors import MissingFeature, SyscallError
from minidocker.linux.cgroups import cpu, formats
from minidocker.linux.cgroups.v2 import read, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Where = Callable[[str], str]

File = namedtuple("File", "read write", defaults=(None,))
File.__doc__ = """*read*(where) -> v2's text; *write*(where, v2's text), or None: read only."""

UNLIMITED = 1 << 62  # v1 shows "no limit" as the largest multiple of the page size
TICKS_US = 10_000  # cpuacct.stat counts in USER_HZ, which is 100 on every architecture of ours


def _same(text: str) -> str:
    return text


def limit_from_v2(text: str) -> str:
    return "-1" if text == "max" else text


def limit_to_v2(text: str) -> str:
    return "max" if int(text) >= UNLIMITED or int(text) < 0 else text


def as_is(controller: str, name: str, from_v2: Callable[[str], str] | None = _same, to_v2: Callable[[str], str] = _same) -> File:
    """One file for one file; *from_v2* None: read only."""

    def read_it(where: Where) -> str:
        return to_v2(read(f"{where(controller)}/{name}"))

    def write_it(where: Where, text: str) -> None:
        assert from_v2 is not None
        write(f"{where(controller)}/{name}", from_v2(text))

    return File(read_it, write_it if from_v2 else None)


# -- memory ------------------------------------------------------------------------------------------------------------
# v1 has no limit on swap alone, but one on memory and swap together (memsw), which must never be under that on memory.

MEMORY, BOTH = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"


def memory_limits(directory: str) -> tuple[int | None, int | None]:
    """What memory, and both together, are limited to. The latter is None as well where the kernel does not count swap."""
    return formats.limit(limit_to_v2(read(f"{directory}/{MEMORY}"))), formats.limit(
        limit_to_v2(read_if_there(f"{directory}/{BOTH}") or "-1")
    )


def read_if_there(path: str) -> str:
    """ "" if the kernel has no such file: it was built, or booted, without counting swap."""
    try:
        return read(path)
    except SyscallError as error:
        if error.errno != errno.ENOENT:
            raise
        return ""


def write_memory_max(where: Where, text: str) -> None:
    """Move both limits, so that as much swap as before is allowed. The outer one goes first when they rise, last when they fall."""
    directory, new = where("memory"), formats.limit(text)
    old, both = memory_limits(directory)
    if old is None or both is None:  # swap without a limit, which is also that with which a cgroup begins
        write(f"{directory}/{MEMORY}", limit_from_v2(text))
        return
    if new is None:
        raise MissingFeature("v1 cannot limit swap where memory has no limit", hint="set memory.swap.max to max first")
    steps = [(BOTH, new + both - old, both), (MEMORY, new, old)]
    done: list[tuple[str, int]] = []
    try:
        for name, value, before in steps if new > old else reversed(steps):
            write(f"{directory}/{name}", str(value))
            done.append((name, before))
    except SyscallError:
        for name, before in reversed(done):
            write(f"{directory}/{name}", str(before))
        raise


def read_swap_max(where: Where) -> str:
    limit, both = memory_limits(where("memory"))
    if both is None or limit is None:
        read(f"{where('memory')}/{BOTH}")  # says what is missing, if it is
        return "max"
    return str(both - limit)


def write_swap_max(where: Where, text: str) -> None:
    directory, swap = where("memory"), formats.limit(text)
    limit, _ = memory_limits(directory)
    if swap is not None and limit is None:
        raise MissingFeature("v1 cannot limit swap where memory has no limit", hint="set memory.max first")
    write(f"{directory}/{BOTH}", "-1" if swap is None or limit is None else str(limit + swap))


# v2's name -> v1's; the total_ ones include the cgroups below, as v2 does.
MEMORY_STAT = {
    "anon": "total_rss", "file": "total_cache", "shmem": "total_shmem", "file_mapped": "total_mapped_file",
    "file_dirty": "total_dirty", "file_writeback": "total_writeback", "swapcached": "total_swapcached", "anon_thp": "total_rss_huge",
    "inactive_anon": "total_inactive_anon", "active_anon": "total_active_anon", "inactive_file": "total_inactive_file",
    "active_file": "total_active_file", "unevictable": "total_unevictable",
    "workingset_refault_anon": "total_workingset_refault_anon", "workingset_refault_file": "total_workingset_refault_file",
    "pgfault": "total_pgfault", "pgmajfault": "total_pgmajfault",
}  # fmt: skip


def read_memory_stat(where: Where) -> str:
    found = formats.flat_keyed(read(f"{where('memory')}/memory.stat"))
    kernel = read(f"{where('memory')}/memory.kmem.usage_in_bytes")
    return "\n".join([*(f"{name} {found[v1]}" for name, v1 in MEMORY_STAT.items() if v1 in found), f"kernel {kernel}"])


def read_swap_current(where: Where) -> str:
    return str(formats.flat_keyed(read(f"{where('memory')}/memory.stat")).get("total_swap", 0))


def read_memory_events(where: Where) -> str:
    """v1 has none of the boundaries low and high, and counts no `oom` apart from the kill that follows each. How often the limit was
    reached it counts for memory only: where no swap is allowed the limit on both is reached first, and `max` stays 0."""
    kills = formats.flat_keyed(read(f"{where('memory')}/memory.oom_control")).get("oom_kill", 0)
    reached = read(f"{where('memory')}/memory.failcnt")
    return f"low 0\nhigh 0\nmax {reached}\noom {kills}\noom_kill {kills}\noom_group_kill 0"


# -- cpu ---------------------------------------------------------------------------------------------------------------


def read_cpu_max(where: Where) -> str:
    quota, period = (read(f"{where('cpu')}/cpu.cfs_{name}_us") for name in ("quota", "period"))
    return f"{'max' if int(quota) < 0 else quota} {period}"


def write_cpu_max(where: Where, text: str) -> None:
    """Two files for one: between the writes no pair may be one that the kernel refuses, and after a refusal all is as before."""
    quota, _, period = text.partition(" ")
    base = f"{where('cpu')}/cpu.cfs_"
    old_quota, old_period = read(f"{base}quota_us"), read(f"{base}period_us")
    period = period or old_period
    try:
        write(f"{base}quota_us", "-1")
        write(f"{base}period_us", period)
        write(f"{base}quota_us", limit_from_v2(quota))
    except SyscallError:
        write(f"{base}period_us", old_period)
        write(f"{base}quota_us", old_quota)
        raise


def weight_from_v2(text: str) -> str:
    """v1's kernel would take any number of shares; v2's has bounds, and so have we."""
    if not (text.isascii() and text.isdigit()):
        raise SyscallError("write", errno.EINVAL, "cpu.weight")
    if not cpu.WEIGHTS[0] <= int(text) <= cpu.WEIGHTS[1]:
        raise SyscallError("write", errno.ERANGE, "cpu.weight")
    return str(cpu.shares_from_weight(int(text)))


def read_cpu_stat(where: Where) -> str:
    usage = int(read(f"{where('cpuacct')}/cpuacct.usage")) // 1000
    ticks = formats.flat_keyed(read(f"{where('cpuacct')}/cpuacct.stat"))
    user = min(usage, ticks["user"] * TICKS_US)
    throttling = formats.flat_keyed(read(f"{where('cpu')}/cpu.stat"))
    lines = [f"usage_usec {usage}", f"user_usec {user}", f"system_usec {usage - user}"]
    lines += [f"{name} {throttling[name]}" for name in ("nr_periods", "nr_throttled", "nr_bursts") if name in throttling]
    named = {"throttled_usec": "throttled_time", "burst_usec": "burst_time"}
    return "\n".join(lines + [f"{name} {throttling[v1] // 1000}" for name, v1 in named.items() if v1 in throttling])


# -- io ----------------------------------------------------------------------------------------------------------------

IO_MAX = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}
IO_STAT = {"Read": "r", "Write": "w", "Discard": "d"}


def read_io_max(where: Where) -> str:
    devices: dict[str, dict[str, str]] = {}
    for name, v1 in IO_MAX.items():
        for line in read(f"{where('blkio')}/blkio.throttle.{v1}_device").splitlines():
            device, _, value = line.partition(" ")
            devices.setdefault(device, dict.fromkeys(IO_MAX, "max"))[name] = value
    return "\n".join(f"{device} {' '.join(f'{name}={value}' for name, value in pairs.items())}" for device, pairs in devices.items())


def write_io_max(where: Where, text: str) -> None:
    for device, pairs in formats.nested_keyed(text).items():
        for name, value in pairs.items():
            if name not in IO_MAX:
                raise SyscallError("write", errno.EINVAL, f"io.max: {name}")
            write(f"{where('blkio')}/blkio.throttle.{IO_MAX[name]}_device", f"{device} {0 if value == 'max' else value}")


def read_io_stat(where: Where) -> str:
    devices: dict[str, dict[str, str]] = {}
    for ending, v1 in {"bytes": "io_service_bytes", "ios": "io_serviced"}.items():
        for line in read(f"{where('blkio')}/blkio.throttle.{v1}_recursive").splitlines():
            device, _, rest = line.partition(" ")
            kind, _, value = rest.partition(" ")
            if kind in IO_STAT:
                devices.setdefault(device, {})[f"{IO_STAT[kind]}{ending}"] = value
    return "\n".join(f"{device} {' '.join(f'{name}={value}' for name, value in pairs.items())}" for device, pairs in devices.items())


def io_weight_from_v2(text: str) -> str:
    weight = text.removeprefix("default ")
    if weight.isdigit() and int(weight) > 1000:
        raise MissingFeature(f"v1 has I/O weights up to 1000 only, not {weight}", hint="ratios count: choose smaller ones for all")
    return weight


# -- freezer, where there is no v2 tree ---------------------------------------------------------------------------------


def read_cgroup_events(where: Where) -> str:
    """As v2's, but nobody is told of a change."""
    populated = bool(read(f"{where('freezer')}/cgroup.procs"))
    frozen = read(f"{where('freezer')}/freezer.state") == "FROZEN"
    return f"populated {int(populated)}\nfrozen {int(frozen)}"


TRANSLATION = {
    "memory.max": File(lambda where: limit_to_v2(read(f"{where('memory')}/{MEMORY}")), write_memory_max),
    "memory.swap.max": File(read_swap_max, write_swap_max),
    "memory.swap.current": File(read_swap_current),
    "memory.low": as_is("memory", "memory.soft_limit_in_bytes", limit_from_v2, limit_to_v2),
    "memory.current": as_is("memory", "memory.usage_in_bytes", None),
    "memory.peak": as_is("memory", "memory.max_usage_in_bytes", None),
    "memory.events": File(read_memory_events),
    "memory.stat": File(read_memory_stat),
    "pids.max": as_is("pids", "pids.max"),
    "pids.current": as_is("pids", "pids.current", None),
    "pids.peak": as_is("pids", "pids.peak", None),
    "pids.events": as_is("pids", "pids.events", None),
    "cpu.weight": as_is("cpu", "cpu.shares", weight_from_v2, lambda text: str(cpu.nearest_weight(int(text)))),
    "cpu.max": File(read_cpu_max, write_cpu_max),
    "cpu.max.burst": as_is("cpu", "cpu.cfs_burst_us"),
    "cpu.stat": File(read_cpu_stat),
    "cpuset.cpus": as_is("cpuset", "cpuset.cpus"),
    "cpuset.mems": as_is("cpuset", "cpuset.mems"),
    "cpuset.cpus.effective": as_is("cpuset", "cpuset.effective_cpus", None),
    "cpuset.mems.effective": as_is("cpuset", "cpuset.effective_mems", None),
    "io.max": File(read_io_max, write_io_max),
    "io.stat": File(read_io_stat),
    "io.weight": as_is("blkio", "blkio.bfq.weight", io_weight_from_v2, lambda text: f"default {text.removeprefix('default ')}"),
    "cgroup.freeze": as_is(
        "freezer", "freezer.state", lambda text: "FROZEN" if text == "1" else "THAWED", lambda state: "0" if state == "THAWED" else "1"
    ),
    "cgroup.events": File(read_cgroup_events),
}
