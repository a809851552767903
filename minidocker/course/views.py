"""Pictures drawn from what the kernel says at this moment, each with a text twin that tests compare.

    process_tree(pid)                            the processes below pid, with their numbers outside and inside
    namespaces(host=pid, left=pid)               which process is in which namespace
    mount_tree({"host": "self", "left": pid})    the mounts each process sees, with type and propagation
    layers([("busybox", "read-only"), ...])      a stack, top layer first
    cgroup_shares({"web": web.cgroup, ...})      the cores and the memory that each cgroup may use, from the kernel's own files

The twins hold names and relations, no numbers that change from run to run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from minidocker.course.plots import COLOURS, Diagram, Picture
from minidocker.errors import SyscallError
from minidocker.linux import mounts, process
from minidocker.linux import namespaces as kernel_namespaces
from minidocker.linux.cgroups import cpu, cpuset, memory, open_cgroup

ROW = 0.75  # height of a line in an outline, in diagram units


def process_tree(pid: int, *, names: Mapping[int, str] | None = None) -> Picture:
    """The process tree from *pid* down. A process in a PID namespace below ours is drawn as the container's, with both its numbers.

    *names* replaces the kernel's name of some processes. SyscallError ENOENT: no such process."""
    lines: list[tuple[int, str, list[int]]] = []

    def walk(one: int, depth: int) -> None:
        try:
            comm, numbers, below = process.stat(one).comm, process.ns_pids(one), process.children(one)
        except SyscallError:
            if one == pid:
                raise
            return  # it ended while we looked
        lines.append((depth, (names or {}).get(one, comm), numbers))
        for child in below:
            walk(child, depth + 1)

    walk(pid, 0)
    right, top = max(depth for depth, _, _ in lines) * 0.7 + 4.2, max(2, len(lines)) * ROW
    drawing = Diagram(right + 2.8, top + 0.6)
    drawing.text(right, top + 0.3, "pid on the host", bold=True)
    drawing.text(right + 1.9, top + 0.3, "pid inside", bold=True)
    for place, (depth, name, numbers) in enumerate(lines):
        y = top - (place + 1) * ROW
        drawing.box(0.2 + depth * 0.7, y, 2.8, ROW, name, kind="container" if len(numbers) > 1 else "host")
        drawing.text(right, y + ROW / 2, str(numbers[0]))
        drawing.text(right + 1.9, y + ROW / 2, str(numbers[-1]) if len(numbers) > 1 else "·")
        connect(drawing, [line[0] for line in lines], place, top)
    twin = ["  " * depth + name + (f", pid {numbers[-1]} inside" if len(numbers) > 1 else "") for depth, name, numbers in lines]
    return drawing.picture("\n".join(twin), live=True)


def connect(drawing: Diagram, depths: Sequence[int], place: int, top: float) -> None:
    """Draw the elbow from an outline's line to its parent's, the nearest line above with a smaller depth."""
    parent = next((above for above in range(place - 1, -1, -1) if depths[above] < depths[place]), None)
    if parent is None:
        return
    x, y = 0.2 + depths[parent] * 0.7 + 0.35, top - (place + 0.5) * ROW
    drawing.line((x, top - (parent + 1) * ROW), (x, y))
    drawing.line((x, y), (0.2 + depths[place] * 0.7, y))


def namespaces(*, only: Sequence[str] = (), **pids: int | str) -> Picture:
    """Which of the named processes share which namespaces: neighbours in one box share it; the first one's counts as the host's.

    namespaces(host="self", left=4711, only=("uts", "ipc"))"""
    kinds, who = tuple(only) or tuple(sorted(kernel_namespaces.NAMES)), list(pids)
    drawing = Diagram(1.6 + 2.1 * len(who), len(kinds) * ROW + 0.7)
    top = len(kinds) * ROW
    for column, name in enumerate(who):
        drawing.text(1.6 + 2.1 * (column + 0.5), top + 0.35, name, bold=True, size=10)
    twin = []
    for row, kind in enumerate(kinds):
        inodes = [kernel_namespaces.inode(pids[name], kind) for name in who]
        groups = {number: [name for name, own in zip(who, inodes, strict=True) if own == number] for number in inodes}
        twin.append(f"{kind}: " + " | ".join(", ".join(group) for group in groups.values()))
        y = top - (row + 1) * ROW
        drawing.text(1.4, y + ROW / 2, kind, size=10, align="right")
        for first, last in runs(inodes):
            letter = chr(ord("A") + list(groups).index(inodes[first]))
            kind_of_box = "host" if inodes[first] == inodes[0] else "container"
            drawing.box(1.6 + 2.1 * first, y, 2.1 * (last - first + 1), ROW, letter, kind=kind_of_box)
    return drawing.picture("\n".join(twin))


