"""Root file systems: an image's layers, unpacked once and shared, and a writable directory for each container.

    snapshots = Snapshots(paths, images)
    overlay = snapshots.prepare(container_id, image)     # Overlay(lower, upper, work, target), as mount_overlay wants it
    snapshots.remove(container_id)
    snapshots.prune()                                    # layers that neither an image nor a container needs, and leftovers

    layers/<chain id hex>/            the unpacked layer itself, in overlayfs' form; complete when it has this name
    layers/<chain id hex>.tmp-XXXX/   being unpacked, or being removed
    layers/<chain id hex>.lock        held by the one who unpacks it; layers/.lock is shared by all who unpack, and taken alone to prune
    containers/<id>/upper work rootfs what the container changed, overlayfs' workshop, and the place to mount it
    containers/<id>/layers            the chain ids the container stands on, one a line, bottom first: a hard link to
    layers/<top chain id hex>.chain   the same for all containers of an image, since a new inode is the costliest part of a container

What is in use is read from what exists, the images and the containers' ``layers`` files; there is no counter that could go wrong. Nothing
is mounted here: that happens inside the container's mount namespace. overlayfs: Linux Documentation/filesystems/overlayfs.rst, flock(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from minidocker.engine.images import Image, Images
from minidocker.errors import DigestMismatch, SpecError, SyscallError
from minidocker.oci.durable import TEMPORARY, locked, make_directory, replace, sync_directory
from minidocker.oci.image import chain_ids
from minidocker.paths import Paths

_ID = re.compile(r"[0-9a-f]{64}")
_LAYER = re.compile(r"([0-9a-f]{64})(\.tmp-[0-9a-f]+)?")
_LEFTOVER = re.compile(r"[0-9a-f]{64}\.lock|" + re.escape(TEMPORARY) + ".*")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LAYERS = 500  # OVL_MAX_STACK in the kernel


class Overlay(NamedTuple):
    """The directories of one overlay mount: *lower* with the top layer first, as in the mount option lowerdir=."""

    lower: list[str]
    upper: str
    work: str
    target: str


class Snapshots:
    """The unpacked layers and writable directories of the engine whose *paths* these are."""

    def __init__(self, paths: Paths, images: Images) -> None:
        self._layers = paths.layers
        self._containers = paths.containers
        self._images = images

    def lower_dirs(self, image: Image) -> list[str]:
        """The unpacked layers of *image*, top first. Missing ones are unpacked now, each once however many ask for it.

        DigestMismatch: a layer is not what the image says. SpecError: it is broken or hostile. SyscallError ENOSPC: the disk is full."""
        if len(image.diff_ids) > _MOST_LAYERS:
            raise SpecError(f"image {image.short_id} has {len(image.diff_ids)} layers; overlayfs can stack {_MOST_LAYERS}")
        directories = []
        with locked(self._layers / ".lock", fcntl.LOCK_SH):
            for number, chain_id in enumerate(chain_ids(image.diff_ids)):
                final = self._layers / chain_id.removeprefix("sha256:")
                if not final.is_dir():
                    self._unpack(image, number, final)
                directories.append(str(final))
        return directories[::-1]

    def prepare(self, container_id: str, image: Image) -> Overlay:
        """Make the writable directories of the container on top of *image*. Made already: they are kept, with what is in them."""
        home = self._home(container_id)
        # No layer may be pruned between finding it and writing down that it is needed.
        with locked(self._layers / ".lock", fcntl.LOCK_SH):
            lower = self.lower_dirs(image)
            make_directory(home)
            if lower:
                self._remember(lower, f"{home}/layers")
        overlay = Overlay(lower, f"{home}/upper", f"{home}/work", f"{home}/rootfs")
        for path in (overlay.work, overlay.target, overlay.upper):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise SyscallError("mkdir", error.errno or 0, path, step="prepare snapshot") from error
            if path == overlay.upper:
                _copy_root(lower[0] if lower else "/", path)
        return overlay

    def _remember(self, lower: list[str], path: str) -> None:
        """Write down at *path* that these layers are needed."""
        chain = f"{lower[0]}.chain"
        while True:
            try:
                os.link(chain, path)
                return
            except FileExistsError:
                return  # prepared before
            except OSError as error:
                # The first container, or the 65,001st on ext4; or another process has replaced the file between our look-up and the link.
                if error.errno not in (errno.ENOENT, errno.EMLINK):
                    raise SyscallError("link", error.errno or 0, path, step="prepare snapshot") from error
            replace(Path(chain), "".join(f"{os.path.basename(directory)}\n" for directory in reversed(lower)).encode())

    def remove(self, container_id: str) -> None:
        """Delete what the container wrote. It must not run. Not there is fine: an interrupted removal may be repeated."""
        home = self._home(container_id)
        for name in ("upper", "work", "rootfs"):
            remove_tree(home / name)
        (home / "layers").unlink(missing_ok=True)

    def prune(self) -> list[str]:
        """Remove layers that no image and no container needs, and what killed processes left; the removed directories and files.

        Nothing is removed while another process unpacks or prepares."""
        if not self._layers.is_dir():
            return []
        removed: list[str] = []
        try:
            with locked(self._layers / ".lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
                needed = self._needed()
                for name in sorted(os.listdir(self._layers)):
                    match = _LAYER.fullmatch(name)
                    if match and (match[2] or match[1] not in needed):
                        # Not under its own name: if we die in the middle, what is left must not pass for a layer.
                        going = self._temporary(match[1]) if not match[2] else self._layers / name
                        os.rename(self._layers / name, going)
                        remove_tree(going)
                        removed.append(str(self._layers / name))
                    elif name.endswith(".chain") and name.removesuffix(".chain") not in needed:
                        (self._layers / name).unlink()  # goes with its layer
                    elif _LEFTOVER.fullmatch(name):
                        (self._layers / name).unlink(missing_ok=True)
                        removed.append(str(self._layers / name))
        except BlockingIOError:
            return []
        return removed

    def _needed(self) -> set[str]:
        """The chain ids of all images, and of all containers whose image may be gone."""
        needed = {chain_id.removeprefix("sha256:") for image in self._images.list() for chain_id in chain_ids(image.diff_ids)}
        for path in self._containers.glob("*/layers"):
            with contextlib.suppress(FileNotFoundError):  # removed while we look
                needed.update(path.read_text().split())
        return needed

    def _unpack(self, image: Image, number: int, final: Path) -> None:
        """Unpack the layer *number* of *image* to *final*, unless somebody else has done it by the time we have the lock."""
        from minidocker.oci.layers import unpack  # here, because a container whose layers are there needs no tar and no decompressors

        with locked(final.with_name(final.name + ".lock"), fcntl.LOCK_EX):
            if final.is_dir():
                return
            temporary = self._temporary(final.name)
            temporary.mkdir()
            temporary.chmod(0o755)  # whatever the umask: others than root live in there
            try:
                with self._images.blobs.open(image.layers[number].digest) as blob:
                    diff_id = unpack(blob, temporary).diff_id
                if diff_id != image.diff_ids[number]:
                    what = f"layer {number + 1} of image {image.short_id} is {diff_id}, not {image.diff_ids[number]}"
                    raise DigestMismatch(what, hint="the image is damaged; remove it and get it again")
                os.rename(temporary, final)
            except BaseException:
                remove_tree(temporary)
                raise
            sync_directory(self._layers)
            final.with_name(final.name + ".lock").unlink()

    def _temporary(self, name: str) -> Path:
        return self._layers / f"{name}.tmp-{os.urandom(4).hex()}"

    def _home(self, container_id: str) -> Path:
        if not _ID.fullmatch(container_id):
            raise SpecError(f"invalid container id {container_id[:80]!r}")
        return self._containers / container_id


def remove_tree(path: str | Path) -> None:
    """Delete the directory *path* with all that is in it, following no symlink; not there is fine. SyscallError names the first obstacle.

    A container may nest directories deeper than any recursion or path name allows, so inner ones are moved up before they are emptied."""
    path = os.fspath(path)
    try:
        top = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SyscallError("open", error.errno or 0, path, step="remove tree") from error
    try:
        number, prefix = 0, f".removing-{os.urandom(8).hex()}-"
        pending = _empty(top)
        while pending:
            name = pending.pop()
            below = os.open(name, _DIRECTORY, dir_fd=top)
            try:
                for inner in _empty(below):
                    number += 1
                    os.rename(inner, f"{prefix}{number}", src_dir_fd=below, dst_dir_fd=top)
                    pending.append(f"{prefix}{number}")
            finally:
                os.close(below)
            os.rmdir(name, dir_fd=top)
        os.rmdir(path)
    except OSError as error:
        raise SyscallError("unlink", error.errno or 0, f"{path}/.../{error.filename}", step="remove tree") from error
    finally:
        os.close(top)


def _empty(directory: int) -> list[str]:
    """Delete all in *directory* but the directories; their names."""
    directories = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=directory)
    return directories


def _copy_root(source: str, target: str) -> None:
    """Give *target* owner, mode and time of *source*: the root directory of an overlay shows those of its upper directory."""
    found = os.stat(source)
    os.chown(target, found.st_uid, found.st_gid)
    os.chmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
