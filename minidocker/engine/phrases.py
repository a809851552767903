"""How Docker says times, sizes and states to people: "Up 3 seconds", "1.98MB", "Exited (0) 2 minutes ago".

human_duration(seconds), human_size(bytes), binary_size(bytes), local_time(epoch), seconds(timestamp), status_text(state),
command_text(args)
"""

from __future__ import annotations

import datetime
import time
from typing import Protocol

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


class State(Protocol):
    """How a container fares (`Container` is one). Times are RFC 3339, "" for not yet."""

    @property
    def status(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def exit_code(self) -> int | None: ...
    @property
    def oom_killed(self) -> bool: ...
    @property
    def error(self) -> str: ...
    @property
    def started_at(self) -> str: ...
    @property
    def finished_at(self) -> str: ...


def human_duration(length: float) -> str:
    """Seconds as Docker says them: "3 seconds", "About an hour", "2 weeks"."""
    whole, minutes, hours = int(length), int(length / 60), int(length / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(length / 3600) // 24 // 365} years"


def human_size(size: int) -> str:
    """Bytes in decimal units with three digits: "1.98MB"."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:  # what would be printed as 1000 belongs to the next unit
        value, unit = value / 1000, unit + 1
    return f"{value:.3g}{_UNITS[unit]}"


def binary_size(size: int) -> str:
    """Bytes in binary units with four digits: "1.984MiB"."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_BINARY_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.4g}{_BINARY_UNITS[unit]}"


def local_time(epoch: float) -> str:
    """A moment in our time zone, as Go prints it."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(epoch))


def seconds(timestamp: str) -> float:
    """Seconds since 1970 of an RFC 3339 time with up to nine decimals, in UTC."""
    whole, _, fraction = timestamp.removesuffix("Z").partition(".")
    return datetime.datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def status_text(state: State, now: float | None = None) -> str:
    """ "Up 3 seconds", "Exited (0) 2 minutes ago", "Created"."""
    now = time.time() if now is None else now
    if state.status in ("running", "paused"):
        return f"Up {human_duration(now - seconds(state.started_at or NEVER))}" + (" (Paused)" if state.status == "paused" else "")
    if state.status == "exited":
        return f"Exited ({state.exit_code or 0}) {human_duration(now - seconds(state.finished_at or NEVER))} ago"
    return state.status.capitalize()


def command_text(args: list[str]) -> str:
    """One line for what runs; an argument with blanks is quoted."""
    return " ".join([*args[:1], *(f"'{argument}'" if " " in argument else argument for argument in args[1:])])
