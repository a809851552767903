"""``logs`` and ``exec`` through the real command."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from cli.driver import Cli

LINE = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z "


def test_streams_stay_apart(cli: Cli) -> None:
    cli("run", "--name", "job", "busybox", "sh", "-c", r"echo one; echo two >&2; printf '\377three'", code=0)
    done = cli("logs", "job")
    assert (done.stdout, done.stderr) == (b"one\n\xffthree", b"two\n")
    assert cli("container", "logs", "job").stdout == done.stdout
    assert cli("logs", "-f", "job").stdout == done.stdout, "follow what has ended, and end"


def test_tail_timestamps_since_until(cli: Cli) -> None:
    cli("run", "--name", "job", "busybox", "sh", "-c", "echo one; echo two; sleep 1.1; echo three")
    assert cli("logs", "--tail", "2", "job").stdout == b"two\nthree\n"
    assert cli("logs", "-n0", "job").stdout == b""
    assert cli("logs", "-n", "all", "job").stdout == cli("logs", "--tail=-1", "job").stdout == b"one\ntwo\nthree\n"
    stamped = cli("logs", "-t", "job").stdout
    assert re.fullmatch(LINE + rb"one\n" + LINE + rb"two\n" + LINE + rb"three\n", stamped)
    last = stamped.splitlines()[2].partition(b" ")[0].decode()
    assert cli("logs", "--since", last, "job").stdout == b"three\n"
    assert cli("logs", "--until", last[:19] + "Z", "job").stdout == b"one\ntwo\n"
    assert cli("logs", "--since", "10m", "job").stdout == b"one\ntwo\nthree\n"
    assert cli("logs", "--until", "10m", "job").stdout == b""
    assert 'invalid value for "since"' in cli.fails("logs", "--since", "yesterday", "job", code=1)


def test_without_follow_it_does_not_wait(cli: Cli) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sh", "-c", "echo up; exec sleep 100")
    deadline = time.monotonic() + 20
    while cli("logs", "web").stdout != b"up\n" and time.monotonic() < deadline:
        continue
    assert cli("logs", "web").stdout == b"up\n"
    cli("rm", "-f", "web")


def test_follow_until_the_end(cli: Cli) -> None:
    cli("run", "-d", "-i", "--name", "echo", "busybox", "sh", "-c", "echo old; cat")
    with cli.start("logs", "-f", "echo") as follower, cli.start("attach", "echo") as writer:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"old\n"
        assert writer.stdin is not None
        for word in (b"one\n", b"two\n"):
            writer.stdin.write(word)
            writer.stdin.flush()
            assert follower.stdout.readline() == word
        cli("kill", "echo")
        assert follower.wait(timeout=20) == 0
        assert writer.wait(timeout=20) == 137


def test_a_reader_that_leaves_only_ends_the_follower(cli: Cli) -> None:
    cli("run", "-d", "--name", "noisy", "busybox", "yes")
    with cli.start("logs", "-f", "noisy") as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        follower.stdout.close()
        assert follower.wait(timeout=20) == 141
        assert follower.stderr is not None
        assert follower.stderr.read() == b""
    assert cli.field("noisy", "{{.State.Status}}") == "running"
    cli("rm", "-f", "noisy")


# -- exec --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(cli: Cli) -> Cli:
    """An engine with a running container "web"."""
    cli("run", "-d", "--name", "web", "-e", "FROM=image", "busybox", "sleep", "100")
    return cli


def test_exec(web: Cli) -> None:
    done = web("exec", "web", "sh", "-c", "echo out; echo err >&2; exit 9", code=9)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    script = "echo $FROM $A; id -u; pwd"
    said = web.text("exec", "-e", "A=1", "-u", "1000:1000", "-w", "/tmp", "web", "sh", "-c", script)
    assert said.split() == ["image", "1", "1000", "/tmp"]
    script = "readlink /proc/self/ns/* /proc/1/ns/* | sort | uniq -c | grep -vc '^ *2 '"
    assert web.text("exec", "web", "sh", "-c", script, code=1) == "0", "every namespace twice"
    data = bytes(range(256)) * 1000
    assert web("exec", "-i", "web", "cat", stdin=data).stdout == data
    assert web("exec", "web", "cat", stdin=data).stdout == b""
    assert web("exec", "web", "echo", "-it", "--", "x" * 5000).stdout == b"-it -- " + b"x" * 5000 + b"\n"
    assert web.text("exec", "web", "sh", "-c", "kill -9 $$", code=137) == ""
    web("rm", "-f", "web")


def test_exec_detached(web: Cli) -> None:
    assert web("exec", "-d", "web", "sh", "-c", "echo x > /made; exec sleep 99").stdout == b""
    deadline = time.monotonic() + 20
    while b"sleep 99" not in web("exec", "web", "ps").stdout and time.monotonic() < deadline:
        continue
    assert web.text("exec", "web", "cat", "/made") == "x"
    web("rm", "-f", "web")


def test_exec_privileged_has_every_capability(web: Cli) -> None:
    script = "grep CapEff /proc/self/status"
    (ours,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")]
    assert web.text("exec", "web", "sh", "-c", script).split() != ours.split()
    assert web.text("exec", "--privileged", "web", "sh", "-c", script).split() == ours.split()
    web("rm", "-f", "web")


def test_exec_what_cannot_be(web: Cli) -> None:
    assert 'exec: "nosuch": executable file not found' in web.fails("exec", "web", "nosuch", code=127)
    assert 'exec: "/etc": permission denied' in web.fails("exec", "web", "/etc", code=126)
    assert "/etc/passwd" in web.fails("exec", "-w", "/etc/passwd", "web", "true", code=126)
    assert "unable to find user nobodyhere" in web.fails("exec", "-u", "nobodyhere", "web", "true", code=1)
    assert "No such container: nosuch" in web.fails("exec", "nosuch", "true", code=1)
    assert "open /no/such" in web.fails("exec", "--env-file", "/no/such", "web", "true", code=1)
    web("kill", "web")
    web("wait", "web")
    assert "is not running" in web.fails("exec", "web", "true", code=1)
