"""Checks of lesson 04: mount namespaces."""

import os
from typing import Any

from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.course.lab import lab
from minidocker.linux import mounts, namespaces

BEGIN = """%%child --keep right desk
from minidocker.linux.syscalls import *
unshare(CLONE_NEWNS)
mount("", "/", "", MS_REC | MS_PRIVATE)
mount("tmpfs", desk, "tmpfs")
for name in ("real", "window"):
    open(f"{desk}/{name}", "w").close()
"""
BIND = 'mount(f"{desk}/real", f"{desk}/window", "", MS_BIND)\n'


@exercise(
    "04",
    1,
    hints=[
        "Start from the first cell of step 3. A file is bound onto a file: make both before.",
        "Read-only takes two calls: MS_BIND, then MS_REMOUNT | MS_BIND | MS_RDONLY on the window.",
    ],
    wrong=[
        ("%%child --keep right desk\nprint('nothing')", "shares the host's mount namespace"),
        (BEGIN + "mount(f'{desk}/real', f'{desk}/window', '', MS_BIND | MS_RDONLY)", "ignored"),
        (BEGIN, "no mount at"),
        (BEGIN + "mount(f'{desk}/window', f'{desk}/window', '', MS_BIND)", "shows 'window'"),
        (
            BEGIN + BIND + "mount('', f'{desk}/window', '', MS_REMOUNT | MS_RDONLY)",
            "whole filesystem",
        ),
        (BEGIN.replace('open(f"{desk}/{name}", "w").close()', 'import os; os.mkdir(f"{desk}/{name}")') + BIND, "directory"),
    ],
)
def window(work: Work) -> str:
    pid, desk = work.child("right"), str(lab.dir / "desk")
    if namespaces.inode(pid, "mnt") == namespaces.inode("self", "mnt"):
        raise Miss("the child shares the host's mount namespace: unshare before you mount")
    listed = {entry.target: entry for entry in mounts.mountinfo(pid)}
    if desk not in listed or listed[desk].fstype != "tmpfs":
        raise Miss("there is no tmpfs on desk in the child's list: it is what holds the two files")
    entry = listed.get(f"{desk}/window")
    if entry is None:
        raise Miss("the child's list has no mount at desk/window: bind the file there")
    if entry.root != "/real":
        raise Miss(f"the mount at window shows {entry.root.lstrip('/')!r} of the tmpfs: bind real there")
    if os.path.isdir(f"/proc/{pid}/root{desk}/window"):
        raise Miss("window is a directory: make real and window files, then bind the one onto the other")
    if "ro" in listed[desk].super_options.split(","):
        raise Miss("without MS_BIND the remount made the whole filesystem read-only: real cannot be written either")
    if "ro" not in entry.options.split(","):
        raise Miss("window can still be written: in the call with MS_BIND the flag MS_RDONLY is ignored, a remount must follow")
    if "ro" in listed[desk].options.split(","):
        raise Miss("desk itself is read-only now: remount the window only")
    return "one file at two places, read-only at one of them, and the host sees neither"


# The learner's own_mounts() runs in a forked process; its parent plays the host, on a shared stage that the real host never sees.
TRIAL = """
import os, sys
from minidocker.linux import mounts, namespaces, syscalls
def listed(pid):
    return [entry.target for entry in mounts.mountinfo(pid)]
namespaces.unshare("mnt")
mounts.make_private("/", recursive=True)
syscalls.mount("tmpfs", stage, "tmpfs")
for name in ("by_host", "by_child"):
    os.mkdir(f"{stage}/{name}")
mounts.make_shared("/")
mounts.make_shared(stage)
told, hold = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    try:
        own_mounts()
        same = namespaces.inode("self", "mnt") == namespaces.inode(os.getppid(), "mnt")
        if not same:
            syscalls.mount("tmpfs", f"{stage}/by_child", "tmpfs")
        os.write(told[1], b"same" if same else b"own")
    except BaseException as error:
        os.write(told[1], f"{type(error).__name__}: {error}".encode())
    os.close(hold[1])
    os.read(hold[0], 1)
    os._exit(0)
os.close(told[1])
said = os.read(told[0], 4096).decode()
syscalls.mount("tmpfs", f"{stage}/by_host", "tmpfs")
result = {"said": said, "hears": f"{stage}/by_host" in listed(pid), "tells": f"{stage}/by_child" in listed("self")}
os.close(hold[1])
os.waitpid(pid, 0)
"""
UNSHARE = """from minidocker.linux.syscalls import *
def own_mounts():
    unshare(CLONE_NEWNS)
"""


