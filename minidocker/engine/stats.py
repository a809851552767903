"""What a container uses, as the kernel counts it: one typed sample, or a stream of them.

Interface: sample(container) -> Sample, stream(container, interval). All is read from cgroup files; nothing runs in the container for it.
The same from a shell: cat /sys/fs/cgroup/NAME/ID/{cpu.stat,memory.current,memory.stat,pids.current,io.stat}. Notebooks: 10 to 12.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from minidocker.errors import MissingFeature, SyscallError, WrongStatus
from minidocker.linux import cgroups
from minidocker.linux.cgroups import cpu, io, memory, pids

if TYPE_CHECKING:
    from minidocker.engine.container_view import ContainerView


class Sample(NamedTuple):
    """Bytes, microseconds, numbers of processes. Limits are None where there is none. *time*: CLOCK_MONOTONIC, in seconds."""

    id: str
    name: str
    time: float
    cpu_usage_us: int
    cpu_user_us: int
    cpu_system_us: int
    periods: int
    throttled: int
    throttled_us: int
    memory_current: int
    memory_file: int  # of it, what could be given back at once: pages of files that were not used lately
    memory_max: int | None
    memory_peak: int | None
    pids: int
    pids_max: int | None
    read: int
    written: int
    received: int = 0  # a container without a network receives nothing
    sent: int = 0
    before: Sample | None = None  # the sample before this one, for `cpu_percent`

    @property
    def memory(self) -> int:
        """What Docker shows as used: without file pages that could be given back."""
        return max(0, self.memory_current - self.memory_file)

    @property
    def memory_limit(self) -> int:
        """Its limit, or what the machine has."""
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return machine if self.memory_max is None else min(self.memory_max, machine)

    @property
    def memory_percent(self) -> float:
        return 100 * self.memory / self.memory_limit

    @property
    def cpu_percent(self) -> float:
        """CPU time since the sample before, as a part of the time that has passed: 200 is two CPUs. 0 for a first sample."""
        if self.before is None or self.time <= self.before.time:
            return 0.0
        return (self.cpu_usage_us - self.before.cpu_usage_us) / (self.time - self.before.time) / 1e4


def sample(container: ContainerView, before: Sample | None = None) -> Sample:
    """Now. WrongStatus: it does not run."""
    try:
        return _sample(container, cgroups.open_cgroup(container.cgroup), before)
    except SyscallError as error:  # the cgroup is there as long as the container runs
        words = f"container {container.name} is not running"
        raise WrongStatus(words, status="stopped", needed="running", hint=f"minidocker start {container.name}") from error


def _sample(container: ContainerView, cgroup: cgroups.Cgroup, before: Sample | None) -> Sample:
    used = cpu.stat(cgroup)
    done = io.stat(cgroup).values()
    try:
        peak = memory.peak(cgroup)
    except MissingFeature:
        peak = None
    return Sample(
        id=container.id,
        name=container.name,
        time=time.monotonic(),
        cpu_usage_us=used.usage_us,
        cpu_user_us=used.user_us,
        cpu_system_us=used.system_us,
        periods=used.periods,
        throttled=used.throttled,
        throttled_us=used.throttled_us,
        memory_current=memory.current(cgroup),
        memory_file=memory.stat(cgroup).get("inactive_file", 0),
        memory_max=memory.get_max(cgroup),
        memory_peak=peak,
        pids=pids.current(cgroup),
        pids_max=pids.get_max(cgroup),
        read=sum(device.rbytes for device in done),
        written=sum(device.wbytes for device in done),
        before=before and before._replace(before=None),
    )


def stream(container: ContainerView, interval: float) -> Iterator[Sample]:
    """A first sample at once, then one every *interval* seconds until the container ends; that end is heard of at once."""
    try:
        handle = container.engine.runtime.connect(container.id)
    except WrongStatus:
        return
    before: Sample | None = None
    due = time.monotonic()
    try:
        while True:
            try:
                before = sample(container, before)
            except WrongStatus:
                return
            yield before
            due = max(due + interval, time.monotonic())  # who was slow to take a sample is not given a crowd of them
            if handle.wait(due - time.monotonic()) is not None:
                return
    finally:
        handle.close()