def runs(values: Sequence[int]) -> list[tuple[int, int]]:
    """First and last index of each run of equal neighbours: [7, 7, 9] -> [(0, 1), (2, 2)]."""
    found: list[tuple[int, int]] = []
    for index, value in enumerate(values):
        if found and values[found[-1][0]] == value:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found


def mount_tree(pids: int | str | Mapping[str, int | str], *, below: str = "/") -> Picture:
    """The mounts that a process sees at and below a directory, as a tree; for several named processes, one tree each.

    Peer groups of shared mounts are lettered: two mounts with the same letter tell each other of what is mounted below them."""
    named = pids if isinstance(pids, Mapping) else {"": pids}
    letters: dict[str, str] = {}
    trees = {name: outline(mounts.mountinfo(pid), below, letters) for name, pid in named.items()}
    longest = max(2, *(len(lines) for lines in trees.values()))
    drawing = Diagram(6.5 * len(trees), longest * ROW + 0.6)
    top, twin = longest * ROW, []
    for column, (name, lines) in enumerate(trees.items()):
        left = 6.5 * column
        kind = "host" if column == 0 else "container"
        drawing.text(left + 0.2, top + 0.3, name, bold=True, align="left", size=10)
        twin += [f"{name}:"] if name else []
        for place, (depth, path, note) in enumerate(lines):
            y = top - (place + 1) * ROW
            drawing.box(left + 0.1 + depth * 0.4, y, 2.7, ROW, path, kind=kind)
            drawing.text(left + 3.0 + depth * 0.4, y + ROW / 2, note, align="left")
            twin.append("  " * (depth + bool(name)) + f"{path}  {note}")
        if not lines:
            drawing.text(left + 0.2, top - ROW / 2, "nothing mounted here", align="left")
            twin.append("  nothing mounted here")
    return drawing.picture("\n".join(twin))


def outline(entries: Sequence[Any], below: str, letters: dict[str, str]) -> list[tuple[int, str, str]]:
    """(depth, path, note) of the mounts at and below the directory *below*, each under the mount that it stands on."""
    start = below.rstrip("/") + "/"
    chosen = [entry for entry in entries if f"{entry.target}/".startswith(start)]
    ids = {entry.id for entry in chosen}
    lines: list[tuple[int, str, str]] = []

    def walk(parent: Any, depth: int) -> None:
        on = [entry for entry in chosen if (entry.parent == parent.id if parent else entry.parent not in ids or entry.parent == entry.id)]
        for entry in sorted(on, key=lambda entry: entry.target):
            above = parent.target.rstrip("/") if parent else below.rstrip("/")
            path = entry.target[len(above) :].lstrip("/")
            if not path:
                path = "(once more, on top)" if parent else entry.target.rpartition("/")[2] or "/"
            lines.append((depth, path, f"{entry.fstype}, {relation(entry.propagation, letters)}"))
            walk(entry, depth + 1)

    walk(None, 0)
    return lines


def relation(propagation: Sequence[str], letters: dict[str, str]) -> str:
    """("shared:12", "master:7") in words, peer groups by letter: "shared A, slave of B". No field at all is a private mount."""
    words = []
    for field in propagation:
        kind, _, group = field.partition(":")
        letter = letters.setdefault(group, chr(ord("A") + len(letters) % 26)) if group else ""
        words.append({"shared": f"shared {letter}", "master": f"slave of {letter}"}.get(kind, kind))
    return ", ".join(word for word in words if not word.startswith("propagate_from")) or "private"


def layers(stack: Sequence[tuple[str, str]], *, writable: bool = True) -> Picture:
    """A stack of layers, the top one first: (name, what it holds). With *writable* the top one is the container's own."""
    drawing = Diagram(9, len(stack) * 1.05 + 0.1)
    for place, (name, note) in enumerate(stack):
        y = (len(stack) - place - 1) * 1.05
        own = writable and place == 0
        drawing.box(0.2, y, 4.2, 1.0, name, kind="container" if own else "image")
        drawing.text(4.7, y + 0.5, note + ("  (writable)" if own else "  (read-only, shared)"), align="left")
    twin = [f"{name}: {note}" + (" (writable)" if writable and not place else " (read-only)") for place, (name, note) in enumerate(stack)]
    return drawing.picture("\n".join(twin))


