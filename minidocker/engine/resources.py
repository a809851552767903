"""What a container may use: from Docker's flags, by Docker's rules, to cgroup v2's files. All is checked before anything is made.

Interface: parse(options) -> fields of a record, check(resources), unified(resources) -> {v2 file: value}, changes(before, after),
parse_size, parse_rate, parse_ulimit. `io.max` has one line per device, each to be written by itself.
Man pages: cgroups(7), setrlimit(2), Documentation/admin-guide/cgroup-v2.rst. Notebooks: 10 to 12.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Any

import msgspec

from minidocker.engine.record import ContainerRecord, ResourceOptions, Resources
from minidocker.errors import MissingFeature, SpecError
from minidocker.linux import cgroups, syscalls

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)
_CONF = re.compile(r"[a-z]+(\.[a-z0-9_]+)+", re.ASCII)
_CAP_SYS_RESOURCE = 1 << 24
_RLIMIT_LOCKS = 10  # which Python does not know
LARGEST = (1 << 63) - 1  # what a signed 64-bit number, Docker's and the kernel's, can hold
MINIMUM_MEMORY = 6 << 20  # Docker's: below it not even a shell starts
PERIOD_US = 100_000
IO_KEYS = {"device_read_bps": "rbps", "device_write_bps": "wbps", "device_read_iops": "riops", "device_write_iops": "wiops"}
ULIMITS = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
ONLINE = {"cpuset.cpus": "/sys/devices/system/cpu/online", "cpuset.mems": "/sys/devices/system/node/online"}
# What each file says when there is no limit: for an update that takes one away.
UNLIMITED = {
    "memory.max": "max",
    "memory.low": "0",
    "memory.swap.max": "max",
    "cpu.max": f"max {PERIOD_US}",
    "cpu.weight": "100",
    "pids.max": "max",
    "io.weight": "default 100",
}


# -- what was written ----------------------------------------------------------------------------------------------------


def parse(options: ResourceOptions) -> dict[str, Any]:
    """The options that limit something, as values of a record's fields; other options are passed over. SpecError: not to be understood."""
    if options.get("oom_kill_disable"):
        hint = "--cgroup-conf memory.high=BYTES slows it down instead, --cgroup-conf memory.oom.group=1 kills it as a whole"
        raise MissingFeature("the OOM killer cannot be disabled: cgroup v2 has no such switch", hint=hint)
    given: dict[str, Any] = dict(options)
    return {name: parser(given[name]) for name, parser in _PARSERS.items() if name in given}


def merged(record: ContainerRecord, changed: dict[str, Any]) -> ContainerRecord:
    """The record with what was *changed*, checked. SpecError: it cannot be."""
    if changed.get("memory", 0) > record.memory_swap > 0 and "memory_swap" not in changed:
        words = "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        raise SpecError(words, hint="give --memory-swap as well: memory and swap together, or -1")
    if changed.get("cpus"):  # the one replaces the other
        changed = {"cpu_quota": 0, "cpu_period": 0} | changed
    elif changed.get("cpu_quota") or changed.get("cpu_period"):
        changed = {"cpus": 0.0} | changed
    if "cgroup_conf" in changed:
        changed = changed | {"cgroup_conf": record.cgroup_conf | changed["cgroup_conf"]}
    after = msgspec.structs.replace(record, **changed)
    check(after)
    return after


def parse_size(size: str | int) -> int:
    """Bytes, from 67108864, "64m", "1.5g", "512KiB". SpecError: not a size."""
    if isinstance(size, int):
        if not 0 <= size <= LARGEST:
            raise SpecError(f"invalid size: {size}", hint="a number of bytes, or one with a unit, such as 64m")
        return size
    found = _SIZE.fullmatch(size.strip())
    value = int(float(found[1]) * _UNITS[found[2].lower()]) if found and len(found[1]) < 40 else -1
    if not 0 <= value <= LARGEST:
        raise SpecError(f"invalid size: {size[:40]!r}", hint="a number with a unit, such as 64m or 1.5g")
    return value


def parse_swap(size: str | int) -> int:
    """As `parse_size`, and -1 for as much as there is."""
    return -1 if str(size).strip() == "-1" else parse_size(size)


