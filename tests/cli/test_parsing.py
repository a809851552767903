"""Command lines: Docker's spellings, and Docker's exit codes for what cannot be understood."""

from __future__ import annotations

from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.cli.main import cli, main
from minidocker.cli.options import engine_options
from minidocker.cli.parsing import Verbs


def parsed(*arguments: str) -> dict[str, Any]:
    """What ``run`` understands, without running anything."""
    with cli.make_context("minidocker", ["--name", "mdt"]) as context:
        command = cli.get_command(context, "run")
        assert command is not None
        with command.make_context("run", list(arguments), parent=context) as inner:
            return dict(inner.params)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-it", "--rm", "busybox"], {"interactive": True, "tty": True, "rm": True, "image": "busybox", "command": ()}),
        (["-dit", "busybox", "sh"], {"detach": True, "interactive": True, "tty": True, "command": ("sh",)}),
        (["--rm=true", "-t=false", "busybox"], {"rm": True, "tty": False}),
        (["-ti=0", "busybox"], {"tty": True, "interactive": False}),
        (["--sig-proxy=false", "busybox"], {"sig_proxy": False}),
        (["--sig-proxy=1", "busybox"], {"sig_proxy": True}),
        (["-e", "A=1", "-eB=2", "-e=C=3", "--env=D=4", "--env", "E=5", "busybox"], {"env": ("A=1", "B=2", "C=3", "D=4", "E=5")}),
        (["-ite", "A=1", "busybox"], {"interactive": True, "tty": True, "env": ("A=1",)}),
        (["busybox", "ls", "-la", "--rm", "-e"], {"command": ("ls", "-la", "--rm", "-e"), "rm": False}),
        (["busybox", "--", "-x"], {"command": ("--", "-x")}),
        (["--", "busybox", "-x"], {"image": "busybox", "command": ("-x",)}),
        (["--rm", "--", "busybox"], {"rm": True, "image": "busybox"}),
        (["--name", "--rm", "busybox"], {"name": "--rm", "rm": False}),
        (["-m", "64m", "--pids-limit=-1", "--cpus", "0.5", "busybox"], {"memory": "64m", "pids_limit": -1, "cpus": 0.5}),
        (["-h", "box", "-w", "/tmp", "-u", "1:2", "busybox"], {"hostname": "box", "workdir": "/tmp", "user": "1:2"}),
        (["--net", "host", "busybox"], {"network": "host"}),
    ],
)
def test_run_understands_dockers_spellings(arguments: list[str], expected: dict[str, Any]) -> None:
    given = parsed(*arguments)
    assert {name: given[name] for name in expected} == expected


@given(st.lists(st.text(alphabet="-=it/a ", max_size=6), max_size=5))
def test_everything_after_the_image_is_the_command(words: list[str]) -> None:
    assert parsed("-i", "busybox", *words)["command"] == tuple(words)


def test_only_what_was_given_goes_to_the_engine() -> None:
    assert engine_options(parsed("busybox")) == {}
    assert engine_options(parsed("--rm", "-i", "-e", "A=1", "-l", "x", "-l", "y=z", "--entrypoint", "", "-v", "/a:/b", "busybox")) == {
        "remove": True,
        "stdin_open": True,
        "env": ["A=1"],
        "labels": {"x": "", "y": "z"},
        "entrypoint": [],
        "volumes": ["/a:/b"],
    }
    assert engine_options(parsed("--entrypoint", "sh", "--pids-limit", "0", "busybox")) == {"entrypoint": ["sh"], "pids_limit": 0}


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("run", 1, "'minidocker run' requires at least 1 argument"),
        ("run --bogus x", 125, "unknown flag: --bogus"),
        ("run -Z x", 125, "unknown flag: -Z"),
        ("run -e", 125, "flag needs an argument: -e"),
        ("run --name", 125, "flag needs an argument: --name"),
        ("run --rm=foo busybox", 125, "invalid value for \"--rm\": 'foo' is neither true nor false"),
        ("run --cpus x busybox", 125, "invalid value for \"--cpus\": 'x' is not a number"),
        ("run --pids-limit x busybox", 125, "invalid value for \"--pids-limit\": 'x' is not an integer"),
        ("run --stop-timeout 1.5 busybox", 125, "is not an integer"),
        ("ps --bogus", 125, "unknown flag: --bogus"),
        ("ps --filter foo", 125, "bad format of filter (expected name=value)"),
        ("ps a b", 1, "'minidocker ps' accepts no arguments"),
        ("logs", 1, "'minidocker logs' requires 1 argument"),
        ("rename a", 1, "'minidocker rename' requires 2 arguments"),
        ("stop", 1, "'minidocker stop' requires at least 1 argument"),
        ("exec a", 1, "'minidocker exec' requires at least 2 arguments"),
        ("images a b", 1, "'minidocker images' requires at most 1 argument"),
        ("container rm", 1, "'minidocker container rm' requires at least 1 argument"),
        ("bogus", 1, "unknown command: minidocker bogus"),
        ("container bogus", 1, "unknown command: minidocker container bogus"),
        ("--bogus", 125, "unknown flag: --bogus"),
        ("completion csh", 1, "csh"),
    ],
)
def test_what_cannot_be_understood(line: str, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("minidocker: ")
    assert message in captured.err
    assert "--help' for more information" in captured.err
    assert "Traceback" not in captured.err


def every_verb() -> list[tuple[str, ...]]:
    """The path of every verb, groups and hidden aliases included."""

    def walk(group: click.Group, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = [path]
        names = {*group.list_commands(context), *(group.hidden_verbs if isinstance(group, Verbs) else ())}
        for name in sorted(names):
            command = group.get_command(context, name)
            found += walk(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
        return found

    with cli.make_context("minidocker", []) as context:
        return walk(cli, ())


@pytest.mark.parametrize("path", every_verb(), ids="-".join)
def test_help_of_every_verb(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage:  {' '.join(['minidocker', *path])} ")
    assert all(len(line) <= 120 for line in text.splitlines())
    is_group = "Commands:" in text
    assert is_group or "Examples:\n  minidocker " in text, "a verb shows examples"


def test_a_group_alone_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["container"]) == 0
    text = capsys.readouterr().out
    assert "Usage:  minidocker [OPTIONS] COMMAND" in text
    assert "Usage:  minidocker container" in text


def test_aliases_are_the_same_commands() -> None:
    with cli.make_context("minidocker", []) as context:

        def find(*path: str) -> click.Command | None:
            command: click.Command | None = cli
            for name in path:
                assert isinstance(command, click.Group)
                command = command.get_command(context, name)
            return command

        assert find("ps") is find("container", "ls") is find("container", "list")
        assert find("run") is find("container", "run")
        assert find("images") is find("image", "ls")
        assert find("rmi") is find("image", "rm")
        assert find("info") is find("system", "info")
