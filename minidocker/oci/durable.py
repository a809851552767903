"""Files that several processes share and that a killed process or a power cut must not leave half-made.

    with locked(path, fcntl.LOCK_EX): ...      # the kernel lets go when the holder dies, however it dies
    replace(path, content)                     # a reader sees the old content or the new, never a part
    make_directory(path); sync_directory(path); write_all(fd, content)

flock(2), rename(2), fsync(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from minidocker.errors import SyscallError

TEMPORARY = ".new-"  # what the name of an unfinished replacement starts with


@contextlib.contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock on the file *path*, made if missing. *how*: LOCK_EX or LOCK_SH; with LOCK_NB, BlockingIOError if it is taken."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        make_directory(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)  # which lets go of the lock


def replace(path: Path, content: bytes) -> None:
    """Give the file *path* new content in one step. SyscallError ENOSPC: the disk is full, and the old content is still there."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.urandom(4).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, content)
        os.fsync(fd)  # the content first, then its name: after a power cut the name never stands for less
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make *path* and its parents, for root only: what an image brings may be setuid, and no local user shall reach it."""
    try:
        os.mkdir(path, 0o700)
    except FileNotFoundError:
        make_directory(path.parent)
        make_directory(path)
    except FileExistsError:
        pass


def sync_directory(path: Path) -> None:
    """Make the names in *path* survive a power cut. fsync(2)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, content: bytes) -> None:
    """Write *content* to *fd* whole. SyscallError ENOSPC: the disk is full."""
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        hint = "free some space and try again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise SyscallError("write", error.errno or 0, hint=hint) from error
