"""Terminals: keys, sizes, leaving, coming back, and our own terminal as it was."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest
from cli.driver import Cli

CTRL_C, CTRL_D, CTRL_P, CTRL_Q = b"\x03", b"\x04", b"\x10", b"\x11"


def test_a_shell_in_a_new_container(cli: Cli) -> None:
    with cli.terminal("run", "-it", "--rm", "--name", "shell", "busybox", rows=33, columns=99) as terminal:
        terminal.expect(b"# ")
        terminal.type(b"stty size; tty; echo $TERM\n")
        terminal.expect(b"33 99\r\n/dev/pts/0\r\nxterm\r\n")
        terminal.resize(40, 120)
        terminal.type(b"stty size\n")
        terminal.expect(b"40 120")
        terminal.type(b"sh -c 'echo s''leeping; exec sleep 100'; echo woken up\n")
        terminal.expect(b"sleeping")
        terminal.type(CTRL_C)
        terminal.expect(b"^C")
        terminal.expect(b"# ")
        terminal.type(b"exit 5\n")
        assert terminal.wait() == 5
        assert terminal.is_restored
    assert cli.containers() == []


def test_the_first_size_is_there_before_the_program_asks(cli: Cli) -> None:
    with cli.terminal("run", "-it", "--rm", "busybox", "stty", "size", rows=21, columns=77) as terminal:
        terminal.expect(b"21 77")
        assert terminal.wait() == 0


def test_window_changes_arrive_as_signals(cli: Cli) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    with cli.terminal("run", "-it", "--rm", "busybox", "sh", "-c", script) as terminal:
        terminal.expect(b"ready")
        terminal.resize(11, 22)
        terminal.expect(b"11 22")
        assert terminal.wait() == 0


def test_leave_come_back_and_leave_with_other_keys(cli: Cli) -> None:
    with cli.terminal("run", "-it", "--name", "kept", "busybox") as terminal:
        terminal.expect(b"# ")
        terminal.type(b"echo one" + CTRL_P)
        terminal.type(CTRL_Q)
        assert terminal.wait() == 0
        assert terminal.is_restored
    assert cli.field("kept", "{{.State.Status}}") == "running"
    with cli.terminal("attach", "--detach-keys", "ctrl-a,x", "kept") as terminal:
        terminal.type(b" two\n")
        terminal.expect(b"one two\r\n")
        terminal.type(CTRL_P + CTRL_Q + b"\x15echo three\n")
        terminal.expect(b"three\r\n")
        terminal.type(b"\x01x")
        assert terminal.wait() == 1
        assert b"read escape sequence" in terminal.seen
        assert terminal.is_restored
    with cli.terminal("attach", "kept") as terminal:
        terminal.type(b"\nexit 4\n")
        assert terminal.wait() == 4
        assert terminal.is_restored
    assert cli.field("kept", "{{.State.Status}} {{.State.ExitCode}}") == "exited 4"


def test_start_a_shell_again(cli: Cli) -> None:
    with cli.terminal("run", "-it", "--name", "again", "busybox", "sh", "-c", "echo hello; cat") as terminal:
        terminal.expect(b"hello")
        terminal.type(b"one\n")
        terminal.expect(b"one\r\none")
        terminal.type(CTRL_D)
        assert terminal.wait() == 0
    with cli.terminal("start", "-ai", "again") as terminal:
        terminal.expect(b"hello")
        terminal.type(b"two\n" + CTRL_D)
        terminal.expect(b"two\r\ntwo")
        assert terminal.wait() == 0
        assert terminal.is_restored


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_terminal_is_put_back_when_we_are_ended(cli: Cli, number: signal.Signals) -> None:
    with cli.terminal("run", "-it", "--name", "left", "busybox") as terminal:
        terminal.expect(b"# ")
        assert not terminal.is_restored
        terminal.process.send_signal(number)
        assert terminal.wait() == 128 + number
        assert terminal.is_restored
    assert cli.field("left", "{{.State.Status}}") == "running"
    cli("rm", "-f", "left")


def test_a_terminal_that_goes_away_does_not_end_the_container(cli: Cli) -> None:
    with cli.terminal("run", "-it", "--name", "lonely", "busybox") as terminal:
        terminal.expect(b"# ")
        terminal.process.kill()
        terminal.process.wait()
    assert cli.field("lonely", "{{.State.Status}}") == "running"
    cli("rm", "-f", "lonely")


def test_without_tty_signals_of_the_terminal_reach_the_command(cli: Cli) -> None:
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    with cli.terminal("run", "--rm", "busybox", "sh", "-c", script) as terminal:
        terminal.expect(b"ready")
        terminal.type(CTRL_C)
        terminal.expect(b"caught")
        assert terminal.wait() == 9


def test_interactive_without_tty_on_a_terminal(cli: Cli) -> None:
    with cli.terminal("run", "-i", "--rm", "busybox", "cat") as terminal:
        terminal.type(b"hello\n")
        terminal.expect(b"hello\r\nhello\r\n")
        terminal.type(CTRL_D)
        assert terminal.wait() == 0


def test_tty_without_stdin_works_in_a_pipe(cli: Cli) -> None:
    assert cli("run", "-t", "--rm", "busybox", "sh", "-c", "tty; echo err >&2").stdout == b"/dev/pts/0\r\nerr\r\n"


def test_much_output_and_much_input_at_once(cli: Cli) -> None:
    script = "stty raw -echo; echo ready; head -c 200000 /dev/zero | tr '\\0' x; head -c 5000 | md5sum"
    with cli.terminal("run", "-it", "--rm", "busybox", "sh", "-c", script) as terminal:
        terminal.expect(b"ready")
        terminal.type(b"y" * 3000)
        terminal.type(b"y" * 2000)
        terminal.expect(b"x" * 1000 + hashlib.md5(b"y" * 5000).hexdigest().encode())
        assert terminal.wait() == 0
        assert terminal.is_restored


# -- exec --------------------------------------------------------------------------------------------------------------


def test_exec_a_shell(cli: Cli) -> None:
    cli("run", "-d", "--name", "host", "busybox", "sleep", "100")
    with cli.terminal("exec", "-it", "-e", "A=1", "-w", "/tmp", "host", "sh", rows=30, columns=90) as terminal:
        terminal.expect(b"# ")
        terminal.type(b"echo $A $(pwd) $(stty size)\n")
        terminal.expect(b"1 /tmp 30 90\r\n")
        terminal.resize(31, 91)
        terminal.type(b"stty size\n")
        terminal.expect(b"31 91")
        terminal.type(b"exit 6\n")
        assert terminal.wait() == 6
        assert terminal.is_restored
    with cli.terminal("exec", "-it", "host", "sh") as terminal:
        terminal.expect(b"# ")
        terminal.type(CTRL_P + CTRL_Q)
        assert terminal.wait() == 1
        assert b"read escape sequence" in terminal.seen
        assert terminal.is_restored
    cli("rm", "-f", "host")


def test_exec_ends_although_a_child_keeps_the_terminal(cli: Cli) -> None:
    cli("run", "-d", "--name", "host", "busybox", "sleep", "100")
    with cli.terminal("exec", "-it", "host", "sh", "-c", "trap '' HUP; sleep 50 & echo bye; exit 3") as terminal:
        terminal.expect(b"bye")
        assert terminal.wait() == 3
    cli("rm", "-f", "host")


def test_exec_needs_a_terminal_for_it(cli: Cli) -> None:
    cli("run", "-d", "--name", "host", "busybox", "sleep", "100")
    assert "the input device is not a TTY" in cli.fails("exec", "-it", "host", "sh", code=1)
    assert cli("exec", "-t", "host", "tty").stdout == b"/dev/pts/0\r\n"
    cli("rm", "-f", "host")


def test_output_to_a_full_disk_is_an_error_and_no_traceback(cli: Cli) -> None:
    with open("/dev/full", "wb") as full, cli.start("run", "--name", "full", "busybox", "echo", "x", stdin=None, stdout=full) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(timeout=20) == 125
    assert said.startswith(b"minidocker: ")
    assert os.strerror(28).encode() in said
    cli("rm", "-f", "full")
