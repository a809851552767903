"""Checks of lesson 06."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from minidocker.course import child
from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.course.lab import lab
from minidocker.linux import cgroups, process

CLOCKS_OF_CHILDREN = """
import os, time
from minidocker.linux import syscalls
fd = os.open(f"/proc/{pid}/ns/time_for_children", os.O_RDONLY)
syscalls.setns(fd, syscalls.CLONE_NEWTIME)
result = [time.clock_gettime(time.CLOCK_BOOTTIME), time.clock_gettime(time.CLOCK_MONOTONIC)]
"""
PATIENCE = 30  # seconds between what the learner's cell computed and its child's start


@exercise(
    "06",
    1,
    hints=[
        "The offsets of step 2 made the machine older. Which sign makes it younger, and by how much?",
        "The uptime now is time.clock_gettime(time.CLOCK_BOOTTIME); an offset of minus that many whole seconds brings it to zero.",
        "Both clocks need an offset, and both lines are written before anybody is forked.",
    ],
    wrong=[
        ("%%child --keep newborn\nprint('nothing')", "share the host's time namespace"),
        (
            "%%child --keep newborn\nfrom minidocker.linux import syscalls\nsyscalls.unshare(syscalls.CLONE_NEWTIME)",
            "its offset is still 0",
        ),
        (
            "%%child --keep newborn\nimport time\nfrom minidocker.linux import syscalls\nsyscalls.unshare(syscalls.CLONE_NEWTIME)\n"
            "with open('/proc/self/timens_offsets', 'w') as file:\n"
            "    file.write(f'boottime {int(time.clock_gettime(time.CLOCK_BOOTTIME))} 0')",
            "older, not younger",
        ),
        (
            "%%child --keep newborn\nimport time\nfrom minidocker.linux import syscalls\nsyscalls.unshare(syscalls.CLONE_NEWTIME)\n"
            "with open('/proc/self/timens_offsets', 'w') as file:\n"
            "    file.write(f'boottime {-int(time.clock_gettime(time.CLOCK_BOOTTIME))} 0')",
            "CLOCK_MONOTONIC",
        ),
    ],
)
def newborn(work: Work) -> str:
    pid = work.child("newborn")
    if os.stat(f"/proc/{pid}/ns/time_for_children").st_ino == os.stat("/proc/self/ns/time").st_ino:
        raise Miss("the children of newborn would share the host's time namespace: unshare first")
    boottime, monotonic = child.run(CLOCKS_OF_CHILDREN, {"pid": pid}, tag=lab.name)
    host = time.clock_gettime(time.CLOCK_BOOTTIME)
    if abs(boottime - host) < 1:
        raise Miss("there is a new time namespace, but its offset is still 0: write to /proc/self/timens_offsets")
    if boottime > host:
        raise Miss("the machine looks older, not younger: offsets are added, and may be negative")
    age = host - process.stat(pid).start_time / os.sysconf("SC_CLK_TCK")
    if boottime > age + PATIENCE:
        raise Miss(f"inside, the uptime is {boottime:.0f} s: take the whole of the present uptime away")
    if monotonic > age + PATIENCE:
        raise Miss("the uptime is right, but CLOCK_MONOTONIC, by which programs measure, still counts from the host's boot")
    return "the children of newborn live on a machine that has just booted"


ENTER = """
import os

def place(pid):
    with open(f"/proc/{pid}/cgroup") as file:
        return next(line.strip()[3:] for line in file if line.startswith("0::"))

parent, (wait_end, go), (answer, say) = os.getpid(), os.pipe(), os.pipe()
if os.fork() == 0:  # a reader that stays in the old namespace
    os.close(go)
    os.read(wait_end, 1)
    os.write(say, place(parent).encode())
    os._exit(0)
