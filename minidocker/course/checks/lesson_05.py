"""Checks of lesson 05: a root of its own."""

import errno
import os
import stat
from typing import Any

from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.course.lab import lab
from minidocker.linux import mounts, namespaces
from minidocker.oci.spec import MASKED_PATHS, READONLY_PATHS

BEGIN = """%%child --keep right rootfs
import os, stat
from minidocker.linux import mounts, namespaces, syscalls
from minidocker.runtime.rootfs import enter_rootfs
namespaces.unshare("mnt")
mounts.make_private("/", recursive=True)
mounts.bind(rootfs, rootfs)
enter_rootfs(rootfs)
"""
TMPFS = 'syscalls.mount("tmpfs", "/dev", "tmpfs")\n'
NULL = 'os.mknod("/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))\n'
FULL = 'os.mknod("/dev/full", stat.S_IFCHR | 0o666, os.makedev(1, 7))\n'


@exercise(
    "05",
    1,
    hints=["Start from the cell of step 5; leave its two os.system lines out.", "One more os.mknod, with other numbers."],
    wrong=[
        ("%%child --keep right rootfs\nprint('nothing')", "shares the host's mount namespace"),
        ("%%child --keep right rootfs\nfrom minidocker.linux import namespaces\nnamespaces.unshare('mnt')", "still the host's"),
        (BEGIN + "os.path.exists('/dev/full') and os.unlink('/dev/full')\n" + FULL, "no tmpfs"),
        (BEGIN + TMPFS + NULL, "no /dev/full"),
        (BEGIN + TMPFS + NULL + "open('/dev/full', 'w').close()", "ordinary file"),
        (BEGIN + TMPFS + NULL + FULL.replace("7", "5"), "1:5"),
        (BEGIN + TMPFS + NULL + FULL.replace("S_IFCHR", "S_IFBLK"), "block device"),
        (BEGIN + TMPFS + FULL, "no /dev/null"),
    ],
)
def furnished(work: Work) -> str:
    pid = work.child("right")
    if namespaces.inode(pid, "mnt") == namespaces.inode("self", "mnt"):
        raise Miss("the child shares the host's mount namespace: unshare first")
    if os.path.samefile(f"/proc/{pid}/root", "/"):
        raise Miss("its root is still the host's: bind rootfs to itself, and enter it")
    found = {entry.target: entry for entry in mounts.mountinfo(pid)}
    if "/dev" not in found or found["/dev"].fstype != "tmpfs":
        raise Miss("there is no tmpfs on its /dev: a device made there would stay in rootfs, in the image so to speak")
    for name, minor in (("full", 7), ("null", 3)):
        check_device(f"/proc/{pid}/root/dev/{name}", name, minor)
    try:
        with open(f"/proc/{pid}/root/dev/full", "wb", buffering=0) as device:
            device.write(b"x")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return 'a write to its /dev/full gives "No space left on device", on an empty disk'
        raise
    raise Miss("/dev/full took a byte: is it device 1:7?")


def check_device(path: str, name: str, minor: int) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise Miss(f"there is no /dev/{name} on the tmpfs: mknod it after the mount") from error
    if stat.S_ISREG(status.st_mode):
        raise Miss(f"/dev/{name} is an ordinary file: a device needs stat.S_IFCHR in its mode")
    if not stat.S_ISCHR(status.st_mode):
        raise Miss(f"/dev/{name} is a block device: S_IFCHR makes a character device, and its numbers mean another driver")
    numbers = os.major(status.st_rdev), os.minor(status.st_rdev)
    if numbers != (1, minor):
        raise Miss(f"/dev/{name} has the numbers {numbers[0]}:{numbers[1]}, which is another device: it is 1:{minor}")


# The learner's enter_rootfs() runs in a forked process with a namespace of its own; the parent looks at it from outside, then it climbs.
# All files are on a tmpfs that only these two see.
TRIAL = """
import os
from minidocker.linux import mounts, namespaces, syscalls
namespaces.unshare("mnt")
mounts.make_private("/", recursive=True)
syscalls.mount("tmpfs", place, "tmpfs")
os.mkdir(f"{place}/new")
open(f"{place}/outside", "w").close()
open(f"{place}/new/inside", "w").close()
os.chdir(place)
def climb():
    os.makedirs("/door", exist_ok=True)
    os.chroot("/door")
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return os.path.exists(f"{place}/outside")
told, go = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    try:
        namespaces.unshare("mnt")
        enter_rootfs(f"{place}/new")
        os.write(told[1], b"-")
        os.read(go[0], 1)
        os.write(told[1], b"out" if climb() else b"in")
    except BaseException as error:
        os.write(told[1], f"{type(error).__name__}: {error}".encode())
    os._exit(0)
os.close(told[1])
result = {"error": os.read(told[0], 4096).decode()}
if result["error"] == "-":
    new = os.stat(f"{place}/new/inside")
    at = {name: f"/proc/{pid}/{name}" for name in ("root", "cwd")}
    result |= {name: os.path.exists(f"{path}/inside") and os.path.samestat(os.stat(f"{path}/inside"), new) for name, path in at.items()}
    result["mounts"] = len(mounts.mountinfo(pid))
    os.write(go[1], b"x")
    result["climbed"] = os.read(told[0], 4096).decode()
os.waitpid(pid, 0)
"""
IMPORTS = "import os\nfrom minidocker.linux.syscalls import *\ndef enter_rootfs(rootfs):\n"
BIND = '    mount(rootfs, rootfs, "", MS_BIND | MS_REC)\n'
PIVOT = '    os.chdir(rootfs)\n    pivot_root(".", ".")\n'
OLD = '    os.makedirs(f"{rootfs}/old")\n    pivot_root(rootfs, f"{rootfs}/old")\n'


