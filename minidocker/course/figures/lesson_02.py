"""Drawings of lesson 02."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    """The one tree, and the subtree that has numbers of its own."""
    drawing = Diagram(10.6, 5.2)
    drawing.box(0, 0, 10.6, 5.2, "one kernel, one process tree", kind="kernel")
    drawing.box(5.0, 0.3, 5.4, 3.7, "PID namespace", kind="container")
    node(drawing, 0.4, 3.0, "init", "1")
    node(drawing, 0.4, 1.1, "a service", "301")
    node(drawing, 2.7, 3.0, "notebook", "812")
    drawing.text(5.9, 3.22, "outside", size=8)
    drawing.text(7.05, 3.22, "inside", size=8)
    node(drawing, 5.3, 2.1, "its init", "4712", "1")
    node(drawing, 7.9, 2.1, "shell", "4713", "2")
    node(drawing, 7.9, 0.6, "worker", "4714", "3")
    drawing.arrow((1.35, 3.0), (1.35, 2.0))
    drawing.arrow((2.3, 3.45), (2.7, 3.45))
    drawing.arrow((4.6, 3.2), (5.35, 2.8))
    drawing.arrow((7.5, 2.55), (7.9, 2.55))
    drawing.arrow((9.0, 2.1), (9.0, 1.5))
    return drawing.picture(
        "one tree of processes below the host's pid 1\n"
        "outside: init 1, a service 301, notebook 812\n"
        "in the PID namespace: its init 4712 = 1 inside, shell 4713 = 2 inside, worker 4714 = 3 inside"
    )


def node(drawing: Diagram, x: float, y: float, name: str, outside: str, inside: str = "") -> None:
    """One process, with its number outside at the left and its number inside at the right."""
    kind = "container" if inside else "host"
    width = 2.2 if inside else 1.9
    drawing.box(x, y, width, 0.9, "", kind=kind)
    drawing.text(x + width / 2, y + 0.62, name, size=10, bold=True)
    drawing.text(x + (0.6 if inside else width / 2), y + 0.27, outside)
    if inside:
        drawing.text(x + width - 0.45, y + 0.27, inside, bold=True)


def signals() -> Picture:
    """Which signals get through to pid 1, from outside and from inside."""
    drawing = Diagram(11, 3.2)
    drawing.box(4.6, 0.1, 6.3, 3.0, "PID namespace", kind="container")
    drawing.box(0.1, 0.5, 1.6, 1.9, "the host", kind="host")
    drawing.box(4.9, 0.5, 1.6, 1.9, "pid 1", kind="container")
    drawing.box(9.1, 0.5, 1.6, 1.9, "pid 2", kind="container")
    drawing.arrow((1.7, 1.6), (4.9, 1.6), "SIGKILL, SIGSTOP")
    drawing.arrow((1.7, 0.75), (4.9, 0.75), "others: with a handler")
    drawing.arrow((9.1, 1.6), (6.5, 1.6), "SIGKILL, SIGSTOP", kind="stop")
    drawing.text(7.8, 1.4, "dropped", size=8)
    drawing.arrow((9.1, 0.75), (6.5, 0.75), "others: with a handler")
    return drawing.picture(
        "from outside: SIGKILL and SIGSTOP reach pid 1, other signals only if it has a handler\n"
        "from inside: SIGKILL and SIGSTOP are dropped, other signals reach pid 1 only if it has a handler"
    )
