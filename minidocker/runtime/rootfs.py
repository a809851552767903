"""The container's own tree of files: overlay, pivot_root, and the mounts that the spec lists.

Interface: build(spec, bundle, step), enter_rootfs(rootfs), set_clock(offsets).
All of it happens in the container's own mount namespace: the host's list of mounts never shows it, and it ends with the container.
The root is changed first and the mounts are made then, so every name, with whatever symbolic links an image may hold, is
resolved inside the container. Sources on the host are opened before, as mounts that are attached nowhere yet (open_tree).
Man pages: pivot_root(2), mount_namespaces(7), mknod(2); runtime-spec config.md "Mounts", config-linux.md. Notebook: 05_root.
"""

from __future__ import annotations

import errno
import json
import os
import stat

from minidocker.errors import SyscallError
from minidocker.linux import cgroups, mounts, namespaces, overlay, syscalls
from minidocker.linux.syscalls import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
)
from minidocker.runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]


FLAGS = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "noatime": syscalls.MS_NOATIME,
    "relatime": syscalls.MS_RELATIME,
    "strictatime": syscalls.MS_STRICTATIME,
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
}
PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "shared": syscalls.MS_SHARED,
    "rshared": syscalls.MS_SHARED | MS_REC,
}
IGNORED = {"rw", "defaults", "async", "dev", "suid", "exec"}  # what a fresh mount is anyway

# config-linux.md "Default Devices": name, major, minor
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEVICE_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)


def build(spec: Spec, bundle: str, step: list[str]) -> None:
    """Make the tree that *spec* describes and move into it. *step* names what is being done, for the error."""
    step[0] = "make the mounts our own"
    # Slave, not private: an unmount on the host reaches us, so a container never pins a disk that the host gives up.
    syscalls.mount("", "/", "", MS_REC | MS_SLAVE)
    step[0] = "mount the root filesystem"
    target = os.path.join(bundle, spec["root"]["path"])
    layers = spec.get("annotations", {}).get(state.OVERLAY_ANNOTATION)
    if layers:
        layers = json.loads(layers)
        overlay.mount_overlay(layers["lower"], layers["upper"], layers["work"], target)
    else:
        syscalls.mount(target, target, "", MS_BIND | MS_REC)
    opened = {}
    for number, entry in enumerate(spec["mounts"]):
        if "bind" in entry.get("options", []) or "rbind" in entry.get("options", []):
            step[0] = f"open {entry['source']}"
            opened[number] = open_source(entry)
    step[0] = "pivot_root"
    enter_rootfs(target)
    for number, entry in enumerate(spec["mounts"]):
        step[0] = f"mount {entry['destination']}"
        mount_one(entry, opened.get(number))
    step[0] = "fill /dev"
    make_devices(spec["linux"].get("devices", []))
    for name, value in spec["linux"].get("sysctl", {}).items():
        step[0] = f"set {name}"
        set_sysctl(name, value)
    step[0] = "protect the kernel's files"
    for path in spec["linux"].get("maskedPaths", []):
        mask(path)
    for path in spec["linux"].get("readonlyPaths", []):
        protect(path)
    if spec["root"].get("readonly"):
        step[0] = "make the root read-only"
        syscalls.mount("", "/", "", MS_REMOUNT | MS_BIND | MS_RDONLY)


def open_source(entry: Spec) -> int:
    """A copy of a bind's source, attached nowhere. With `mountNamespace` the source is looked up in another container's mounts."""
    namespace = entry.get("mountNamespace")
    if namespace:
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        other = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        syscalls.setns(other, syscalls.CLONE_NEWNS)
        os.close(other)
    try:
        return syscalls.open_tree(entry["source"], recursive="rbind" in entry["options"])
    finally:
        if namespace:
            syscalls.setns(own, syscalls.CLONE_NEWNS)
            os.close(own)


def enter_rootfs(rootfs: str) -> None:
    """Make *rootfs* the root of this mount namespace and drop the old root. See pivot_root(2).

    Only in a child after CLONE_NEWNS, when *rootfs* is a mount point. SyscallError EPERM: needs CAP_SYS_ADMIN in the
    mount namespace's user namespace; EINVAL: no mount point, or its parent mount is shared.
    """
    os.chdir(rootfs)
    syscalls.pivot_root(".", ".")  # the old root now lies on top of the new one, and under "." is the new
    syscalls.umount2(".", MNT_DETACH)  # and the old one is gone
    os.chdir("/")


