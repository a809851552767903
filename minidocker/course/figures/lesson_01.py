"""Drawings of lesson 01: what is a container?"""

from minidocker.course.plots import Diagram, Picture


def architecture() -> Picture:
    """Client, host and registry, and what passes between them."""
    drawing = Diagram(11, 5)
    drawing.box(0, 1.7, 1.5, 1.1, "client", kind="host")
    drawing.box(3.5, 0, 4.2, 4.9, "host: a Linux machine", kind="host")
    drawing.box(3.8, 1.7, 1.6, 1.1, "engine", kind="host")
    drawing.box(5.8, 0.2, 1.7, 2.9, "images", kind="image")
    drawing.box(6.0, 1.4, 1.3, 0.7, "busybox", kind="image")
    drawing.box(6.0, 0.5, 1.3, 0.7, "debian", kind="image")
    drawing.box(4.0, 3.4, 1.5, 0.8, "web", kind="container")
    drawing.box(5.8, 3.4, 1.5, 0.8, "db", kind="container")
    drawing.arrow((4.5, 2.75), (4.7, 3.42))
    drawing.arrow((5.2, 2.75), (6.2, 3.42))
    drawing.box(9.2, 0.2, 1.8, 2.9, "registry", kind="image")
    drawing.box(9.4, 1.4, 1.4, 0.7, "busybox", kind="image")
    drawing.box(9.4, 0.5, 1.4, 0.7, "and more", kind="image")
    drawing.arrow((1.5, 2.5), (3.8, 2.5))
    drawing.arrow((3.8, 2.0), (1.5, 2.0))
    drawing.text(2.5, 3.05, "image name,")
    drawing.text(2.5, 2.75, "command, options")
    drawing.text(2.5, 1.75, "output,")
    drawing.text(2.5, 1.45, "exit code")
    drawing.arrow((7.5, 2.6), (9.2, 2.6))
    drawing.arrow((9.2, 1.5), (7.5, 1.5))
    drawing.text(8.45, 2.85, "a name")
    drawing.text(8.45, 1.25, "manifest,")
    drawing.text(8.45, 0.95, "layers")
    return drawing.picture(
        "client -> host: image name, command, options\n"
        "host -> client: output, exit code\n"
        "host -> registry: an image's name\n"
        "registry -> host: its manifest and layers, which stay on the host\n"
        "on the host the engine makes containers from images"
    )


def pillars() -> Picture:
    """What a container rests on, and what an engine puts together."""
    drawing = Diagram(11, 5.2)
    drawing.box(0.4, 0, 10.2, 0.9, "one Linux kernel, the host's", kind="kernel")
    columns = [
        ("namespaces", "what it sees:\nprocesses, names,\nusers, mounts", "plain"),
        ("cgroups", "how much it gets:\nCPU, memory,\nprocesses", "plain"),
        ("image layers", "which files it has:\nshared below,\nits own on top", "image"),
        ("virtual bridge", "whom it reaches:\na network\nof its own", "network"),
    ]
    for place, (name, words, kind) in enumerate(columns):
        left = 0.5 + place * 2.55
        drawing.box(left, 0.95, 2.35, 2.1, name, kind=kind)
        drawing.text(left + 0.2, 1.95, words, align="left")
    drawing.box(0.4, 3.1, 10.2, 0.9, "a container: your program and its children", kind="container")
    drawing.box(2.6, 4.3, 5.8, 0.8, "the engine puts it together", kind="host")
    drawing.arrow((5.5, 4.35), (5.5, 3.95))
    return drawing.picture(
        "a container is your program and its children, on four pillars and one kernel, put together by an engine\n"
        "namespaces: what it sees\n"
        "cgroups: how much it gets\n"
        "image layers: which files it has\n"
        "virtual bridge: whom it reaches"
    )
