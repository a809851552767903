"""Mounts: bind, propagation, read-only trees, and the kernel's list of them.

Interface: bind, make_private make_shared make_slave make_unbindable, read_only, mountinfo(pid) -> [Mount], parse(line).
Man pages: mount(2), mount_namespaces(7), proc_pid_mountinfo(5). The same from a shell: mount(8), findmnt(8). Notebook: 04_mounts.
"""

from __future__ import annotations

import errno
import os
from collections import namedtuple

from minidocker.errors import SpecError, SyscallError
from minidocker.linux import syscalls
from minidocker.linux.syscalls import MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_UNBINDABLE

Mount = namedtuple("Mount", "id parent device root target options propagation fstype source super_options")
Mount.__doc__ = """One line of /proc/PID/mountinfo. *root* is the part of the filesystem that is mounted, *target* where;
*propagation* holds the optional fields, such as ("shared:1", "master:2"); () is a private mount."""

_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\", "\\043": "#"}


def make_private(path: str, *, recursive: bool = False) -> None:
    """Mounts at *path* neither send nor receive mount events. SyscallError EINVAL: no mount point."""
    syscalls.mount("", path, "", MS_PRIVATE | (MS_REC if recursive else 0))


def make_shared(path: str, *, recursive: bool = False) -> None:
    """Mounts at *path* appear in all its peers, and theirs here."""
    syscalls.mount("", path, "", MS_SHARED | (MS_REC if recursive else 0))


def make_slave(path: str, *, recursive: bool = False) -> None:
    """Mounts of the former peers appear at *path*; ours stay ours."""
    syscalls.mount("", path, "", MS_SLAVE | (MS_REC if recursive else 0))


def make_unbindable(path: str, *, recursive: bool = False) -> None:
    """Private, and cannot be the source of a bind mount."""
    syscalls.mount("", path, "", MS_UNBINDABLE | (MS_REC if recursive else 0))


def bind(source: str, target: str, *, recursive: bool = True, read_only: bool = False) -> None:
    """Show the file or directory *source* at *target* too, with the mounts below it if *recursive*. See mount(2).

    A bind mount cannot be made read-only in one step: the second call does it, for all mounts below as well.
    """
    syscalls.mount(source, target, "", MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        make_read_only(target, recursive=recursive)


def make_read_only(target: str, *, recursive: bool = True) -> None:
    """Make the mount at *target* read-only, and those below it if *recursive*. See mount_setattr(2).

    Before Linux 5.12 there is no recursive call: then each mount below is remounted by itself.
    """
    try:
        syscalls.mount_setattr(target, syscalls.MOUNT_ATTR_RDONLY, recursive=recursive)
    except SyscallError as error:
        if error.errno != errno.ENOSYS:
            raise
        target = os.path.realpath(target)  # as mountinfo has it
        inside = target.rstrip("/") + "/"
        found = [one for one in mountinfo() if one.target == target or (recursive and one.target.startswith(inside))]
        if target not in [one.target for one in found]:
            raise SyscallError("mount_setattr", errno.EINVAL, target) from error
        for entry in found:
            syscalls.mount("", entry.target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept_flags(entry.options))


def kept_flags(options: str) -> int:
    """The flags among *options* that a remount must repeat, since a user namespace may not take them away."""
    names = {
        "nosuid": syscalls.MS_NOSUID,
        "nodev": syscalls.MS_NODEV,
        "noexec": syscalls.MS_NOEXEC,
        "noatime": syscalls.MS_NOATIME,
        "nodiratime": syscalls.MS_NODIRATIME,
        "relatime": syscalls.MS_RELATIME,
    }
    return sum(flag for name, flag in names.items() if name in options.split(","))


def mountinfo(pid: int | str = "self") -> list[Mount]:
    """All mounts that process *pid* sees, in the kernel's order. SyscallError ENOENT: no such process."""
    path = f"/proc/{pid}/mountinfo"
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return [parse(line) for line in file]
    except OSError as error:
        raise SyscallError("open", error.errno or 0, path) from error


def parse(line: str) -> Mount:
    """One line of mountinfo. Spaces, tabs, newlines and backslashes in names come as octal escapes. SpecError: not such a line."""
    fields = line.rstrip("\n").split(" ")
    try:
        separator = fields.index("-", 6)
        fstype, source, super_options = fields[separator + 1 : separator + 4]
        return Mount(
            int(fields[0]),
            int(fields[1]),
            fields[2],
            unescape(fields[3]),
            unescape(fields[4]),
            fields[5],
            tuple(fields[6:separator]),
            unescape(fstype),
            unescape(source),
            super_options,
        )
    except (ValueError, IndexError) as error:
        raise SpecError(f"not a line of mountinfo: {line!r}") from error


def unescape(name: str) -> str:
    r"""Undo the kernel's mangling of names: "\040" is a space, and so on (fs/proc_namespace.c, mangle())."""
    if "\\" not in name:
        return name
    pieces, position = [], 0
    while position < len(name):
        escape = name[position : position + 4]
        if escape in _ESCAPES:
            pieces.append(_ESCAPES[escape])
            position += 4
        else:
            pieces.append(name[position])
            position += 1
    return "".join(pieces)
