"""Drawings of lesson 06."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    drawing = Diagram(10.6, 5.2)
    drawing.box(0, 0, 10.6, 5.2, "one kernel: one clock, one tree of cgroups", kind="kernel")
    drawing.box(0.3, 0.3, 4.8, 4.1, "time namespaces: add an offset", kind="plain", size=9)
    drawing.box(0.6, 2.5, 4.2, 0.9, "the machine runs for 3 h", kind="kernel")
    drawing.arrow((1.6, 2.5), (1.6, 1.6), "+ 0")
    drawing.arrow((3.7, 2.5), (3.7, 1.6), "+ 10 days")
    drawing.box(0.6, 0.7, 2.0, 0.9, "up 3 h", kind="host")
    drawing.box(2.8, 0.7, 2.0, 0.9, "up 10 d 3 h", kind="container")
    drawing.box(5.5, 0.3, 4.8, 4.1, "cgroup namespaces: cut the path", kind="plain", size=9)
    drawing.box(5.8, 2.95, 1.1, 0.7, "/", kind="kernel")
    drawing.box(6.6, 1.85, 1.5, 0.7, "lesson", kind="kernel")
    drawing.box(7.7, 0.75, 1.3, 0.7, "room", kind="container")
    drawing.line((6.2, 2.95), (6.2, 2.2))
    drawing.line((6.2, 2.2), (6.6, 2.2))
    drawing.line((7.2, 1.85), (7.2, 1.1))
    drawing.line((7.2, 1.1), (7.7, 1.1))
    drawing.text(7.1, 3.3, 'host: "/lesson/room"', align="left")
    drawing.text(9.1, 1.1, 'inside: "/"', align="left")
    return drawing.picture(
        "one kernel holds one clock and one tree of cgroups\n"
        "time namespace: the host reads up 3 h, a container with an offset reads up 10 days and 3 h\n"
        "cgroup namespace: for the same process the host reads /lesson/room, the process itself reads /"
    )


def clocks() -> Picture:
    drawing = Diagram(10.6, 3.3)
    drawing.line((0.4, 1.9), (9.7, 1.9), kind="kernel")
    drawing.arrow((9.5, 1.9), (10.3, 1.9), kind="kernel")
    drawing.text(10.3, 2.2, "date", align="right")
    for x in (1.2, 7.4, 9.2):
        drawing.line((x, 1.72), (x, 2.08))
    drawing.text(9.2, 2.35, "now", bold=True)
    drawing.text(9.2, 1.5, "same for all")
    drawing.arrow((7.4, 2.75), (9.2, 2.75), kind="host", both=True)
    drawing.text(8.3, 3.0, "uptime outside")
    drawing.text(7.2, 2.35, "boot, seen outside", align="right")
    drawing.arrow((1.2, 1.0), (9.2, 1.0), kind="container", both=True)
    drawing.text(5.2, 1.25, "uptime inside")
    drawing.text(1.3, 2.35, "boot, seen inside", align="left")
    drawing.arrow((7.4, 0.35), (1.2, 0.35), "offset: 10 days, set once", kind="plain")
    return drawing.picture(
        "now is the same date inside and outside\n"
        "uptime inside is longer by the offset of 10 days\n"
        "so the moment of boot lies 10 days earlier when seen from inside"
    )


def views() -> Picture:
    drawing = Diagram(10.6, 4.1)
    drawing.box(3.9, 3.2, 2.2, 0.8, "/", kind="kernel")
    drawing.box(3.9, 1.9, 2.2, 0.8, "lesson", kind="kernel")
    drawing.box(2.1, 0.5, 2.2, 0.8, "room", kind="container")
    drawing.box(5.7, 0.5, 2.2, 0.8, "attic: the process", kind="container", size=9)
    drawing.line((5.0, 3.2), (5.0, 2.7))
    drawing.line((4.6, 1.9), (3.2, 1.3))
    drawing.line((5.4, 1.9), (6.8, 1.3))
    drawing.text(1.95, 1.05, "the namespace's", align="right")
    drawing.text(1.95, 0.75, "root, for good", align="right")
    drawing.text(6.35, 3.6, "the host's root", align="left")
    drawing.arrow((4.3, 0.65), (5.7, 0.65), "moved")
    drawing.text(8.05, 1.1, 'host: "/lesson/attic"', align="left", size=9)
    drawing.text(8.05, 0.7, 'inside: "/../attic"', align="left", size=9)
    return drawing.picture(
        "the namespace's root stays room, where the process was when it unshared\n"
        "the process is in attic: the host reads /lesson/attic, the process reads /../attic"
    )
