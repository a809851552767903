"""Drawings of lesson 00."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    drawing = Diagram(10.6, 5.2)
    drawing.box(0, 0, 10.6, 1.1, "the Linux kernel of this machine", kind="kernel")
    drawing.box(0.1, 3.9, 2.2, 1.1, "your browser", kind="plain")
    drawing.box(3.3, 3.9, 7.2, 1.1, "this notebook: a Python process with many threads", kind="host")
    drawing.box(3.3, 2.0, 2.8, 1.1, "%%child:\nPython, one thread", kind="host", size=9)
    drawing.box(7.7, 2.0, 2.8, 1.1, "a container of\nthe course's engine", kind="container", size=9)
    drawing.arrow((2.3, 4.45), (3.3, 4.45), "cell")
    drawing.arrow((4.2, 3.9), (4.2, 3.1), "code")
    drawing.arrow((5.3, 3.1), (5.3, 3.9), "output")
    drawing.arrow((9.1, 3.9), (9.1, 3.1), "lab.engine")
    drawing.arrow((6.8, 1.1), (6.8, 3.9), "/proc")
    drawing.arrow((4.7, 2.0), (4.7, 1.1), "system calls")
    drawing.arrow((9.1, 2.0), (9.1, 1.1), "system calls")
    return drawing.picture(
        "you write a cell in the browser; it runs in this notebook's process, which has many threads\n"
        "a %%child cell runs in a fresh process with one thread, and its output comes back\n"
        "lab.engine starts real containers\n"
        "all of them make system calls to one kernel; /proc tells the notebook what the kernel knows"
    )


def lesson() -> Picture:
    drawing = Diagram(10.6, 3.6)
    for x, name, kind in ((0.1, "predict", "plain"), (2.8, "run", "host"), (5.5, "look", "kernel"), (8.2, "exercise", "host")):
        drawing.box(x, 1.8, 2.2, 0.9, name, kind=kind)
    drawing.arrow((2.3, 2.25), (2.8, 2.25))
    drawing.arrow((5.0, 2.25), (5.5, 2.25))
    drawing.arrow((7.7, 2.25), (8.2, 2.25))
    drawing.arrow((6.6, 2.75), (1.2, 2.75), curve=0.12)
    drawing.text(3.9, 3.5, "four to six times")
    for x, name, kind in ((8.2, "check", "kernel"), (5.5, "hint", "plain"), (2.8, "solution", "plain")):
        drawing.box(x, 0.2, 2.2, 0.9, name, kind=kind)
    drawing.arrow((9.3, 1.8), (9.3, 1.1), "three times", both=True)
    drawing.arrow((8.2, 0.65), (7.7, 0.65))
    drawing.arrow((5.5, 0.65), (5.0, 0.65))
    return drawing.picture(
        "a step: predict, run, look at what the kernel says; a lesson has four to six\n"
        "an exercise: your code, check asks the kernel; a hint leads on, a folded solution comes last; a lesson has three"
    )
