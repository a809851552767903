"""``minidocker stats``: what containers use, live."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from minidocker.cli.completion import container_names
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.errors import WrongStatus

if TYPE_CHECKING:
    from minidocker.engine.container import Container
    from minidocker.engine.engine import Engine
    from minidocker.engine.stats import Sample

_HEADERS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_COLUMNS = ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"]
_INTERVAL = 1.0
_WITHOUT_CURSOR = ("dumb", "unknown")  # terminals on which rich draws nothing until the end
_NOTHING = {"CPUPerc": "--", "MemUsage": "-- / --", "MemPerc": "--", "NetIO": "-- / --", "BlockIO": "-- / --", "PIDs": "--"}


@verb(
    "stats",
    examples=[
        "stats                                       all that run, until ctrl-c",
        "stats --no-stream --format json web",
        "stats --format 'table {{.Name}}\\t{{.CPUPerc}}\\t{{.MemUsage}}'",
    ],
)
@click.argument("containers", metavar="[CONTAINER...]", nargs=-1, shell_complete=container_names)
@click.option("-a", "--all", "everything", is_flag=True, help="Show all containers, not only running ones.")
@click.option("--format", "layout", metavar="FORMAT", default="", help="table, json, or a template such as '{{.Name}} {{.CPUPerc}}'.")
@click.option("--no-stream", is_flag=True, help="Measure once, over a second, and end.")
@click.option("--no-trunc", is_flag=True, help="Do not shorten ids.")
@pass_door
def stats(door: Door, containers: tuple[str, ...], everything: bool, layout: str, no_stream: bool, no_trunc: bool) -> None:
    """Show what containers use: CPU, memory, processes, block devices."""
    from minidocker.cli.format import Table

    with door.engine() as engine:
        rounds = _rounds(engine, containers, everything=everything)
        texts = (Table(_HEADERS, _COLUMNS).render([_row(one, sample, full=no_trunc) for one, sample in found], layout) for found in rounds)
        next(texts)  # CPU use needs two samples
        if no_stream:
            click.echo(next(texts), nl=False)
        elif sys.stdout.isatty() and os.environ.get("TERM") not in _WITHOUT_CURSOR:
            _live(texts)
        else:
            for text in texts:
                click.echo(text, nl=False)
                sys.stdout.flush()


def _rounds(engine: Engine, names: tuple[str, ...], *, everything: bool) -> Iterator[list[tuple[Container, Sample | None]]]:
    """Each second a sample of each container, None for one that does not run."""
    before: dict[str, Sample] = {}
    due = time.monotonic()
    while True:
        listed = [engine.containers.get(name) for name in names] if names else list(engine.containers.list(all=everything))
        found = [(container, _sample(container, before.get(container.id))) for container in listed]
        before = {container.id: sample for container, sample in found if sample is not None}
        yield found
        due = max(due + _INTERVAL, time.monotonic())
        time.sleep(due - time.monotonic())


def _sample(container: Container, before: Sample | None) -> Sample | None:
    try:
        return container.stats(before)
    except WrongStatus:
        return None


def _row(container: Container, sample: Sample | None, *, full: bool) -> dict[str, Any]:
    from minidocker.engine.phrases import binary_size, human_size

    row: dict[str, Any] = {"Container": container.short_id, "ID": container.id if full else container.short_id, "Name": container.name}
    if sample is None:
        return row | _NOTHING
    return row | {
        "CPUPerc": f"{sample.cpu_percent:.2f}%",
        "MemUsage": f"{binary_size(sample.memory)} / {binary_size(sample.memory_limit)}",
        "MemPerc": f"{sample.memory_percent:.2f}%",
        "NetIO": f"{human_size(sample.received)} / {human_size(sample.sent)}",
        "BlockIO": f"{human_size(sample.read)} / {human_size(sample.written)}",
        "PIDs": str(sample.pids),
    }


def _live(texts: Iterator[str]) -> None:
    """Each round over the one before."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), auto_refresh=False, transient=False) as live:
        for text in texts:
            live.update(Text(text.removesuffix("\n"), no_wrap=True, overflow="crop"), refresh=True)
