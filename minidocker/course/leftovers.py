"""What a lesson may have left on the machine, found from outside by the lesson's name: processes, mounts, cgroups, links, directories.

The name (such as mdl02) is in the environment of every process that the lesson starts, in the paths of its own and its engine's
directories, in its cgroup, and at the start of its network links. A notebook's kernel can be killed hard, so nothing here asks the
process that made the thing.

Interface: find(name) -> [Leftover], sweep(name), directories(name).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from minidocker.course import ending
from minidocker.errors import SyscallError
from minidocker.linux import mounts, process, syscalls

TAG = "MINIDOCKER_LESSON"
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Leftover:
    """One thing left behind. *kind* is process, mount, cgroup or link; *name* is what to look for; *pid* is set for a process."""

    kind: str
    name: str
    pid: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def directories(name: str) -> list[Path]:
    """Every directory that belongs to the lesson called *name*: its own, and its engine's two."""
    return [Path(f"/var/lib/{name}.lab"), Path(f"/var/lib/{name}"), Path(f"/run/{name}")]


def find(name: str) -> list[Leftover]:
    """All that is left of the lesson, processes first. Directories are not counted: they hold no kernel object."""
    return [*processes(name), *mounted(name), *cgroups(name), *links(name)]


def processes(name: str) -> list[Leftover]:
    """Processes that carry the lesson's tag or sit in its cgroup, without this one and those it descends from."""
    inside = {pid for directory in cgroup_directories(name) for pid in members(directory)}
    spared = {os.getpid(), *ancestors(os.getpid())}
    found = []
    for pid in process.pids():
        if pid in spared or not (pid in inside or tagged(pid, name)):
            continue
        try:
            stat = process.stat(pid)
            command = " ".join(process.cmdline(pid)) or stat.comm
        except SyscallError:
            continue  # it ended while we looked
        if stat.state not in "ZX":
            found.append(Leftover("process", f"{pid} ({command[:60]})", pid))
    return found


def tagged(pid: int, name: str) -> bool:
    try:
        return f"{TAG}={name}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it ended while we looked


def ancestors(pid: int) -> list[int]:
    """The parents of *pid*, up to the first process."""
    parents, found = process.parents(), []
    while pid := parents.get(pid, 0):
        found.append(pid)
    return found


def mounted(name: str) -> list[Leftover]:
    """Mounts in this mount namespace at or below a directory of the lesson, deepest first."""
    below = [f"{directory}/" for directory in directories(name)]
    found = [entry.target for entry in mounts.mountinfo() if any(f"{entry.target}/".startswith(start) for start in below)]
    return [Leftover("mount", target) for target in reversed(found)]


def cgroup_directories(name: str) -> list[Path]:
    """The lesson's cgroups in every hierarchy, deepest first."""
    tops = [*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}")]
    below = [path for top in tops for path in top.rglob("*") if path.is_dir()]
    return sorted([*tops, *below], key=lambda path: len(path.parts), reverse=True)


def cgroups(name: str) -> list[Leftover]:
    """Cgroups below the lesson's. Its own is the engine's parent cgroup, which stays as long as the engine."""
    return [Leftover("cgroup", str(path)) for path in cgroup_directories(name) if path.name != name]


def members(directory: Path) -> list[int]:
    try:
        return [int(pid) for pid in (directory / "cgroup.procs").read_text().split()]
    except OSError:
        return []  # it was removed while we looked, or is a threaded cgroup


def links(name: str) -> list[Leftover]:
    return [Leftover("link", link) for link in sorted(os.listdir("/sys/class/net")) if link.startswith(name)]


def sweep(name: str) -> None:
    """Remove all that is left of the lesson, from processes down to directories."""
    ending.kill_all(lambda: [left.pid for left in processes(name)])
    for left in mounted(name):
        syscalls.umount2(left.name, syscalls.MNT_DETACH)
    for directory in cgroup_directories(name):
        directory.rmdir()
    remove_directories(name)


def remove_directories(name: str) -> None:
    """Delete the lesson's directories, unless something is mounted below one: deleting would go through to what is mounted."""
    busy = [left.name for left in mounted(name)]
    for directory in directories(name):
        if directory.exists() and not any(f"{mount}/".startswith(f"{directory}/") for mount in busy):
            shutil.rmtree(directory)
