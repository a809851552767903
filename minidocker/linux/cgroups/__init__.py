"""cgroups: which processes belong together, and what they may use. v2 is the language; see v2.py, v1.py and layout.py."""

from minidocker.linux.cgroups.choose import open_cgroup
from minidocker.linux.cgroups.layout import layout, mode
from minidocker.linux.cgroups.v1 import CgroupV1
from minidocker.linux.cgroups.v2 import Cgroup, enter

__all__ = ["Cgroup", "CgroupV1", "enter", "layout", "mode", "open_cgroup"]
