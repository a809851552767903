"""The doctor's probes of mounts and filesystems; see probes.py, which runs each in a process of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minidocker.errors import MissingFeature, SyscallError
from minidocker.linux import mounts, namespaces, overlay, syscalls

SCRATCH = "/tmp"  # covered by a tmpfs of the probe's own, in a mount namespace of its own
LEAST_DISK = 1 << 30


def in_first_child(action: Callable[[], bool]) -> bool:
    """Fork, as is needed after a new PID namespace, and run *action* there; whether it says yes."""
    if (child := os.fork()) == 0:
        try:
            os._exit(0 if action() else 1)
        except OSError:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def unshare_mounts() -> None:
    """A mount namespace of our own, whose mounts nobody else sees."""
    namespaces.unshare("mnt")
    try:
        mounts.make_private("/", recursive=True)
    except SyscallError as error:
        raise MissingFeature(f"/ is not a mount point, as in a chroot ({error})") from error


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty tmpfs that only this process sees. It ends with the process."""
    unshare_mounts()
    syscalls.mount("tmpfs", SCRATCH, "tmpfs")
    yield Path(SCRATCH)


def try_overlay(directory: Path) -> None:
    """Write through an overlay on *directory*, and delete a file of its lower layer, which needs a whiteout."""
    lower, upper, work, merged = (directory / name for name in ("lower", "upper", "work", "merged"))
    for path in (lower, upper, work, merged):
        path.mkdir()
    (lower / "file").write_text("below")
    overlay.mount_overlay([str(lower)], str(upper), str(work), str(merged))
    try:
        (merged / "file").unlink()
        (merged / "new").write_text("above")
        if sorted(os.listdir(upper)) != ["file", "new"] or not (lower / "file").exists():
            raise MissingFeature("a change did not go to the upper layer")
    finally:
        syscalls.umount2(str(merged))


def overlayfs(root: Path) -> str:
    with scratch() as directory:
        try_overlay(directory)
    return "copies up and deletes"


def existing(path: Path) -> Path:
    """*path*, or the nearest directory above it that is there."""
    while not path.is_dir():
        path = path.parent
    return path


def data_root(root: Path) -> str:
    unshare_mounts()
    with tempfile.TemporaryDirectory(prefix=".minidocker-doctor-", dir=existing(root)) as directory:
        try_overlay(Path(directory))
        above = [entry for entry in mounts.mountinfo() if Path(directory).is_relative_to(entry.target)]
    return f"{root} is on {max(above, key=lambda entry: len(entry.target)).fstype}"


def disk_space(root: Path) -> str:
    free = shutil.disk_usage(existing(root)).free
    if free < LEAST_DISK:
        raise MissingFeature(f"only {free >> 20} MiB free below {root}")
    return f"{free >> 30} GiB free"


def proc(root: Path) -> str:
    with scratch() as directory:
        namespaces.unshare("pid")

        def sees_itself() -> bool:
            syscalls.mount("proc", str(directory), "proc")
            return os.readlink(directory / "self") == "1"

        if not in_first_child(sees_itself):
            raise MissingFeature("could not be mounted in a new PID namespace")
    return "shows its own processes only"


def filesystem(kind: str, *unshared: str, data: str = "") -> Callable[[Path], str]:
    """A probe that mounts one of the kernel's own filesystems in new namespaces."""

    def probe(root: Path) -> str:
        with scratch() as directory:
            if unshared:
                namespaces.unshare(*unshared)
            syscalls.mount(kind, str(directory), kind, syscalls.MS_NOSUID | syscalls.MS_NOEXEC, data)
            if kind == "devpts":
                os.close(os.open(directory / "ptmx", os.O_RDWR | os.O_NOCTTY))
        return "mounted"

    return probe


def detached_mounts(root: Path) -> str:
    with scratch() as directory:
        for name in ("from", "to"):
            (directory / name).mkdir()
        tree = syscalls.open_tree(str(directory / "from"), recursive=True)
        syscalls.move_mount(tree, str(directory / "to"))
        os.close(tree)
    return "open_tree, move_mount"


def recursive_read_only(root: Path) -> str:
    with scratch() as directory:
        syscalls.mount_setattr(str(directory), syscalls.MOUNT_ATTR_RDONLY, recursive=True)
    return "mount_setattr"
