"""Several limits at once, in an order that works: all of them, or none.

Interface: set_first(cgroup, values) for a new cgroup, apply(cgroup, values) for one at work.
*values*: v2 file -> text, as in the runtime-spec's linux.resources.unified; io.max and io.weight may have a line for each device.
"""

from __future__ import annotations

import errno

from minidocker.errors import MinidockerError, SpecError, SyscallError
from minidocker.linux.cgroups import formats, memory
from minidocker.linux.cgroups.v2 import Cgroup

REFUSALS = (errno.EINVAL, errno.ERANGE, errno.ENODEV, errno.EBUSY, errno.EACCES, errno.EPERM, errno.ENOSPC)
HINTS = {
    "cpuset.cpus": "choose from the CPUs of this machine: nproc --all",
    "cpuset.mems": "choose from the memory nodes of this machine: cat /sys/devices/system/node/online",
    "cpu.max": "a quota and a period are each at least 1000 microseconds, a period at most 1000000",
    "io.max": "the device is a whole disk: lsblk -o NAME,MAJ:MIN",
}


def set_first(cgroup: Cgroup, values: dict[str, str]) -> None:
    """Write each value into a new cgroup. After an error it is to be removed. Errors as `apply`."""
    for file, value in in_order(values):
        write(cgroup, file, value)


def apply(cgroup: Cgroup, values: dict[str, str]) -> None:
    """Write each value; if one is refused, put back those before it and raise why.

    A memory.max under what is used and cannot be reclaimed is refused (SpecError) on either version, and kills nobody.
    SpecError: the kernel finds a value impossible; MissingFeature: this host has no such file; SyscallError: everything else.
    """
    before: list[tuple[str, str]] = []
    try:
        for file, value in in_order(values):
            old = undo_text(file, cgroup.read(file), value)
            if file == "memory.max" and value != "max":
                memory.make_room(cgroup, formats.number(value))
            write(cgroup, file, value)
            before.append((file, old))
    except MinidockerError as error:
        for file, old in reversed(before):
            put_back(cgroup, file, old, error)
        raise


def write(cgroup: Cgroup, file: str, value: str) -> None:
    """One value, and the kernel's refusal in words."""
    try:
        cgroup.write(file, value)
    except SyscallError as error:
        if error.errno == errno.EBUSY and file == "memory.max" and value.isdigit():
            raise memory.too_small(int(value), memory.current(cgroup)) from error
        if error.errno in REFUSALS:
            raise SpecError(f"{file} cannot be {value!r} here: {error.strerror}", hint=HINTS.get(file, "")) from error
        raise


def put_back(cgroup: Cgroup, file: str, old: str, reason: MinidockerError) -> None:
    """The error that is on its way, *reason*, also tells of a value that cannot be put back: its cgroup has grown meanwhile."""
    try:
        cgroup.write(file, old)
    except SyscallError as error:
        reason.hint = f"{file} could not be set back to {old!r}: {error}"


def in_order(values: dict[str, str]) -> list[tuple[str, str]]:
    """Write by write. v1 limits memory and swap together: swap's limit goes first when it is lifted, and after memory's otherwise."""
    first = ["memory.swap.max"] if values.get("memory.swap.max") == "max" else []
    order = [*first, "memory.max", "memory.swap.max", "cpuset.mems", "cpuset.cpus", "cpu.max", "cpu.max.burst"]
    files = sorted(values, key=lambda file: order.index(file) if file in order else len(order))
    return [(file, line) for file in files for line in (values[file].splitlines() if file in ("io.max", "io.weight") else [values[file]])]


def undo_text(file: str, now: str, new: str) -> str:
    """What to write to have *now* again after *new*. A file with a line per device takes one at a time, and lists none without limits."""
    if file not in ("io.max", "io.weight"):
        return now
    key = new.partition(" ")[0]
    if key.isdigit():  # a bare weight means the default one
        key = "default"
    lines = [line for line in now.splitlines() if line.partition(" ")[0] == key]
    return lines[0] if lines else f"{key} rbps=max wbps=max riops=max wiops=max" if file == "io.max" else f"{key} default"
