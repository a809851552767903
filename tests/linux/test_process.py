"""linux/process.py against /proc itself and ps(1)."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap

import fresh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidocker.errors import SyscallError
from minidocker.linux import process


def ps(pid: int, *columns: str) -> list[str]:
    command = ["ps", "-o", ",".join(f"{name}=" for name in columns), "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def test_stat_of_a_sleeping_child_is_what_ps_says() -> None:
    with fresh.Child("os.setsid(); say('ready'); hear()") as child:
        child.line()
        found = process.stat(child.pid)
        assert ps(child.pid, "pid", "ppid", "pgid", "sess") == [str(value) for value in (found.pid, found.ppid, found.pgrp, found.session)]
        assert (found.ppid, found.session, found.state, found.tty_nr) == (os.getpid(), child.pid, found.state, 0)
        ticks = os.sysconf("SC_CLK_TCK")
        with open("/proc/uptime", encoding="utf-8") as file:
            uptime = float(file.read().split()[0])
        assert 0 <= uptime - found.start_time / ticks < fresh.PATIENCE
        child.go()


@pytest.mark.parametrize("name", ["a) b (", ")", "(", ") S 1 1 1", "sp ace", "new\nline", "tab\t", "x" * 15, "é", "\x7f"])
def test_stat_of_a_command_with_an_odd_name(name: str) -> None:
    with fresh.Child("from minidocker.linux import syscalls; syscalls.set_process_name(sys.argv[1]); say('ready'); hear()", name) as child:
        child.line()
        found = process.stat(child.pid)
        assert (found.pid, found.comm, found.ppid) == (child.pid, name, os.getpid())
        assert found.state in "RS"  # it may not sleep yet
        child.go()


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15), min_size=1, max_size=20))
@settings(max_examples=10)
def test_stat_survives_any_name(names: list[str]) -> None:
    """The kernel keeps 15 bytes, which may cut a character in two."""
    code = """
        import json
        from minidocker.linux import process, syscalls
        for name in json.loads(sys.argv[1]):
            syscalls.set_process_name(name)
            kept = name.encode()[:15].decode(errors="replace")
            found = process.stat(os.getpid())
            assert (found.pid, found.comm, found.ppid, found.state) == (os.getpid(), kept, os.getppid(), "R"), (name, found)
        """
    fresh.run(code, json.dumps(names))


def test_nobody() -> None:
    for ask in (process.stat, process.cmdline, process.ns_pids):
        with pytest.raises(SyscallError) as caught:
            ask(2**22)
        assert caught.value.filename.startswith("/proc/4194304/")
    assert process.children(2**22) == [] and process.descendants(2**22) == []
    assert not process.is_same(2**22, 1)


def test_the_tree_below_a_process() -> None:
    code = """
        def grow(depth):
            for _ in range(2 if depth else 0):
                if os.fork() == 0:
                    grow(depth - 1)
                    os.read(alive, 1)
                    os._exit(0)
        alive, end = os.pipe()
        grow(2)
        os.set_inheritable(end, False)
        say(" ".join(str(pid) for pid in sorted(int(n) for n in os.listdir("/proc") if n.isdigit() and below(int(n)))))
        hear()
        os.write(end, b"." * 6)
        while True:
            try: os.wait()
            except ChildProcessError: break
        """
    prelude = """
        def below(pid):
            while pid not in (0, os.getpid()):
                try: pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
                except (FileNotFoundError, ProcessLookupError): return False
            return pid == os.getpid()
        """
    with fresh.Child(textwrap.dedent(prelude) + textwrap.dedent(code)) as child:
        child.line()
        below = process.descendants(child.pid)
        children = process.children(child.pid)
        assert len(below) == 6 and len(children) == 2 and set(children) < set(below)
        for pid in below:
            parent = process.stat(pid).ppid
            assert parent == child.pid or below.index(parent) < below.index(pid)
        assert set(below) <= set(process.pids()) and process.parents()[children[0]] == child.pid
        child.go()


def test_numbers_in_nested_pid_namespaces() -> None:
    with fresh.Child(
        """
        from minidocker.linux import syscalls
        def nest(depth):
            pid = syscalls.clone3(syscalls.CLONE_NEWPID)
            if pid == 0:
                if depth: nest(depth - 1)
                else: say(open("/proc/self/status").read().partition("NSpid:")[2].split("\\n")[0]); hear()
                os._exit(0)
            os.waitpid(pid, 0)
        nest(2)
        """
    ) as child:
        seen = [int(number) for number in child.line().split()]  # as the innermost sees it, through our /proc
        deepest = process.descendants(child.pid)[-1]
        assert process.ns_pids(deepest) == seen == [deepest, 3, 2, 1]
        assert process.ns_pids(os.getpid()) == [os.getpid()]
        child.go()


def test_a_zombie_is_no_longer_the_same() -> None:
    with fresh.Child("pid = os.fork() or os._exit(0); os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT); say(pid); hear()") as child:
        zombie = int(child.line())
        start_time = process.stat(zombie).start_time
        assert process.stat(zombie).state == "Z" and process.cmdline(zombie) == []
        assert not process.is_same(zombie, start_time)
        own = process.stat(os.getpid()).start_time
        assert process.is_same(os.getpid(), own) and not process.is_same(os.getpid(), own + 1)
        child.go()


def test_arguments_with_spaces_newlines_and_bytes_that_are_no_text() -> None:
    arguments = [b"sh", b"-c", b"read x; exit 0", b"", b"two words", b"line\nbreak", b"\xff\xfe"]
    with subprocess.Popen(arguments, executable="/bin/sh", stdin=subprocess.PIPE) as shell:
        found = process.cmdline(shell.pid)
        while os.path.realpath(f"/proc/{shell.pid}/exe") == os.path.realpath("/proc/self/exe"):  # not yet past its execve
            found = process.cmdline(shell.pid)
        assert [os.fsencode(argument) for argument in process.cmdline(shell.pid) or found] == arguments
        shell.communicate(b"\n")


def test_all_descriptors_are_closed_but_those_to_keep() -> None:
    said = fresh.run(
        """
        from minidocker.linux import process
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
        os.dup2(fds[0], 500)
        process.close_all_except([fds[3], 1, fds[20], fds[20]])
        def is_open(fd):
            try: os.fstat(fd)
            except OSError: return False
            return True
        print([fd for fd in range(1000) if is_open(fd)] == [0, 1, 2, fds[3], fds[20]])
        """
    )
    assert said == "True"
