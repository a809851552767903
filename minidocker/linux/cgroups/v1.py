"""The same cgroup on a host whose controllers still sit on v1: one directory in each hierarchy, v2 names translated.

Interface: CgroupV1(name), as v2.Cgroup; TRANSLATION is the whole difference of names and units.
On a hybrid host the v2 tree has no controllers but does know cgroup.kill and cgroup.events, so the processes are put there as well.
Man page: cgroups(7), Documentation/admin-guide/cgroup-v1/.
"""

from __future__ import annotations

import os
import select
import signal
from collections import namedtuple

from minidocker.errors import MinidockerError, MissingFeature, SyscallError
from minidocker.linux import syscalls
from minidocker.linux.cgroups import layout, v2

File = namedtuple("File", "controller name from_v2 to_v2")
File.__doc__ = """Where a v2 file's fact is on v1: *controller*'s file *name*, and how a value is turned into v1's form and back."""

UNLIMITED = 1 << 62  # v1 shows "no limit" as the largest multiple of the page size


def _same(value: str) -> str:
    return value


def _limit_from_v2(value: str) -> str:
    return "-1" if value == "max" else value


def _limit_to_v2(value: str) -> str:
    return "max" if int(value) >= UNLIMITED or int(value) < 0 else value


def shares_from_weight(weight: str) -> str:
    """cpu.weight 1..10000 (100 by default) as cpu.shares 2..262144 (1024 by default)."""
    return str(max(2, int(weight) * 1024 // 100))


def weight_from_shares(shares: str) -> str:
    return str(min(10000, max(1, round(int(shares) * 100 / 1024))))


def _events(oom_control: str) -> str:
    kills = [line for line in oom_control.splitlines() if line.startswith("oom_kill ")]
    return kills[0] if kills else "oom_kill 0"


TRANSLATION = {
    "memory.max": File("memory", "memory.limit_in_bytes", _limit_from_v2, _limit_to_v2),
    "memory.low": File("memory", "memory.soft_limit_in_bytes", _limit_from_v2, _limit_to_v2),
    "memory.current": File("memory", "memory.usage_in_bytes", _same, _same),
    "memory.peak": File("memory", "memory.max_usage_in_bytes", _same, _same),
    "memory.events": File("memory", "memory.oom_control", _same, _events),
    "pids.max": File("pids", "pids.max", _same, _same),
    "pids.current": File("pids", "pids.current", _same, _same),
    "cpu.weight": File("cpu", "cpu.shares", shares_from_weight, weight_from_shares),
    "cpuset.cpus": File("cpuset", "cpuset.cpus", _same, _same),
    "cpuset.mems": File("cpuset", "cpuset.mems", _same, _same),
    "cgroup.freeze": File(
        "freezer", "freezer.state", lambda value: "FROZEN" if value == "1" else "THAWED", lambda state: "0" if state == "THAWED" else "1"
    ),
}


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
                    if error.errno != 2:  # ENOENT: the first cgroup below this parent
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

    def _locate(self, file: str) -> tuple[str, File]:
        if self.kill_path and file.startswith("cgroup."):  # the core files of v2 work on a hybrid host as well
            return f"{self.kill_path}/{file}", File("", file, _same, _same)
        if file not in TRANSLATION:
            hint = "this host's controllers are on cgroup v1; the course's VM has v2"
            raise MissingFeature(f"{file} does not exist on cgroup v1", hint=hint)
        entry = TRANSLATION[file]
        mount = layout.layout().v1.get(entry.controller)
        if mount is None:
            raise MissingFeature(f"{file}: this host has no {entry.controller} controller")
        return f"{mount}/{self.name}/{entry.name}", entry

    def write(self, file: str, value: str) -> None:
        if file == "cpu.max":
            quota, _, period = value.partition(" ")
            base = f"{layout.layout().v1['cpu']}/{self.name}"
            v2.write(f"{base}/cpu.cfs_period_us", period or "100000")
            v2.write(f"{base}/cpu.cfs_quota_us", _limit_from_v2(quota))
            return
        path, entry = self._locate(file)
        v2.write(path, entry.from_v2(value))

    def read(self, file: str) -> str:
        if file == "cpu.max":
            base = f"{layout.layout().v1['cpu']}/{self.name}"
            quota, period = v2.read(f"{base}/cpu.cfs_quota_us"), v2.read(f"{base}/cpu.cfs_period_us")
            return f"{'max' if int(quota) < 0 else quota} {period}"
        path, entry = self._locate(file)
        return str(entry.to_v2(v2.read(path)))

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
