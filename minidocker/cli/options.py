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


# What limits a container; `update` has them too, but those of devices and --ulimit.
_LIMITS = {
    "blkio_weight": click.option(
        "--blkio-weight", metavar="NUMBER", type=integer, help="Its part of a busy disk, from 10 to 1000 (default: 500)."
    ),
    "cgroup_conf": _many("--cgroup-conf", metavar="FILE=VALUE", help="Set a file of cgroup v2, such as memory.high=48m in bytes."),
    "cpu_period": click.option(
        "--cpu-period", metavar="MICROSECONDS", type=integer, help="The period of --cpu-quota (default: 100000)."
    ),
    "cpu_quota": click.option("--cpu-quota", metavar="MICROSECONDS", type=integer, help="CPU time it may use in each period."),
    "cpu_shares": click.option(
        "-c", "--cpu-shares", metavar="NUMBER", type=integer, help="Its part of busy CPUs, relative to others (default: 1024)."
    ),
    "cpus": click.option("--cpus", metavar="NUMBER", type=_decimal, help="How many CPUs' worth of time it may use, such as 0.5."),
    "cpuset_cpus": _text("--cpuset-cpus", metavar="LIST", help="The CPUs on which it may run, such as 0-3 or 0,1."),
    "cpuset_mems": _text("--cpuset-mems", metavar="LIST", help="The memory nodes that it may use, such as 0-3 or 0,1."),
    "memory": _text("-m", "--memory", metavar="BYTES", help="Memory limit, such as 64m."),
    "memory_reservation": _text("--memory-reservation", metavar="BYTES", help="What it keeps when the host is short of memory."),
    "memory_swap": _text(
        "--memory-swap", metavar="BYTES", help="Limit of memory and swap together; -1: all swap (default: twice the memory)."
    ),
    "pids_limit": click.option("--pids-limit", metavar="NUMBER", type=integer, help="How many processes it may have; -1: no limit."),
}
_OPTIONS = [
    _many("-a", "--attach", metavar="STREAM", help="Attach to STDIN, STDOUT or STDERR."),
    _many("--cap-add", metavar="CAPABILITY", help="Add a Linux capability, or ALL."),
    _many("--cap-drop", metavar="CAPABILITY", help="Drop a Linux capability, or ALL."),
    _LIMITS["blkio_weight"],
    _LIMITS["cgroup_conf"],
    click.option("--cidfile", metavar="FILE", type=click.Path(), help="Write the container's id to FILE, which must not exist."),
    *(_LIMITS[name] for name in ("cpu_period", "cpu_quota", "cpu_shares", "cpus", "cpuset_cpus", "cpuset_mems")),
    _many("--device-read-bps", metavar="DEVICE:RATE", help="Limit reading from a device, such as /dev/sda:1mb a second."),
    _many("--device-read-iops", metavar="DEVICE:RATE", help="Limit reads from a device, such as /dev/sda:100 a second."),
    _many("--device-write-bps", metavar="DEVICE:RATE", help="Limit writing to a device, such as /dev/sda:1mb a second."),
    _many("--device-write-iops", metavar="DEVICE:RATE", help="Limit writes to a device, such as /dev/sda:100 a second."),
    click.option("--entrypoint", metavar="COMMAND", help='Run this instead of the image\'s entry point; "" for none.'),
    _many("-e", "--env", metavar="NAME[=VALUE]", help="Set a variable, or hand on your own."),
    _many("--env-file", metavar="FILE", help="Set the variables in FILE, one NAME=VALUE a line."),
    _text("-h", "--hostname", metavar="NAME", help="The container's host name (default: its short id)."),
    _switch("--init", help="Run a small init as pid 1 that forwards signals and reaps zombies."),
    _switch("-i", "--interactive", help="Keep stdin open."),
    _text("--ipc", metavar="MODE", help="IPC namespace: private, shareable, host or container:NAME."),
    _many("-l", "--label", metavar="NAME[=VALUE]", help="Attach a label."),
    _many("--label-file", metavar="FILE", help="Attach the labels in FILE, one NAME=VALUE a line."),
    *(_LIMITS[name] for name in ("memory", "memory_reservation", "memory_swap")),
    _many("--mount", metavar="SPEC", help="Mount, such as type=bind,source=/data,target=/data,readonly."),
    _text("--name", metavar="NAME", help="The container's name (default: one is made up)."),
    click.option("--network", "--net", "network", metavar="MODE", help="Network: none (default) or host."),
    _switch("--oom-kill-disable", help="Refused: see --cgroup-conf memory.high."),
    _text("--pid", metavar="MODE", help="PID namespace: host or container:NAME (default: its own)."),
    _LIMITS["pids_limit"],
    _switch("--privileged", help="All capabilities, all devices, nothing masked."),
    click.option("--pull", metavar="WHEN", default="missing", show_default=True, help="Pull the image: always, missing or never."),
    _switch("--read-only", help="Make the root filesystem read-only."),
    _text("--stop-signal", metavar="SIGNAL", help="The signal that stop sends (default: TERM)."),
    click.option("--stop-timeout", metavar="SECONDS", type=integer, help="How long stop waits before it kills."),
    _many("--tmpfs", metavar="DIR[:OPTIONS]", help="Mount an empty tmpfs, such as /tmp:size=16m."),
    _switch("-t", "--tty", help="Give the container a terminal."),
    _many("--ulimit", metavar="TYPE=SOFT[:HARD]", help="Limit a resource of each process, such as nofile=1024:2048."),
    _text("-u", "--user", metavar="USER[:GROUP]", help="The user, by name or number."),
    _text("--uts", metavar="MODE", help="UTS namespace: host (default: its own)."),
    _many("-v", "--volume", metavar="SOURCE:DIR[:OPTIONS]", help="Bind mount, such as /data:/data:ro."),
    _text("-w", "--workdir", metavar="DIR", help="The working directory."),
    _switch("--rm", help="Remove the container when it exits."),
    _switch("--explain", help="Show each kernel step, and the shell command that does the same."),
]

_SAME_NAME: tuple[str, ...] = ("hostname", "init", "ipc", "name", "network", "oom_kill_disable", "pid", "privileged", "read_only")
_SAME_NAME += ("stop_signal", "stop_timeout", "tty", "user", "uts", "workdir")
_LISTS = {name: name for name in ("cap_add", "cap_drop", "device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")}
_LISTS |= {"mount": "mounts", "tmpfs": "tmpfs", "ulimit": "ulimits", "volume": "volumes"}


def container_options(function: _F) -> _F:
    """All options of ``create``; ``run`` has a few more."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def limit_options(function: _F) -> _F:
    """The options of ``update``."""
    for name in reversed(_LIMITS):
        function = _LIMITS[name](function)
    return function


def given_limits(given: dict[str, Any]) -> dict[str, Any]:
    """What the user gave of `limit_options`, as keyword arguments of `create` and `update`."""
    found = {name: given[name] for name in _LIMITS if given[name] is not None and given[name] != ()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def engine_options(given: dict[str, Any]) -> dict[str, Any]:
    """What the user gave, as keyword arguments of `engine.containers.create`."""
    options: dict[str, Any] = {name: given[name] for name in _SAME_NAME if given[name] is not None and given[name] is not False}
    options |= given_limits(given)
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
