"""What the kernel is told of a container's limits: cgroup v2's files and values, as `linux.resources.unified` in the bundle has them.

Interface: files(resources) -> {v2 file: value}, changes(before, after), check(files, engine). Written by linux/cgroups/limits.py.
`io.max` has one line per device, each to be written by itself. Documentation/admin-guide/cgroup-v2.rst. Notebooks: 10 to 12.
"""

from __future__ import annotations

import errno
import os
import stat

from minidocker.engine.record import Resources
from minidocker.errors import SpecError, SyscallError
from minidocker.linux import cgroups

PERIOD_US = 100_000
# The files that have a flag of their own.
FLAGS = {
    "memory.max": "memory",
    "memory.low": "memory-reservation",
    "memory.swap.max": "memory-swap",
    "cpu.max": "cpus",
    "cpu.weight": "cpu-shares",
    "cpuset.cpus": "cpuset-cpus",
    "cpuset.mems": "cpuset-mems",
    "pids.max": "pids-limit",
    "io.max": "device-read-bps",
    "io.weight": "blkio-weight",
}
RARE = {"io.max", "io.weight"}  # and those without a flag: not every host has them
IO_KEYS = {"device_read_bps": "rbps", "device_write_bps": "wbps", "device_read_iops": "riops", "device_write_iops": "wiops"}
ONLINE = {"cpuset.cpus": "/sys/devices/system/cpu/online", "cpuset.mems": "/sys/devices/system/node/online"}
# What each file says when there is no limit: for an update that takes one away.
UNLIMITED = {
    "memory.max": "max",
    "memory.low": "0",
    "memory.high": "max",
    "memory.min": "0",
    "memory.oom.group": "0",
    "memory.swap.max": "max",
    "cpu.max": f"max {PERIOD_US}",
    "cpu.weight": "100",
    "pids.max": "max",
    "io.weight": "default 100",
}


def files(resources: Resources) -> dict[str, str]:
    """The cgroup's files and values. SpecError: there is no such device."""
    found: dict[str, str] = {}
    if resources.memory:
        found["memory.max"] = str(resources.memory)
    if resources.memory_reservation:
        found["memory.low"] = str(resources.memory_reservation)
    if resources.memory_swap > 0:
        found["memory.swap.max"] = str(resources.memory_swap - resources.memory)
    elif resources.memory_swap < 0:
        found["memory.swap.max"] = "max"
    elif resources.memory and counts_swap():  # Docker's rule: as much swap again
        found["memory.swap.max"] = str(resources.memory)
    if resources.pids_limit:
        found["pids.max"] = str(resources.pids_limit)
    return found | _cpu_files(resources) | _io_files(resources) | resources.cgroup_conf


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
    found = {file: value for file, value in after.items() if before.get(file) != value and file != "io.max"}
    for file in set(before) - set(after) - {"io.max"}:
        if file not in UNLIMITED and file not in ONLINE:
            raise SpecError(f"cannot take back {file}", hint=f"give it a value: --cgroup-conf {file}=...")
        found[file] = UNLIMITED.get(file) or online(file)
    old, new = (_io_lines(files_of.get("io.max", "")) for files_of in (before, after))
    lines = []
    for number in sorted(old | new):
        wanted = dict.fromkeys(old.get(number, {}), "max") | new.get(number, {})
        if wanted != old.get(number):
            lines.append(f"{number} {' '.join(f'{key}={rate}' for key, rate in wanted.items())}")
    return found | ({"io.max": "\n".join(lines)} if lines else {})


def _io_lines(text: str) -> dict[str, dict[str, str]]:
    lines = [line.split() for line in text.splitlines()]
    return {line[0]: dict(word.split("=", 1) for word in line[1:]) for line in lines}


def check(files: dict[str, str], engine_name: str) -> None:
    """Does this host have the files that not every host has? Asked of the engine's own cgroup. MissingFeature: it does not."""
    rare = [file for file in files if file in RARE or file not in FLAGS]
    if not rare:
        return
    cgroup = cgroups.open_cgroup(engine_name)
    try:
        if not cgroup.exists():
            cgroup.create()
    except SyscallError as error:
        if error.errno != errno.EEXIST:  # a start was faster
            raise
    for file in rare:
        cgroup.read(file)


def online(file: str) -> str:
    """All CPUs or memory nodes that this machine has, as a list such as "0-3"."""
    with open(ONLINE[file], encoding="ascii") as opened:
        return opened.read().strip()


def counts_swap() -> bool:
    """Can this kernel limit swap? On v1 the controller must have been told at boot."""
    v1 = cgroups.layout().v1.get("memory")
    return os.path.exists(f"{v1}/memory.memsw.limit_in_bytes") if v1 else os.path.exists("/proc/swaps")
