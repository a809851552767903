"""``minidocker logs``: what a container has written, and what it writes."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from fractions import Fraction

import click

from minidocker.cli.completion import container_names
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.cli.session import STDERR, STDOUT, write_all
from minidocker.errors import SpecError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+")
_PIECE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


@verb(
    "logs",
    examples=["logs web", "logs -f --tail 10 web          the last 10 lines, and what comes", "logs -t --since 5m web"],
)
@click.argument("container", metavar="CONTAINER", shell_complete=container_names)
@click.option("-f", "--follow", is_flag=True, help="Stay until the container ends.")
@click.option("--since", metavar="TIME", help="Only from TIME on: a date, seconds since 1970, or how long ago, such as 10m.")
@click.option("-n", "--tail", metavar="LINES", default="all", show_default=True, help="Only so many lines from the end.")
@click.option("-t", "--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("--until", metavar="TIME", help="Only until TIME.")
@pass_door
def logs(door: Door, container: str, follow: bool, since: str | None, tail: str, timestamps: bool, until: str | None) -> None:
    """Fetch the logs of a container."""
    begin, end = (None if text is None else moment(text, name) for text, name in ((since, "since"), (until, "until")))
    lines = int(tail) if re.fullmatch(r"\d+", tail) else None  # Docker too takes anything else, -1 included, as "all"
    with door.engine() as engine:
        found = engine.containers.get(container)
        for stream, data in found.follow(since=begin, until=end, tail=lines, timestamps=timestamps, wait=follow):
            write_all(STDERR if stream == "stderr" else STDOUT, data)


def moment(text: str, name: str) -> Fraction | float:
    """Seconds since 1970 for what a user may write as a time, exact to the nanosecond that logs have. SpecError if it is none."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return Fraction(text)
    if _DURATION.fullmatch(text):
        return time.time() - sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text))
    try:
        return _date(text)
    except ValueError as error:
        raise SpecError(
            f'invalid value for "{name}": failed to parse value as time or duration: "{text[:80]}"',
            hint="write 2026-11-24T08:30:00Z, 1795509000 or 10m",
        ) from error


def _date(text: str) -> Fraction:
    """An RFC 3339 date, as short as 2026-11-24; without a zone it is ours. Python reads microseconds only, a float holds no more."""
    fraction = re.search(r"\.\d+", text)
    date = datetime.fromisoformat(re.sub(r"\.\d+", "", text, count=1))
    whole = date.astimezone().timestamp() if date.tzinfo is None else date.astimezone(UTC).timestamp()
    return Fraction(int(whole)) + Fraction(f"0{fraction[0]}" if fraction else 0)
