"""The processes of a container as ps shows them: `docker top`.

Interface: table(pids, columns) -> (titles, rows). COLUMNS are ps(1)'s, by its names; DEFAULT are those of `ps -ef`.
Man pages: ps(1), proc_pid_stat(5), proc_pid_status(5).
"""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path
from typing import NamedTuple

from minidocker.errors import SpecError
from minidocker.linux import process

DEFAULT = ["uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"]
TITLES = {"args": "COMMAND", "comm": "COMMAND", "command": "COMMAND", "state": "S", "tname": "TTY", "pcpu": "%CPU", "etimes": "ELAPSED"}
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """What one process's files in /proc say, in seconds and kilobytes."""

    stat: process.Stat
    uid: int
    ns_pid: int
    cpu: float
    age: float
    nice: int
    threads: int
    size: int
    resident: int
    arguments: list[str]


def read(pid: int) -> Process:
    """OSError: it has ended."""
    found = process.stat(pid)
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    fields = text[text.rindex(")") + 2 :].split()
    user, system, nice, threads, size, resident = (int(fields[number - 3]) for number in (14, 15, 19, 20, 23, 24))  # the man page's numbers
    return Process(
        stat=found,
        uid=os.stat(f"/proc/{pid}").st_uid,
        ns_pid=process.ns_pids(pid)[-1],
        cpu=(user + system) / _TICKS,
        age=time.clock_gettime(time.CLOCK_BOOTTIME) - found.start_time / _TICKS,
        nice=nice,
        threads=threads,
        size=size // 1024,
        resident=resident * _PAGE // 1024,
        arguments=process.cmdline(pid) or [f"[{found.comm}]"],
    )


def cells(one: Process) -> dict[str, str]:
    """Every column that there is."""
    percent = 100 * one.cpu / one.age if one.age > 0 else 0.0
    user, command, terminal = user_name(one.uid), " ".join(one.arguments), terminal_name(one.stat.tty_nr)
    found = {"pid": one.stat.pid, "ppid": one.stat.ppid, "nspid": one.ns_pid, "uid": user, "user": user, "c": min(99, round(percent))}
    found |= {"pcpu": f"{percent:.1f}", "%cpu": f"{percent:.1f}", "stime": start_text(one.age), "etimes": int(one.age)}
    found |= {"tty": terminal, "tname": terminal, "time": clock_text(one.cpu), "cmd": command, "args": command, "command": command}
    found |= {"comm": one.stat.comm, "stat": one.stat.state, "state": one.stat.state, "s": one.stat.state, "ni": one.nice}
    found |= {"nlwp": one.threads, "vsz": one.size, "rss": one.resident}
    return {name: str(value) for name, value in found.items()}


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def start_text(age: float) -> str:
    """When it started: the time of today, or the date."""
    then = time.localtime(time.time() - age)
    return time.strftime("%H:%M" if then[:3] == time.localtime()[:3] else "%b%d", then)


def terminal_name(number: int) -> str:
    """A terminal of the container, as it is called inside; "?" without one."""
    return f"pts/{os.minor(number)}" if os.major(number) in range(136, 144) else "?" if number == 0 else f"tty{os.minor(number)}"


def clock_text(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def table(pids: list[int], columns: list[str]) -> tuple[list[str], list[list[str]]]:
    """The titles, and a row for each process that still is. SpecError: no such column."""
    known = cells(read(os.getpid()))
    wanted = columns or DEFAULT
    for column in wanted:
        if column not in known:
            hint = f"columns are {', '.join(known)}"
            raise SpecError(f"error: unknown user-defined format specifier {column[:40]!r}", hint=hint)
    rows = []
    for pid in pids:
        try:
            found = cells(read(pid))
        except OSError:  # it has ended meanwhile
            continue
        rows.append([found[column] for column in wanted])
    return [TITLES.get(column, column.upper()) for column in wanted], rows
