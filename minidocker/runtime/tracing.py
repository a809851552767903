"""Each step of a start, told to whoever asked: a JSON line {"who", "step", "shell"} written to a pipe that came with the request.

Interface: trace_to(fd, who), kept_fds(). The reader turns the lines into log records (engine/trace.py).
A step is told when it has been done, and the writer waits if the pipe is full: so a reader can hold a start at any step.
"""

from __future__ import annotations

import json
import os
import signal

from minidocker.linux import syscalls

_fds: list[int] = []


def trace_to(fd: int, who: str) -> None:
    """From now on write each step to *fd*, as done by *who*; -1: do not trace."""
    _fds[:] = [fd] if fd >= 0 else []
    if fd < 0:
        syscalls.traced(None)
        return

    def tracer(step: str, shell: str) -> None:
        try:
            os.write(fd, json.dumps({"who": who, "step": step, "shell": shell}).encode() + b"\n")
        except BrokenPipeError:  # nobody listens any more: that must not stop a start
            syscalls.traced(None)

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    syscalls.traced(tracer)


def renamed(who: str) -> None:
    """Go on tracing under another name: after a clone."""
    trace_to(_fds[0] if _fds else -1, who)


def kept_fds() -> list[int]:
    """The descriptors that must stay open for tracing. They close on exec."""
    return list(_fds)
