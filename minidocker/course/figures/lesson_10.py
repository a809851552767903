"""Drawings of lesson 10."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    drawing = Diagram(10.8, 4.6)
    drawing.box(0, 0, 3.3, 4.6, "cgroup", kind="container")
    drawing.box(0.3, 2.7, 2.7, 1.0, "a process touches\na new page", kind="container", size=9)
    drawing.box(0.3, 0.4, 2.7, 1.0, "it goes on", kind="container", size=9)
    drawing.box(4.2, 0, 6.6, 4.6, "kernel", kind="kernel")
    drawing.box(4.5, 2.7, 2.5, 1.0, "charge: usage + 1\nwithin the limit?", kind="kernel", size=9)
    drawing.box(8.0, 2.7, 2.5, 1.0, "reclaim: give back\ncache, swap out", kind="kernel", size=9)
    drawing.box(8.0, 0.4, 2.5, 1.0, "OOM killer: ends\nthe largest process", kind="stop", size=9)
    drawing.arrow((3.0, 3.2), (4.5, 3.2))
    drawing.arrow((7.0, 3.35), (8.0, 3.35), "no")
    drawing.arrow((8.0, 2.95), (7.0, 2.95))
    drawing.text(7.5, 2.72, "try again")
    drawing.arrow((5.75, 2.7), (3.0, 0.9))
    drawing.text(4.95, 1.75, "yes", align="left")
    drawing.arrow((9.25, 2.7), (9.25, 1.4), "nothing left", kind="stop")
    drawing.arrow((8.0, 0.9), (6.3, 2.7), kind="stop")
    drawing.text(7.25, 1.45, "room again", align="right")
    return drawing.picture(
        "a process touches a new page: the kernel charges it to the process's cgroup\n"
        "within the limit: the process goes on\n"
        "over the limit: the kernel reclaims cache, or swaps out, and tries again\n"
        "nothing left to reclaim: the OOM killer ends the largest process of the cgroup"
    )
