"""The io controller: how fast a cgroup may read from and write to each block device, and how much it did.

Interface: Max get_max set_max Stat stat get_weight set_weight. A device is "major:minor", of a whole disk, not of a partition.
Limits hold for what reaches the device: reads that the page cache answers are free. v2 also slows down buffered writes, where the
filesystem tells whose they are (ext4, btrfs, xfs); v1 only direct ones.
Man page: cgroups(7), "IO" in cgroup-v2.rst. The same from a shell: lsblk -o NAME,MAJ:MIN; cat io.stat. Notebook: 12.
"""

from __future__ import annotations

from collections import namedtuple

from minidocker.errors import SpecError
from minidocker.linux.cgroups import formats
from minidocker.linux.cgroups.v2 import Cgroup

Max = namedtuple("Max", "rbps wbps riops wiops", defaults=(None, None, None, None))
Max.__doc__ = """Bytes and operations per second, read and written. None: no limit."""
Stat = namedtuple("Stat", "rbytes wbytes rios wios dbytes dios", defaults=(0, 0, 0, 0, 0, 0))
Stat.__doc__ = """Bytes and operations, read, written and discarded, since the cgroup was made."""
WEIGHTS = (1, 10_000)


def get_max(cgroup: Cgroup) -> dict[str, Max]:
    """Device -> limits, for each device that has one."""
    return {
        formats.device(device): Max(**{name: formats.limit(pairs.get(name, "max")) for name in Max._fields})
        for device, pairs in formats.nested_keyed(cgroup.read("io.max")).items()
    }


def set_max(cgroup: Cgroup, device: str, limits: Max) -> None:
    """All four at once. SyscallError ENODEV: no such device, or a partition."""
    pairs = zip(Max._fields, limits, strict=True)
    cgroup.write("io.max", " ".join([formats.device(device), *(f"{name}={formats.limit_text(value)}" for name, value in pairs)]))


def stat(cgroup: Cgroup) -> dict[str, Stat]:
    """Device -> what was done. v1 counts only on devices for which some cgroup has, or had, a limit."""
    return {
        formats.device(device): Stat(**{name: formats.number(pairs.get(name, "0")) for name in Stat._fields})
        for device, pairs in formats.nested_keyed(cgroup.read("io.stat")).items()
    }


def get_weight(cgroup: Cgroup) -> int:
    """The weight for every device that has none of its own: the line "default 100"."""
    words = dict(line.split(" ", 1) for line in cgroup.read("io.weight").splitlines())
    return formats.number(words["default"])


def set_weight(cgroup: Cgroup, weight: int) -> None:
    """The part of the device's time among siblings that all want it. It counts only where the device's scheduler knows it: BFQ, or
    on v2 io.cost. MissingFeature: the kernel has neither; on v1 over 1000."""
    if not WEIGHTS[0] <= weight <= WEIGHTS[1]:
        raise SpecError(f"an I/O weight is {WEIGHTS[0]} to {WEIGHTS[1]}, not {weight}")
    cgroup.write("io.weight", f"default {weight}")
