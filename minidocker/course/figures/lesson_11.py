"""Drawings of lesson 11."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from minidocker.course.plots import COLOURS, Diagram, Picture, figure
from minidocker.linux.cgroups import cpuset, memory, open_cgroup

if TYPE_CHECKING:
    from minidocker.engine.container import Container

MIB = 1 << 20
MOST = 6  # cores that one drawing can hold


def idea() -> Picture:
    drawing = Diagram(11, 4.6)
    drawing.box(0, 0, 3.5, 4.6, "cpuset: which cores", kind="plain")
    for core, colour in enumerate(("container", "kernel", "kernel", "kernel")):
        drawing.box(0.3 + core % 2 * 1.5, 2.2 - core // 2 * 1.3, 1.4, 1.1, f"core {core}", kind=colour)
    drawing.text(1.75, 3.7, "cpuset.cpus = 0")
    drawing.text(1.75, 0.5, "even if the others are idle")
    drawing.box(3.75, 0, 3.5, 4.6, "weight: whose turn", kind="plain")
    drawing.text(5.5, 3.7, "cpu.weight = 100 and 300")
    for place, (who, kind) in enumerate([("A", "plain"), ("B", "container"), ("B", "container"), ("B", "container")]):
        drawing.box(4.0 + place * 0.76, 2.2, 0.74, 1.1, who, kind=kind)
    drawing.text(5.5, 1.9, "both want the core")
    drawing.box(4.0, 0.75, 3.02, 0.8, "B B B B", kind="container")
    drawing.text(5.5, 0.5, "A sleeps: B takes all")
    drawing.box(7.5, 0, 3.5, 4.6, "max: a ceiling", kind="plain")
    drawing.text(9.25, 3.7, "cpu.max = 25000 100000")
    for period in range(2):
        left = 7.75 + period * 1.5
        drawing.box(left, 2.2, 0.42, 1.1, "", kind="container")
        drawing.box(left + 0.38, 2.2, 1.14, 1.1, "stopped", kind="stop", size=9)
    drawing.arrow((7.75, 1.9), (9.25, 1.9), both=True)
    drawing.text(8.5, 1.6, "period, 100 ms")
    drawing.text(9.25, 0.5, "also while the core is idle")
    return drawing.picture(
        "cpuset: a group may run on the named cores only, even if others are idle\n"
        "weight: groups that want the same core share it in the ratio of their weights; who is alone takes all\n"
        "max: in each period a group may run for its quota, and is stopped for the rest, even if the core is idle"
    )


def applications(*containers: Container) -> Picture:
    """Which cores and how much memory each container has, from the kernel's files of its cgroup."""
    cores = cpuset.parse_list(Path("/sys/devices/system/cpu/online").read_text().strip())
    shown = cores if len(cores) <= MOST else [*cores[: MOST // 2], *cores[-MOST // 2 :]]
    drawing = Diagram(11, 4.4)
    drawing.box(0, 0, 11, 4.4, "one machine" if shown == cores else f"one machine, {len(cores)} cores, some of them shown", kind="host")
    width, half, twin, taken = 10.4 / len(shown), 10.4 / len(containers), [], set[int]()
    for place, core in enumerate(shown):
        drawing.box(0.3 + place * width, 0.3, width - 0.1, 0.9, f"core {core}", kind="kernel")
    for place, container in enumerate(containers):
        cgroup = open_cgroup(container.cgroup)
        own, limit = cpuset.effective_cpus(cgroup), memory.get_max(cgroup)
        room = "all the memory" if limit is None else f"{limit // MIB} MiB"
        left = 0.3 + place * half
        drawing.box(left, 2.0, half - 0.2, 1.7, container.name, kind="container")
        drawing.text(left + half / 2 - 0.1, 2.9, f"cpuset.cpus.effective: {cpuset.format_list(own)}")
        drawing.text(left + half / 2 - 0.1, 2.45, f"memory.max: {room}")
        for core in own:
            if core in shown:
                drawing.arrow((left + half / 2 - 0.1, 2.0), (0.3 + (shown.index(core) + 0.5) * width, 1.2))
        other = "another core" if taken and not taken & set(own) else "one core"
        twin.append(f"{container.name}: {other if len(own) == 1 else f'{len(own)} cores'}, {room}")
        taken |= set(own)
    return drawing.picture("\n".join(twin), live=True)


def answers(path: str) -> Picture:
    """How long each answer took, without and with a quota: the file holds a list of milliseconds for each."""
    with open(path, encoding="ascii") as file:
        runs: dict[str, list[float]] = json.load(file)
    names = {"max": "no quota", "25000": "quota: 25 ms in 100 ms"}
    drawn, axes = figure(8, 3.6, rows=len(runs), sharex=True, sharey=True)
    for panel, (quota, waits) in zip(axes, runs.items(), strict=True):
        late = [wait > 100 for wait in waits]
        panel.bar(range(len(waits)), waits, color=[COLOURS["stop" if one else "container"] for one in late], width=0.8)
        panel.axhline(100, color=COLOURS["kernel"], linestyle=":", linewidth=1.2)
        panel.set(ylabel="ms", title=names[quota], xticks=[])
    axes[-1].set_xlabel("answers, in bursts of six; dotted: 100 ms")
    twin = "how long each of 30 answers took, without a quota and with 25 ms in each 100 ms"
    return Picture(drawn, f"{twin}\nwith the quota the last answers of each burst wait for the next period", live=True)
