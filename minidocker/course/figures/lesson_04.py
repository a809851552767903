"""Drawings of lesson 04: mount namespaces."""

from minidocker.course.plots import Diagram, Picture


def idea() -> Picture:
    """The subject's picture: several virtual roots in one tree."""
    drawing = Diagram(11, 5.6)
    drawing.box(0, 0, 7.4, 5.6, 'one tree of files: "/" of the host', kind="host")
    for left, name in ((1.9, "web"), (4.6, "db")):
        drawing.box(left, 0.2, 2.6, 2.75, kind="container")
        drawing.text(left + 1.3, 0.5, f'"/" of {name}', bold=True)
    places = {
        "/": (3.3, 4.3), "bin": (0.9, 3.15), "srv": (4.05, 3.15), "web": (2.7, 1.95), "db": (5.4, 1.95),
        "etc": (2.0, 0.8), "bin ": (3.25, 0.8), "etc ": (4.7, 0.8), "bin  ": (5.95, 0.8),
    }  # fmt: skip
    edges = [("/", "bin"), ("/", "srv"), ("srv", "web"), ("srv", "db"), ("web", "etc"), ("web", "bin "), ("db", "etc "), ("db", "bin  ")]
    for above, below in edges:
        (x, y), (lower_x, lower_y) = places[above], places[below]
        drawing.line((x + 0.55, y + 0.05), (lower_x + 0.55, lower_y + 0.6))
    for name, (x, y) in places.items():
        drawing.box(x, y, 1.1, 0.65, name.strip(), kind="container" if y < 2 else "host")
    apps = ((4.2, "host", "a shell: /srv/web/etc"), (2.4, "container", "app in web: /etc"), (0.6, "container", "app in db: /etc"))
    for y, kind, path in apps:
        drawing.box(8.2, y, 2.8, 0.8, path, kind=kind)
    drawing.arrow((8.2, 4.6), (4.4, 4.62))
    drawing.arrow((8.2, 2.8), (3.8, 2.4), curve=0.12)
    drawing.arrow((8.2, 1.0), (6.5, 2.1), curve=-0.2)
    drawing.text(9.6, 5.3, 'where "/" begins', bold=True)
    return drawing.picture(
        "one tree of files, three processes, three places where / begins\n"
        "a shell on the host begins at the top: /srv/web/etc is one of its paths\n"
        "the app in web begins at srv/web: the same directory is its /etc\n"
        "the app in db begins at srv/db: its /etc is another directory"
    )


def propagation() -> Picture:
    """Which mount events pass between the host and three copies of its mount."""
    drawing = Diagram(10.5, 5)
    drawing.box(0, 0, 3.6, 5, "host", kind="host")
    drawing.box(0.4, 1.9, 2.8, 1.1, "stage\n(made shared)", kind="host")
    drawing.box(7.4, 3.5, 3.1, 1.2, "shared\na peer", kind="container")
    drawing.box(7.4, 1.85, 3.1, 1.2, "slave\nlistens only", kind="container")
    drawing.box(7.4, 0.2, 3.1, 1.2, "private\nhears and tells nothing", kind="container")
    drawing.arrow((3.2, 2.85), (7.4, 4.1), both=True)
    drawing.text(5.1, 4.05, "mounts pass both ways")
    drawing.arrow((3.2, 2.45), (7.4, 2.45), "mounts pass this way only")
    drawing.arrow((3.2, 2.0), (5.2, 1.35), kind="stop")
    drawing.arrow((7.4, 0.75), (5.6, 1.2), kind="stop")
    drawing.text(5.2, 0.7, "nothing passes")
    return drawing.picture(
        "host's mount, made shared; each child holds a copy of it\n"
        "shared copy: what one mounts below it appears at the other, both ways\n"
        "slave copy: the host's mounts appear in it, its own stay its own\n"
        "private copy: nothing passes, either way"
    )
