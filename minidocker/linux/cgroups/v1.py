"""The same cgroup on a host whose controllers still sit on v1: one directory in each hierarchy, v2 names translated.

Interface: CgroupV1(name), as v2.Cgroup; v1_files.py is the whole difference of names and units.
On a hybrid host the v2 tree has no controllers but knows cgroup.kill, cgroup.freeze, cgroup.events and each cgroup's pressure, so the
processes are put there as well.
Man page: cgroups(7), Documentation/admin-guide/cgroup-v1/.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from minidocker.errors import MinidockerError, MissingFeature, SyscallError
from minidocker.linux import syscalls
from minidocker.linux.cgroups import layout, v1_files, v2

MOVED = "this host's controllers are on cgroup v1; the course's VM has v2"


class CgroupV1(v2.Cgroup):
    """One cgroup as the same directory name in every v1 hierarchy, and in the v2 tree where there is one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        found = layout.layout()
        hierarchies = sorted(set(found.v1.values()))
        self.paths = [f"{mount}/{name}" for mount in hierarchies]
        self.kill_path = self.path if found.unified else ""
        if found.unified:
            self.paths.append(self.path)

    def create(self) -> None:
        """Make the directory in each hierarchy; all or none. SyscallError EEXIST: it is there already."""
        made: list[str] = []
        cpuset = layout.layout().v1.get("cpuset")
        try:
            for path in self.paths:
                try:
                    v2.make_directory(path)
                except SyscallError as error:
                    if error.errno != errno.ENOENT:  # the first cgroup below this parent
                        raise
                    make_parents(path)
                    v2.make_directory(path)
                made.append(path)
            if cpuset:
                fill_cpuset(f"{cpuset}/{self.name}", cpuset)
        except SyscallError:
            for path in made:
                v2.remove_directory(path)
            raise
        syscalls.trace(f"make cgroup {self.name} in {len(self.paths)} hierarchies", f"mkdir -p /sys/fs/cgroup/*/{self.name}")

    def exists(self) -> bool:
        return any(os.path.isdir(path) for path in self.paths)

    def join(self, pid: int) -> None:
        for path in self.paths:
            v2.write(f"{path}/cgroup.procs", str(pid))

    def birthplace(self) -> int:
        return super().birthplace() if self.kill_path else -1

    def entrances(self) -> list[int]:
        """The `tasks` file of each v1 hierarchy."""
        return [v2.open_file(f"{path}/tasks", os.O_WRONLY) for path in self.paths if path != self.kill_path]

    def pids(self) -> list[int]:
        """The union over the hierarchies: a process may have left one of them."""
        found = set()
        for path in self.paths:
            try:
                found |= {int(line) for line in layout.read_file(f"{path}/cgroup.procs").split()}
            except FileNotFoundError:
                continue
        return sorted(found)

    def children(self) -> list[str]:
        return sorted({name for path in self.paths for name in v2.subdirectories(path)})

    def directory(self, controller: str) -> str:
        """Its directory in the hierarchy of a v1 controller. MissingFeature: this host has no such hierarchy."""
        mount = layout.layout().v1.get(controller)
        if mount is None:
            raise MissingFeature(f"this host has no {controller} controller", hint=MOVED)
        return f"{mount}/{self.name}"

    def write(self, file: str, value: str) -> None:
        if self._is_in_v2(file):
            super().write(file, value)
            return
        writer = self._translation(file).write
        if writer is None:
            raise SyscallError("write", errno.EACCES, file)
        try:
            writer(self.directory, value)
        except SyscallError as error:
            raise self.explained(file, error) from error

    def read(self, file: str) -> str:
        if self._is_in_v2(file):
            return super().read(file)
        try:
            return str(self._translation(file).read(self.directory))
        except SyscallError as error:
            raise self.explained(file, error) from error

    def _is_in_v2(self, file: str) -> bool:
        """The core files of v2, and the pressure, are there on a hybrid host as well."""
        return bool(self.kill_path) and (file.startswith("cgroup.") or file.endswith(".pressure"))

    @staticmethod
    def _translation(file: str) -> v1_files.File:
        if file not in v1_files.TRANSLATION:
            raise MissingFeature(f"{file} does not exist on cgroup v1", hint=MOVED)
        return v1_files.TRANSLATION[file]

    def wait_event(self, line: str, timeout: float) -> bool:
        """Without a v2 tree nobody tells of a frozen cgroup, which becomes one at the time it is asked."""
        if self.kill_path:
            return super().wait_event(line, timeout)
        end = time.monotonic() + timeout
        while line not in self.read("cgroup.events").splitlines():
            if time.monotonic() > end:
                return False
            os.sched_yield()
        return True

    def kill(self) -> None:
        """By cgroup.kill where there is a v2 tree; else freeze, signal each, thaw: frozen processes cannot fork away."""
        if self.kill_path:
            super().kill()
            return
        if not self.exists():
            return
        self.write("cgroup.freeze", "1")
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.write("cgroup.freeze", "0")

    def wait_empty(self, timeout: float = 10.0) -> None:
        """Without a v2 tree no file tells when the last process has ended: then each is waited for."""
        if self.kill_path:
            super().wait_empty(timeout)
            return
        poller = select.poll()
        while pids := self.pids():
            try:
                pidfd = syscalls.pidfd_open(pids[0])
            except SyscallError:  # it has ended this moment
                continue
            try:
                poller.register(pidfd, select.POLLIN)
                if not poller.poll(timeout * 1000):
                    raise MinidockerError(f"processes in cgroup {self.name} do not end", hint=f"process {pids[0]} holds it")
                poller.unregister(pidfd)
            finally:
                os.close(pidfd)

    def remove(self) -> None:
        for path in self.paths:
            v2.remove_directory(path)


def make_parents(path: str) -> None:
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_parents(parent)
        v2.make_directory(parent, may_exist=True)


def fill_cpuset(path: str, top: str) -> None:
    """v1's cpuset is empty in a new cgroup, and a process cannot be where no CPU is: let it have its parent's, up to *top*, and have
    its children copy their parent's from now on. The memory nodes are written last: where they are, another has done it all."""
    if path == top or v2.read(f"{path}/cpuset.mems"):
        return
    parent = os.path.dirname(path)
    fill_cpuset(parent, top)
    v2.write(f"{path}/cgroup.clone_children", "1")
    for file in ("cpuset.cpus", "cpuset.mems"):
        v2.write(f"{path}/{file}", v2.read(f"{parent}/{file}"))
