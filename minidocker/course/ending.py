"""Ending processes for certain: kill, then wait until the kernel says they are gone. A signal alone is only a message.

Interface: in_session(leader) -> [pid], kill(pids), kill_all(find). Man pages: pidfd_open(2), setsid(2).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

from minidocker.errors import MinidockerError, SyscallError
from minidocker.linux import process

PATIENCE = 10.0  # seconds for the kernel to take down what was killed: a busy machine needs some


def in_session(leader: int) -> list[int]:
    """The processes of the session that *leader* began, without those that have ended and wait to be collected."""
    found = []
    for pid in process.pids():
        try:
            stat = process.stat(pid)
        except SyscallError:
            continue  # it ended while we looked
        if stat.session == leader and stat.state not in "ZX":
            found.append(pid)
    return found


def kill(pids: list[int]) -> None:
    """Kill these processes and wait until all are gone. MinidockerError: one would not go."""
    pidfds = []
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                pidfds.append(os.pidfd_open(pid))
                signal.pidfd_send_signal(pidfds[-1], signal.SIGKILL)
        wait(pidfds)
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


def wait(pidfds: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    left = len(pidfds)
    while left:
        ended = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ended:
            raise MinidockerError(f"{left} killed processes do not end")
        for pidfd, _ in ended:
            poll.unregister(pidfd)
        left -= len(ended)


def kill_all(find: Callable[[], list[int]]) -> None:
    """Kill what *find* finds until it finds nothing: a process may have forked while we looked."""
    while pids := find():
        kill(pids)
