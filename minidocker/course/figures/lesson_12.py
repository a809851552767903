"""Drawings of lesson 12, and the three containers of its last exercise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minidocker.course.plots import Diagram, Picture

if TYPE_CHECKING:
    from minidocker.engine.container import Container
    from minidocker.engine.engine import Engine


def idea() -> Picture:
    drawing = Diagram(11, 4.6)
    drawing.box(0, 0, 3.5, 4.6, "pids: how many", kind="plain")
    drawing.text(1.75, 3.7, "pids.max = 4")
    for place in range(4):
        drawing.box(0.25 + place * 0.75, 2.3, 0.72, 0.9, "pid", kind="container")
    drawing.arrow((1.75, 1.9), (1.75, 1.15), "fork(2)", kind="stop")
    drawing.text(1.75, 0.5, "EAGAIN; nobody is killed")
    drawing.box(3.75, 0, 3.5, 4.6, "io: how fast", kind="plain")
    drawing.text(5.5, 3.7, "io.max = 7:0 wbps=2097152")
    drawing.box(3.95, 2.3, 1.3, 0.9, "write", kind="container")
    drawing.box(5.75, 2.3, 1.3, 0.9, "disk", kind="host")
    drawing.arrow((5.25, 2.75), (5.75, 2.75))
    drawing.box(3.95, 0.95, 3.1, 0.85, "page cache: no limit", kind="kernel", size=9)
    drawing.text(5.5, 0.5, "a write waits for its turn")
    drawing.box(7.5, 0, 3.5, 4.6, "freezer: not now", kind="plain")
    drawing.text(9.25, 3.7, "cgroup.freeze = 1")
    for left, kind in ((7.75, "container"), (8.6, "plain"), (9.85, "container")):
        drawing.box(left, 2.3, 0.9 if kind == "container" else 1.3, 0.9, "runs" if kind == "container" else "stands", kind=kind, size=9)
    drawing.arrow((7.75, 1.8), (10.75, 1.8), kind="kernel")
    drawing.text(9.25, 1.5, "the clock goes on")
    drawing.text(9.25, 0.5, "no CPU time, no notice")
    return drawing.picture(
        "pids: at pids.max fork(2) fails with EAGAIN, and nobody is killed\n"
        "io: a write to the device waits for its turn; what stays in the page cache has no limit\n"
        "freezer: the processes stand, use no CPU time and get no notice, while the clock goes on"
    )


def patients(engine: Engine, device: str, disk: Path) -> list[Container]:
    """Three containers, each held by something else. Who reads on knows the answers of exercise 3."""
    tick = "while :; do sleep 1; done"
    write = "dd if=/dev/zero of=/disk/patient bs=64k oflag=direct conv=notrunc count=1; " * 8
    fork = "exec 2>/dev/null; more() { more | more & }; more; exec sleep 600"
    ant = engine.containers.create(
        "busybox", ["sh", "-c", f"while :; do {write} done"], name="ant", volumes=[f"{disk}:/disk"],
        device_write_bps=[f"{device}:256kb"], pids_limit=100,
    )  # fmt: skip
    bee = engine.containers.create("busybox", ["sh", "-c", tick], name="bee", pids_limit=100)
    cat = engine.containers.create("busybox", ["sh", "-c", fork], name="cat", pids_limit=8)
    for one in (ant, bee, cat):
        one.start()
    bee.pause()
    return [ant, bee, cat]
