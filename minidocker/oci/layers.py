"""Layers: from a tar stream to a directory that overlayfs can stack.

    unpacked = unpack(stream, target)      # .diff_id .size .entries; SpecError names the hostile or broken entry

A layer is a *changeset* (image-spec layer.md): besides files it holds whiteouts, which delete what lower layers brought. Every layer is
unpacked alone, in overlayfs' own form (Linux Documentation/filesystems/overlayfs.rst): ``.wh.NAME`` becomes the character device 0:0
called NAME, ``.wh..wh..opq`` the attribute trusted.overlay.opaque=y of its directory. Owners, devices and that attribute need root.

A layer may come from anyone, so no name in it is ever given to the kernel whole. Each directory on the way is opened from its parent's
file descriptor without following symlinks: nothing outside of *target* can be reached, whatever the names say. openat(2), symlink(7).
"""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
from pathlib import Path
from typing import NamedTuple

from minidocker.errors import SpecError, SyscallError
from minidocker.oci.blobs import Readable
from minidocker.oci.decompress import Decompressed
from minidocker.oci.tar import CHUNK, Entry, TarReader

log = logging.getLogger(__name__)

Parts = tuple[bytes, ...]  # a path inside the layer, one name each; () is the layer's root

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS_METADATA = b".wh..wh."
_OPAQUE_XATTR = "trusted.overlay.opaque"
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
_PATH_MAX = 4096
_NOBODY_AT_ALL = 2**32 - 1  # chown(2) takes this id for "leave it as it is"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}
# What only an archive that makes no sense can cause. Everything else (disk full, no permission) is the host's trouble.
_ARCHIVE_ERRORS = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.EEXIST, errno.EINVAL}
_ARCHIVE_ERRORS |= {errno.EMLINK, errno.EFBIG, errno.EOVERFLOW, errno.E2BIG, errno.ERANGE}


class Unpacked(NamedTuple):
    """What a layer was: the digest and size of its uncompressed tar, and how many entries it had."""

    diff_id: str
    size: int
    entries: int


def unpack(stream: Readable, target: str | Path) -> Unpacked:
    """Unpack the layer in *stream* (gzip, zstd or plain tar) into the existing, empty directory *target*.

    Must be root. SpecError: the archive is broken or hostile, with the entry's name. SyscallError: the host cannot (ENOSPC, EPERM)."""
    source = Decompressed(stream)
    try:
        root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno or 0, str(target), step="unpack layer") from error
    try:
        count = _Unpacker(root).run(TarReader(io.BufferedReader(source, CHUNK)))
        while source.read(CHUNK):
            pass  # what follows the archive's end mark still counts for the digest
    finally:
        os.close(root)
    return Unpacked(source.diff_id, source.size, count)


