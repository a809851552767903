"""The verbs around what a container may use: update, pause, unpause, top."""

from __future__ import annotations

from typing import Any

import click

from minidocker.cli import failures
from minidocker.cli.completion import container_names
from minidocker.cli.options import given_limits, limit_options
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.errors import SpecError

_some_containers = click.argument("containers", metavar="CONTAINER [CONTAINER...]", nargs=-1, required=True, shell_complete=container_names)


@verb(
    "update",
    examples=["update -m 128m web             raise the limit of a running container", "update --cpus 0.5 --pids-limit 20 web db"],
)
@_some_containers
@limit_options
@pass_door
def update(door: Door, containers: tuple[str, ...], **given: Any) -> None:
    """Change what containers may use: at once if they run, and for their next start. A limit of 0 is none."""
    limits = given_limits(given)
    if not limits:
        raise SpecError("you must provide one or more flags when using this command", hint="minidocker update --help lists them")
    with door.engine() as engine:
        failures.for_each(containers, lambda name: engine.containers.get(name).update(**limits))


@verb("pause", examples=["pause web               its processes stand still, and use no CPU"])
@_some_containers
@pass_door
def pause(door: Door, containers: tuple[str, ...]) -> None:
    """Freeze all processes of containers."""
    with door.engine() as engine:
        failures.for_each(containers, lambda name: engine.containers.get(name).pause())


@verb("unpause", examples=["unpause web             its processes go on where they stood"])
@_some_containers
@pass_door
def unpause(door: Door, containers: tuple[str, ...]) -> None:
    """Let the processes of paused containers go on."""
    with door.engine() as engine:
        failures.for_each(containers, lambda name: engine.containers.get(name).unpause())


@verb(
    "top",
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
    examples=["top web", "top web -o pid,stat,args     these columns, as ps names them"],
)
@click.argument("container", metavar="CONTAINER", shell_complete=container_names)
@click.argument("options", metavar="[-o COLUMN,...]", nargs=-1, type=click.UNPROCESSED)
@pass_door
def top(door: Door, container: str, options: tuple[str, ...]) -> None:
    """Show the processes of a container, with their pids on the host."""
    from minidocker.cli.format import align

    with door.engine() as engine:
        found = engine.containers.get(container)
        titles, rows = found.processes(_columns(options))
    click.echo(align([titles, *rows], least=20), nl=False)


def _columns(options: tuple[str, ...]) -> list[str]:
    """The columns that ps options ask for. SpecError for an option that we do not have."""
    words = list(options)
    columns: list[str] = []
    while words:
        word = words.pop(0)
        if word.lstrip("-") in ("ef", "e", "f", "A", "aux") and not columns:
            continue  # all processes of the container are shown anyway
        name, equals, value = word.partition("=")
        if name in ("--format", "-o", "o", "-eo", "axo", "-axo"):
            value = value if equals else words.pop(0) if words else ""
        elif word.startswith("-o"):
            value = word[2:]
        else:
            raise SpecError(f"this top has no ps option {word!r}", hint="only -o COLUMN,... is known, such as -o pid,stat,args")
        columns += [column for column in value.split(",") if column]
        if not columns:
            raise SpecError("ps option -o needs columns", hint="such as -o pid,stat,args")
    return columns
