"""The wrappers of linux/syscalls.py: what the kernel answers arrives, and what is asked is what was meant."""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import fresh
import pytest

from minidocker.errors import SyscallError
from minidocker.linux import syscalls
from minidocker.linux.syscalls import MS_BIND, MS_MOVE, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_UNBINDABLE

FAILURES = [
    (lambda: syscalls.mount("none", "/nowhere", "tmpfs"), "mount", errno.ENOENT, "/nowhere"),
    (lambda: syscalls.mount("none", "/tmp", "nosuchfs"), "mount", errno.ENODEV, "/tmp"),
    (lambda: syscalls.mount("", "/etc/passwd", "", MS_PRIVATE), "mount", errno.EINVAL, "/etc/passwd"),
    (lambda: syscalls.umount2("/etc/passwd"), "umount2", errno.EINVAL, "/etc/passwd"),
    (lambda: syscalls.pivot_root("/nowhere", "/nowhere"), "pivot_root", errno.ENOENT, "/nowhere"),
    (lambda: syscalls.unshare(1), "unshare", errno.EINVAL, None),
    (lambda: syscalls.setns(-1), "setns", errno.EBADF, None),
    (lambda: syscalls.sethostname("x" * 65), "sethostname", errno.EINVAL, "x" * 65),
    (lambda: syscalls.prctl(-1), "prctl", errno.EINVAL, None),
    (lambda: syscalls.pidfd_open(2**22), "pidfd_open", errno.ESRCH, "4194304"),
    (lambda: syscalls.capget(2**22), "capget", errno.ESRCH, None),
    (lambda: syscalls.open_tree("/nowhere", recursive=True), "open_tree", errno.ENOENT, "/nowhere"),
    (lambda: syscalls.move_mount(-1, "/tmp"), "move_mount", errno.EBADF, "/tmp"),
    (lambda: syscalls.mount_setattr("/nowhere", 1), "mount_setattr", errno.ENOENT, "/nowhere"),
    (lambda: syscalls.clone3(1 << 63), "clone3", errno.EINVAL, None),
    (lambda: syscalls.clone(syscalls.CLONE_NEWNS | 0x200), "clone", errno.EINVAL, None),  # CLONE_FS with a new mount namespace
]


@pytest.mark.parametrize(("call", "name", "number", "filename"), FAILURES, ids=[f"{name}-{number}" for _, name, number, _ in FAILURES])
def test_the_kernels_answer_is_raised(call: Callable[[], object], name: str, number: int, filename: str | None) -> None:
    with pytest.raises(SyscallError) as caught:
        call()
    error = caught.value
    assert (error.syscall, error.errno, error.filename) == (name, number, filename)
    assert os.strerror(number) in str(error) and isinstance(error, OSError)


def test_errno_survives_a_thread_that_fails_all_the_time() -> None:
    """errno belongs to a thread, and ctypes swaps it in and out: another thread's must never be read."""
    stop, wrong = threading.Event(), []

    def fail() -> None:
        while not stop.is_set():
            try:
                syscalls.umount2("/nowhere")
            except SyscallError as error:
                if error.errno != errno.ENOENT:
                    wrong.append(error.errno)

    thread = threading.Thread(target=fail)
    thread.start()
    for _ in range(2000):
        with pytest.raises(SyscallError) as caught:
            syscalls.setns(-1)
        if caught.value.errno != errno.EBADF:
            wrong.append(caught.value.errno)
    stop.set()
    thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "call",
    [
        lambda: syscalls.mount("/tmp", "/tmp\0x", "", MS_BIND),
        lambda: syscalls.mount("/tmp\0x", "/tmp", "", MS_BIND),
        lambda: syscalls.mount("none", "/tmp", "tm\0pfs"),
        lambda: syscalls.mount("none", "/tmp", "tmpfs", 0, "size=1\0"),
        lambda: syscalls.umount2("/tmp\0"),
        lambda: syscalls.pivot_root("/tmp\0", "/tmp"),
        lambda: syscalls.open_tree("/tmp\0", recursive=False),
        lambda: syscalls.move_mount(0, "/tmp\0"),
        lambda: syscalls.mount_setattr("/tmp\0", 0),
    ],
)
def test_a_nul_byte_is_refused_not_cut_off(call: Callable[[], object]) -> None:
    with pytest.raises(SyscallError, match=r"NUL|Invalid") as caught:
        call()
    assert caught.value.errno == errno.EINVAL