class _Unpacker:
    """One unpacking: the directory fd it is confined to, and what has to wait until the end."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._parent: tuple[Parts, int] = ((), os.dup(root))  # the directory last used: entries come directory by directory
        self._times: dict[Parts, int] = {}
        self._doing = ""

    def run(self, reader: TarReader) -> int:
        count = 0
        try:
            for entry in reader:
                count += 1
                self._guarded(entry, reader)
            # Last, because every file made in a directory changes the directory's own time.
            for parts, mtime in self._times.items():
                os.utime(self._directory(parts), ns=(mtime, mtime))
        finally:
            os.close(self._parent[1])
        return count

    def _guarded(self, entry: Entry, reader: TarReader) -> None:
        """Unpack *entry*, and say what is wrong with it if that fails."""
        try:
            self._one(entry, reader)
        except (SpecError, SyscallError):
            raise
        except OSError as error:
            if error.errno in _ARCHIVE_ERRORS:
                raise SpecError(f"layer entry {entry} cannot be unpacked: {self._doing}: {error.strerror}") from error
            hint = "unpacking a layer needs root" if error.errno == errno.EPERM else ""
            raise SyscallError(self._doing, error.errno or 0, str(entry), step="unpack layer", hint=hint) from error
        except (OverflowError, ValueError) as error:
            raise SpecError(f"layer entry {entry} cannot be unpacked: {error}") from error

    def _one(self, entry: Entry, reader: TarReader) -> None:
        parts = _parts(entry.name)
        name = parts[-1] if parts else b""
        if name == OPAQUE:
            self._doing = "setxattr"
            os.setxattr(self._directory(parts[:-1]), _OPAQUE_XATTR, b"y")
        elif parts and parts[0].startswith(_AUFS_METADATA):
            pass  # what a file system that Docker once used kept for itself; Docker's own unpacker passes over it, too
        elif name.startswith(WHITEOUT):
            self._whiteout(self._directory(parts[:-1]), name.removeprefix(WHITEOUT))
        elif any(part.startswith(WHITEOUT) for part in parts):
            raise SpecError(f"layer entry {entry} lies in a whiteout, which is no directory")
        elif entry.kind == "dir":
            self._make_directory(parts, entry)
        elif not parts:
            raise SpecError(f"layer entry {entry} would replace the root directory")
        else:
            self._times.pop(parts, None)  # in case an earlier entry made a directory of this name
            self._make(self._directory(parts[:-1]), name, entry, reader)

    def _whiteout(self, parent: int, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise SpecError("a layer entry would delete a directory from inside of it")
        old = _lstat(parent, name)
        if old is None:
            self._doing = "mknod"
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        elif stat.S_ISDIR(old.st_mode):
            # The same layer also brings a directory of this name: only what lower layers have in it goes away.
            self._doing = "setxattr"
            os.setxattr(under(parent, name), _OPAQUE_XATTR, b"y", follow_symlinks=False)

    def _make_directory(self, parts: Parts, entry: Entry) -> None:
        if parts:
            parent, name = self._directory(parts[:-1]), parts[-1]
            old = _lstat(parent, name)
            if old is not None and not stat.S_ISDIR(old.st_mode):
                self._doing = "unlink"
                os.unlink(name, dir_fd=parent)
            if old is None or not stat.S_ISDIR(old.st_mode):
                self._doing = "mkdir"
                os.mkdir(name, 0o700, dir_fd=parent)
            if old is not None and stat.S_ISCHR(old.st_mode) and old.st_rdev == 0:
                # It was deleted and made anew: nothing that lower layers have in it may shine through.
                os.setxattr(under(parent, name), _OPAQUE_XATTR, b"y", follow_symlinks=False)
        self._attributes(self._directory(parts), b"", entry)
        self._times[parts] = entry.mtime

    def _make(self, parent: int, name: bytes, entry: Entry, reader: TarReader) -> None:
        if entry.kind == "hardlink":
            self._hard_link(parent, name, entry)
            return
        self._clear(parent, name)
        if entry.kind == "file":
            self._doing = "open"
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
            try:
                self._doing = "write"
                reader.copy_to(fd)
                self._attributes(fd, b"", entry)
            finally:
                os.close(fd)
            return
        if entry.kind == "symlink":
            self._doing = "symlink"
            os.symlink(entry.link, name, dir_fd=parent)
        else:
            self._doing = "mknod"
            os.mknod(name, _DEVICES[entry.kind] | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)
        self._attributes(parent, name, entry)

    def _hard_link(self, parent: int, name: bytes, entry: Entry) -> None:
        *source_parts, source = _parts(entry.link) or (b".",)
        self._doing = "link"
        source_parent = open_directory(self._root, tuple(source_parts))
        try:
            old, new = _lstat(source_parent, source), _lstat(parent, name)
            if old is None or stat.S_ISDIR(old.st_mode):
                raise SpecError(f"layer entry {entry} is a hard link to {Entry(entry.link)}, which is no file of the layer")
            if new is not None and (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino):
                return  # the link is there already
            self._clear(parent, name)
            os.link(source, name, src_dir_fd=source_parent, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source_parent)

    def _clear(self, parent: int, name: bytes) -> None:
        """Make way for something that is no directory. A later entry of a name replaces an earlier one."""
        old = _lstat(parent, name)
        if old is not None:
            self._doing = "replace"
            if stat.S_ISDIR(old.st_mode):
                os.rmdir(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)

    def _attributes(self, fd: int, name: bytes, entry: Entry) -> None:
        """Owner, mode, xattrs and time of *name* in the directory *fd*, or of *fd* itself if *name* is empty."""
        if not (0 <= entry.uid < _NOBODY_AT_ALL and 0 <= entry.gid < _NOBODY_AT_ALL):
            raise SpecError(f"layer entry {entry} has the impossible owner {entry.uid}:{entry.gid}")
        # This order: changing the owner clears the setuid bit and security.capability.
        self._doing = "chown"
        if name:
            os.chown(name, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
        else:
            os.fchown(fd, entry.uid, entry.gid)
        self._doing = "chmod"
        if name and entry.kind != "symlink":  # the kernel has no mode for symlinks
            os.chmod(name, entry.mode, dir_fd=fd)
        elif not name:
            os.fchmod(fd, entry.mode)
        for key, value in entry.xattrs.items():
            self._xattr(fd, name, key, value)
        self._doing = "utime"
        if name:
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)
        else:
            os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _xattr(self, fd: int, name: bytes, key: str, value: bytes) -> None:
        if key.startswith(OVERLAY_XATTRS):
            raise SpecError(f"a layer entry has the attribute {key}, with which it could redirect overlayfs")
        self._doing = "setxattr"
        try:
            os.setxattr(under(fd, name) if name else fd, key, value, follow_symlinks=not name)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            log.info("attribute %s dropped: the file system or kernel here does not have it", key)

    def _directory(self, parts: Parts) -> int:
        """An open fd of the layer's directory *parts*, made if missing. Ours to close, and valid until the next call."""
        known, fd = self._parent
        if known != parts:
            self._doing = "open directory"
            if parts[: len(known)] == known:
                new = open_directory(fd, parts[len(known) :], create=True)
            else:
                new = open_directory(self._root, parts, create=True)
            os.close(fd)
            self._parent = (parts, new)
        return self._parent[1]


def open_directory(start: int, parts: Parts, *, create: bool = False) -> int:
    """Open the directory *parts* below the directory fd *start*, following no symlink. OSError ENOTDIR: a part is no directory."""
    fd = os.dup(start)
    try:
        for part in parts:
            try:
                below = os.open(part, _DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(part, 0o755, dir_fd=fd)
                os.chmod(part, 0o755, dir_fd=fd)  # whatever the umask
                below = os.open(part, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
    except BaseException:
        os.close(fd)
        raise
    return fd


def _parts(name: bytes) -> Parts:
    """The names on the way to *name*, which counts from the layer's root even if it starts with a slash. SpecError if it leads out."""
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise SpecError(f"layer entry {Entry(name)} leads out of the layer")
    if len(name) > _PATH_MAX or b"\0" in name:
        raise SpecError(f"layer entry {Entry(name)} has an impossible name")
    return parts


def under(fd: int, name: bytes) -> bytes:
    """A path to *name* in the directory *fd*, for the calls that know no directory fds."""
    return b"/proc/self/fd/%d/%s" % (fd, name)


def _lstat(parent: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
