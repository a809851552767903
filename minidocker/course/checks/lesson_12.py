"""Checks of lesson 12."""

from __future__ import annotations

from typing import Any

from minidocker.course.checks.registry import Miss, NotAttempted, Work, exercise
from minidocker.course.child import Child
from minidocker.course.lab import lab
from minidocker.errors import ContainerNotFound
from minidocker.linux import cgroups
from minidocker.linux.cgroups import freezer, io, pids

MIB = 1 << 20
RUN = 'lab.engine.containers.run("busybox", ["sleep", "600"], detach=True, name="backup"'
READ, WRITE = 'device_read_bps=[f"{device}:2mb"]', 'device_write_bps=[f"{device}:1mb"]'


@exercise(
    "12",
    1,
    hints=[
        "Three options: pids_limit, device_read_bps and device_write_bps.",
        'The rates are lists of "DEVICE:RATE": [f"{device}:2mb"].',
    ],
    wrong=[
        (f"{RUN}, pids_limit=16, {WRITE})", "reads"),
        (f"{RUN}, {READ}, {WRITE})", "processes"),
        (f"{RUN}, pids_limit=16, {READ.replace('2mb', '1mb')}, {WRITE.replace('1mb', '2mb')})", "the other way round"),
        (f"{RUN}, pids_limit=16, {READ.replace('2mb', '2')}, {WRITE.replace('1mb', '1')})", "bytes"),
    ],
)
def modest_backup(work: Work) -> str:
    try:
        backup = lab.engine.containers.get("backup")
    except ContainerNotFound:
        raise NotAttempted("start a container called backup") from None
    if backup.status != "running":
        raise Miss("there is a container called backup, but it does not run")
    group, number = cgroups.open_cgroup(backup.cgroup), str(work.value("number"))
    limits = io.get_max(group).get(number, io.Max())
    if (limits.rbps, limits.wbps) == (MIB, 2 * MIB):
        raise Miss("it is the other way round: 2 MiB a second are for reading, 1 for writing")
    for what, rate, wanted in (("reads", limits.rbps, 2), ("writes", limits.wbps, 1)):
        if rate is None:
            raise Miss(f"io.max says nothing about how fast it {what} on our device")
        if rate != wanted * MIB:
            raise Miss(f"io.max says that it {what} {rate} bytes a second: {wanted} MiB are {wanted * MIB} bytes, {wanted}mb")
    if (limit := pids.get_max(group)) != 16:
        raise Miss(f"the rates are right; of processes it may have {limit or 'any number'}")
    return "backup has at most 16 processes, reads 2 and writes 1 MiB a second"


WRITER = """
import mmap, os
from minidocker.linux import cgroups
cgroups.open_cgroup(group).join(os.getpid())
fd, block = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT), mmap.mmap(-1, 1 << 19)
if os.fork() == 0:
    while True:
        os.pwrite(fd, block, 0)
"""
FREEZE = "from minidocker.linux import cgroups\ndef freeze(name):\n    cgroup = cgroups.open_cgroup(name)\n"


@exercise(
    "12",
    2,
    hints=[
        "Two lines of step 6: one asks, the other waits for the answer.",
        'wait_event("frozen 1", 10) gives True when cgroup.events has that line, False after 10 seconds.',
    ],
    wrong=[
        (FREEZE + "    cgroup.write('cgroup.freeze', '1')\n", "before all processes stood"),
        (FREEZE + "    cgroup.write('cgroup.freeze', '0')\n    cgroup.wait_event('frozen 0', 1)\n", "nobody has asked"),
        (FREEZE + "    cgroup.write('cgroup.freeze', 'FROZEN')\n", "did not get through"),
        (FREEZE + "    for pid in cgroup.pids():\n        __import__('os').kill(pid, 19)\n", "nobody has asked"),
    ],
    keep="freeze",
)
def freeze(work: Work) -> str:
    work.function("freeze")
    group = cgroups.open_cgroup(f"{lab.name}/check")
    group.create()
    child = Child("writer", tag=lab.name)
    try:
        io.set_max(group, str(work.value("number")), io.Max(wbps=MIB))
        child.run(WRITER, {"group": group.name, "path": str(work.value("disk") / "check")})
        code = "freeze(group)\nfrom minidocker.linux import cgroups\nresult = cgroups.open_cgroup(group).read('cgroup.events')"
        events = work.run("freeze", code, group=group.name)
        asked = freezer.is_freezing(group)
    finally:
        freezer.thaw(group)
        io.set_max(group, str(work.value("number")), io.Max())
        child.end()
        group.remove_with_processes()
    if not asked:
        raise Miss("nobody has asked the kernel to freeze the cgroup: cgroup.freeze is not 1")
    if "frozen 1" not in str(events).splitlines():
        raise Miss("freeze() came back before all processes stood: one was still waiting for the disk; wait for the event")
    return "it came back when every process stood, also the one that had to wait for the disk first"


NAMES = {"pids": "its limit of processes", "io": "the disk", "frozen": "the freezer"}


@exercise(
    "12",
    3,
    hints=[
        'pids.events counts refused forks ("max"), io.max shows a rate, cgroup.events has a line "frozen".',
        "A limit that is never reached holds nobody: compare pids.current with pids.max.",
    ],
    wrong=[
        ('diagnosis = {"ant": "pids", "bee": "io", "cat": "frozen"}', "look"),
        ('diagnosis = {"ant": "io", "bee": "pids", "cat": "frozen"}', "bee"),
        ('diagnosis = {"ant": "io"}', "a diagnosis for"),
        ('diagnosis = {"ant": "disk", "bee": "frozen", "cat": "pids"}', "one of"),
    ],
)
def three_patients(work: Work) -> str:
    given: dict[str, Any] = dict(work.value("diagnosis"))
    for name in ("ant", "bee", "cat"):
        if name not in given:
            raise Miss(f"there is a diagnosis for {', '.join(sorted(given)) or 'nobody'}, none for {name} yet")
        if given[name] not in NAMES:
            raise Miss(f"{given[name]!r} is not one of {', '.join(NAMES)}")
    for name in ("ant", "bee", "cat"):
        if given[name] != (found := held_by(cgroups.open_cgroup(work.value(name).cgroup))):
            file = {"pids": "pids.events", "io": "io.max", "frozen": "cgroup.events"}[given[name]]
            raise Miss(f"{name} is not held by {NAMES[given[name]]}: look at its {file}" + (" and pids.current" if found == "io" else ""))
    return "ant waits for the disk, bee is frozen, and cat may not fork"


def held_by(group: cgroups.Cgroup) -> str:
    """What holds the processes of *group*, by the kernel's files."""
    if freezer.is_frozen(group):
        return "frozen"
    return "io" if io.get_max(group) else "pids" if pids.refused(group) else ""