def test_a_syscall_error_can_be_sent_to_another_process() -> None:
    error = SyscallError("mount", errno.EBUSY, "/x", step="mount /x", hint="look")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.errno, copy.filename, copy.step, copy.hint) == (str(error), errno.EBUSY, "/x", "mount /x", "look")


EIGHT = "NEWNS NEWUTS NEWIPC NEWPID NEWNET NEWCGROUP NEWUSER NEWTIME"


@pytest.mark.parametrize("call", ["clone3", "clone"])
def test_a_clone_into_every_namespace(call: str) -> None:
    """Eight new ones; in the child we are process 1, and the interpreter is whole: it can fork, import, and run the garbage collector."""
    flags = [flag for flag in EIGHT.split() if call == "clone3" or flag != "NEWTIME"]  # clone has no bit for it
    said = fresh.run(
        f"""
        from minidocker.linux import syscalls
        flags = sum(getattr(syscalls, "CLONE_" + name) for name in {flags!r})
        read, write = os.pipe()
        pid = syscalls.{call}(flags)
        if pid == 0:
            import gc, decimal, threading
            thread = threading.Thread(target=gc.collect); thread.start(); thread.join()
            os.write(write, f"{{os.getpid()}} {{os.getppid()}} {{fork(lambda: None)}}".encode())
            os._exit(0)
        print(os.read(read, 100).decode(), os.waitpid(pid, 0)[1])
        """
    )
    assert said == "1 0 0 0"


def test_what_a_clone_made_new_as_seen_from_outside() -> None:
    with fresh.Child(
        f"""
        from minidocker.linux import syscalls
        pid = syscalls.clone3(sum(getattr(syscalls, "CLONE_" + name) for name in {EIGHT.split()!r}))
        if pid == 0:
            hear(); os._exit(0)
        say(pid)
        os.waitpid(pid, 0)
        """
    ) as child:
        inside = int(child.line())
        names = "cgroup ipc mnt net pid time user uts".split()
        assert [name for name in names if fresh.link(inside, name) != fresh.link(child.pid, name)] == names
        child.go()


def test_without_clone3_clone_does_the_same_but_not_what_only_clone3_can_say() -> None:
    """A seccomp filter of an outer container answers ENOSYS: a stand-in for it answers here."""
    said = fresh.run(
        """
        import ctypes
        from minidocker.errors import SyscallError
        from minidocker.linux import syscalls
        class Filter:
            def syscall(self, number, *arguments):
                if number.value == syscalls.SYS_CLONE3:
                    ctypes.set_errno(38)
                    return -1
                return real.syscall(number, *arguments)
        real, syscalls._libc_holding_gil = syscalls._libc_holding_gil, Filter()
        pid = syscalls.clone3(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS)
        if pid == 0:
            os._exit(40 + os.getpid())
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        for wish in ({"flags": syscalls.CLONE_NEWTIME}, {"flags": 0, "cgroup_fd": 0}):
            try:
                syscalls.clone3(**wish)
            except SyscallError as error:
                print(error.errno)
        """
    )
    assert said.split() == ["41", "38", "38"]


DESCRIBED = [
    (("", "/", "", MS_REC | MS_PRIVATE, ""), "make / rprivate", "mount --make-rprivate /"),
    (("", "/m", "", MS_SLAVE, ""), "make /m slave", "mount --make-slave /m"),
    (("", "/m", "", MS_SHARED, ""), "make /m shared", "mount --make-shared /m"),
    (("", "/m", "", MS_UNBINDABLE, ""), "make /m unbindable", "mount --make-unbindable /m"),
    (("/a", "/b", "", MS_BIND, ""), "bind /a to /b", "mount --bind /a /b"),
    (("/a", "/b", "", MS_BIND | MS_REC, ""), "bind /a to /b", "mount --rbind /a /b"),
    (("", "/b", "", MS_REMOUNT | MS_BIND | MS_RDONLY, ""), "remount /b ro", "mount -o remount,bind,ro /b"),
    (("", "/b", "", MS_REMOUNT | MS_RDONLY, "size=1m"), "remount /b ro,size=1m", "mount -o remount,ro,size=1m /b"),
    (("proc", "/proc", "proc", 14, ""), "mount proc on /proc nosuid,nodev,noexec", "mount -t proc -o nosuid,nodev,noexec proc /proc"),
    (("t", "/t", "tmpfs", 0, ""), "mount tmpfs on /t", "mount -t tmpfs t /t"),
    (("t", "/t", "tmpfs", 0, "size=1m"), "mount tmpfs on /t size=1m", "mount -t tmpfs -o size=1m t /t"),
]


