"""``minidocker attach``, ``start``, and the foreground of ``run``: the user at a container."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from minidocker.cli import failures
from minidocker.cli.completion import container_names
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.cli.session import DEFAULT_DETACH_KEYS, Detached, DetachKeys, ForwardedSignals, ReaderGone, Session, Terminal
from minidocker.errors import ContainerNotFound, SpecError, WrongStatus

if TYPE_CHECKING:
    from minidocker.engine.attachment import Attachment
    from minidocker.engine.container import Container

BOTH = frozenset(["stdout", "stderr"])


@verb("attach", examples=["attach web                 see its output; ctrl-c goes to it", "attach --no-stdin web      only look"])
@click.argument("container", metavar="CONTAINER", shell_complete=container_names)
@click.option("--detach-keys", metavar="KEYS", default=DEFAULT_DETACH_KEYS, show_default=True, help="The keys that leave the container.")
@click.option("--no-stdin", is_flag=True, help="Do not attach stdin.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, show_default=True, help="Pass signals on to the container.")
@pass_door
def attach(door: Door, container: str, detach_keys: str, no_stdin: bool, sig_proxy: bool) -> int:
    """Attach your terminal to a running container. Exit code: the container's."""
    keys = DetachKeys(detach_keys)
    with door.engine() as engine:
        found = engine.containers.get(container)
        if found.status == "paused":
            hint = f"minidocker unpause {found.name}"
            raise WrongStatus("You cannot attach to a paused container, unpause it first", status="paused", needed="running", hint=hint)
        if found.status != "running":
            raise WrongStatus("You cannot attach to a stopped container, start it first", status=found.status, needed="running")
        stdin = found.record.stdin_open and not no_stdin
        check_terminal(stdin=stdin, tty=found.record.tty)
        with found.attach(stdin=stdin) as attachment:
            return converse(found, attachment, stdin=stdin, keys=keys, sig_proxy=sig_proxy, streams=BOTH, say_detached=True)


@verb(
    "start",
    examples=[
        "start web db          start what was stopped",
        "start -a job          and see its output",
        "start -ai shell       and type to it",
    ],
)
@click.argument("containers", metavar="CONTAINER [CONTAINER...]", nargs=-1, required=True, shell_complete=container_names)
@click.option("-a", "--attach", is_flag=True, help="Attach stdout and stderr, and pass signals on.")
@click.option("--detach-keys", metavar="KEYS", default=DEFAULT_DETACH_KEYS, show_default=True, help="The keys that leave the container.")
@click.option("-i", "--interactive", is_flag=True, help="Attach stdin.")
@pass_door
def start(door: Door, containers: tuple[str, ...], attach: bool, detach_keys: str, interactive: bool) -> int:
    """Start one or more stopped containers."""
    if not (attach or interactive):
        with door.engine() as engine:
            failures.for_each(containers, lambda name: _start_unless_running(engine.containers.get(name)))
        return 0
    if len(containers) > 1:
        raise SpecError("you cannot start and attach multiple containers at once")
    keys = DetachKeys(detach_keys)
    with door.engine() as engine:
        container = engine.containers.get(containers[0])
        stdin = interactive and container.record.stdin_open
        check_terminal(stdin=stdin, tty=container.record.tty)
        return foreground(container, nullcontext(), stdin=stdin, keys=keys, sig_proxy=True, streams=BOTH, ours=False)


def _start_unless_running(container: Container) -> None:
    if container.status != "running":
        container.start()


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """A container's terminal needs ours behind it. Failed(1) without."""
    if stdin and tty and not os.isatty(0):
        failures.say("the input device is not a TTY")
        raise failures.Failed(1)


def foreground(
    container: Container,
    starting: AbstractContextManager[None],
    *,
    stdin: bool,
    keys: DetachKeys,
    sig_proxy: bool,
    streams: frozenset[str],
    ours: bool,
) -> int:
    """Start *container* with us attached from its first byte on; its exit code, 0 if the user detached.

    *starting* is entered around all that may fail before the container runs. *ours*: it runs for us alone, so it ends when nobody reads
    its output any more, as a plain command in a pipe does.
    """
    with starting:
        attachment = container.attach(stdin=stdin)
        if attachment.fd is not None:
            Terminal(attachment.fd).resize()  # before the program can ask for its size
        container.start()
    with attachment:
        try:
            return converse(container, attachment, stdin=stdin, keys=keys, sig_proxy=sig_proxy, streams=streams)
        except ReaderGone:
            if ours:
                container.stop(0, signal="KILL")
            raise
        finally:
            if container.record.auto_remove and container.status != "running":
                _remove(container)


def _remove(container: Container) -> None:
    try:
        container.remove()
    except ContainerNotFound:  # whoever saw its end first has done it
        return


def converse(
    container: Container,
    attachment: Attachment,
    *,
    stdin: bool,
    keys: DetachKeys,
    sig_proxy: bool,
    streams: frozenset[str],
    say_detached: bool = False,
) -> int:
    """Be at a running container until it ends (its exit code) or the user leaves it (0, with *say_detached* 1)."""
    tty = container.record.tty
    guard: AbstractContextManager[object] = nullcontext()
    if tty:
        guard = Terminal(attachment.fd, raw=stdin)
    elif sig_proxy:
        guard = ForwardedSignals(container.kill)
    session = Session(
        attachment.output(),
        stdin=attachment.fd if stdin else None,
        end_of_input=attachment.close_stdin,
        keys=keys if tty else None,
        streams=streams,
    )
    try:
        with guard:
            session.run()
            return attachment.wait()
    except Detached:
        if say_detached:
            failures.note("read escape sequence")
        return 1 if say_detached else 0
