"""System calls that Python's os module does not offer: thin wrappers, one per call, over libc.

Interface: mount umount2 pivot_root unshare setns clone3 sethostname prctl capset capget pidfd_open
inotify_init1 inotify_add_watch, and the constants they take, spelled as in the kernel's headers. Each wrapper returns what the call
returns and raises SyscallError otherwise; errno is never lost.
`traced(tracer)` hears about each call that changes something, with the shell command that would do the same.
Man pages: section 2 of each name. Notebook: 04_mounts.
"""

from __future__ import annotations

import ctypes
import os

from minidocker.errors import SyscallError

TYPE_CHECKING = False  # typing itself is too heavy for the spawner
if TYPE_CHECKING:
    from collections.abc import Callable

    Tracer = Callable[[str, str], None]

# <linux/mount.h>
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_MOVE, MS_REC = 32, 1024, 2048, 4096, 8192, 16384
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 24, 1 << 25
MNT_FORCE, MNT_DETACH, UMOUNT_NOFOLLOW = 1, 2, 8
MOUNT_ATTR_RDONLY = 1
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000

# <linux/sched.h>
CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP = 0x80, 0x20000, 0x2000000
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x4000000, 0x8000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
CLONE_INTO_CGROUP = 0x200000000

# <linux/prctl.h>
PR_SET_PDEATHSIG, PR_SET_NAME, PR_CAPBSET_READ, PR_CAPBSET_DROP = 1, 15, 23, 24
PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 36, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_RAISE = 4, 2

# <sys/inotify.h>
IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE_SELF = 0x2, 0x80, 0x100, 0x400

OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4

# Not in every glibc of ours; from 424 on the numbers are the same on every architecture (asm-generic/unistd.h).
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_CLONE3, SYS_MOUNT_SETATTR = 428, 429, 435, 442

_libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_gil = ctypes.PyDLL(None, use_errno=True)  # for clone3: the child must come back with the GIL held
_tracer: Tracer | None = None


def traced(tracer: Tracer | None) -> None:
    """From now on call *tracer*(step, shell command) for each call that changes something; None ends it."""
    global _tracer
    _tracer = tracer


def trace(step: str, shell: str = "") -> None:
    """Report one step to the tracer, if there is one: *step* in words, *shell* the command that does the same."""
    if _tracer is not None:
        _tracer(step, shell)


def tracing() -> bool:
    """Is anybody listening? Lets callers skip the work of describing a step."""
    return _tracer is not None


def _checked(result: int, syscall: str, filename: str = "") -> int:
    if result < 0:
        raise SyscallError(syscall, ctypes.get_errno(), filename)
    return result


def _path(path: str) -> bytes:
    encoded = os.fsencode(path)
    if b"\0" in encoded:  # C would silently cut the name short
        raise SyscallError("path", 22, path.replace("\0", "\\0"), hint="a path cannot contain a NUL byte")
    return encoded


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """Attach a filesystem, or change a mount, as *flags* say. See mount(2).

    SyscallError: EPERM without CAP_SYS_ADMIN, ENOENT, ENODEV for an unknown *fstype*, EINVAL, EBUSY, ...
    """
    _checked(
        _libc.mount(_path(source), _path(target), _path(fstype) or None, ctypes.c_ulong(flags), _path(data) or None),
        "mount",
        target,
    )
    if _tracer is not None:
        _tracer(*describe_mount(source, target, fstype, flags, data))


