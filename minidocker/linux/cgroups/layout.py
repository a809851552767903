"""Where this host keeps its cgroups: one v2 tree, or v1 hierarchies beside a (nearly) empty v2 tree.

Interface: layout() -> Layout(unified, v1), mode() -> "v2" | "hybrid" | "v1".
Man page: cgroups(7). The same from a shell: findmnt -t cgroup,cgroup2.
"""

from __future__ import annotations

import os
from collections import namedtuple

from minidocker.errors import MissingFeature

Layout = namedtuple("Layout", "unified v1")
Layout.__doc__ = """*unified*: mount point of the v2 tree or ""; *v1*: controller -> mount point of the hierarchy that holds it."""

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "freezer")  # devices comes with the rules for it
_layouts: list[Layout] = []  # found once per process: the machine's cgroup mounts stay as they are


def layout() -> Layout:
    """Read the mounts of cgroup filesystems. MissingFeature: there is none."""
    if not _layouts:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            _layouts.append(parse(file.read()))
    return _layouts[0]


def parse(mounts: str) -> Layout:
    """The layout that the text of /proc/self/mounts describes. Of several mounts of one hierarchy the first counts."""
    unified = ""
    v1: dict[str, str] = {}
    for line in mounts.splitlines():
        _, target, fstype, options = line.split(" ")[:4]
        if fstype == "cgroup2":
            unified = unified or target
        elif fstype == "cgroup":
            for controller in set(options.split(",")) & set(CONTROLLERS):
                v1.setdefault(controller, target)
    if unified:
        v1.pop("freezer", None)  # on v2 every cgroup can be frozen: there it is no controller
    if not unified and not v1:
        raise MissingFeature("no cgroup filesystem is mounted", hint="mount -t cgroup2 none /sys/fs/cgroup")
    return Layout(unified, v1)


def mode() -> str:
    """ "v2": every controller is in the unified tree. "hybrid": memory and others are on v1. "v1": there is no v2 tree at all."""
    found = layout()
    if not found.unified:
        return "v1"
    return "hybrid" if "memory" in found.v1 else "v2"


def read_file(path: str) -> str:
    """The file's text without its last newline. OSError as open(2) has it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(fd, 1 << 16):  # the kernel gives a long list page by page
            pieces.append(piece)
        return b"".join(pieces).decode().rstrip("\n")
    finally:
        os.close(fd)


def write_file(path: str, value: str) -> None:
    """Write *value* in one call: a cgroup file takes each write as one command. OSError as write(2) has it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
