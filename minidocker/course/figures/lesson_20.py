"""Drawings of lesson 20: a container's life."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    """The four processes of a start as life lines, and the container's status beside them."""
    drawing = Diagram(11, 7.2)
    lines = {"creator": 0.9, "spawner": 3.1, "monitor": 5.4, "init": 7.7}
    drawing.box(7.5, 1.1, 2.2, 4.0, kind="container")
    for name, x in lines.items():
        drawing.line((x, 1.2 if name == "init" else 0.3), (x, 6.3))
        drawing.box(x - 0.85, 6.3, 1.7, 0.75, name, kind="container" if name == "init" else "host")
    steps = [
        (5.85, "spawner", "monitor", "fork, in advance"),
        (5.3, "creator", "monitor", "a bundle, please"),
        (4.8, "monitor", "init", "clone"),
        (3.8, "init", "monitor", "ready"),
        (3.3, "monitor", "creator", "created"),
        (2.6, "creator", "monitor", "start"),
        (2.6, "monitor", "init", "start"),
        (1.2, "init", "monitor", "it has ended"),
        (0.6, "monitor", "creator", "the exit code"),
    ]
    for y, one, other, label in steps:
        far = {one, other} == {"creator", "monitor"}
        drawing.arrow((lines[one], y), (lines[other], y), "" if far else label)
        if far:  # its label stands clear of the spawner's line
            drawing.text(4.25, y + 0.22, label)
    drawing.text(7.85, 4.3, "makes its root", align="left")
    drawing.text(7.85, 2.1, "execve:", align="left")
    drawing.text(7.85, 1.75, "your program", align="left")
    for top, bottom, status in ((4.8, 3.8, "creating"), (3.8, 2.6, "created"), (2.6, 1.2, "running"), (1.2, 0.3, "stopped")):
        drawing.line((9.85, top - 0.06), (9.85, bottom + 0.06), kind="container")
        drawing.text(9.98, (top + bottom) / 2, status, align="left", bold=True)
    return drawing.picture(
        "spawner -> monitor: fork, in advance\n"
        "creator -> monitor: a bundle, please\n"
        "monitor -> init: clone; the container is creating, init makes its root\n"
        "init -> monitor -> creator: ready; the container is created\n"
        "creator -> monitor -> init: start; init executes your program; the container is running\n"
        "init -> monitor: it has ended; the container is stopped\n"
        "monitor -> creator: the exit code"
    )


def parents() -> Picture:
    """Who is the parent of whom: here, and under Docker."""
    drawing = Diagram(11, 4.6)
    drawing.text(2.4, 4.4, "minidocker", bold=True, size=10)
    drawing.text(8.2, 4.4, "Docker", bold=True, size=10)
    for y, name, kind in (
        (3.4, "pid 1 of the host", "host"),
        (2.4, "spawner", "host"),
        (1.4, "monitor", "host"),
        (0.2, "your program", "container"),
    ):
        drawing.box(1.2, y, 2.4, 0.7, name, kind=kind)
    for upper, lower in ((3.46, 3.04), (2.46, 2.04), (1.46, 0.84)):
        drawing.line((2.4, upper), (2.4, lower))
    drawing.text(3.75, 1.75, "reaps, keeps the log", align="left")
    drawing.box(7.0, 3.4, 2.4, 0.7, "pid 1 of the host", kind="host")
    drawing.box(7.0, 1.4, 2.4, 0.7, "shim", kind="host")
    drawing.box(7.0, 0.2, 2.4, 0.7, "your program", kind="container")
    drawing.line((8.2, 3.46), (8.2, 2.04))
    drawing.line((8.2, 1.46), (8.2, 0.84))
    drawing.text(8.35, 1.15, "reaps", align="left")
    drawing.box(5.3, 2.4, 2.2, 0.7, "dockerd, containerd", kind="host", size=9)
    drawing.line((7.2, 3.46), (6.5, 3.04))
    drawing.arrow((6.6, 2.46), (7.1, 2.04))
    drawing.text(6.6, 2.2, "asks", align="right")
    drawing.box(9.7, 2.4, 1.2, 0.7, "runc", kind="host")
    drawing.arrow((9.35, 1.9), (9.95, 2.46))
    drawing.text(9.85, 2.0, "calls", align="left")
    drawing.arrow((10.5, 2.46), (9.35, 0.55), curve=-0.3)
    drawing.text(10.5, 1.1, "starts it,", align="left")
    drawing.text(10.5, 0.8, "exits", align="left")
    return drawing.picture(
        "minidocker: pid 1 of the host > spawner > monitor > your program; the monitor reaps and keeps the log\n"
        "Docker: pid 1 of the host > shim > your program; runc started it and has exited; dockerd is not above it"
    )
