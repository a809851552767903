"""start, stop, restart, kill, wait, rm, rename, prune, ps and inspect, through the real command."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest
from cli.driver import Cli


def test_stop_start_restart(cli: Cli) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sh", "-c", "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done")
    assert cli.text("stop", "web") == "web"
    assert cli.field("web", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}") == "exited 4 0"
    assert cli.text("stop", "web") == "web", "stopping twice is fine"
    assert cli.text("start", "web") == "web"
    assert cli.text("start", "web") == "web", "starting twice is fine"
    first = cli.field("web", "{{.State.Pid}}")
    assert cli.text("restart", "-t", "5", "web") == "web"
    assert cli.field("web", "{{.State.Pid}}") != first
    cli("kill", "web")
    assert cli.text("wait", "web") == "137"


def test_stop_kills_after_its_time(cli: Cli) -> None:
    cli("run", "-d", "--name", "deaf", "busybox", "sleep", "100")
    begun = time.monotonic()
    cli("stop", "-t", "1", "deaf")
    assert 1 <= time.monotonic() - begun < 9
    assert cli.field("deaf", "{{.State.ExitCode}}") == "137"


def test_kill_with_a_signal(cli: Cli) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sh", "-c", "trap 'exit 11' USR1; while :; do sleep 0.05; done")
    assert "Invalid signal: NOSUCH" in cli.fails("kill", "-s", "NOSUCH", "web", code=1)
    # The trap may not stand yet: until then the first process of a container ignores the signal.
    while cli.field("web", "{{.State.Status}}") == "running":
        cli("kill", "-s", "SIGUSR1", "web", code=None)
    assert cli.text("wait", "web") == "11"
    assert "is not running" in cli.fails("kill", "web", code=1)


def test_wait_for_several(cli: Cli) -> None:
    cli("run", "-d", "--name", "one", "busybox", "sh", "-c", "exit 1")
    with cli.start("wait", "one", "two") as nobody:
        said = nobody.communicate(timeout=20)
    assert said[0] == b"1\n"
    assert b"No such container: two" in said[1]
    cli("run", "-d", "--name", "two", "busybox", "sh", "-c", "sleep 0.3; exit 2")
    assert cli.text("wait", "two", "one") == "2\n1"


def test_rm(cli: Cli) -> None:
    for name in ("one", "two", "on"):
        cli("create", "--name", name, "busybox", "sleep", "100")
    cli("start", "on")
    said = cli("rm", "one", "nosuch", "two", code=1)
    assert said.stdout == b"one\ntwo\n"
    assert b"No such container: nosuch" in said.stderr
    said = cli.fails("rm", "on", code=1)
    assert "running" in said
    assert "hint: " in said
    assert cli.text("rm", "-f", "on") == "on"
    done = cli("rm", "-f", "nosuch")
    assert b"No such container: nosuch" in done.stderr
    assert cli.containers() == []


def test_rename(cli: Cli) -> None:
    cli("create", "--name", "old", "busybox")
    cli("create", "--name", "other", "busybox")
    assert cli.text("rename", "old", "new") == ""
    assert sorted(cli.containers()) == ["new", "other"]
    assert "already in use" in cli.fails("rename", "new", "other", code=1)
    assert "Invalid container name" in cli.fails("rename", "new", "a/b", code=1)
    assert "No such container: old" in cli.fails("rename", "old", "x1", code=1)


def test_ids_and_their_beginnings_are_names(cli: Cli) -> None:
    container_id = cli.text("create", "--name", "web", "busybox")
    for name in (container_id, container_id[:12], container_id[:6], "web"):
        assert cli.field(name, "{{.Id}}") == container_id


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "wait", "rm", "logs", "attach", "inspect"])
def test_what_does_not_exist(cli: Cli, verb: str) -> None:
    done = cli(verb, "nosuch", code=1)
    assert re.search(rb"minidocker: No such (container|object): nosuch\nhint: ", done.stderr)


def test_prune_asks(cli: Cli) -> None:
    container_id = cli.text("create", "--name", "old", "busybox")
    cli("run", "-d", "--name", "on", "busybox", "sleep", "100")
    assert "[y/N]" in cli.text("container", "prune", stdin=b"n\n")
    cli("container", "prune", stdin=b"")
    assert sorted(cli.containers()) == ["old", "on"]
    assert container_id in cli.text("container", "prune", stdin=b"y\n")
    assert cli.text("system", "prune", "-f") == ""
    assert cli.containers() == ["on"]
    cli("rm", "-f", "on")


def test_system_prune_removes_what_a_killed_engine_left(cli: Cli) -> None:
    left = Path("/var/lib", cli.name, "containers", "f" * 64)
    left.mkdir(parents=True)
    (left / "config.json").write_text("{}")
    cli("create", "busybox")
    assert left.name in cli.text("system", "prune", "-f")
    assert not left.exists()
    assert cli.containers() == []


# -- ps ----------------------------------------------------------------------------------------------------------------


def test_ps_columns(cli: Cli) -> None:
    assert cli.text("ps") == "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES"
    container_id = cli.text("run", "-d", "--name", "web", "busybox", "sh", "-c", "echo a long command; exec sleep 100")
    cli("run", "--name", "ended", "busybox", "sh", "-c", "exit 3", code=3)
    cli("create", "--name", "new", "busybox")
    head, new, ended, web = cli.text("ps", "-a").splitlines()
    assert re.fullmatch(r"[0-9a-f]{12}   busybox   \"sh\" +\S.* ago +Created +new", new)
    assert re.fullmatch(r"[0-9a-f]{12}   busybox   \"sh -c 'exit 3'\" +\S.* ago +Exited \(3\) \S.* ago +ended", ended)
    assert re.fullmatch(rf"{container_id[:12]}   busybox   \"sh -c 'echo a long …\" +\S.* ago +Up \S.* +web", web)
    assert head.index("NAMES") == web.index("web") == new.index("new")
    assert (
        cli.text("ps", "--no-trunc")
        .splitlines()[1]
        .startswith(f"{container_id}   busybox   \"sh -c 'echo a long command; exec sleep 100'\"")
    )
    assert cli.text("ps", "-q") == container_id[:12]
    assert cli.text("ps", "-q", "--no-trunc") == container_id
    assert cli.text("ps", "-l", "--format", "{{.Names}}") == "new"
    assert cli.text("ps", "-n", "2", "--format", "{{.Names}}") == "new\nended"
    cli("rm", "-f", "web")


def test_ps_formats(cli: Cli) -> None:
    cli("create", "--name", "web", "-l", "role=db", "-v", "/tmp:/data", "busybox")
    assert cli.text("ps", "-a", "--format", "table {{.Names}}\\t{{.Status}}") == "NAMES     STATUS\nweb       Created"
    assert (
        cli.text("container", "ls", "-a", "--format", '{{.Label "role"}} {{.Labels}} {{.State}} {{.Mounts}}') == "db role=db created /tmp"
    )
    row = json.loads(cli.text("ps", "-a", "--format", "json"))
    assert (row["Names"], row["Image"], row["Command"], row["State"], row["Networks"]) == ("web", "busybox", '"sh"', "created", "none")
    again = json.loads(cli.text("ps", "-a", "--format", "{{json .}}"))
    assert again | {"RunningFor": ""} == row | {"RunningFor": ""}
    said = cli.fails("ps", "-a", "--format", "{{.Nope}}", code=1)
    assert 'no field "Nope"' in said
    assert "Names" in said
    assert "{{range}} is not supported" in cli.fails("ps", "--format", "{{range .}}{{end}}", code=1)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["status=exited"], "ended"),
        (["status=created", "status=running"], "web new"),
        (["name=we"], "web"),
        (["name=^n"], "new"),
        (["label=role"], "web new"),
        (["label=role=db"], "new"),
        (["label=role", "status=running"], "web"),
        (["exited=3"], "ended"),
        (["exited=0"], ""),
        (["ancestor=busybox"], "web ended new"),
        (["ancestor=other"], ""),
        (["network=none"], "web ended new"),
    ],
)
def test_ps_filters(cli: Cli, filters: list[str], names: str) -> None:
    cli("create", "--name", "new", "-l", "role=db", "busybox")
    cli("run", "--name", "ended", "busybox", "sh", "-c", "exit 3", code=3)
    cli("run", "-d", "--name", "web", "-l", "role=www", "busybox", "sleep", "100")
    words = [word for one in filters for word in ("-f", one)]
    assert cli.text("ps", "-a", "--format", "{{.Names}}", *words).split() == names.split()
    cli("rm", "-f", "web")


def test_ps_filters_that_there_are_not(cli: Cli) -> None:
    cli("create", "--name", "web", "busybox")
    assert "regular expression" in cli.fails("ps", "-a", "-f", "name=[", code=1)
    said = cli.fails("ps", "-f", "nosuch=1", code=1)
    assert "invalid filter 'nosuch'" in said
    assert "hint: there are " in said


# -- inspect -----------------------------------------------------------------------------------------------------------


def test_inspect(cli: Cli) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sleep", "100")
    (found,) = json.loads(cli.text("inspect", "web"))
    assert found["Name"] == "/web"
    status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
    assert re.search(r"NSpid:\t\d+\t1$", status, re.MULTILINE), "the pid is that on the host"
    assert Path(found["LogPath"]).parent == Path(found["GraphDriver"]["Data"]["UpperDir"]).parent
    assert cli.text("inspect", "-f", "{{.Name}} {{json .State.Running}}", "web") == "/web true"
    assert json.loads(cli.text("inspect", "-f", "json", "web")) == [found]
    assert json.loads(cli.text("container", "inspect", "web")) == [found]
    cli("rm", "-f", "web")


def test_inspect_several_and_some_that_are_missing(cli: Cli) -> None:
    cli("create", "--name", "web", "busybox")
    done = cli("inspect", "web", "nosuch", "busybox", code=1)
    container, image = json.loads(done.stdout)
    assert (container["Name"], image["RepoTags"]) == ("/web", ["busybox:latest"])
    assert b"No such object: nosuch" in done.stderr
    assert json.loads(cli("inspect", "--type", "container", "busybox", code=1).stdout) == []
    assert json.loads(cli("inspect", "--type", "image", "web", code=1).stdout) == []
    assert "unknown type" in cli.fails("inspect", "--type", "planet", "web", code=1)
    assert 'no field "Nope"' in cli("inspect", "-f", "{{.Nope}}", "web", code=1).stderr.decode()


# -- attach and start -a -----------------------------------------------------------------------------------------------


def test_start_attached(cli: Cli) -> None:
    cli("create", "--name", "job", "-i", "busybox", "sh", "-c", "echo begin; cat; exit 6")
    done = cli("start", "-ai", "job", stdin=b"typed\n", code=6)
    assert done.stdout == b"begin\ntyped\n"
    cli("create", "--name", "bad", "busybox", "nosuch")
    assert 'exec: "nosuch": executable file not found' in cli.fails("start", "bad", code=1)
    assert cli.field("bad", "{{.State.Status}}") == "created"
    assert "multiple" in cli.fails("start", "-a", "bad", "job", code=1)


def test_attach_sees_what_comes_and_ends_with_it(cli: Cli) -> None:
    cli("run", "-d", "-i", "--name", "echo", "busybox", "sh", "-c", "echo before; cat; exit 8")
    with cli.start("attach", "echo") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"hello\n"
        process.send_signal(signal.SIGTERM)  # passed on, and ignored by a shell that is pid 1
        process.stdin.write(b"again\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"again\n"
        cli("kill", "echo")
        assert process.wait(timeout=20) == 137
    assert "You cannot attach to a stopped container" in cli.fails("attach", "echo", code=1)


def test_attach_only_to_look(cli: Cli) -> None:
    cli("run", "-d", "-i", "--name", "web", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.1; done")
    with cli.start("attach", "--no-stdin", "--sig-proxy=false", "web") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"tick\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert cli.field("web", "{{.State.Status}}") == "running"
    cli("rm", "-f", "web")