@exercise(
    "04",
    2,
    hints=[
        "Two calls: one takes the namespace, one changes the kind of every mount in it.",
        'The second is mount("", "/", "", MS_REC | ...). Which of the three kinds in step 4 hears and does not tell?',
    ],
    wrong=[
        ("def own_mounts():\n    x = 1", "still in the host's mount namespace"),
        (UNSHARE, "appeared on the host"),
        (UNSHARE + "    mount('', '/', '', MS_REC | MS_PRIVATE)", "does not hear"),
        (UNSHARE + "    mount('', '/', '', MS_SLAVE)", "MS_REC"),
        (UNSHARE.replace("NEWNS", "NEWUTS") + "    mount('', '/', '', MS_SLAVE)", "still in the host's mount namespace"),
        (UNSHARE.replace("CLONE_NEWNS", "CLONE_NEWMNT"), "did not get through"),
    ],
    keep="own_mounts",
)
def own_mounts(work: Work) -> str:
    stage = lab.dir / "trial"
    stage.mkdir(exist_ok=True)
    found: dict[str, Any] = work.run("own_mounts", TRIAL, stage=str(stage))
    if found["said"] == "same":
        raise Miss("after the call the process is still in the host's mount namespace: which CLONE_ flag makes a new one?")
    if found["said"] != "own":
        raise Miss(f"own_mounts() did not get through: {found['said']}")
    if found["tells"] and found["hears"]:
        raise Miss("what the process mounted appeared on the host: make the mounts slaves, all of them (MS_REC), not only the one at /")
    if found["tells"]:
        raise Miss("what the process mounted appeared on the host")
    if not found["hears"]:
        raise Miss("the process does not hear what the host mounts: private is deaf too, so a disk that the host gives up stays in use")
    return "the host's mounts arrive, the process's own mounts stay with it"


@exercise(
    "04",
    3,
    hints=[
        "One line of the container's mountinfo has /etc/hostname as its target.",
        "The field before the target says which part of the host's filesystem is shown there.",
    ],
    wrong=[
        ("answer = '/etc/hostname'", "host's own"),
        ("answer = f'/proc/{guest.pid}/root/etc/hostname'", "door"),
        ("answer = '/no/such/file'", "no such file"),
        ("answer = 7", "a path"),
    ],
)
def hostname(work: Work) -> str:
    answer, pid = work.value("answer"), work.value("guest").pid
    if not isinstance(answer, (str, os.PathLike)):
        raise Miss("the answer is a path on the host, as a string")
    path = os.path.realpath(answer) if not os.fspath(answer).startswith("/proc/") else os.fspath(answer)
    if path.startswith("/proc/"):
        raise Miss("that is the door into the container; where is the file in the host's own tree?")
    if not os.path.exists(path):
        raise Miss("the host has no such file; the fourth field of the line is a path within its filesystem")
    if os.path.exists("/etc/hostname") and os.path.samefile(path, "/etc/hostname"):
        raise Miss("that is the host's own file, with another name in it")
    if not os.path.samefile(path, f"/proc/{pid}/root/etc/hostname"):
        raise Miss("that is another file than the one the container has at /etc/hostname")
    return "the engine wrote this file, and bound it into the container's tree"