def parse_rate(text: str, *, sized: bool) -> tuple[str, int]:
    """(device's path, rate) from "/dev/sda:1mb" (*sized*: bytes a second) or "/dev/sda:100" (operations a second)."""
    path, colon, rate = text.partition(":")
    shown = text[:80]
    if not colon or not path:
        raise SpecError(f"bad format: {shown}", hint=f"write DEVICE:RATE, such as /dev/sda:{'1mb' if sized else '100'}")
    if not path.startswith("/dev/") or "\0" in path:
        raise SpecError(f"bad format for device path: {shown}", hint="a block device below /dev, such as /dev/sda")
    try:
        value = parse_size(rate) if sized else int(rate) if _NUMBER.fullmatch(rate) else -1
    except SpecError:
        value = -1
    if not 0 <= value <= LARGEST:
        form = "<device-path>:<number>" + ("[<unit>]" if sized else "")
        rest = "Number must be a positive integer" + (". Unit is optional and can be kb, mb, or gb" if sized else "")
        words = f"invalid rate for device: {shown}. The correct format is {form}. {rest}"
        raise SpecError(words, hint="0 takes the limit away")
    return path, value


def parse_ulimit(text: str) -> tuple[str, tuple[int, int]]:
    """(name, (soft, hard)) from "nofile=1024" or "nofile=1024:2048"; -1 for no limit."""
    name, equals, values = text.partition("=")
    hint = "write TYPE=SOFT[:HARD], such as nofile=1024:2048"
    if not equals:
        raise SpecError(f"invalid ulimit argument: {text[:80]}", hint=hint)
    if name not in ULIMITS:
        raise SpecError(f"invalid ulimit type: {name[:40]}", hint=f"types are {', '.join(ULIMITS)}")
    parts = values.split(":")
    if len(parts) > 2:
        raise SpecError(f"too many limit value arguments - {values[:80]}, can only have up to two, `soft[:hard]`", hint=hint)
    for part in parts:
        if part != "-1" and (not _NUMBER.fullmatch(part) or int(part) > LARGEST):
            raise SpecError(f"invalid ulimit value: {text[:80]}", hint=hint)
    soft, hard = int(parts[0]), int(parts[-1])
    if hard != -1 and (soft == -1 or soft > hard):
        raise SpecError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}", hint=hint)
    return name, (soft, hard)


def parse_conf(text: str) -> tuple[str, str]:
    """(file, value) from "memory.high=33554432": any file of a cgroup v2 controller, for what has no flag of its own."""
    file, equals, value = text.partition("=")
    if not equals or not value or not _CONF.fullmatch(file) or file.startswith("cgroup.") or "\0" in value:
        hint = "write FILE=VALUE with a file of a cgroup v2 controller, such as memory.high=33554432"
        raise SpecError(f"invalid cgroup configuration: {text[:80]!r}", hint=hint)
    return file, value


def _rates(*, sized: bool) -> Callable[[list[str]], dict[str, int]]:
    return lambda texts: {path: rate for path, rate in (parse_rate(text, sized=sized) for text in texts) if rate}


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "memory": parse_size,
    "memory_reservation": parse_size,
    "memory_swap": parse_swap,
    "cpus": float,
    "cpu_shares": int,
    "cpu_quota": lambda quota: max(0, quota),  # -1 is Docker's other word for none
    "cpu_period": int,
    "cpuset_cpus": str,
    "cpuset_mems": str,
    "pids_limit": lambda limit: max(0, limit),
    "blkio_weight": int,
    "device_read_bps": _rates(sized=True),
    "device_write_bps": _rates(sized=True),
    "device_read_iops": _rates(sized=False),
    "device_write_iops": _rates(sized=False),
    "cgroup_conf": lambda texts: dict(parse_conf(text) for text in texts),
}


# -- whether it can be -----------------------------------------------------------------------------------------------------


def check(resources: Resources) -> None:
    """Docker's rules, and what this host has. SpecError, MissingFeature: it cannot be."""
    _check_memory(resources)
    _check_cpu(resources)
    if resources.cpuset_cpus:
        _check_cpuset("CPUs", "cpuset.cpus", resources.cpuset_cpus)
    if resources.cpuset_mems:
        _check_cpuset("memory nodes", "cpuset.mems", resources.cpuset_mems)
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise SpecError("Range of blkio weight is from 10 to 1000", hint="500 is what everybody has; 0 leaves it at that")


