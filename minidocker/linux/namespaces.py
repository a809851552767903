"""The eight namespaces: make, join, compare, list.

Interface: FLAGS, unshare(*names), join(pid, *names), inode(pid, name), compare(pid, pid), list_namespaces(), loopback_up().
A namespace is named by an inode: two processes share one exactly when /proc/PID/ns/NAME shows the same inode.
Man pages: namespaces(7), unshare(2), setns(2). The same from a shell: unshare(1), nsenter(1), lsns(8).
Notebooks: 02 (pid), 03 (uts, ipc), 04 (mnt), 06 (time, cgroup), later 07 (user), 09 (net).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections import namedtuple

from minidocker.errors import SpecError, SyscallError
from minidocker.linux import syscalls

# In the order in which they must be joined: the user namespace first, since it decides what we may do in the others;
# the mount namespace last of those that take effect at once, since after it /proc may be another one.
FLAGS = {
    "user": syscalls.CLONE_NEWUSER,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "net": syscalls.CLONE_NEWNET,
    "pid": syscalls.CLONE_NEWPID,
    "time": syscalls.CLONE_NEWTIME,
    "mnt": syscalls.CLONE_NEWNS,
}
NAMES = tuple(FLAGS)


def shell_options(names: list[str] | tuple[str, ...]) -> str:
    """The options of unshare(1) and nsenter(1) for these namespaces."""
    return " ".join("--mount" if name == "mnt" else f"--{name}" for name in names)


Namespace = namedtuple("Namespace", "name inode pids")
Namespace.__doc__ = """One namespace of kind *name*, and the processes in it, ascending."""


def flags(names: tuple[str, ...] | list[str]) -> int:
    """The CLONE_NEW* bits of *names*. SpecError for an unknown one."""
    total = 0
    for name in names:
        if name not in FLAGS:
            raise SpecError(f"no namespace is called {name!r}", hint=f"the eight are {', '.join(NAMES)}")
        total |= FLAGS[name]
    return total


def unshare(*names: str) -> None:
    """Move this process into new namespaces. See unshare(2); for what it does not move (pid, time) fork afterwards.

    Only from a single-threaded process. SyscallError EPERM: needs CAP_SYS_ADMIN, except for "user".
    """
    syscalls.unshare(flags(names))
    syscalls.trace(f"unshare the {', '.join(names)} namespace{'s' if len(names) > 1 else ''}", f"unshare {shell_options(names)}")


def join(pid: int, *names: str) -> None:
    """Enter namespaces of process *pid*, in the only order that works. See setns(2).

    All are opened before the first is entered: after that /proc may be another one. "pid" takes effect
    for children only: fork afterwards. SyscallError ENOENT or ESRCH: no such process.
    """
    flags(names)
    opened: list[tuple[str, int]] = []
    try:
        for name in NAMES:
            # Joining our own user namespace is EINVAL; for the others it would be work for nothing.
            if name in names and inode(pid, name) != inode("self", name):
                opened.append((name, open_namespace(pid, name)))
        for name, fd in opened:
            syscalls.setns(fd, FLAGS[name])
            syscalls.trace(f"join the {name} namespace of process {pid}", f"nsenter --target {pid} {shell_options([name])}")
    finally:
        for _, fd in opened:
            os.close(fd)


def open_namespace(pid: int, name: str) -> int:
    """A descriptor that keeps the namespace alive as long as it is open. See namespaces(7)."""
    path = f"/proc/{pid}/ns/{name}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno or 0, path) from error


def inode(pid: int | str, name: str) -> int:
    """The number that names the namespace. *pid* may be "self". SyscallError ENOENT: no such process."""
    path = f"/proc/{pid}/ns/{name}"
    try:
        return os.stat(path).st_ino
    except OSError as error:
        raise SyscallError("stat", error.errno or 0, path) from error


def compare(pid_a: int | str, pid_b: int | str) -> dict[str, bool]:
    """For each kind of namespace: do the two processes share it?"""
    return {name: inode(pid_a, name) == inode(pid_b, name) for name in sorted(NAMES)}


def list_namespaces(name: str = "") -> list[Namespace]:
    """Every namespace that has a process in it (of one kind, if *name* is given), as lsns(8) does: by asking each process.

    A process that ends meanwhile is left out. Reading other users' needs CAP_SYS_PTRACE.
    """
    found: dict[tuple[str, int], list[int]] = {}
    for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        for kind in (name,) if name else sorted(NAMES):
            try:
                found.setdefault((kind, inode(pid, kind)), []).append(pid)
            except SyscallError:
                break
    return [Namespace(kind, number, members) for (kind, number), members in sorted(found.items())]


SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


def loopback_up() -> None:
    """Switch on `lo` of the network namespace we are in: a new one has it off, and then not even 127.0.0.1 answers.

    See netdevice(7). The same from a shell: ip link set lo up. SyscallError EPERM: needs CAP_NET_ADMIN.
    """
    request = struct.pack("16sH22x", b"lo", IFF_UP)  # struct ifreq
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            fcntl.ioctl(handle, SIOCSIFFLAGS, request)
        except OSError as error:
            raise SyscallError("ioctl SIOCSIFFLAGS", error.errno or 0, "lo") from error
    syscalls.trace("switch lo on", "ip link set lo up")