def mount_one(entry: Spec, tree: int | None) -> None:
    """One element of the spec's `mounts`, with its target made if it is missing. *tree*: the opened source of a bind."""
    target, options = inside(entry["destination"]), entry.get("options", [])
    flags, propagation, data = parse_options(options)
    if tree is not None:
        make_target(target, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        syscalls.move_mount(tree, target)
        os.close(tree)
        syscalls.trace(f"bind {entry['source']} to {target}", f"mount --{'r' if flags & MS_REC else ''}bind {entry['source']} {target}")
        if flags & MS_RDONLY:
            mounts.make_read_only(target, recursive=True)
        if flags & (MS_NOSUID | MS_NODEV | MS_NOEXEC):
            syscalls.mount("", target, "", MS_REMOUNT | flags & ~MS_REC)
    elif entry["type"] == "cgroup":
        mount_cgroups(target, flags)
    else:
        make_target(target, directory=True)
        syscalls.mount(entry["source"], target, entry["type"], flags, data)
    for flag in propagation:
        syscalls.mount("", target, "", flag)


def inside(path: str) -> str:
    """*path* with every symbolic link followed by its text. The kernel would follow those of /proc (PID/root, PID/cwd, PID/fd/N)
    to where they really lead, and that may be out of the container: in a PID namespace that is not its own, for example."""
    return os.path.realpath(path)


def parse_options(options: list[str]) -> tuple[int, list[int], str]:
    """mount(8) words as (flags, propagation flags, what is left for the filesystem itself)."""
    flags, propagation, data = 0, [], []
    for option in options:
        if option in FLAGS:
            flags |= FLAGS[option]
        elif option in PROPAGATION:
            propagation.append(PROPAGATION[option])
        elif option not in IGNORED:
            data.append(option)
    return flags, propagation, ",".join(data)


def make_target(path: str, *, directory: bool) -> None:
    """Make the mount point if the image lacks it, as Docker does."""
    if os.path.exists(path):
        return
    try:
        os.makedirs(path if directory else os.path.dirname(path), mode=0o755, exist_ok=True)
        if not directory:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise SyscallError("mkdir", error.errno or 0, path, step="make a mount point") from error


def mount_cgroups(target: str, flags: int) -> None:
    """The cgroup filesystems, read-only: in the new cgroup namespace each shows the container's cgroup as its root."""
    make_target(target, directory=True)
    if cgroups.mode() == "v2":
        syscalls.mount("cgroup", target, "cgroup2", flags)
        return
    syscalls.mount("tmpfs", target, "tmpfs", flags & ~MS_RDONLY, "mode=755")
    found = cgroups.layout()
    for mount_point in sorted(set(found.v1.values())):
        controllers = ",".join(sorted(name for name, where in found.v1.items() if where == mount_point))
        place = f"{target}/{controllers}"
        os.mkdir(place, 0o755)
        syscalls.mount("cgroup", place, "cgroup", flags, controllers)
    syscalls.mount("", target, "", MS_REMOUNT | MS_BIND | flags | MS_RDONLY)


def make_devices(extra: list[Spec]) -> None:
    """The device nodes and links that every container has, and those of the spec. See mknod(2); config-linux.md "Devices"."""
    for name, major, minor in DEVICES:
        make_device(f"/dev/{name}", stat.S_IFCHR, 0o666, os.makedev(major, minor), 0, 0)
    for source, target in DEVICE_LINKS:
        if not os.path.lexists(target):
            os.symlink(source, target)
    for device in extra:
        kind = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[device["type"]]
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        make_device(device["path"], kind, device.get("fileMode", 0o666), number, device.get("uid", 0), device.get("gid", 0))
    syscalls.trace("make the device nodes", "mknod -m 666 /dev/null c 1 3; ...")


def make_device(path: str, kind: int, mode: int, number: int, uid: int, gid: int) -> None:
    try:
        os.mknod(path, kind | mode, number)
        os.chmod(path, mode)  # mknod's mode is subject to the umask
        if uid or gid:
            os.chown(path, uid, gid)
    except FileExistsError:
        return  # the image or a mount brought it
    except OSError as error:
        raise SyscallError("mknod", error.errno or 0, path) from error


def set_sysctl(name: str, value: str) -> None:
    """Set a kernel parameter of the container's own namespaces. See proc_sys(5)."""
    path = f"/proc/sys/{name.replace('.', '/')}"
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(value)
    except OSError as error:
        raise SyscallError("write", error.errno or 0, path) from error
    syscalls.trace(f"set {name} to {value}", f"sysctl -w {name}={value}")


def mask(path: str) -> None:
    """Hide a file under /dev/null, or a directory under an empty read-only tmpfs. One that does not exist is no danger."""
    try:
        syscalls.mount("/dev/null", path, "", MS_BIND)
    except SyscallError as error:
        if error.errno == errno.ENOTDIR:  # a file cannot lie over a directory
            syscalls.mount("tmpfs", path, "tmpfs", MS_RDONLY)
        elif error.errno != errno.ENOENT:
            raise


def protect(path: str) -> None:
    """Make what is at *path* read-only by binding it to itself."""
    try:
        syscalls.mount(path, path, "", MS_BIND | MS_REC)
    except SyscallError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    syscalls.mount("", path, "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def set_clock(offsets: Spec | None) -> None:
    """Give this process a time namespace whose monotonic and boottime clocks are shifted. See time_namespaces(7).

    The offsets are fixed by the first process that enters, so: unshare (which moves children only), write, then enter.
    """
    if not offsets:
        return
    namespaces.unshare("time")
    lines = "".join(f"{clock} {shift.get('secs', 0)} {shift.get('nanosecs', 0)}\n" for clock, shift in offsets.items())
    with open("/proc/self/timens_offsets", "w", encoding="utf-8") as file:
        file.write(lines)
    fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(fd, syscalls.CLONE_NEWTIME)
    os.close(fd)
