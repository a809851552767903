"""The pids controller: how many processes and threads a cgroup may have. What ends a fork bomb.

Interface: get_max set_max current peak refused. Threads count: each has a pid.
Man page: cgroups(7), "PID" in cgroup-v2.rst. Notebook: 12.
"""

from __future__ import annotations

from minidocker.linux.cgroups import formats
from minidocker.linux.cgroups.v2 import Cgroup


def get_max(cgroup: Cgroup) -> int | None:
    return formats.limit(cgroup.read("pids.max"))


def set_max(cgroup: Cgroup, value: int | None) -> None:
    """At the limit fork(2) and clone(2) fail with EAGAIN. Moving a process in never fails, so `current` may be above."""
    cgroup.write("pids.max", formats.limit_text(value))


def current(cgroup: Cgroup) -> int:
    return formats.number(cgroup.read("pids.current"))


def peak(cgroup: Cgroup) -> int:
    """The most that `current` has ever been. MissingFeature: the kernel is older than that file."""
    return formats.number(cgroup.read("pids.peak"))


def refused(cgroup: Cgroup) -> int:
    """How often a fork was refused for the limit: "max" in pids.events. Before Linux 6.11 that counts where the fork was tried, not
    where the limit stands."""
    return formats.flat_keyed(cgroup.read("pids.events"))["max"]
