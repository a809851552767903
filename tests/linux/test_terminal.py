"""Pseudo-terminals: made, sized, raw and restored; stty(1) is the witness."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import fresh
import pytest

from minidocker.errors import SyscallError
from minidocker.linux import terminal


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    master, name = terminal.open_pty()
    slave = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    yield master, slave
    os.close(slave)
    os.close(master)


def stty(slave: int, *words: str) -> str:
    return subprocess.run(["stty", *words], stdin=slave, capture_output=True, text=True, check=True).stdout.strip()


def test_what_is_written_to_one_side_is_read_from_the_other(pty: tuple[int, int]) -> None:
    master, slave = pty
    assert os.isatty(slave) and os.ttyname(slave).startswith("/dev/pts/")
    os.write(master, b"typed\n")
    assert os.read(slave, 100) == b"typed\n"
    assert os.read(master, 100) == b"typed\r\n"  # the echo
    os.write(slave, b"shown\n")
    assert os.read(master, 100) == b"shown\r\n"
    assert not os.get_inheritable(master)


def test_the_pair_belongs_to_the_devpts_it_was_opened_through() -> None:
    """A container's own instance, seen at another place and through a symbolic link, counts from 0 again."""
    said = fresh.run(
        """
        from minidocker.linux import mounts, namespaces, syscalls, terminal
        namespaces.unshare("mnt"); mounts.make_private("/", recursive=True)
        syscalls.mount("t", "/mnt", "tmpfs"); os.mkdir("/mnt/pts")
        syscalls.mount("devpts", "/mnt/pts", "devpts", 0, "newinstance,ptmxmode=0666"); os.symlink("pts/ptmx", "/mnt/ptmx")
        for ptmx in ("/mnt/pts/ptmx", "/mnt/ptmx"):
            master, name = terminal.open_pty(ptmx)
            slave = os.open(name, os.O_RDWR | os.O_NOCTTY)
            os.write(slave, b"x")
            print(name, os.read(master, 1))
        """
    )
    assert said.splitlines() == ["/mnt/pts/0 b'x'", "/mnt/pts/1 b'x'"]


@pytest.mark.parametrize("side", [0, 1], ids=["master", "slave"])
@pytest.mark.parametrize("size", [(24, 80), (1, 1), (50, 132), (0, 0), (65535, 65535)])
def test_size(pty: tuple[int, int], side: int, size: tuple[int, int]) -> None:
    terminal.set_window_size(pty[side], *size)
    assert terminal.window_size(pty[1 - side]) == size
    assert stty(pty[1], "size") == f"{size[0]} {size[1]}"


def test_the_foreground_job_hears_of_a_new_size() -> None:
    """And of ctrl-C: the terminal controls the session that made it its own."""
    with fresh.Child(
        """
        import signal
        from minidocker.linux import terminal
        master, name = terminal.open_pty()
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH, signal.SIGINT])
            os.setsid()
            slave = os.open(name, os.O_RDWR | os.O_NOCTTY)
            terminal.make_controlling(slave)
            say("ready", os.tcgetpgrp(slave) == os.getpid())
            say(signal.sigwait([signal.SIGWINCH, signal.SIGINT]).name, terminal.window_size(slave))
            say(signal.sigwait([signal.SIGWINCH, signal.SIGINT]).name)
            os._exit(0)
        hear(); terminal.set_window_size(master, 10, 20)
        hear(); os.write(master, b"\\x03")
        os.waitpid(pid, 0)
        """
    ) as child:
        assert child.line() == "ready True"
        child.go()
        assert child.line() == "SIGWINCH (10, 20)"
        child.go()
        assert child.line() == "SIGINT"


def test_raw_and_back(pty: tuple[int, int]) -> None:
    """cfmakeraw's flags, by stty's own word for them, and exactly the old ones afterwards."""
    master, slave = pty
    before = stty(slave, "-g")
    saved = terminal.raw(slave)
    shown = stty(slave, "-a").replace(";", "").split()
    for flag in "-isig -icanon -iexten -echo -echonl -icrnl -ixon -opost -brkint -istrip cs8 -parenb".split():
        assert flag in shown
    os.write(master, b"\x03\x04\r")
    assert os.read(slave, 100) == b"\x03\x04\r"
    os.write(slave, b"\n")
    assert os.read(master, 100) == b"\n"
    terminal.restore(slave, saved)
    assert stty(slave, "-g") == before


def test_what_is_no_terminal() -> None:
    reading, writing = os.pipe()
    try:
        for call in (lambda: terminal.window_size(reading), lambda: terminal.set_window_size(reading, 1, 1)):
            with pytest.raises(SyscallError) as caught:
                call()
            assert caught.value.errno == 25 and "ioctl" in caught.value.syscall  # ENOTTY
    finally:
        os.close(reading)
        os.close(writing)
    with pytest.raises(SyscallError) as caught:
        terminal.open_pty("/nowhere/ptmx")
    assert (caught.value.errno, caught.value.filename) == (2, "/nowhere/ptmx")
