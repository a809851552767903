"""Hear of an OOM kill when it comes, and of whom it took.

Interface: OomWatch(cgroup): fileno() is readable when there is news; kills() victims() wait(timeout) close(); parse_victim(message).
How the kernel tells. v2: memory.events changes, and poll(2) says so. v1: an eventfd tied to memory.oom_control, which is rung when memory
has run out, just *before* the kill. Who was killed stands in no cgroup file; only in the kernel's log, /dev/kmsg, which needs CAP_SYSLOG
and may leave a report out when many come at once. Sure are the count, and that a victim's wait status is SIGKILL.
Man page: cgroups(7), "memory.events" in cgroup-v2.rst, eventfd(2), dev-kmsg. Notebook: 10.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections import namedtuple

from minidocker.errors import SyscallError
from minidocker.linux.cgroups import memory
from minidocker.linux.cgroups.v1 import CgroupV1
from minidocker.linux.cgroups.v2 import Cgroup, open_file, write

Victim = namedtuple("Victim", "pid comm cgroup time")
Victim.__doc__ = """*pid* as the host sees it, *cgroup*: the victim's own, *time* in seconds since the epoch."""
SETTLE = 1.0  # seconds that v1 may take from the bell to the kill


class OomWatch:
    """Watches from its making on. Without a readable kernel log `victims` is always empty."""

    def __init__(self, cgroup: Cgroup) -> None:
        self.cgroup = cgroup
        self._fds: list[int] = []
        self._victims: list[Victim] = []
        self._counted: int = memory.events(cgroup).oom_kill
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._poll = select.epoll()  # readable whichever way the bell rings
        self._log = self._keep(_open_log())
        if isinstance(self.cgroup, CgroupV1):
            directory = self.cgroup.directory("memory")
            control = self._keep(open_file(f"{directory}/memory.oom_control", os.O_RDONLY))
            self._bell = self._keep(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            write(f"{directory}/cgroup.event_control", f"{self._bell} {control}")
            self._rings = select.EPOLLIN
        else:
            self._bell = self._keep(open_file(f"{self.cgroup.path}/memory.events", os.O_RDONLY))
            self._rings = select.EPOLLPRI
            self._hear()
        self._poll.register(self._bell, self._rings)

    def _keep(self, fd: int) -> int:
        if fd >= 0:
            self._fds.append(fd)
        return fd

    def fileno(self) -> int:
        """Readable (POLLIN) when `kills` should be asked. That may turn out to be no kill: memory.events has other counters, too."""
        return self._poll.fileno()

    def kills(self) -> int:
        """How many processes have been killed since this was last asked. Does not wait; but on v1, once rung, for the kill itself."""
        rung = self._hear()
        found = self._count()
        if rung and not found and isinstance(self.cgroup, CgroupV1) and self._log >= 0:
            end = time.monotonic() + SETTLE
            while not found and self._log_grows(end - time.monotonic()):  # the kernel counts, then logs
                found = self._count()
        return found

    def victims(self) -> list[Victim]:
        """Those killed since this was last asked, as far as the kernel's log tells."""
        self._read_log()
        found, self._victims = self._victims, []
        return found

    def wait(self, timeout: float) -> int:
        """As `kills`, but wait for one, up to *timeout* seconds. 0: there was none."""
        end = time.monotonic() + timeout
        while not (found := self.kills()):
            if not self._poll.poll(max(0.0, end - time.monotonic())):
                return 0
        return found

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
        self._poll.close()

    def __enter__(self) -> OomWatch:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _hear(self) -> bool:
        """Silence the bell. Was it rung?"""
        try:
            if isinstance(self.cgroup, CgroupV1):
                os.read(self._bell, 8)
            else:
                os.pread(self._bell, 4096, 0)  # having been read, it is quiet until the next change
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENODEV:  # the cgroup is gone
                raise
            return False

    def _count(self) -> int:
        """New kills. A cgroup that is gone has none."""
        try:
            now: int = memory.events(self.cgroup).oom_kill
        except SyscallError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            return 0
        found, self._counted = now - self._counted, now
        return found

    def _log_grows(self, timeout: float) -> bool:
        """Wait for the next report in the kernel's log. False: none came in time."""
        poller = select.poll()
        poller.register(self._log, select.POLLIN)
        if not poller.poll(max(0.0, timeout) * 1000):
            return False
        self._read_log()
        return True

    def _read_log(self) -> None:
        place = f"/{self.cgroup.name}"
        while self._log >= 0:
            try:
                record = os.read(self._log, 8192).decode(errors="replace")  # one report per read
            except BlockingIOError:
                return
            except BrokenPipeError:  # reports were overwritten before we came to them
                continue
            victim = parse_victim(record)
            if victim is not None and f"{victim.cgroup}/".startswith(f"{place}/"):
                self._victims.append(victim)


def parse_victim(record: str) -> Victim | None:
    """The victim that a record of /dev/kmsg names, "priority,number,microseconds,flags;text". None: it tells of something else."""
    head, _, text = record.partition(";")
    text = text.partition("\n")[0]
    if not text.startswith("oom-kill:") or ",task_memcg=" not in text:
        return None
    rest, _, uid = text.rpartition(",uid=")
    rest, _, pid = rest.rpartition(",pid=")
    cgroup, separator, comm = rest.partition(",task_memcg=")[2].partition(",task=")
    stamp = head.split(",")
    if not (separator and pid.isdigit() and uid.isdigit() and len(stamp) > 2 and stamp[2].isdigit()):
        return None
    since_boot = int(stamp[2]) / 1e6
    return Victim(int(pid), comm, cgroup, since_boot + time.time() - time.clock_gettime(time.CLOCK_MONOTONIC))


def _open_log() -> int:
    """The kernel's log, from here on. -1: it is not for us to read."""
    try:
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    os.lseek(fd, 0, os.SEEK_END)
    return fd