def describe_mount(source: str, target: str, fstype: str, flags: int, data: str) -> tuple[str, str]:
    """One mount call in words, and as a mount(8) command."""
    propagation = {MS_PRIVATE: "private", MS_SLAVE: "slave", MS_SHARED: "shared", MS_UNBINDABLE: "unbindable"}
    recursive = "r" if flags & MS_REC else ""
    for flag, name in propagation.items():
        if flags & flag:
            return f"make {target} {recursive}{name}", f"mount --make-{recursive}{name} {target}"
    names = {MS_RDONLY: "ro", MS_NOSUID: "nosuid", MS_NODEV: "nodev", MS_NOEXEC: "noexec"}
    options = ",".join([name for flag, name in names.items() if flags & flag] + ([data] if data else []))
    if flags & MS_REMOUNT:
        return f"remount {target} {options}", f"mount -o remount,{'bind,' if flags & MS_BIND else ''}{options} {target}"
    if flags & MS_BIND:
        return f"bind {source} to {target}", f"mount --{recursive}bind {source} {target}"
    with_options = f" -o {options}" if options else ""
    return f"mount {fstype} on {target} {options}".rstrip(), f"mount -t {fstype}{with_options} {source} {target}"


def umount2(target: str, flags: int = 0) -> None:
    """Detach the topmost mount at *target*. See umount2(2)."""
    _checked(_libc.umount2(_path(target), flags), "umount2", target)
    trace(f"unmount {target}", f"umount {'--lazy ' if flags & MNT_DETACH else ''}{target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Swap the root mount of this mount namespace; the old one then lies at *put_old*. See pivot_root(2).

    SyscallError EINVAL: *new_root* is no mount point or propagation is shared; EBUSY: it is the current root.
    """
    _checked(_libc.pivot_root(_path(new_root), _path(put_old)), "pivot_root", new_root)
    trace("pivot_root: the container's root is ours now", f"pivot_root {new_root} {put_old}")


def mount_setattr(target: str, attr_set: int, *, recursive: bool = False) -> None:
    """Set mount attributes (MOUNT_ATTR_*), on the whole tree at once if *recursive*. See mount_setattr(2), Linux 5.12."""
    attributes = (ctypes.c_uint64 * 4)(attr_set, 0, 0, 0)  # struct mount_attr: attr_set attr_clr propagation userns_fd
    flags = AT_RECURSIVE if recursive else 0
    number, size = ctypes.c_long(SYS_MOUNT_SETATTR), ctypes.sizeof(attributes)
    _checked(_libc.syscall(number, AT_FDCWD, _path(target), flags, attributes, size), "mount_setattr", target)
    below = "=recursive" if recursive else ""
    trace(f"make {target} read-only{' with all below' if recursive else ''}", f"mount -o remount,ro{below} {target}")


def open_tree(path: str, *, recursive: bool) -> int:
    """A copy of the mount at *path* (and those below it) that is attached nowhere yet: a bind mount in two steps.

    See open_tree(2), Linux 5.2. SyscallError ENOENT: no such file; EPERM without CAP_SYS_ADMIN.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _checked(_libc.syscall(ctypes.c_long(SYS_OPEN_TREE), AT_FDCWD, _path(path), flags), "open_tree", path)


def move_mount(tree: int, target: str) -> None:
    """Attach what `open_tree` copied. See move_mount(2)."""
    number = ctypes.c_long(SYS_MOVE_MOUNT)
    _checked(_libc.syscall(number, tree, b"", AT_FDCWD, _path(target), MOVE_MOUNT_F_EMPTY_PATH), "move_mount", target)


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces (CLONE_NEW*). See unshare(2).

    Only from a single-threaded process: EINVAL for CLONE_NEWUSER with threads, and others would move one thread only.
    """
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, nstype: int = 0) -> None:
    """Join the namespace that *fd* refers to (/proc/PID/ns/*, or a pidfd with several *nstype* bits). See setns(2)."""
    _checked(_libc.setns(fd, nstype), "setns")


class _CloneArgs(ctypes.Structure):
    """struct clone_args of <linux/sched.h>, 88 bytes (CLONE_ARGS_SIZE_VER2)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup".split()
    ]


def clone3(flags: int, *, cgroup_fd: int = -1, exit_signal: int = 17) -> int:
    """fork(), with new namespaces (*flags*) and, given *cgroup_fd*, straight into that v2 cgroup. See clone3(2).

    Returns the child's pid, and 0 in the child. Only from a single-threaded process. Where clone3 is not available
    (ENOSYS: an old kernel, or a seccomp filter of an outer container) plain clone(2) does the same, except for
    what only clone3 can say: then the SyscallError stands.
    """
    args = _CloneArgs(flags=flags, exit_signal=exit_signal)
    if cgroup_fd >= 0:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup_fd
    number, size = ctypes.c_long(SYS_CLONE3), ctypes.c_size_t(ctypes.sizeof(args))
    pid = _forked(lambda: _libc_holding_gil.syscall(number, ctypes.byref(args), size))
    if pid < 0 and ctypes.get_errno() == 38 and not args.flags & (CLONE_INTO_CGROUP | CLONE_NEWTIME):  # ENOSYS
        pid = clone(flags, exit_signal=exit_signal)
    return _checked(pid, "clone3")


def clone(flags: int, *, exit_signal: int = 17) -> int:
    """fork() with new namespaces, by the older call. Returns as clone3 does. See clone(2)."""
    number = ctypes.c_long({"x86_64": 56, "aarch64": 220}[os.uname().machine])
    zeros = (ctypes.c_long(0),) * 4  # stack, parent_tid, child_tid, tls: a plain fork needs none of them
    return _checked(_forked(lambda: _libc_holding_gil.syscall(number, ctypes.c_ulong(flags | exit_signal), *zeros)), "clone")


def _forked(fork: Callable[[], int]) -> int:
    """Run a raw fork-like call between the hooks that os.fork() runs, so that the interpreter survives in the child."""
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = fork()
    errno = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    ctypes.set_errno(errno)
    return pid


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace. See sethostname(2). EINVAL: longer than 64 bytes."""
    encoded = os.fsencode(name)
    _checked(_libc.sethostname(encoded, len(encoded)), "sethostname", name)
    trace(f"set host name {name}", f"hostname {name}")


def setdomainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace. See setdomainname(2)."""
    encoded = os.fsencode(name)
    _checked(_libc.setdomainname(encoded, len(encoded)), "setdomainname", name)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """Operate on the calling process (PR_*). See prctl(2)."""
    arguments = [ctypes.c_ulong(value) for value in (arg2, arg3, arg4, arg5)]
    return _checked(_libc.prctl(option, *arguments), "prctl")


def set_process_name(name: str) -> None:
    """What ps shows as the command's name (at most 15 bytes). See PR_SET_NAME in prctl(2)."""
    _checked(_libc.prctl(PR_SET_NAME, ctypes.c_char_p(os.fsencode(name)), 0, 0, 0), "prctl")


_CAPABILITY_VERSION_3 = 0x20080522


def capget(pid: int = 0) -> tuple[int, int, int]:
    """(effective, permitted, inheritable) as bit masks. See capget(2)."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, pid)
    data = (ctypes.c_uint32 * 6)()
    _checked(_libc.capget(header, data), "capget")
    return data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's capability sets, bit masks of 1 << CAP_*. See capset(2). EPERM: more than is permitted now."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low = [mask & 0xFFFFFFFF for mask in (effective, permitted, inheritable)]
    high = [mask >> 32 for mask in (effective, permitted, inheritable)]
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)(*low, *high)), "capset")


def pidfd_open(pid: int) -> int:
    """A descriptor that means this very process, even after its number was given to another; readable when it ended.

    See pidfd_open(2). SyscallError ESRCH: no such process.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise SyscallError("pidfd_open", error.errno or 0, str(pid)) from error


def inotify_init1(flags: int = os.O_CLOEXEC | os.O_NONBLOCK) -> int:
    """A descriptor that becomes readable when something happens to what is watched. See inotify(7)."""
    return _checked(_libc.inotify_init1(flags), "inotify_init1")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Watch a file, or a directory with what is in it, for the events of *mask* (IN_*). See inotify_add_watch(2). ENOENT, ENOSPC."""
    return _checked(_libc.inotify_add_watch(fd, _path(path), ctypes.c_uint32(mask)), "inotify_add_watch", path)