before = os.stat("/proc/self/ns/cgroup").st_ino
enter_cgroup(group)
inside = place("self")
os.write(go, b"x")
outside = os.read(answer, 4096).decode()
os.wait()
result = [inside, outside, os.stat("/proc/self/ns/cgroup").st_ino != before]
"""
STUB = "import os\nfrom minidocker.linux import cgroups, syscalls\ndef enter_cgroup(name):\n"
JOIN, UNSHARE = "    cgroups.open_cgroup(name).join(os.getpid())\n", "    syscalls.unshare(syscalls.CLONE_NEWCGROUP)\n"


@exercise(
    "06",
    2,
    hints=[
        "Two calls. Each is in a step above: which one looks at where the process is?",
        "The namespace's root is the cgroup in which the process is when it unshares.",
    ],
    wrong=[
        (STUB + UNSHARE + JOIN, "the order"),
        (STUB + JOIN, "no cgroup namespace of its own"),
        (STUB + UNSHARE, "not in the cgroup"),
        (STUB + "    cgroups.open_cgroup(name).join(0 - 1)\n", "did not get through"),
    ],
    keep="enter_cgroup",
)
def enter_cgroup(work: Work) -> str:
    work.function("enter_cgroup")
    group = cgroups.open_cgroup(f"{lab.name}/check")
    group.create()
    try:
        inside, outside, own = work.run("enter_cgroup", ENTER, group=group.name)
    finally:
        group.remove_with_processes()
    if not outside.endswith(f"/{group.name}"):
        raise Miss("after the call the process is not in the cgroup that was named")
    if not own:
        raise Miss("it is in the cgroup, but has no cgroup namespace of its own, and reads its full path")
    if inside != "/":
        raise Miss(f"inside, the process reads {inside!r} instead of '/': think about the order of the two calls")
    return "from outside the process is in the cgroup, and it reads / itself"


SIX = {
    "boot id": "/proc/sys/kernel/random/boot_id",
    "cgroup path": "/proc/self/cgroup",
    "host name": "/proc/sys/kernel/hostname",
    "load average": "/proc/loadavg",
    "total memory": "/proc/meminfo",
    "uptime": "/proc/uptime",
}


@exercise(
    "06",
    3,
    hints=[
        "Read each on the host with open(...).read() and in the container with box.exec_run(['cat', ...]).output.",
        "A limit is not a view: does anything that you know so far change what /proc/meminfo says?",
    ],
    wrong=[
        ("own = {'uptime', 'cgroup path', 'host name'}", "uptime"),
        ("own = {'total memory', 'cgroup path', 'host name'}", "total memory"),
        ("own = {'host name'}", "cgroup path"),
        ("own = {'hostname'}", "one of the six"),
    ],
)
def own_views(work: Work) -> str:
    given, box = set(work.value("own")), work.value("box")
    if unknown := sorted(given - set(SIX)):
        raise Miss(f"{unknown[0]!r} is not one of the six names in the question")
    different = {name for name, path in SIX.items() if differs(box, name, path)}
    if extra := sorted(given - different):
        raise Miss(f"read {SIX[extra[0]]} on the host and in the container once more: is {extra[0]} really another?")
    if missing := sorted(different - given):
        raise Miss(f"there is more: compare {SIX[missing[0]]} ({missing[0]})")
    return "of the six, only what has a namespace of its own differs; memory, load, uptime and boot are the machine's"


def differs(box: Any, name: str, path: str) -> bool:
    """Does *path* say something else in the container than on the host? What changes by itself is read on the host before and after."""
    before = Path(path).read_text()
    inside: str = box.exec_run(["cat", path]).output.decode()
    after = Path(path).read_text()
    if name == "uptime":
        return not float(before.split()[0]) - 1 <= float(inside.split()[0]) <= float(after.split()[0]) + 1
    if name == "load average":
        return inside.split()[:3] not in (before.split()[:3], after.split()[:3])
    if name == "total memory":
        return inside.splitlines()[0] != before.splitlines()[0]
    return inside != before
