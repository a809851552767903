"""Cgroups with real processes in them. A limit is set in v2's words and observed from outside: by what the kernel counted, and by /proc.

with inside(group, "say(1); hear()") as child: ...        a fresh Python that is in the group before it does anything
with spinner(group): ...                                  one that wants a whole CPU
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import fresh

from minidocker.linux.cgroups import Cgroup

MIB = 1 << 20


@contextlib.contextmanager
def inside(group: Cgroup, code: str, *arguments: str, ends: bool = True) -> Iterator[fresh.Child]:
    """Not *ends*: it will not end by itself, or badly, and is killed if it has not."""
    child = fresh.Child("hear()\n" + code, *arguments)
    with contextlib.ExitStack() as stack:
        if ends:
            stack.enter_context(child)
        else:
            stack.callback(end, child)
        group.join(child.pid)
        child.go()
        yield child


def end(child: fresh.Child) -> int:
    """Kill it, or learn how it has ended before."""
    child.process.kill()
    child.process.communicate(timeout=fresh.PATIENCE)
    return int(child.process.returncode)


def outcome(child: fresh.Child) -> int:
    """Wait for its end."""
    return int(child.process.wait(timeout=fresh.PATIENCE))


@contextlib.contextmanager
def spinner(group: Cgroup) -> Iterator[fresh.Child]:
    with inside(group, "say('spins')\nwhile True: pass", ends=False) as child:
        assert child.line() == "spins"
        yield child
