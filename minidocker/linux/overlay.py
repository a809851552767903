"""Overlay: several read-only layers and one writable, seen as one tree.

Interface: mount_overlay(lower, upper, work, target), options(...).
Man page: the kernel's Documentation/filesystems/overlayfs.rst. The same from a shell: mount -t overlay. Notebook: 13 (later).
"""

from __future__ import annotations

import os

from minidocker.errors import SpecError
from minidocker.linux import syscalls

PAGE = 4096  # mount(2) takes one page of options


def escape(path: str) -> str:
    """A path as lowerdir= and upperdir= want it: "\\", "," and ":" are special there."""
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def options(lower: list[str], upper: str, work: str) -> str:
    """The data of the mount call; *lower* has the topmost layer first."""
    return f"lowerdir={':'.join(escape(path) for path in lower)},upperdir={escape(upper)},workdir={escape(work)}"


def mount_overlay(lower: list[str], upper: str, work: str, target: str) -> None:
    """Show the directories *lower* (topmost first) merged at *target*; changes go to *upper*.

    *work* must be an empty directory on the filesystem of *upper*. Many long layer names would not fit the one page that
    mount(2) takes, so the common directory is entered first and the names are given relative to it.
    SpecError: even so too many layers. SyscallError: EINVAL when *upper*'s filesystem cannot serve (another overlay, NFS).
    """
    data = options(lower, upper, work)
    if len(data.encode()) < PAGE:
        syscalls.mount("overlay", target, "overlay", 0, data)
        return
    common = os.path.commonpath([*lower, upper, work])
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(common)
        data = options([os.path.relpath(path, common) for path in lower], os.path.relpath(upper, common), os.path.relpath(work, common))
        if len(data.encode()) >= PAGE:
            raise SpecError(f"{len(lower)} layers do not fit into one mount call", hint="squash the image: it has too many layers")
        syscalls.mount("overlay", target, "overlay", 0, data)
    finally:
        os.fchdir(here)
        os.close(here)
