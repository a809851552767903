"""Live plots of what the kernel counts for running containers, sampled by a thread while the notebook goes on.

    watch = lab.watch(web)                              last line of a cell: memory.current and memory.max, drawn as they change
    watch = lab.watch(left, right, show=["cpu"])        of two containers, how much of a core each gets
    watch.wait(20)                                      until there are 20 samples more, or the containers have ended
    watch.samples["web memory.current"]                 what was seen: a list of (seconds, value)
    watch.marks                                         what happened: (seconds, "OOM kill")
    watch.picture()                                     a figure of it all, for the cell after

A watch ends with its containers, when its cell is run again, and with the lesson. Its text twin says what is watched, never a number.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from minidocker.course import svg
from minidocker.course.plots import Picture, figure
from minidocker.errors import MinidockerError, MissingFeature
from minidocker.linux.cgroups import Cgroup, cpu, freezer, io, memory, oom, open_cgroup, pids

if TYPE_CHECKING:
    from minidocker.engine.container import Container

MIB = 1 << 20
PAINTS = 2.0  # drawings a second: a browser and the kernel's one core have better to do than more
LONGEST = 600.0  # seconds that are kept and shown


class Quantity(NamedTuple):
    """What can be watched. *read* gives a number or None (no limit); a *rate* is the growth of that number a second."""

    unit: str
    read: Callable[[Cgroup], float | None]
    rate: bool = False
    limit: bool = False


def _written(cgroup: Cgroup) -> float:
    return float(sum(device.wbytes for device in io.stat(cgroup).values()) / MIB)


def _in_mib(read: Callable[[Cgroup], int | None]) -> Callable[[Cgroup], float | None]:
    def answer(cgroup: Cgroup) -> float | None:
        found = read(cgroup)
        return None if found is None else found / MIB

    return answer


def _quota(cgroup: Cgroup) -> float | None:
    quota, period = cpu.get_max(cgroup)
    return None if quota is None else 100 * quota / period


QUANTITIES = {
    "memory.current": Quantity("MiB", _in_mib(memory.current)),
    "memory.max": Quantity("MiB", _in_mib(memory.get_max), limit=True),
    "cpu": Quantity("% of one core", lambda cgroup: cpu.stat(cgroup).usage_us / 1e4, rate=True),
    "cpu.max": Quantity("% of one core", _quota, limit=True),
    "throttled": Quantity("periods a second", lambda cgroup: cpu.stat(cgroup).throttled, rate=True),
    "pids.current": Quantity("processes", pids.current),
    "pids.max": Quantity("processes", pids.get_max, limit=True),
    "io.write": Quantity("MiB a second", _written, rate=True),
    "frozen": Quantity("yes = 1", lambda cgroup: float(freezer.is_frozen(cgroup))),
}


class Line(NamedTuple):
    """One line of the plot: a quantity of a container."""

    label: str
    container: str
    cgroup: Cgroup
    quantity: Quantity


class Watch:
    """See the module. ValueError: an unknown quantity, or two that have no unit in common. WrongStatus: a container does not run."""

    def __init__(self, containers: Sequence[Container], show: Sequence[str], *, hz: float = 10.0) -> None:
        unknown = [name for name in show if name not in QUANTITIES]
        if unknown or not show or not containers:
            instead = f", not {unknown[0]!r}" if unknown else ""
            raise ValueError(f"watch at least one container and one of {', '.join(QUANTITIES)}{instead}")
        units = {QUANTITIES[name].unit for name in show}
        if len(units) > 1:
            raise ValueError(f"one plot has one unit, not {' and '.join(sorted(units))}")
        self.unit, self.hz, self.show = units.pop(), hz, list(show)
        self.names = [container.name for container in containers]
        self.lines = [
            Line(name if len(containers) == 1 else f"{one.name} {name}", one.name, open_cgroup(one.cgroup), QUANTITIES[name])
            for one in containers
            for name in show
        ]
        self.samples: dict[str, list[tuple[float, float | None]]] = {line.label: [] for line in self.lines}
        self.marks: list[tuple[float, str]] = []
        self.taken = 0
        self.cost = 0.0  # of one core, by the thread's own CPU clock
        self._widget: Any = None
        self._last: dict[str, tuple[float, float]] = {}
        self._news = threading.Condition()
        self._over = False
        self._stopping = os.eventfd(0, os.EFD_CLOEXEC)
        self._pidfds = {os.pidfd_open(container.pid): container for container in containers}
        self._killed: set[str] = set()  # of whom a kill has been noted
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._began = time.monotonic()
        self._thread.start()

    # -- for the notebook --------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"live plot: {' and '.join(self.show)} of {' and '.join(self.names)}, {self.hz:g} samples a second"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        import ipywidgets

        if self._widget is None:
            self._widget = ipywidgets.HTML(self._drawing())
        return {**self._widget._repr_mimebundle_(), "text/plain": repr(self)}

    def wait(self, samples: int = 1, timeout: float = 60.0) -> bool:
        """Wait for so many *samples* more. False: the containers ended (or *timeout* seconds passed) before."""
        with self._news:
            wanted = self.taken + samples
            self._news.wait_for(lambda: self._over or self.taken >= wanted, timeout)
            return self.taken >= wanted

    def wait_end(self, timeout: float = 60.0) -> bool:
        """Wait until the containers have ended. False: they still run after *timeout* seconds."""
        with self._news:
            return self._news.wait_for(lambda: self._over, timeout)

    def stop(self) -> None:
        """Take no more samples. A second call does nothing."""
        if not self._over:
            os.eventfd_write(self._stopping, 1)
        self._thread.join()

    def picture(self, title: str = "", *, width: float = 8, height: float = 3.2) -> Picture:
        """What has been seen so far as a figure. Its twin says what is drawn and what happened, without the numbers."""
        drawn, axes = figure(width, height)
        labels: list[float] = []
        high = max((value for points in self.samples.values() for _, value in points if value is not None), default=1.0)
        for line, style in zip(self.lines, svg.styles(self.lines), strict=True):
            points = [(when, value) for when, value in self.samples[line.label] if value is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=style.colour, linestyle="--" if style.dashed else "-", linewidth=1.8)
                # A limit is labelled where it begins: at its end stands what has just reached it.
                at, offset, align = (points[0], (4, 3), "bottom") if style.dashed else (points[-1], (5, 0), "center")
                where = (at[0], svg.apart(at[1], labels, 0.08 * high)) if not style.dashed else at
                axes.annotate(line.label, where, xytext=offset, textcoords="offset points", va=align, fontsize=9)
        last = max((points[-1][0] for points in self.samples.values() if points), default=1.0)
        for number, (when, text) in enumerate(self.marks):
            axes.axvline(when, color=svg.MARK, linestyle=":", linewidth=1.4)
            place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(text, (when, 0.12 + 0.1 * (number % 4)), xytext=(-5, 0), ha="right", fontsize=9, color=svg.MARK, **place)
        axes.set(xlabel="seconds", ylabel=self.unit, title=title, ylim=(0, None), xlim=(0, last * 1.2))
        happened = ", ".join(dict.fromkeys(text for _, text in self.marks))
        twin = f"{title or 'Seen'}: {' and '.join(line.label for line in self.lines)} over time, in {self.unit}"
        return Picture(drawn, twin + (f"\nmarked: {happened}" if happened else ""), live=True)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._end)
            bells = dict(self._bells(stack))
            poller = select.poll()
            for fd in (self._stopping, *bells, *self._pidfds):  # poll answers in this order: first the kill, then the end
                poller.register(fd, select.POLLIN)
            running, painted, ticks = dict(self._pidfds), 0.0, 0
            while running:
                self._sample()
                if time.monotonic() - painted > 1 / PAINTS:
                    self._paint()
                    painted = time.monotonic()
                ticks = max(ticks + 1, int((time.monotonic() - self._began) * self.hz))  # what was missed is left out
                while running and (events := poller.poll(max(0.0, self._began + ticks / self.hz - time.monotonic()) * 1000)):
                    fds = [fd for fd, _ in events]
                    if self._stopping in fds:
                        return
                    for fd in fds:
                        if fd in bells:
                            name, bell = bells[fd]
                            for _ in range(max(bell.kills(), len(bell.victims()))):
                                self._note("OOM kill")
                                self._killed.add(name)
                        elif fd in running:
                            poller.unregister(fd)
                            self._ended(running.pop(fd))

    def _ended(self, container: Container) -> None:
        """The kernel rings a v2 cgroup's bell up to 10 ms late, when the container may be gone: then its own end tells of the kill."""
        if container.name not in self._killed:
            with contextlib.suppress(MinidockerError, TimeoutError):  # removed meanwhile
                container.wait(5)
                if container.oom_killed:
                    self._note("OOM kill")
        self._note(f"{container.name} ended" if len(self.names) > 1 else "ended")

    def _bells(self, stack: contextlib.ExitStack) -> Iterator[tuple[int, tuple[str, oom.OomWatch]]]:
        """Who tells of OOM kills in the containers' cgroups."""
        for name, cgroup in {line.container: line.cgroup for line in self.lines}.items():
            with contextlib.suppress(MinidockerError, OSError):  # no memory controller, or just ended: then there is nothing to hear
                bell = stack.enter_context(oom.OomWatch(cgroup))
                yield bell.fileno(), (name, bell)

    def _note(self, text: str) -> None:
        self.marks.append((time.monotonic() - self._began, text))

    def _sample(self) -> None:
        for line in self.lines:
            now = time.monotonic() - self._began
            try:
                value = line.quantity.read(line.cgroup)
            except MissingFeature:
                continue  # a cgroup that is gone has no files
            except OSError:
                continue
            if line.quantity.rate:
                value = self._rate(line.label, now, value or 0.0)
            kept = self.samples[line.label]
            kept.append((now, value))
            del kept[: max(0, len(kept) - int(LONGEST * self.hz))]
        with self._news:
            self.taken += 1
            self._news.notify_all()

    def _rate(self, label: str, now: float, value: float) -> float | None:
        before, self._last[label] = self._last.get(label), (now, value)
        return None if before is None or now <= before[0] else (value - before[1]) / (now - before[0])

    def _drawing(self) -> str:
        return svg.chart(self.lines, self.samples, self.marks, self.unit)

    def _paint(self) -> None:
        self.cost = time.thread_time() / max(0.001, time.monotonic() - self._began)
        if self._widget is not None:
            self._widget.value = self._drawing()

    def _end(self) -> None:
        self._paint()
        for fd in (self._stopping, *self._pidfds):
            os.close(fd)
        with self._news:
            self._over = True
            self._news.notify_all()