@exercise(
    "05",
    2,
    hints=[
        "A directory becomes a mount when you bind it to itself.",
        "Then the last four calls of step 3's cell. Each of them is needed: leave one out and ask check(2) why.",
    ],
    wrong=[
        (IMPORTS + "    os.chroot(rootfs)\n    os.chdir('/')", "climbed out"),
        (IMPORTS + PIVOT + "    umount2('.', MNT_DETACH)", "not a mount point"),
        (IMPORTS + BIND + PIVOT, "old root is still"),
        (IMPORTS + BIND + OLD + "    os.chdir('/')", "old root is still"),
        (IMPORTS + BIND + OLD + "    umount2('/old', MNT_DETACH)", "stands outside"),
        (IMPORTS + "    os.chdir(rootfs)", "not the directory"),
        (IMPORTS + "    os.chdir('/nowhere')", "did not get through"),
    ],
    keep="enter_rootfs",
)
def enter_rootfs(work: Work) -> str:
    place = lab.dir / "trial"
    place.mkdir(exist_ok=True)
    found: dict[str, Any] = work.run("enter_rootfs", TRIAL, place=str(place))
    error = found["error"]
    if "pivot_root" in error and "Invalid argument" in error:
        raise Miss("pivot_root said EINVAL: rootfs is a plain directory, not a mount point. Lesson 04 has a trick for that")
    if error != "-":
        raise Miss(f"enter_rootfs() did not get through: {error}")
    if not found["root"]:
        raise Miss('after the call "/" is not the directory rootfs')
    if found["mounts"] > 1:
        raise Miss("the old root is still mounted, somewhere below or on top of the new one: with all files of the host")
    if found["climbed"] == "out" and found["mounts"] == 0:
        raise Miss("the check climbed out as in step 2: chroot moved the process, not the tree")
    if not found["cwd"]:
        raise Miss("the process stands outside: its working directory is still in the old root, and so is any relative path")
    if found["climbed"] != "in":
        raise Miss("the check climbed out as in step 2: the old root can still be reached")
    return "one mount, no old root, and the check's climb ended inside"


@exercise(
    "05",
    3,
    hints=[
        "Look at the lines of mounts.mountinfo(guest.pid) whose target begins with /proc/.",
        'A mask is a mount of something else than proc: /dev/null is "/null" of a tmpfs, a directory is hidden by an empty tmpfs.',
    ],
    wrong=[
        ("masked = ['/proc/sys']", "read-only"),
        (f"masked = {MASKED_PATHS!r}", "no such"),
        ("masked = ['/proc/keys']", "more"),
        ("masked = [entry.target for entry in mounts.mountinfo(guest.pid) if entry.target.startswith('/proc')]", "/proc itself"),
        ("masked = ['/proc/uptime']", "no mount"),
        ("masked = 'keys'", "list of paths"),
        ("masked = ['/sys/firmware']", "below /proc"),
    ],
)
def masked(work: Work) -> str:
    answer, pid = work.value("masked"), work.value("guest").pid
    if not isinstance(answer, (list, tuple, set)) or not all(isinstance(path, str) for path in answer):
        raise Miss("masked is a list of paths, each a string such as '/proc/keys'")
    found = {entry.target: entry for entry in mounts.mountinfo(pid)}
    hidden = {target for target, entry in found.items() if target.startswith("/proc/") and entry.fstype != "proc"}
    for path in sorted(set(answer) - hidden):
        raise Miss(why_not(path, pid, path in found))
    if missing := hidden - set(answer):
        raise Miss(f"right so far; there are {len(missing)} more")
    return "these mounts hide what the container's root could otherwise read; the rest of the usual list does not exist on this kernel"


def why_not(path: str, pid: int, mounted: bool) -> str:
    """Why *path* is not a masked path below /proc."""
    if path == "/proc":
        return "/proc itself is a mount, but nothing is hidden by it: look below it"
    if not path.startswith("/proc/"):
        return f"{path} is not below /proc: the question asks for those only"
    if path in READONLY_PATHS and mounted:
        return f"{path} can be read inside: its mount only makes it read-only, which is not a mask"
    if not os.path.lexists(f"/proc/{pid}/root{path}"):
        return f"this kernel has no such file as {path}, so there is nothing to mask: ask mountinfo"
    return f"{path} is there inside, and no mount lies over it"