class Share(NamedTuple):
    """What one cgroup may use. *limit* and *used* in MiB, *quota* in per cent of one core; None: no limit."""

    cores: list[int]
    limit: int | None
    used: float
    weight: int
    quota: int | None


def share(name: str) -> Share:
    """Read the cgroup called *name*. SyscallError ENOENT: there is none."""
    cgroup = open_cgroup(name)
    limit, (quota, period) = memory.get_max(cgroup), cpu.get_max(cgroup)
    return Share(
        cpuset.effective_cpus(cgroup),
        None if limit is None else limit >> 20,
        memory.current(cgroup) / (1 << 20),
        cpu.get_weight(cgroup),
        None if quota is None else round(100 * quota / period),
    )


def cgroup_shares(names: Mapping[str, str]) -> Picture:
    """Which cores and how much memory each cgroup may use: a label -> the cgroup's name, as `container.cgroup` has it.

    Cores are joined to those who may run on them; bars of memory have one scale. The twin counts cores, and does not number them:
    which there are depends on the machine."""
    shares = {label: share(name) for label, name in names.items()}
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    cores = sorted(os.sched_getaffinity(0) | {core for one in shares.values() for core in one.cores})
    wide = max(10.6, 4.0 * len(shares))
    column, cell = wide / len(shares), min(2.0, (wide - 3.3) / len(cores))
    drawing = Diagram(wide, 5.0)
    drawing.box(0, 0, wide, 1.5, "", kind="host")
    drawing.text(0.3, 0.95, "this machine", bold=True, align="left", size=10)
    drawing.text(0.3, 0.5, f"{len(cores)} cores, {machine / 1024:.1f} GiB", align="left")
    left = 3.0 + (wide - 3.3 - cell * len(cores)) / 2
    place = {core: left + number * cell for number, core in enumerate(cores)}
    for core, x in place.items():
        drawing.box(x, 0.4, cell, 0.7, f"core {core}" if cell > 0.9 else str(core) if cell > 0.3 else "", kind="plain", size=9)
    scale = max([1.0, *(one.limit or 0 for one in shares.values()), *(one.used for one in shares.values())])
    for number, (label, one) in enumerate(shares.items()):
        x, width = number * column + 0.15, column - 0.3
        for position, core in enumerate(one.cores, 1):
            end = place[core] + cell * (number + 1) / (len(shares) + 1)
            drawing.line((x + width * position / (len(one.cores) + 1), 2.46), (end, 1.04), kind="container")
        drawing.box(x, 2.4, width, 2.5, label, kind="container")
        memory_bar(drawing, (x + 0.2, 3.2), width - 0.4, one, scale)
        drawing.text(x + 0.2, 2.8, cpu_words(one), align="left")
    twin = [f"{label}: {core_words(one, len(cores))}, {memory_words(one)}, {cpu_words(one)}" for label, one in shares.items()]
    return drawing.picture("\n".join(twin), live=True)


def memory_bar(drawing: Diagram, corner: tuple[float, float], width: float, one: Share, scale: float) -> None:
    """A bar as long as the limit, filled as far as memory is used, with the numbers above. Without a limit it has no end."""
    from matplotlib.patches import Rectangle

    (x, y), high = corner, 0.4
    whole = width * (one.limit / scale if one.limit is not None else 1)
    drawing.axes.add_patch(Rectangle((x, y), min(whole, width * one.used / scale), high, color=COLOURS["container"], linewidth=0))
    for level in (y, y + high):
        drawing.line((x, level), (x + whole, level))
    drawing.line((x, y), (x, y + high))
    if one.limit is not None:
        drawing.line((x + whole, y), (x + whole, y + high), kind="stop")
    words = f"{one.used:.0f} MiB used, no limit" if one.limit is None else f"{one.used:.0f} of {one.limit} MiB used"
    drawing.text(x, y + high + 0.3, f"memory: {words}", align="left")


def core_words(one: Share, machine: int) -> str:
    if len(one.cores) >= machine:
        return "every core"
    return f"{len(one.cores)} core{'s' if len(one.cores) > 1 else ''}"


def memory_words(one: Share) -> str:
    return f"at most {one.limit} MiB" if one.limit is not None else "memory without a limit"


def cpu_words(one: Share) -> str:
    return f"weight {one.weight}" + ("" if one.quota is None else f", at most {one.quota} % of a core")