def _check_memory(resources: Resources) -> None:
    memory, reservation, swap = resources.memory, resources.memory_reservation, resources.memory_swap
    if 0 < memory < MINIMUM_MEMORY:
        raise SpecError("Minimum memory limit allowed is 6MB", hint="give at least 6m")
    if 0 < reservation < MINIMUM_MEMORY:
        raise SpecError("Minimum memory reservation allowed is 6MB", hint="give at least 6m")
    if memory and reservation > memory:
        hint = "the reservation is what it keeps when memory is short: at most its limit"
        raise SpecError("Minimum memory limit can not be less than memory reservation limit, see usage", hint=hint)
    if swap > 0 and not memory:
        raise SpecError("You should always set the Memory limit when using Memoryswap limit, see usage", hint="give --memory as well")
    if 0 < swap < memory:
        hint = "--memory-swap is memory and swap together"
        raise SpecError("Minimum memoryswap limit should be larger than memory limit, see usage", hint=hint)
    if swap and not counts_swap():
        words = "Your kernel does not support swap limit capabilities or the cgroup is not mounted"
        raise MissingFeature(words, hint="leave out --memory-swap")


def _check_cpu(resources: Resources) -> None:
    cpus, available = resources.cpus, os.cpu_count() or 1
    if cpus and (resources.cpu_period or resources.cpu_quota):
        other = "Period" if resources.cpu_period else "Quota"
        hint = "--cpus N is a quota of N times 100 ms in a period of 100 ms: give the one or the other"
        raise SpecError(f"Conflicting options: Nano CPUs and CPU {other} cannot both be set", hint=hint)
    if cpus and not 0.01 <= cpus <= available:
        words = f"Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available"
        raise SpecError(words, hint="a number of CPUs, such as 0.5")
    if resources.cpu_shares and not 2 <= resources.cpu_shares <= 262144:
        bound = "minimum allowed cpu-shares is 2" if resources.cpu_shares < 2 else "maximum allowed cpu-shares is 262144"
        raise SpecError(f"the {bound}", hint="1024 is what everybody has")
    if resources.cpu_period and not 1000 <= resources.cpu_period <= 1_000_000:
        words = "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        raise SpecError(words, hint="microseconds; 100000 is usual")
    if 0 < resources.cpu_quota < 1000:
        raise SpecError("CPU cfs quota can not be less than 1ms (i.e. 1000)", hint="microseconds in each period")
    if resources.cpu_quota > available * (resources.cpu_period or PERIOD_US):
        words = f"CPU cfs quota can not be larger than {available} periods, as there are only {available} CPUs available"
        raise SpecError(words, hint="microseconds in each period")


def _check_cpuset(what: str, file: str, wanted: str) -> None:
    from minidocker.linux.cgroups import cpuset

    try:
        asked = set(cpuset.parse_list(wanted))
    except SpecError as error:
        words = f"Invalid value {wanted[:40]} for {file.replace('.', ' ')}"
        raise SpecError(words, hint="numbers and ranges, such as 0,2-3") from error
    if not asked <= set(cpuset.parse_list(online(file))):
        words = f"Requested {what} are not available - requested {wanted[:40]}, available: {online(file)}"
        raise SpecError(words, hint=f"choose from {online(file)}")


def online(file: str) -> str:
    """All CPUs or memory nodes that this machine has, as a list such as "0-3"."""
    with open(ONLINE[file], encoding="ascii") as opened:
        return opened.read().strip()


def check_ulimits(ulimits: dict[str, tuple[int, int]]) -> None:
    """Above our own hard limit only who has CAP_SYS_RESOURCE may go. SpecError: we may not."""
    import resource

    for name, (soft, hard) in ulimits.items():
        ours = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}", _RLIMIT_LOCKS))[1]
        if ours != -1 and (hard == -1 or hard > ours) and not syscalls.capget()[0] & _CAP_SYS_RESOURCE:
            words = f"ulimit {name}={soft}:{hard}: this host allows at most {ours}"
            raise SpecError(words, hint=f"give at most {ours}, or run the engine with CAP_SYS_RESOURCE")


