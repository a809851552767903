"""The options that ``run`` and ``create`` share, and what they mean to the engine.

    @container_options
    def run(..., **given): engine.containers.create(image, command, **engine_options(given))

Only what the user wrote is passed on: the image and the engine have the defaults.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from minidocker.errors import SpecError

_F = TypeVar("_F", bound=Callable[..., Any])


def _text(*names: str, metavar: str = "STRING", help: str) -> Callable[[_F], _F]:
    return click.option(*names, metavar=metavar, help=help)


def _many(*names: str, metavar: str, help: str) -> Callable[[_F], _F]:
    return click.option(*names, metavar=metavar, multiple=True, help=help)


def _switch(*names: str, help: str) -> Callable[[_F], _F]:
    return click.option(*names, is_flag=True, help=help)


def integer(text: Any) -> int:
    """A whole number for click; what is none is named."""
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an integer") from None


def _decimal(text: Any) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number") from None


_OPTIONS = [
    _many("-a", "--attach", metavar="STREAM", help="Attach to STDIN, STDOUT or STDERR."),
    _many("--cap-add", metavar="CAPABILITY", help="Add a Linux capability, or ALL."),
    _many("--cap-drop", metavar="CAPABILITY", help="Drop a Linux capability, or ALL."),
    click.option("--cidfile", metavar="FILE", type=click.Path(), help="Write the container's id to FILE, which must not exist."),
    click.option("--cpus", metavar="NUMBER", type=_decimal, help="How many CPUs' worth of time it may use, such as 0.5."),
    click.option("--entrypoint", metavar="COMMAND", help='Run this instead of the image\'s entry point; "" for none.'),
    _many("-e", "--env", metavar="NAME[=VALUE]", help="Set a variable, or hand on your own."),
    _many("--env-file", metavar="FILE", help="Set the variables in FILE, one NAME=VALUE a line."),
    _text("-h", "--hostname", metavar="NAME", help="The container's host name (default: its short id)."),
    _switch("--init", help="Run a small init as pid 1 that forwards signals and reaps zombies."),
    _switch("-i", "--interactive", help="Keep stdin open."),
    _text("--ipc", metavar="MODE", help="IPC namespace: private, shareable, host or container:NAME."),
    _many("-l", "--label", metavar="NAME[=VALUE]", help="Attach a label."),
    _many("--label-file", metavar="FILE", help="Attach the labels in FILE, one NAME=VALUE a line."),
    _text("-m", "--memory", metavar="BYTES", help="Memory limit, such as 64m."),
    _many("--mount", metavar="SPEC", help="Mount, such as type=bind,source=/data,target=/data,readonly."),
    _text("--name", metavar="NAME", help="The container's name (default: one is made up)."),
    click.option("--network", "--net", "network", metavar="MODE", help="Network: none (default) or host."),
    _text("--pid", metavar="MODE", help="PID namespace: host or container:NAME (default: its own)."),
    click.option("--pids-limit", metavar="NUMBER", type=integer, help="How many processes it may have; -1: no limit."),
    _switch("--privileged", help="All capabilities, all devices, nothing masked."),
    click.option("--pull", metavar="WHEN", default="missing", show_default=True, help="Pull the image: always, missing or never."),
    _switch("--read-only", help="Make the root filesystem read-only."),
    _text("--stop-signal", metavar="SIGNAL", help="The signal that stop sends (default: TERM)."),
    click.option("--stop-timeout", metavar="SECONDS", type=integer, help="How long stop waits before it kills."),
    _many("--tmpfs", metavar="DIR[:OPTIONS]", help="Mount an empty tmpfs, such as /tmp:size=16m."),
    _switch("-t", "--tty", help="Give the container a terminal."),
    _text("-u", "--user", metavar="USER[:GROUP]", help="The user, by name or number."),
    _text("--uts", metavar="MODE", help="UTS namespace: host (default: its own)."),
    _many("-v", "--volume", metavar="SOURCE:DIR[:OPTIONS]", help="Bind mount, such as /data:/data:ro."),
    _text("-w", "--workdir", metavar="DIR", help="The working directory."),
    _switch("--rm", help="Remove the container when it exits."),
    _switch("--explain", help="Show each kernel step, and the shell command that does the same."),
]

_SAME_NAME: tuple[str, ...] = ("cpus", "hostname", "init", "ipc", "memory", "name", "network", "pid", "pids_limit", "privileged")
_SAME_NAME += ("read_only", "stop_signal", "stop_timeout", "tty", "user", "uts", "workdir")
_LISTS = {"cap_add": "cap_add", "cap_drop": "cap_drop", "mount": "mounts", "tmpfs": "tmpfs", "volume": "volumes"}


def container_options(function: _F) -> _F:
    """All options of ``create``; ``run`` has a few more."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def engine_options(given: dict[str, Any]) -> dict[str, Any]:
    """What the user gave, as keyword arguments of `engine.containers.create`."""
    options: dict[str, Any] = {name: given[name] for name in _SAME_NAME if given[name] is not None and given[name] is not False}
    options |= {name: list(given[option]) for option, name in _LISTS.items() if given[option]}
    options |= {"remove": True} if given["rm"] else {}
    options |= {"stdin_open": True} if given["interactive"] else {}
    if given["entrypoint"] is not None:
        options["entrypoint"] = [given["entrypoint"]] if given["entrypoint"] else []
    if given["env"] or given["env_file"]:
        options["env"] = environment(given["env"], given["env_file"])
    if given["label"] or given["label_file"]:
        options["labels"] = _labels(given["label"], given["label_file"])
    return options


def environment(variables: Iterable[str], files: Iterable[str]) -> list[str]:
    """``NAME=VALUE`` of all *files*, then of *variables*; a bare NAME takes its value from our own environment.

    If it has none there it stays bare, by which the engine takes away what the image says."""
    result: list[str] = []
    for entry in [line for file in files for line in _variables_in(file)] + list(variables):
        name, equals, _ = entry.partition("=")
        if not name:
            raise SpecError(f"invalid environment variable: {entry}", hint="write NAME=VALUE, or NAME to hand on your own")
        result.append(f"{name}={os.environ[name]}" if not equals and name in os.environ else entry)
    return result


def _labels(labels: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in [line for file in files for line in _lines_of(file, "label")] + list(labels)]
    if any(not name for name, _, _ in pairs):
        raise SpecError("invalid label: empty name", hint="write NAME or NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _lines_of(file: str, kind: str) -> list[str]:
    """The lines of *file* that say something: blank ones and those that start with # do not."""
    lines = []
    for number, line in enumerate(Path(file).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            text = line.decode().lstrip()
        except UnicodeDecodeError as error:
            raise SpecError(f"invalid {kind} file ({file}): invalid utf8 bytes at line {number}") from error
        if "\0" in text:
            raise SpecError(f"invalid {kind} file ({file}): NUL byte at line {number}")
        if text and not text.startswith("#"):
            lines.append(text)
    return lines


def _variables_in(file: str) -> list[str]:
    lines = _lines_of(file, "env")
    for line in lines:
        name = line.partition("=")[0]
        if not name:
            raise SpecError(f"invalid env file ({file}): no variable name on line '{line}'")
        if any(letter.isspace() for letter in name):
            raise SpecError(f"invalid env file ({file}): variable '{name}' contains whitespaces")
    return lines
