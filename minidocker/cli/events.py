"""``minidocker events``: what happens to the containers, as it happens."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import click

from minidocker.cli.filters import Filters, check, filter_option
from minidocker.cli.logs import moment
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door

if TYPE_CHECKING:
    from minidocker.engine.events import Event

_FILTERS = ("container", "event", "image", "label", "type")


@verb(
    "events",
    examples=[
        "events                                     until ctrl-c",
        "events --since 10m --until 0s              what was, in the last ten minutes",
        "events -f event=oom -f event=die --format '{{.Actor.Attributes.name}}: {{.Action}}'",
    ],
)
@filter_option("Only those: container=NAME, event=die, image=NAME, label=NAME[=VALUE], type=container.")
@click.option("--format", "layout", metavar="FORMAT", default="", help="json, or a template such as '{{.Action}} {{.Actor.ID}}'.")
@click.option("--since", metavar="TIME", help="From TIME on: a date, seconds since 1970, or how long ago, such as 10m.")
@click.option("--until", metavar="TIME", help="Until TIME, then end.")
@pass_door
def events(door: Door, filters: Filters, layout: str, since: str | None, until: str | None) -> None:
    """Show what happens to the containers, as it happens."""
    from minidocker.cli.format import Template, go_json

    check(filters, _FILTERS)
    begin, end = (None if text is None else moment(text, name) for text, name in ((since, "since"), (until, "until")))
    template = Template(layout.replace("\\t", "\t").replace("\\n", "\n")) if layout not in ("", "json") else None
    wanted: dict[str, list[str]] = {}
    for name, value in filters:
        wanted.setdefault(name, []).append(value)
    with door.engine() as engine:
        from minidocker.engine.docker_json_limits import event as as_json

        with engine.events(since=begin, until=end, filters=wanted) as happening:
            for event in happening:
                if template is not None:
                    text = template.render(as_json(event))
                else:
                    text = go_json(as_json(event)) if layout == "json" else _line(event)
                click.echo(text)


def _line(event: Event) -> str:
    """2026-11-24T08:30:00.000000000+00:00 container die 4f0c... (exitCode=137, image=busybox, name=web)"""
    seconds, nanoseconds = divmod(event.time, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds).astimezone()
    zone = moment.strftime("%z")
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}{zone[:3]}:{zone[3:]}"
    attributes = ", ".join(f"{name}={event.attributes[name]}" for name in sorted(event.attributes))
    return f"{stamp} {event.type} {event.action} {event.id} ({attributes})"
