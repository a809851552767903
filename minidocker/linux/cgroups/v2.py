"""A cgroup in the unified (v2) tree: a directory, whose files are its interface.

Interface: Cgroup(name): create join pids write read kill wait_empty remove remove_with_processes exists.
*name* is a path below the mount point, such as "minidocker/4f0c...". Files have their v2 names here and everywhere above.
Man page: cgroups(7), Documentation/admin-guide/cgroup-v2.rst. The same from a shell: mkdir, echo, cat, rmdir. Notebooks: 06, later 10-12.
"""

from __future__ import annotations

import errno
import os
import select

from minidocker.errors import MinidockerError, MissingFeature, SpecError, SyscallError
from minidocker.linux import syscalls
from minidocker.linux.cgroups import layout


class Cgroup:
    """One cgroup; making the object touches nothing. Only a cgroup that `create` made is ever removed."""

    def __init__(self, name: str) -> None:
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise SpecError(f"not the name of a cgroup: {name!r}")
        self.name = name
        self.path = f"{layout.layout().unified}/{name}"

    def create(self) -> None:
        """Make the directory, and its parents, each with the controllers passed on to it. SyscallError EEXIST: it is there already."""
        parent = ""
        for part in self.name.split("/")[:-1]:
            self.enable_controllers(parent)
            parent = f"{parent}/{part}"
            make_directory(layout.layout().unified + parent, may_exist=True)
        self.enable_controllers(parent)
        make_directory(self.path)
        syscalls.trace(f"make cgroup {self.name}", f"mkdir -p {self.path}")

    @staticmethod
    def enable_controllers(parent: str) -> None:
        """Let the children of *parent* have every controller that it has itself. See "Enabling and Disabling" in cgroup-v2.rst."""
        directory = layout.layout().unified + parent
        available = set(layout.read_file(f"{directory}/cgroup.controllers").split())
        missing = available - set(layout.read_file(f"{directory}/cgroup.subtree_control").split())
        if missing:
            write(f"{directory}/cgroup.subtree_control", " ".join(f"+{controller}" for controller in sorted(missing)))

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def join(self, pid: int) -> None:
        """Move process *pid* in; what it starts from now on is born here. SyscallError ESRCH: no such process."""
        write(f"{self.path}/cgroup.procs", str(pid))

    def birthplace(self) -> int:
        """A descriptor for clone3's CLONE_INTO_CGROUP: a child that is born here was never anywhere else. -1: there is no v2 tree."""
        return open_file(self.path, os.O_RDONLY | os.O_DIRECTORY)

    def entrances(self) -> list[int]:
        """Descriptors for `enter`: what a process must still do to be in it, if it was born at the birthplace. On v2 nothing."""
        return []

    def pids(self) -> list[int]:
        """The processes in it, ascending; [] also when the cgroup is gone."""
        try:
            return sorted(int(line) for line in layout.read_file(f"{self.path}/cgroup.procs").split())
        except FileNotFoundError:
            return []

    def write(self, file: str, value: str) -> None:
        """Set one file of the interface, for example write("memory.max", "67108864"). SyscallError: the kernel's answer."""
        try:
            write(f"{self.path}/{file}", value)
        except SyscallError as error:
            raise self.explained(file, error) from error

    def read(self, file: str) -> str:
        """The content of one file of the interface. MissingFeature: the cgroup has no such file here."""
        try:
            return read(f"{self.path}/{file}")
        except SyscallError as error:
            raise self.explained(file, error) from error

    def explained(self, file: str, error: SyscallError) -> MinidockerError:
        """A missing file of a cgroup that is there is a missing feature; everything else is what the kernel said."""
        if error.errno != errno.ENOENT or not self.exists():
            return error
        hint = f"the {file.partition('.')[0]} controller is not enabled here, or this kernel is older than the file"
        return MissingFeature(f"this host's cgroups have no {file}", hint=hint)

    def kill(self) -> None:
        """SIGKILL to every process in it, and below, at once: none can escape by forking. See cgroup.kill, Linux 5.14."""
        try:
            write(f"{self.path}/cgroup.kill", "1")
        except SyscallError as error:
            if error.errno != errno.ENOENT:  # the whole cgroup is gone
                raise

    def wait_empty(self, timeout: float = 10.0) -> None:
        """Wait until no process is left in it or below, told by the kernel. MinidockerError: still not after *timeout* seconds."""
        if not self.wait_event("populated 0", timeout):
            hint = "a process in uninterruptible sleep (state D) holds it"
            raise MinidockerError(f"processes in cgroup {self.name} do not end", hint=hint)

    def wait_event(self, line: str, timeout: float) -> bool:
        """Wait until cgroup.events has this line, told by the kernel. False: not within *timeout* seconds. True also when it is gone."""
        try:
            fd = os.open(f"{self.path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            poller = select.poll()
            poller.register(fd, select.POLLPRI | select.POLLERR)
            while line not in os.pread(fd, 4096, 0).decode().splitlines():
                if not poller.poll(timeout * 1000):
                    return False
            return True
        except OSError as error:
            if error.errno != errno.ENODEV:  # removed while we looked
                raise
            return True
        finally:
            os.close(fd)

    def children(self) -> list[str]:
        """The names of the cgroups directly below; [] also when the cgroup is gone."""
        return subdirectories(self.path)

    def remove(self) -> None:
        """Remove the directory; nothing happens if it is gone. SyscallError EBUSY: processes or cgroups are in it."""
        remove_directory(self.path)

    def remove_with_processes(self) -> None:
        """Remove it, after killing what is still in it."""
        try:
            self.remove()
        except SyscallError as error:
            if error.errno != errno.EBUSY:
                raise
            self.kill()
            self.wait_empty()
            self.remove()


def enter(entrances: list[int]) -> None:
    """Walk in: called by the (single-threaded) process itself, with the cgroup's entrances, which are closed.

    A process that moves itself, thread by thread, spares the kernel the lock that moving another one needs: a wait of
    up to some milliseconds for all CPUs (cgroup_procs_write_start in kernel/cgroup/cgroup.c).
    """
    for fd in entrances:
        try:
            os.write(fd, b"0")
        except OSError as error:
            raise SyscallError("write", error.errno or 0, "tasks", step="enter the cgroup") from error
        finally:
            os.close(fd)


def open_file(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno or 0, path) from error


def subdirectories(path: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    except FileNotFoundError:
        return []


def make_directory(path: str, *, may_exist: bool = False) -> None:
    try:
        os.mkdir(path, 0o755)
    except FileExistsError as error:
        if not may_exist:
            raise SyscallError("mkdir", error.errno or 0, path) from error
    except OSError as error:
        raise SyscallError("mkdir", error.errno or 0, path) from error


def remove_directory(path: str) -> None:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SyscallError("rmdir", error.errno or 0, path) from error


def read(path: str) -> str:
    try:
        return layout.read_file(path)
    except OSError as error:
        raise SyscallError("read", error.errno or 0, path) from error


def write(path: str, value: str) -> None:
    try:
        layout.write_file(path, value)
    except OSError as error:
        raise SyscallError("write", error.errno or 0, path) from error
    if syscalls.tracing():
        syscalls.trace(f"write {value!r} to {path}", f"echo {value} > {path}")
