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

if TYPE_CHECKING:
    from minidocker.engine.engine import Engine

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
        summaries = _summaries(engine, everything=everything or asks_for_state or number >= 0)
        matching = [one for one in summaries if selected(filters, _matchers(one, summaries))]
    shown = matching[:number] if number >= 0 else matching
    rows = [_row(summary, full=no_trunc) for summary in shown]
    if quiet and not layout:
        layout = "{{.ID}}"
    click.echo(Table(_HEADERS, _COLUMNS).render(rows, layout), nl=False)


def _summaries(engine: Engine, *, everything: bool) -> list[dict[str, Any]]:
    """The list form of the containers, newest first."""
    from minidocker.engine.docker_json import container_summary

    return [container_summary(container.record, container) for container in engine.containers.list(all=everything)]


def _row(summary: dict[str, Any], *, full: bool) -> dict[str, Any]:
    """What the templates can name. ``.Label "x"`` is a method in Docker, so it is a function here."""
    from minidocker.engine.phrases import human_duration, local_time

    command, labels = summary["Command"], summary["Labels"]
    if not full and len(command) > _COMMAND_WIDTH:
        command = command[: _COMMAND_WIDTH - 1] + "…"
    return {
        "ID": summary["Id"] if full else summary["Id"][:12],
        "Image": summary["Image"],
        "Command": f'"{command}"',
        "RunningFor": f"{human_duration(time.time() - summary['Created'])} ago",
        "CreatedAt": local_time(summary["Created"]),
        "Status": summary["Status"],
        "State": summary["State"],
        "Ports": "",
        "Names": ",".join(name.removeprefix("/") for name in summary["Names"]),
        "Labels": ",".join(f"{name}={value}" for name, value in labels.items()),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": ",".join(mount["Source"] for mount in summary["Mounts"]),
        "Networks": summary["HostConfig"]["NetworkMode"],
    }


def _matchers(one: dict[str, Any], everyone: list[dict[str, Any]]) -> dict[str, Any]:
    """The filters, asked about *one*."""

    def created(name: str) -> float:
        return float(next((other["Created"] for other in everyone if f"/{name}" in other["Names"] or other["Id"].startswith(name)), 0))

    name = one["Names"][0]
    return {
        "ancestor": lambda value: _is_image(one, value),
        "before": lambda value: one["Created"] < created(value),
        "exited": lambda value: one["State"] == "exited" and one["Status"].startswith(f"Exited ({value}) "),
        "id": lambda value: one["Id"].startswith(value),
        "label": lambda value: has_label(one["Labels"], value),
        "name": lambda value: bool(re.search(value, name) or re.search(value, name.removeprefix("/"))),
        "network": lambda value: one["HostConfig"]["NetworkMode"] == value,
        "since": lambda value: one["Created"] > created(value),
        "status": lambda value: one["State"] == value.lower(),
    }


def _is_image(one: dict[str, Any], wanted: str) -> bool:
    """*wanted*: a name as it was given to run, with or without :latest, or the start of an image's id."""
    return wanted in (one["Image"], one["Image"].removesuffix(":latest")) or one["ImageID"].startswith((wanted, f"sha256:{wanted}"))
