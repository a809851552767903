"""Views and plots: drawn from the kernel, PNG for the eye, a twin of facts for everybody else."""

from __future__ import annotations

import os
import struct
import textwrap
from collections.abc import Iterator

import pytest

from minidocker.course import views
from minidocker.course.child import Child
from minidocker.course.plots import COLOURS, Diagram, Picture, figure
from minidocker.errors import SyscallError
from minidocker.linux import cgroups
from minidocker.linux.cgroups import cpu, cpuset, memory


def size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.fixture
def child() -> Iterator[Child]:
    """A child with UTS, mount and PID namespaces of its own and two forks in them."""
    made = Child()
    code = """
    import os, signal
    from minidocker.linux import mounts, namespaces, process, syscalls
    namespaces.unshare("uts", "mnt", "pid")
    mounts.make_private("/", recursive=True)
    syscalls.mount("tmpfs", "/srv", "tmpfs")
    for path in ("/srv/a", "/srv/b c"):
        os.mkdir(path)
        syscalls.mount("tmpfs", path, "tmpfs")
    mounts.make_shared("/srv/a")
    for name in ("one", "two"):
        ready, go = os.pipe()
        if os.fork() == 0:
            syscalls.set_process_name(name)
            os.write(go, b"x")
            signal.pause()
        os.read(ready, 1)
    """
    made.run(textwrap.dedent(code))
    yield made
    made.end()


def test_the_process_tree_has_names_and_inner_numbers(child):
    assert repr(views.process_tree(child.pid, names={child.pid: "child"})) == "child\n  one, pid 1 inside\n  two, pid 2 inside"


def test_the_tree_of_a_process_that_is_not_there_is_an_error():
    with pytest.raises(SyscallError):
        views.process_tree(2**22 + 1)


def test_namespaces_are_grouped_by_who_shares_them(child):
    picture = views.namespaces(host="self", child=child.pid, other=os.getpid(), only=("uts", "net"))
    assert repr(picture) == "uts: host, other | child\nnet: host, child, other"
    assert len(repr(views.namespaces(host="self", child=child.pid)).splitlines()) == 8


def test_runs_of_equal_neighbours():
    assert views.runs([7, 7, 9, 7]) == [(0, 1), (2, 2), (3, 3)]


def test_mounts_are_a_tree_with_type_and_propagation(child):
    twin = repr(views.mount_tree({"host": "self", "child": child.pid}, below="/srv/a"))
    assert twin == "host:\n  nothing mounted here\nchild:\n  a  tmpfs, shared A"
    assert repr(views.mount_tree(child.pid, below="/srv")).splitlines() == [
        "srv  tmpfs, private",
        "  a  tmpfs, shared A",
        "  b c  tmpfs, private",
    ]


def test_relations_of_mounts_are_lettered_in_the_order_of_their_appearance():
    letters: dict[str, str] = {}
    assert views.relation(("shared:40",), letters) == "shared A"
    assert views.relation(("shared:7", "master:40"), letters) == "shared B, slave of A"
    assert views.relation(("master:9", "propagate_from:40"), letters) == "slave of C"
    assert views.relation((), letters) == "private"
    assert views.relation(("unbindable",), letters) == "unbindable"


def test_layers_are_a_stack_with_the_writable_one_on_top():
    twin = repr(views.layers([("container", "changes"), ("busybox", "1 file")]))
    assert twin == "container: changes (writable)\nbusybox: 1 file (read-only)"


@pytest.fixture
def two_cgroups() -> Iterator[tuple[cgroups.Cgroup, cgroups.Cgroup]]:
    pair = cgroups.open_cgroup(f"mdt{os.getpid()}/left"), cgroups.open_cgroup(f"mdt{os.getpid()}/right")
    for one in pair:
        one.create()
    yield pair
    for one in (*pair, cgroups.open_cgroup(f"mdt{os.getpid()}")):
        one.remove()


def test_shares_are_read_from_the_kernels_files(two_cgroups):
    left, right = two_cgroups
    memory.set_max(left, 64 << 20)
    cpu.set_max(left, 50_000)
    cpu.set_weight(left, 300)
    picture = views.cgroup_shares({"shop": left.name, "mail": right.name})
    assert repr(picture) == (
        "shop: every core, at most 64 MiB, weight 300, at most 50 % of a core\nmail: every core, memory without a limit, weight 100"
    )
    assert size(picture.png())


def test_shares_name_cores_by_their_number_only_in_the_drawing(two_cgroups):
    left, right = two_cgroups
    everyone = cpuset.effective_cpus(left)
    cpuset.set_cpus(left, everyone[-1:])
    assert views.share(left.name).cores == everyone[-1:]
    assert repr(views.cgroup_shares({"a": left.name, "b": right.name})).startswith("a: every core" if len(everyone) == 1 else "a: 1 core,")


def test_the_shares_of_a_cgroup_that_is_not_there_are_an_error():
    with pytest.raises(SyscallError):
        views.cgroup_shares({"nobody": "mdt-nobody/here"})


def test_a_picture_offers_png_and_twin():
    data, metadata = Diagram(4, 2).picture("a fact\n")._repr_mimebundle_()
    assert (data["text/plain"], metadata) == ("a fact", {})
    width, height = size(data["image/png"])
    assert width > height > 50


def test_a_drawing_with_changing_numbers_says_so(child):
    assert views.process_tree(child.pid)._repr_mimebundle_()[1] == {"live": True}


def test_the_same_drawing_gives_the_same_bytes():
    def draw() -> Picture:
        drawing = Diagram(6, 3, "title")
        drawing.box(0, 0, 3, 2, "host", kind="host")
        drawing.arrow((3, 1), (5, 1), "to", curve=0.2)
        return drawing.picture("twin")

    assert draw().png() == draw().png()


@pytest.mark.parametrize("kind", COLOURS)
def test_every_kind_can_be_drawn(kind):
    drawing = Diagram(6, 3)
    drawing.box(0, 0, 3, 2, kind, kind=kind)
    drawing.arrow((0, 0), (1, 1), kind, kind=kind, both=True)
    drawing.line((0, 0), (1, 1), kind=kind)
    assert size(drawing.picture(kind).png())


def test_the_kinds_have_colours_of_their_own():
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_a_plot_in_the_courses_style_needs_no_pyplot():
    import sys

    made, axes = figure()
    axes.plot([0, 1], [1, 2])
    assert size(Picture(made, "a line").png())
    assert "matplotlib.pyplot" not in sys.modules
