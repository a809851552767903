"""What a test left behind, as the kernel tells it. Nothing here asks minidocker: an engine is no witness for itself.

    before = Snapshot.take(mine)        # mine: an Owner, who says which things on the machine are this test's
    ...
    before.leaks(mine)                  # ["process 4711 ...", "mount ...", "cgroup ..."]; [] is what we want

Several workers and other users share the machine, so a new thing only counts when it carries the owner's mark: in its name, in its
cgroup, in its environment, in a mount that it sees, or by descent. A mark in the environment survives fork and exec alike, and a container
that was given a clean environment still sits in a cgroup with its engine's name and sees its engine's overlay.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

MARK = "MINIDOCKER_TEST"
CGROUP_ROOT = Path("/sys/fs/cgroup")
GRACE = 3.0  # seconds that a process may still need to end; a monitor removes its cgroup just before it does
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


@dataclass(frozen=True)
class Owner:
    """Whose things count: of engines named with one of *prefixes* in front, below *directories*, or marked with *mark* in front."""

    prefixes: tuple[str, ...]
    mark: str = ""
    directories: tuple[str, ...] = ()

    def names(self, text: str) -> bool:
        """Does *text* (a path, a line of /proc) name one of our engines or directories?"""
        pieces = text.replace("=", "/").replace(":", "/").replace(",", "/").replace(" ", "/").replace("\0", "/").split("/")
        return any(piece.startswith(self.prefixes) for piece in pieces) or any(directory in text for directory in self.directories)


@dataclass(frozen=True, order=True)
class Process:
    """A process for good: a pid alone may come back as somebody else."""

    pid: int
    start_time: int
    parent: int = field(compare=False)
    state: str = field(compare=False)
    comm: str = field(compare=False)

    @property
    def is_forgotten(self) -> bool:
        """Has ended, and only the test itself could ask how, which it did not."""
        return self.state == "Z" and self.parent == os.getpid()


def _read(path: str) -> str:
    """The text of a /proc file, or nothing when its process has just gone."""
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def processes() -> dict[int, Process]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (text := _read(f"/proc/{name}/stat")):
            comm, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            found[int(name)] = Process(int(name), int(rest[19]), int(rest[1]), rest[0], comm)
    return found


def _is_mine(process: Process, everyone: dict[int, Process], mine: Owner) -> bool:
    pid, ancestor = process.pid, process.parent
    while ancestor in everyone:
        if ancestor == os.getpid():
            return True
        ancestor = everyone[ancestor].parent
    if mine.mark and f"{MARK}={mine.mark}" in _read(f"/proc/{pid}/environ"):
        return True
    if mine.names(_read(f"/proc/{pid}/cgroup").replace("\n", " ")):
        return True
    if _link(f"/proc/{pid}/ns/mnt") == _link("/proc/self/ns/mnt"):
        return False
    return mine.names(_read(f"/proc/{pid}/mountinfo").replace("\n", " "))


def describe(process: Process) -> str:
    """One line: what it runs, and which namespaces it lives in that are not ours."""
    pid = process.pid
    command = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip() or f"[{process.comm}]"
    apart = [name for name in NAMESPACES if _link(f"/proc/{pid}/ns/{name}") not in ("", _link(f"/proc/self/ns/{name}"))]
    kind = "zombie" if process.state == "Z" else "process"
    return f"{kind} {pid} (parent {process.parent}): {command[:160]}" + (f", in namespaces of its own: {' '.join(apart)}" if apart else "")


def mounts(mine: Owner) -> Iterator[str]:
    for line in _read("/proc/self/mountinfo").splitlines():
        if mine.names(line):
            yield f"mount {line.split(' ', 3)[3]}"


def cgroups(mine: Owner) -> Iterator[str]:
    """Directories in every hierarchy, v1 and v2."""
    for directory, inside, _ in os.walk(CGROUP_ROOT):
        for name in inside:
            if mine.names(path := os.path.join(directory, name)):
                yield f"cgroup {path}"


def links(mine: Owner) -> Iterator[str]:
    for name in os.listdir("/sys/class/net"):
        if mine.names(name):
            yield f"network link {name}"


def files(mine: Owner) -> Iterator[str]:
    """Data and runtime directories, and every container in them."""
    for top in ("/var/lib", "/run"):
        for name in os.listdir(top):
            if name.startswith(mine.prefixes):
                yield f"directory {top}/{name}"
                for container in Path(top, name, "containers").glob("*"):
                    yield f"directory {container}"


def own_namespaces() -> Iterator[str]:
    """Where each of our threads lives: a test that moved its own process spoils all that follow."""
    for task in os.listdir("/proc/self/task"):
        for name in NAMESPACES:
            if target := _link(f"/proc/self/task/{task}/ns/{name}"):
                yield f"test process in namespace {target}"


def own_descriptors() -> Iterator[str]:
    """Descriptors that keep something of the kernel's alive: a process, a namespace, a terminal."""
    for number in os.listdir("/proc/self/fd"):
        target = _link(f"/proc/self/fd/{number}")
        if target == "anon_inode:[pidfd]" or target.endswith("/ptmx") or target.partition(":[")[0] in NAMESPACES:
            yield f"descriptor {number} -> {target}"


def wait_for(leftover: Iterable[Process], deadline: float) -> None:
    """Wait until these have ended, or until *deadline* (time.monotonic)."""
    for process in leftover:
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            continue
        try:
            select.select([pidfd], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(pidfd)


@dataclass(frozen=True)
class Snapshot:
    """What was there at one moment."""

    things: frozenset[str]
    running: frozenset[Process]

    @classmethod
    def take(cls, mine: Owner) -> Snapshot:
        things = {*mounts(mine), *cgroups(mine), *links(mine), *files(mine), *own_namespaces(), *own_descriptors()}
        return cls(frozenset(things), frozenset(processes().values()))

    def new_processes(self, mine: Owner) -> list[Process]:
        everyone = processes()
        return [process for process in everyone.values() if process not in self.running and _is_mine(process, everyone, mine)]

    def leaks(self, mine: Owner, grace: float = GRACE) -> list[str]:
        """What is there now, is ours, and was not there before. Gives what is just ending the time to end."""
        deadline = time.monotonic() + grace
        leftover = self.new_processes(mine)
        while time.monotonic() < deadline and any(not process.is_forgotten for process in leftover):
            wait_for(leftover, deadline)
            time.sleep(0.01)  # what has ended may still wait for its parent to notice, and nothing tells us when it does
            leftover = self.new_processes(mine)
        return [*sorted(Snapshot.take(mine).things - self.things), *map(describe, leftover)]
