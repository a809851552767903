"""Drawings of lesson 05: a root of its own."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    """What chroot moves, and what pivot_root moves."""
    drawing = Diagram(11, 5.2)
    drawing.box(0, 0, 5.3, 5.2, "chroot: the process's / is moved", kind="host")
    drawing.box(2.0, 3.6, 1.3, 0.75, "/", kind="host")
    drawing.box(0.5, 2.2, 1.3, 0.75, "home", kind="host")
    drawing.box(3.1, 2.2, 1.6, 0.75, "rootfs", kind="container")
    drawing.box(3.1, 0.5, 1.6, 0.75, "bin", kind="container")
    drawing.line((2.6, 3.65), (1.2, 2.9))
    drawing.line((2.7, 3.65), (3.8, 2.9))
    drawing.line((3.9, 2.25), (3.9, 1.2))
    drawing.text(0.3, 1.6, "the tree goes on\nabove the new /", align="left")
    drawing.arrow((1.95, 1.9), (3.1, 2.45), "")
    drawing.box(5.7, 0, 5.3, 5.2, "pivot_root: the tree's top is moved", kind="container")
    drawing.box(7.6, 3.6, 1.6, 0.75, "/", kind="container")
    drawing.box(7.6, 2.2, 1.6, 0.75, "bin", kind="container")
    drawing.line((8.4, 3.65), (8.4, 2.9))
    drawing.box(6.1, 0.5, 1.3, 0.75, "old /", kind="stop")
    drawing.box(8.2, 0.5, 1.3, 0.75, "home", kind="stop")
    drawing.text(10.3, 0.9, "unmounted", size=9)
    drawing.arrow((6.75, 1.75), (6.75, 1.25), kind="stop")
    drawing.text(5.95, 1.95, "nothing above the new /", align="left")
    return drawing.picture(
        "chroot: the process's / is rootfs, and the host's tree goes on above it\n"
        "pivot_root: rootfs is the top of the tree of this mount namespace\n"
        "the old top is unmounted, so there is nothing above to climb to"
    )


def climb() -> Picture:
    """The way out of a chroot, in three steps."""
    drawing = Diagram(11, 4.9)
    titles = ("after chroot(rootfs)", 'after chroot("/door")', 'after chdir("..") many times')
    for number, title in enumerate(titles):
        left = number * 3.7
        drawing.box(left, 0, 3.6, 4.9, title, kind="host")
        for y, name in ((3.2, "/ of the host"), (1.8, "rootfs"), (0.4, "door")):
            if name != "door" or number:
                drawing.box(left + 0.3, y, 1.6, 0.75, name, kind="host" if y > 3 else "container")
        drawing.line((left + 1.1, 3.25), (left + 1.1, 2.5))
        if number:
            drawing.line((left + 1.1, 1.85), (left + 1.1, 1.1))
        root_y, cwd_y = ((2.3, 2.0), (0.78, 2.18), (0.78, 3.58))[number]
        drawing.arrow((left + 2.75, root_y), (left + 1.9, root_y))
        drawing.text(left + 2.8, root_y, "root", align="left", bold=True)
        drawing.arrow((left + 2.75, cwd_y), (left + 1.9, cwd_y))
        drawing.text(left + 2.8, cwd_y, "cwd", align="left", bold=True)
    return drawing.picture(
        "1. after chroot(rootfs): root and working directory are both rootfs\n"
        '2. after chroot("/door"): root is the door, the working directory is above it\n'
        '3. chdir("..") never meets the root, so it climbs to the top of the host\'s tree'
    )


def pivot() -> Picture:
    """pivot_root(".", ".") in three states of the mount namespace."""
    drawing = Diagram(11, 3.9)
    titles = ("bind: a mount of its own", 'pivot_root(".", ".")', 'umount2(".")')
    stacks = (
        [("rootfs", "container", 1.9), ("old root", "host", 0.5)],
        [("old root", "host", 1.9), ("rootfs", "container", 0.5)],
        [("rootfs", "container", 0.5)],
    )
    notes = ("mounted on a directory\nof the old root", "rootfs is the root;\nthe old one lies on it", "the only mount left")
    for number, title in enumerate(titles):
        left = number * 3.7
        drawing.box(left, 0, 3.6, 3.9, title, kind="plain")
        for name, kind, y in stacks[number]:
            drawing.box(left + 0.3, y, 1.6, 1.0, name, kind=kind)
        drawing.text(left + 2.7, 1.5 if number < 2 else 1.0, notes[number], size=8)
        if number < 2:
            drawing.line((left + 1.1, 1.5), (left + 1.1, 1.9))
    return drawing.picture(
        "1. bind: rootfs becomes a mount, on top of a directory of the old root\n"
        '2. pivot_root(".", "."): rootfs is the root, the old root lies on top of it\n'
        '3. umount2("."): the old root is gone, rootfs is the only mount'
    )
