"""Drawings of lesson 03."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    """Two host names and two sets of IPC objects on one kernel."""
    drawing = Diagram(10.4, 4.6)
    drawing.box(0, 0, 10.4, 4.6, "one kernel, one release", kind="kernel")
    for x, kind, who, name, objects in (
        (0.3, "host", "the host", 'UTS: "laptop"', "IPC: no key 42"),
        (5.4, "container", "left", 'UTS: "left"', "IPC: queue 42, segment 42"),
    ):
        drawing.box(x, 0.3, 4.7, 3.5, who, kind=kind)
        drawing.box(x + 0.3, 1.9, 4.1, 0.9, name, kind=kind)
        drawing.box(x + 0.3, 0.7, 4.1, 0.9, objects, kind=kind)
    return drawing.picture(
        "one kernel, one release\n"
        "the host: a UTS namespace with the name laptop, an IPC namespace without a key 42\n"
        "left: a UTS namespace with the name left, an IPC namespace with queue 42 and segment 42"
    )


def doors() -> Picture:
    """The two ways to a POSIX queue: by its name, and by the mounted file."""
    drawing = Diagram(11, 4.6)
    drawing.box(0.1, 0.2, 4.2, 4.2, "thief's IPC namespace", kind="plain")
    drawing.box(0.5, 0.7, 2.6, 0.9, "the thief", kind="container")
    drawing.box(0.5, 2.7, 2.6, 0.9, "no queues", kind="plain")
    drawing.box(7.7, 0.2, 3.2, 4.2, "left's IPC namespace", kind="container")
    drawing.box(8.2, 0.7, 2.4, 0.9, "queue /orders", kind="container")
    drawing.box(5.3, 0.7, 1.9, 0.9, "/mnt/orders", kind="container")
    drawing.text(6.1, 0.45, "a file, mounted by left", size=8)
    drawing.arrow((1.8, 1.6), (1.8, 2.7), 'mq_open("/orders")', kind="stop")
    drawing.arrow((3.1, 1.15), (5.3, 1.15))
    drawing.text(4.8, 1.35, "open()")
    drawing.arrow((7.2, 1.15), (8.2, 1.15))
    return drawing.picture(
        "mq_open by name: looks in the thief's own IPC namespace, which has no queues\n"
        "open of the file: leads through the mount that left made to left's queue /orders"
    )
