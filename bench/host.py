"""The host as it was: what the compared engines leave outside their own directories is found by comparison and removed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Places that docker and podman use whatever they are told, and a host may have for reasons of its own.
PLACES = ("/dev/shm", "/etc", "/etc/containers", "/etc/docker", "/run", "/run/containers", "/run/docker", "/var/lib", "/var/lib/containers")
LEAVERS = ("cni", "containers", "crun", "docker", "key.json", "libpod", "mdbench", "netns", "plugins", "podman", "runc")


def _entries() -> set[str]:
    found = set()
    for place in PLACES:
        if os.path.isdir(place):
            found |= {place, *(os.path.join(place, name) for name in os.listdir(place))}
    return found


def _cgroups() -> set[str]:
    return {directory for directory, _, _ in os.walk("/sys/fs/cgroup")}


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Afterwards remove every file and cgroup that is new and has a name that only a container engine gives."""
    files, cgroups = _entries(), _cgroups()
    try:
        yield
    finally:
        for path in sorted(_cgroups() - cgroups, reverse=True):
            if any(part.startswith(LEAVERS) for part in path.split("/")[4:]):
                with contextlib.suppress(OSError):  # what still has processes is not ours to end
                    os.rmdir(path)
        for path in sorted(_entries() - files, reverse=True):
            if os.path.basename(path).startswith(LEAVERS):
                shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else Path(path).unlink(missing_ok=True)
