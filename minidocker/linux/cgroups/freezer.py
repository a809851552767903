"""Freeze and thaw: stop all processes of a cgroup where they are, and let them go on. They cannot notice, nor refuse.

Interface: freeze thaw is_frozen is_freezing.
Man page: "cgroup.freeze" in cgroup-v2.rst. The same from a shell: echo 1 > cgroup.freeze. Notebook: 12.
"""

from __future__ import annotations

from minidocker.errors import MinidockerError
from minidocker.linux.cgroups.v2 import Cgroup


def freeze(cgroup: Cgroup, timeout: float = 10.0) -> None:
    """Freeze it and all below, and wait until the kernel says that every process stands. MinidockerError: one does not, within *timeout*
    seconds; then the others go on as well."""
    cgroup.write("cgroup.freeze", "1")
    if not cgroup.wait_event("frozen 1", timeout):
        thaw(cgroup)
        hint = "a process in uninterruptible sleep (state D) cannot be frozen"
        raise MinidockerError(f"the processes in cgroup {cgroup.name} cannot be frozen", hint=hint)


def thaw(cgroup: Cgroup) -> None:
    cgroup.write("cgroup.freeze", "0")


def is_freezing(cgroup: Cgroup) -> bool:
    """Was it told to freeze?"""
    return cgroup.read("cgroup.freeze") == "1"


def is_frozen(cgroup: Cgroup) -> bool:
    """Does every process in it stand now?"""
    return "frozen 1" in cgroup.read("cgroup.events").splitlines()
