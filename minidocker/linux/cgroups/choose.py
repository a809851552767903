"""One question: which kind of cgroup does this host have?"""

from __future__ import annotations

from minidocker.linux.cgroups import layout
from minidocker.linux.cgroups.v1 import CgroupV1
from minidocker.linux.cgroups.v2 import Cgroup


def open_cgroup(name: str) -> Cgroup:
    """The cgroup called *name* (it need not exist yet), in the form this host has. SpecError: not a name."""
    return Cgroup(name) if layout.mode() == "v2" else CgroupV1(name)
