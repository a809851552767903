"""What a container may use, as the user asked for it. All is checked before anything is made.

Interface: parse(options) -> fields of a record, check(resources), merged(record, changed), check_ulimits, parse_size, parse_rate,
parse_ulimit. What the kernel is told then: unified.py. The rules and the words are Docker's. Man pages: cgroups(7), setrlimit(2).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import msgspec

from minidocker.engine.record import ContainerRecord, ResourceOptions, Resources
from minidocker.engine.unified import FLAGS, PERIOD_US, counts_swap, online
from minidocker.errors import MissingFeature, SpecError
from minidocker.linux import syscalls

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)
_CONF = re.compile(r"[a-z]+(\.[a-z0-9_]+)+", re.ASCII)
_CAP_SYS_RESOURCE = 1 << 24
_RLIMIT_LOCKS = 10  # which Python does not know
LARGEST = (1 << 63) - 1  # what a signed 64-bit number, Docker's and the kernel's, can hold
MINIMUM_MEMORY = 6 << 20  # Docker's: below it not even a shell starts
ULIMITS = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()


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
    if file in FLAGS:
        raise SpecError(f"invalid cgroup configuration: {file} has a flag of its own", hint=f"use --{FLAGS[file]}")
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


def check_ulimits(ulimits: dict[str, tuple[int, int]]) -> None:
    """Above our own hard limit only who has CAP_SYS_RESOURCE may go. SpecError: we may not."""
    import resource

    for name, (soft, hard) in ulimits.items():
        ours = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}", _RLIMIT_LOCKS))[1]
        if ours != -1 and (hard == -1 or hard > ours) and not syscalls.capget()[0] & _CAP_SYS_RESOURCE:
            words = f"ulimit {name}={soft}:{hard}: this host allows at most {ours}"
            raise SpecError(words, hint=f"give at most {ours}, or run the engine with CAP_SYS_RESOURCE")
