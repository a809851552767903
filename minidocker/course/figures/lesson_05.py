"""Drawings of lesson 05: a root of its own."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    """What chroot moves, and what pivot_root moves."""
    drawing = Diagram(11, 4.6)
    for left, title, kind in ((0, "chroot moves the process", "host"), (5.7, "pivot_root moves the tree", "container")):
        drawing.box(left, 0, 5.3, 4.6, title, kind=kind)
        drawing.box(left + 3.3, 1.7, 1.6, 0.75, "rootfs", kind="container")
        drawing.box(left + 3.3, 0.3, 1.6, 0.75, "bin", kind="container")
        drawing.line((left + 4.1, 1.75), (left + 4.1, 1.0))
        drawing.box(left + 0.2, 1.7, 1.4, 0.75, "process", kind="container")
        drawing.arrow((left + 1.55, 2.07), (left + 3.35, 2.07), "its /")
    drawing.box(3.3, 3.1, 1.6, 0.75, "/ of the host", kind="host")
    drawing.line((4.1, 3.15), (4.1, 2.4))
    drawing.text(1.7, 3.45, "still there, above", align="center")
    drawing.box(9.0, 3.1, 1.6, 0.75, "old root", kind="stop")
    drawing.line((9.8, 3.1), (9.8, 2.95), kind="stop")
    drawing.line((9.8, 2.6), (9.8, 2.45), kind="stop")
    drawing.text(7.4, 3.45, "unmounted")
    return drawing.picture(
        "chroot: the process's / is rootfs; the host's tree is still there, above it\n"
        "pivot_root: rootfs is the top of the tree in this mount namespace\n"
        "the old root is unmounted: nothing is above rootfs"
    )


def climb() -> Picture:
    """The way out of a chroot, in three steps."""
    drawing = Diagram(11, 4.9)
    titles = ("after chroot(rootfs)", 'after chroot("/door")', 'after chdir(".."), repeated')
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
    panels = (
        ("bind", [("old root", "host"), ("rootfs", "container")], "rootfs is a mount of its own,\non a directory of the old root"),
        ('pivot_root(".", ".")', [("rootfs", "container"), ("old root", "host")], "rootfs is the root,\nthe old root lies on top of it"),
        ('umount2(".")', [("rootfs", "container")], "the top one is taken away,\none mount is left"),
    )
    for number, (title, stack, note) in enumerate(panels):
        left = number * 3.7
        drawing.box(left, 0, 3.6, 3.9, title, kind="plain")
        drawing.text(left + 1.8, 0.45, note)
        for height, (name, kind) in enumerate(stack):
            drawing.box(left + 0.8, 1.0 + height * 1.1, 2.0, 0.9, name, kind=kind)
        if len(stack) == 2:
            drawing.line((left + 1.8, 1.85), (left + 1.8, 2.15))
    return drawing.picture(
        "1. bind: rootfs becomes a mount of its own, on a directory of the old root\n"
        '2. pivot_root(".", "."): rootfs is the root, the old root lies on top of it\n'
        '3. umount2("."): the top one is taken away, one mount is left'
    )
