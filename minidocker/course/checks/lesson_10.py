"""Checks of lesson 10."""

from __future__ import annotations

from typing import Any

from minidocker.course import child
from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.course.lab import lab
from minidocker.errors import MissingFeature
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory

MIB = 1 << 20
SPARE = 8 * MIB  # above its peak, what a limit that fits leaves


@exercise(
    "10",
    1,
    hints=[
        "First let it run with far too much, wait until it says full, and read its memory.peak.",
        'The peak in MiB, rounded up, and some MiB for what the program does not always need: start("fitted", hungry(28), "...m").',
    ],
    wrong=[
        ('fitted = start("fitted", hungry(28), "24m")', "killed"),
        ('fitted = start("fitted", hungry(28), "256m")', "too generous"),
        ('fitted = start("fitted", hungry(2), "8m")', "another program"),
        ('fitted = lab.engine.containers.run("busybox", hungry(28), detach=True)', "no limit"),
        ("fitted = 36", "a container"),
    ],
)
def fitted(work: Work) -> str:
    container: Any = work.value("fitted")
    if not hasattr(container, "cgroup"):
        raise Miss("fitted is not a container: let it be what start(...) returns")
    said = next(iter(container.follow()), ("", b""))[1]
    if container.status != "running":
        words = "it was killed at its limit" if container.oom_killed else "it has ended"
        raise Miss(f"{words}, with exit code {container.exit_code}: how much had it asked for?")
    if b"full" not in said:
        raise Miss("it has not said full: start it with hungry(28)")
    cgroup = cgroups.open_cgroup(container.cgroup)
    peak, limit = memory.peak(cgroup), memory.get_max(cgroup)
    if peak < 28 * MIB:
        raise Miss("that is another program: the one in question takes 28 MiB")
    if limit is None:
        raise Miss("it runs, but with no limit at all")
    if limit - peak > SPARE:
        raise Miss(f"it runs, but the limit is too generous: {limit // MIB} MiB, and the peak was {peak // MIB}")
    return "it runs, and the limit is close above its peak"


HEAD = "from minidocker.errors import MissingFeature\nfrom minidocker.linux import cgroups\nfrom minidocker.linux.cgroups import memory\n"
STUB = HEAD + "def limit_memory(name, limit):\n    cgroup = cgroups.open_cgroup(name)\n"
EAT = """
import os, signal
from minidocker.linux import cgroups
def eat(name, mib):
    pid = os.fork()
    if pid == 0:
        cgroups.open_cgroup(name).join(os.getpid())
        hoard = [b"x" * (1 << 20) for _ in range(mib)]
        os._exit(0)
    return os.waitpid(pid, 0)[1]
result = [eat(group, 8), eat(group, 48)]
"""


@exercise(
    "10",
    2,
    hints=[
        "memory.set_max and memory.set_swap_max take the cgroup (cgroups.open_cgroup(name)) and bytes.",
        "v1 limits memory and swap together, so there swap's limit needs memory's first. Mind the order.",
        "Put `with suppress(MissingFeature):` around the one about swap only.",
    ],
    wrong=[
        (STUB + "    memory.set_max(cgroup, limit << 20)\n", "bytes"),
        (STUB + "    memory.set_max(cgroup, limit)\n", "swap"),
        (STUB + "    memory.set_max(cgroup, limit // 4096)\n", "bytes"),
        (STUB + "    memory.set_low(cgroup, limit)\n", "no limit"),
        (STUB + "    raise ValueError(limit)\n", "did not get through"),
    ],
    keep="limit_memory",
)
def limit_memory(work: Work) -> str:
    work.function("limit_memory")
    group, limit = cgroups.open_cgroup(f"{lab.name}/check"), 24 * MIB
    group.create()
    try:
        work.call("limit_memory", group.name, limit)
        judge_limits(group, limit)
        small, large = child.run(EAT, {"group": group.name}, tag=lab.name)
    finally:
        group.remove_with_processes()
    if small != 0:
        raise Miss("a process that needs 8 of the 24 MiB did not live: is there another limit?")
    if large != 9:
        raise Miss("a process that touched twice the limit was not killed")
    return "8 MiB of 24 go well, 48 are killed, and nothing can be swapped out"


def judge_limits(group: cgroups.Cgroup, limit: int) -> None:
    found = memory.get_max(group)
    if found is None:
        raise Miss("after the call memory.max still says max: there is no limit")
    if found != limit:
        raise Miss(f"memory.max is {found}, and {limit} was asked for: limits are in bytes")
    try:
        swap = memory.get_swap_max(group)
    except MissingFeature:  # not counted here: nothing to judge
        return
    if swap != 0:
        raise Miss("memory is limited, but the rest may go to swap, where there is some")


KINDS = ("anon", "file", "shmem", "kernel")


@exercise(
    "10",
    3,
    hints=[
        "memory.stat(cgroups.open_cgroup(attic.cgroup)) is a dictionary of bytes: which of the four is about 24 MiB? There may be two.",
        "A filesystem that lives in memory has no disk to go back to. Which ones does `df` in the container show as tmpfs?",
        'attic.exec_run(["df"]).output, and then ls -l in the one that is not empty.',
    ],
    wrong=[
        ("kind, place = 'anon', '/dev/shm/boxes'", "no process"),
        ("kind, place = 'file', '/dev/shm/boxes'", "narrower"),
        ("kind, place = 'shmem', '/tmp'", "not there"),
        ("kind, place = 'rss', '/dev/shm/boxes'", "one of the four"),
    ],
)
def without_a_process(work: Work) -> str:
    kind, place, attic = work.value("kind"), work.value("place"), work.value("attic")
    if kind not in KINDS:
        raise Miss(f"{kind!r} is not one of the four: {', '.join(KINDS)}")
    held = memory.stat(cgroups.open_cgroup(attic.cgroup)).get(kind, 0) / MIB
    if kind == "anon":
        raise Miss("anon is what processes wrote to, and no process here holds that much: read the counter")
    if kind == "file" and held > 20:
        raise Miss("file holds it, but there is a narrower counter for files that are on no disk")
    if held < 20:
        raise Miss(f"{kind} is {held:.0f} MiB here: look for a counter of about 24")
    if not str(place).startswith("/") or "/dev/shm" not in str(place):
        raise Miss(f"the {held:.0f} MiB are not there: list the files of a filesystem that lives in memory")
    if attic.exec_run(["test", "-e", str(place)]).exit_code != 0:
        raise Miss(f"there is no file {place} in the container")
    return "a file on a tmpfs: it stays charged until it is deleted, whoever wrote it and however that ended"