@pytest.mark.parametrize(("call", "words", "shell"), DESCRIBED, ids=[words for _, words, _ in DESCRIBED])
def test_a_mount_in_words_and_as_a_command(call: tuple[str, str, str, int, str], words: str, shell: str) -> None:
    assert syscalls.describe_mount(*call) == (words, shell)


def test_the_commands_that_describe_mounts_do_the_same_as_the_calls(tmp_path: Path) -> None:
    """mount(8) is the witness: each command is run in one child, each call in another, and the mounts are compared."""
    steps = """("none", base, "tmpfs", 6, "size=1m"), ("", base, "", 1 << 18, ""), (base, base + "/b", "", 4096, ""),
        ("", base + "/b", "", 32 | 4096 | 7, ""), ("", base, "", 32 | 7, "size=2m"), ("", "/", "", 16384 | (1 << 19), "")"""
    code = f"""
        import subprocess
        from minidocker.linux import mounts, namespaces, syscalls
        base = sys.argv[2]
        namespaces.unshare("mnt")
        mounts.make_private("/", recursive=True)
        for number, step in enumerate([{steps}]):
            if sys.argv[1] == "call":
                syscalls.mount(*step)
            else:
                subprocess.run(syscalls.describe_mount(*step)[1].split(), check=True)
            if number == 0:
                os.mkdir(base + "/b")
        assert os.path.isdir(base + "/b/b")
        for mount in mounts.mountinfo():
            if mount.target.startswith(base):
                options, super_options = sorted(mount.options.split(",")), sorted(mount.super_options.split(","))
                print(mount.target, options, mount.propagation, mount.fstype, super_options)
        """
    by_call, by_command = (fresh.run(code, way, str(tmp_path)) for way in ("call", "command"))
    assert by_call.count("\n") == 1 and by_call == by_command


def test_steps_are_told_only_while_somebody_listens() -> None:
    heard: list[str] = []
    syscalls.traced(lambda step, shell: heard.append(step))
    try:
        syscalls.trace("one")
        assert syscalls.tracing()
        with pytest.raises(SyscallError):
            syscalls.umount2("/nowhere")  # failed: nothing was done, so nothing is told
    finally:
        syscalls.traced(None)
    syscalls.trace("two")
    assert heard == ["one"] and not syscalls.tracing()


def test_move_flag_is_the_headers() -> None:
    """A mount that is moved is gone from where it was."""
    said = fresh.run(
        """
        import tempfile
        from minidocker.linux import mounts, namespaces, syscalls
        namespaces.unshare("mnt"); mounts.make_private("/", recursive=True)
        syscalls.mount("t", "/mnt", "tmpfs")
        os.mkdir("/mnt/a"); os.mkdir("/mnt/b")
        syscalls.mount("t", "/mnt/a", "tmpfs"); open("/mnt/a/x", "w").close()
        syscalls.mount("/mnt/a", "/mnt/b", "", syscalls.MS_MOVE)
        print(os.listdir("/mnt/a"), os.listdir("/mnt/b"))
        """
    )
    assert said == "[] ['x']" and MS_MOVE == 8192


def test_process_name_and_struct_sizes() -> None:
    code = "from minidocker.linux import syscalls; syscalls.set_process_name('mdtest'); print(open('/proc/self/comm').read())"
    assert fresh.run(code) == "mdtest\n"
    assert ctypes.sizeof(syscalls._CloneArgs) == 88  # CLONE_ARGS_SIZE_VER2
