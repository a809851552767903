"""Processes, as /proc tells them.

Interface: stat(pid) -> Stat, pids(), children(pid), descendants(pid), ns_pids(pid), cmdline(pid), is_same(pid, start_time),
close_all_except(fds).
Man pages: proc(5), pid_namespaces(7). The same from a shell: ps -o pid,ppid,stat,comm; pstree -p. Notebook: 02_processes.
"""

from __future__ import annotations

import os
from collections import namedtuple

from minidocker.errors import SyscallError

Stat = namedtuple("Stat", "pid comm state ppid pgrp session tty_nr start_time")
Stat.__doc__ = """From /proc/PID/stat. *start_time* is in clock ticks since boot: with the pid it names a process for good."""


def _read(pid: int, name: str) -> bytes:
    path = f"/proc/{pid}/{name}"
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SyscallError("open", error.errno or 0, path) from error


def stat(pid: int) -> Stat:
    """Read /proc/PID/stat. SyscallError ENOENT or ESRCH: no such process. See proc_pid_stat(5).

    The command's name stands in brackets and may itself hold brackets and spaces, so the last ")" ends it.
    """
    text = _read(pid, "stat").decode(errors="replace")
    opening, closing = text.index("("), text.rindex(")")
    fields = text[closing + 2 :].split()
    numbers = [int(fields[index]) for index in (1, 2, 3, 4, 19)]  # ppid pgrp session tty_nr starttime
    return Stat(int(text[:opening]), text[opening + 1 : closing], fields[0], *numbers)


def pids() -> list[int]:
    """All processes that this PID namespace's /proc shows, in ascending order."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def parents() -> dict[int, int]:
    """pid -> parent's pid, for every process. One that ends meanwhile is left out."""
    found = {}
    for pid in pids():
        try:
            found[pid] = stat(pid).ppid
        except SyscallError:
            continue
    return found


def children(pid: int) -> list[int]:
    """The direct children of *pid*, ascending."""
    return sorted(child for child, parent in parents().items() if parent == pid)


def descendants(pid: int) -> list[int]:
    """Everything below *pid* in the process tree, parents before their children."""
    below: dict[int, list[int]] = {}
    for child, parent in parents().items():
        below.setdefault(parent, []).append(child)
    found, queue = [], [pid]
    while queue:
        next_ones = sorted(below.get(queue.pop(0), []))
        found += next_ones
        queue += next_ones
    return found


def ns_pids(pid: int) -> list[int]:
    """The process's numbers from our namespace inward: [4711, 1] is a container's first process. See NSpid in proc_pid_status(5)."""
    for line in _read(pid, "status").decode(errors="replace").splitlines():
        if line.startswith("NSpid:"):
            return [int(number) for number in line.split()[1:]]
    return [pid]


def cmdline(pid: int) -> list[str]:
    """The arguments of the process; [] for a kernel thread or a zombie. Undecodable bytes are kept as surrogates."""
    raw = _read(pid, "cmdline")
    return [os.fsdecode(argument) for argument in raw.rstrip(b"\0").split(b"\0")] if raw else []


def is_same(pid: int, start_time: int) -> bool:
    """Is *pid* still the process that started at *start_time*, and not a zombie?"""
    try:
        found = stat(pid)
    except SyscallError:
        return False
    return found.start_time == start_time and found.state not in "ZX"


def close_all_except(keep: list[int]) -> None:
    """Close every descriptor of this process but the standard three and *keep*. See close_range(2)."""
    lowest = 3
    for fd in sorted(set(keep)):
        os.closerange(lowest, fd)
        lowest = max(lowest, fd + 1)
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
