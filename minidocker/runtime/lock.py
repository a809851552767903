"""A lock that says who is alive: held by a monitor as long as it lives, given back by the kernel when it dies.

Interface: take(path) -> descriptor, is_held(path).
An open file description lock can be asked about without being taken, so looking never disturbs a start.
Man page: fcntl(2), "Open file description locks".
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = "hhxxxxqqixxxx"  # struct flock on 64-bit Linux: l_type l_whence l_start l_len l_pid
_WHOLE_FILE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def take(path: str, *, wait: bool = False) -> int:
    """Lock *path* (made if missing) until the returned descriptor is closed. BlockingIOError: another holds it, unless *wait*."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except OSError:
        os.close(fd)
        raise
    return fd


def is_held(path: str) -> bool:
    """Does a living process hold the lock? A missing file is not held."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _WHOLE_FILE)
    finally:
        os.close(fd)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
