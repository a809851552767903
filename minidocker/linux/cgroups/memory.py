"""The memory controller: how much a cgroup uses, what it may use, and what happens at the limit.

Interface: current peak swap_current stat events; get_/set_ max high low min swap_max oom_group; make_room.
Bytes throughout; None is "max", no limit. oom.py tells of a kill when it comes.
Man page: cgroups(7), "Memory" in cgroup-v2.rst. The same from a shell: cat memory.current. Notebook: 10.
"""

from __future__ import annotations

from collections import namedtuple

from minidocker.errors import MinidockerError, MissingFeature, SpecError, SyscallError
from minidocker.linux.cgroups import formats
from minidocker.linux.cgroups.v2 import Cgroup

Events = namedtuple("Events", "low high max oom oom_kill oom_group_kill", defaults=(0, 0, 0, 0, 0, 0))
Events.__doc__ = """How often something happened, in the cgroup and below: *max* counts the times the limit held an allocation back to
reclaim, *oom* those where nothing could be reclaimed, *oom_kill* the processes killed for it."""


def current(cgroup: Cgroup) -> int:
    """What is charged now: anonymous memory, page cache, kernel objects, of the cgroup and all below."""
    return formats.number(cgroup.read("memory.current"))


def peak(cgroup: Cgroup) -> int:
    """The most that `current` has ever been. MissingFeature: v2 before Linux 5.19."""
    return formats.number(cgroup.read("memory.peak"))


def swap_current(cgroup: Cgroup) -> int:
    return formats.number(cgroup.read("memory.swap.current"))


def events(cgroup: Cgroup) -> Events:
    """The counters of memory.events. On v1 *low*, *high* and *oom_group_kill* cannot happen, *oom* is not counted by itself and shown
    as *oom_kill*, and what happened in cgroups below is not included."""
    found = formats.flat_keyed(cgroup.read("memory.events"))
    return Events(**{name: found[name] for name in Events._fields if name in found})


def stat(cgroup: Cgroup) -> dict[str, int]:
    """What the memory is used for, by v2's names: anon file shmem kernel file_mapped ... On v1 those which it counts as well."""
    return formats.flat_keyed(cgroup.read("memory.stat"))


def get_max(cgroup: Cgroup) -> int | None:
    return formats.limit(cgroup.read("memory.max"))


def set_max(cgroup: Cgroup, value: int | None) -> None:
    """The hard limit: at it, memory is reclaimed, and if that does not help, a process is killed.

    Below what is used and cannot be reclaimed, v2 kills at once while v1 refuses (EBUSY): see `make_room`."""
    cgroup.write("memory.max", formats.limit_text(value))


def get_high(cgroup: Cgroup) -> int | None:
    return formats.limit(cgroup.read("memory.high"))


def set_high(cgroup: Cgroup, value: int | None) -> None:
    """The soft brake: above it, processes are slowed down and reclaim, but never killed. MissingFeature: on v1."""
    cgroup.write("memory.high", formats.limit_text(value))


def get_low(cgroup: Cgroup) -> int | None:
    return formats.limit(cgroup.read("memory.low"))


def set_low(cgroup: Cgroup, value: int | None) -> None:
    """What is kept for the cgroup as long as others can be reclaimed from. On v1 its soft limit: what it is reclaimed down to first."""
    cgroup.write("memory.low", formats.limit_text(value))


def get_min(cgroup: Cgroup) -> int | None:
    return formats.limit(cgroup.read("memory.min"))


def set_min(cgroup: Cgroup, value: int | None) -> None:
    """What is never reclaimed from the cgroup, even if others are killed for it. MissingFeature: on v1."""
    cgroup.write("memory.min", formats.limit_text(value))


def get_swap_max(cgroup: Cgroup) -> int | None:
    return formats.limit(cgroup.read("memory.swap.max"))


def set_swap_max(cgroup: Cgroup, value: int | None) -> None:
    """How much may be swapped out, beside memory.max. v1 limits the sum of both, so there memory.max has to be set first."""
    cgroup.write("memory.swap.max", formats.limit_text(value))


def get_oom_group(cgroup: Cgroup) -> bool:
    return cgroup.read("memory.oom.group") == "1"


def set_oom_group(cgroup: Cgroup, *, value: bool) -> None:
    """Let the OOM killer take all processes of the cgroup together, not one of them. MissingFeature: on v1."""
    cgroup.write("memory.oom.group", "1" if value else "0")


def make_room(cgroup: Cgroup, limit: int) -> None:
    """Reclaim until no more than *limit* is used, so that it can become memory.max without killing anybody.

    SpecError: more than that is in use for good. Where the kernel cannot be asked to reclaim, v1 does it at the change of the limit."""
    excess = current(cgroup) - limit
    if excess <= 0:
        return
    try:
        cgroup.write("memory.reclaim", str(excess))
    except MissingFeature:
        return
    except SyscallError as error:
        if error.errno != 11:  # EAGAIN: it could reclaim less than that
            raise
    if (used := current(cgroup)) > limit:
        raise too_small(limit, used)


def too_small(limit: int, used: int) -> MinidockerError:
    hint = "stop what uses it, or choose a larger limit"
    return SpecError(f"the limit of {limit} bytes is less than the {used} bytes in use that cannot be reclaimed", hint=hint)
