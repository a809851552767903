"""Overlay: several read-only layers and one writable, seen as one tree.

Interface: mount_overlay(lower, upper, work, target), options(...).
Man page: the kernel's Documentation/filesystems/overlayfs.rst. The same from a shell: mount -t overlay. Notebook: 13 (later).
"""

from __future__ import annotations

import os

from minidocker.errors import SpecError, SyscallError
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

    *work* must be an empty directory on the filesystem of *upper*. mount(2) takes one page of options. Where the names are too many
    for it, the layers are opened, and called by the numbers of their descriptors: some 800 find room so.
    SpecError: even so too many layers. SyscallError: EINVAL when *upper*'s filesystem cannot serve (another overlay, NFS).
    """
    data = options(lower, upper, work)
    if len(os.fsencode(data)) < PAGE:
        syscalls.mount("overlay", target, "overlay", 0, data)
        return
    target = os.path.abspath(target)
    opened: list[int] = []
    try:
        for path in [*lower, upper, work, "."]:
            opened.append(open_directory(path))
        *layers, upper_number, work_number = [str(fd) for fd in opened[:-1]]
        data = options(layers, upper_number, work_number)
        if len(data) >= PAGE:
            raise SpecError(f"{len(lower)} layers do not fit into one mount call", hint="squash the image: it has too many layers")
        os.chdir("/proc/self/fd")
        try:
            syscalls.mount("overlay", target, "overlay", 0, data)
        finally:
            os.chdir(f"/proc/self/fd/{opened[-1]}")
    finally:
        for fd in opened:
            os.close(fd)


def open_directory(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno or 0, path) from error
