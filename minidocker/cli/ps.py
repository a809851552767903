"""``minidocker ps`` (container ls): which containers there are."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from minidocker.cli.filters import Filters, check, filter_option, has_label, selected
from minidocker.cli.options import integer
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.errors import SpecError

if TYPE_CHECKING:
    from minidocker.engine.container import Container
    from minidocker.engine.record import ContainerRecord

_HEADERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
}
_COLUMNS = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"]
_COMMAND_WIDTH = 20
_FILTERS = ("ancestor", "before", "exited", "id", "label", "name", "network", "since", "status")


@verb(
    "ps",
    examples=[
        "ps -a                               stopped ones too",
        "ps -aq -f status=exited             only their ids",
        "ps --format 'table {{.Names}}\\t{{.Status}}'",
        "ps -f label=role=db -f name=web --format json",
    ],
)
@click.option("-a", "--all", "everything", is_flag=True, help="Show all containers, not only running ones.")
@filter_option("Only those: status=exited, name=REGEX, label=NAME[=VALUE], ...")
@click.option("--format", "layout", metavar="FORMAT", default="", help="table, json, or a template such as '{{.Names}}'.")
@click.option("-n", "--last", metavar="NUMBER", type=integer, default=-1, help="The newest NUMBER containers, in all states.")
@click.option("-l", "--latest", is_flag=True, help="The newest container, in all states.")
@click.option("--no-trunc", is_flag=True, help="Do not shorten ids and commands.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@pass_door
def ps(door: Door, everything: bool, filters: Filters, layout: str, last: int, latest: bool, no_trunc: bool, quiet: bool) -> None:
    """List containers."""
    from minidocker.cli.format import Table

    check(filters, _FILTERS)
    number = 1 if latest else last
    asks_for_state = any(name in ("status", "exited") for name, _ in filters)
    with door.engine() as engine:
        rows = [_Row(container) for container in engine.containers.list(all=everything or asks_for_state or number >= 0)]
    matching = [row for row in rows if selected(filters, _matchers(row, rows))]
    shown = matching[:number] if number >= 0 else matching
    if quiet and not layout:
        layout = "{{.ID}}"
    click.echo(Table(_HEADERS, _COLUMNS).render([row.fields(full=no_trunc) for row in shown], layout), nl=False)


class _Row:
    """A container as it is at this moment: each question to it asks the kernel, so each is asked once."""

    def __init__(self, container: Container) -> None:
        from minidocker.engine.phrases import seconds, status_text

        self.record = container.record
        self.state, self.status = container.status, status_text(container)
        self.created = seconds(self.record.created)

    def fields(self, *, full: bool) -> dict[str, Any]:
        """What the templates can name. ``.Label "x"`` is a method in Docker, so it is a function here."""
        from minidocker.engine.phrases import command_text, human_duration, local_time

        record, command = self.record, command_text(self.record.args)
        if not full and len(command) > _COMMAND_WIDTH:
            command = command[: _COMMAND_WIDTH - 1] + "…"
        return {
            "ID": record.id if full else record.id[:12],
            "Image": record.image,
            "Command": f'"{command}"',
            "RunningFor": f"{human_duration(time.time() - self.created)} ago",
            "CreatedAt": local_time(self.created),
            "Status": self.status,
            "State": self.state,
            "Ports": "",
            "Names": record.name,
            "Labels": ",".join(f"{name}={value}" for name, value in record.labels.items()),
            "Label": lambda name: record.labels.get(name, ""),
            "Mounts": ",".join(point.source for point in record.mounts if point.source),
            "Networks": record.network,
        }


def _matchers(row: _Row, everyone: list[_Row]) -> dict[str, Any]:
    """The filters, asked about *row*."""
    record = row.record

    def created(name: str) -> float:
        return next((other.created for other in everyone if other.record.name == name or other.record.id.startswith(name)), 0)

    return {
        "ancestor": lambda value: _is_image(record, value),
        "before": lambda value: row.created < created(value),
        "exited": lambda value: row.state == "exited" and row.status.startswith(f"Exited ({value}) "),
        "id": lambda value: record.id.startswith(value),
        "label": lambda value: has_label(record.labels, value),
        "name": lambda value: _is_called(record, value),
        "network": lambda value: record.network == value,
        "since": lambda value: row.created > created(value),
        "status": lambda value: row.state == value.lower(),
    }


def _is_called(record: ContainerRecord, pattern: str) -> bool:
    """*pattern* is a regular expression, for the name with or without Docker's slash before it."""
    try:
        return bool(re.search(pattern, record.name) or re.search(pattern, f"/{record.name}"))
    except re.error as error:
        raise SpecError(f"invalid filter 'name={pattern[:80]}': {error}", hint="the value is a regular expression") from error


def _is_image(record: ContainerRecord, wanted: str) -> bool:
    """*wanted*: a name as it was given to run, with or without :latest, or the start of an image's id."""
    return wanted in (record.image, record.image.removesuffix(":latest")) or record.image_id.startswith((wanted, f"sha256:{wanted}"))