def counts_swap() -> bool:
    """Can this kernel limit swap? On v1 the controller must have been told at boot."""
    v1 = cgroups.layout().v1.get("memory")
    return os.path.exists(f"{v1}/memory.memsw.limit_in_bytes") if v1 else os.path.exists("/proc/swaps")


# -- what the kernel is told -------------------------------------------------------------------------------------------------


def unified(resources: Resources) -> dict[str, str]:
    """The cgroup's files and values. SpecError: there is no such device."""
    files: dict[str, str] = {}
    if resources.memory:
        files["memory.max"] = str(resources.memory)
    if resources.memory_reservation:
        files["memory.low"] = str(resources.memory_reservation)
    if resources.memory_swap > 0:
        files["memory.swap.max"] = str(resources.memory_swap - resources.memory)
    elif resources.memory_swap < 0:
        files["memory.swap.max"] = "max"
    elif resources.memory and counts_swap():  # Docker's rule: as much swap again
        files["memory.swap.max"] = str(resources.memory)
    if resources.pids_limit:
        files["pids.max"] = str(resources.pids_limit)
    return files | _cpu_files(resources) | _io_files(resources) | resources.cgroup_conf


def _cpu_files(resources: Resources) -> dict[str, str]:
    files = {}
    if resources.cpus:
        files["cpu.max"] = f"{round(resources.cpus * PERIOD_US)} {PERIOD_US}"
    elif resources.cpu_quota or resources.cpu_period:
        files["cpu.max"] = f"{resources.cpu_quota or 'max'} {resources.cpu_period or PERIOD_US}"
    if resources.cpu_shares:
        from minidocker.linux.cgroups import cpu

        files["cpu.weight"] = str(cpu.weight_from_shares(resources.cpu_shares))
    if resources.cpuset_cpus:
        files["cpuset.cpus"] = resources.cpuset_cpus
    if resources.cpuset_mems:
        files["cpuset.mems"] = resources.cpuset_mems
    return files


def _io_files(resources: Resources) -> dict[str, str]:
    limits: dict[str, dict[str, int]] = {}
    for name, key in IO_KEYS.items():
        for path, rate in getattr(resources, name).items():
            limits.setdefault(device_number(path), {})[key] = rate
    files = {}
    if limits:
        files["io.max"] = "\n".join(
            f"{number} {' '.join(f'{key}={rate}' for key, rate in rates.items())}" for number, rates in limits.items()
        )
    if resources.blkio_weight:
        files["io.weight"] = f"default {round(resources.blkio_weight / 5)}"  # ratios stay, and Docker's 500 becomes v2's 100
    return files


def device_number(path: str) -> str:
    """ "8:0" for /dev/sda. SpecError: no such block device."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise SpecError(f"no such device: {path[:80]}: {error.strerror}", hint="`lsblk` lists the block devices") from error
    if not stat.S_ISBLK(found.st_mode):
        raise SpecError(f"not a block device: {path[:80]}", hint="`lsblk` lists the block devices")
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def changes(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """The files to write so that a cgroup with the values *before* has those of *after*; what is in *before* only becomes unlimited.

    SpecError: nobody knows what a file of cgroup_conf says without a limit.
    """
    files = {file: value for file, value in after.items() if before.get(file) != value and file != "io.max"}
    for file in set(before) - set(after) - {"io.max"}:
        if file not in UNLIMITED and file not in ONLINE:
            raise SpecError(f"cannot take back {file}", hint=f"give it a value: --cgroup-conf {file}=...")
        files[file] = UNLIMITED.get(file) or online(file)
    old, new = (_io_lines(files_of.get("io.max", "")) for files_of in (before, after))
    lines = []
    for number in sorted(old | new):
        wanted = dict.fromkeys(old.get(number, {}), "max") | new.get(number, {})
        if wanted != old.get(number):
            lines.append(f"{number} {' '.join(f'{key}={rate}' for key, rate in wanted.items())}")
    return files | ({"io.max": "\n".join(lines)} if lines else {})


def _io_lines(text: str) -> dict[str, dict[str, str]]:
    lines = [line.split() for line in text.splitlines()]
    return {line[0]: dict(word.split("=", 1) for word in line[1:]) for line in lines}
