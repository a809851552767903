"""The few forms that the text of a cgroup file can have, read strictly: what is not understood is an error, never a guess.

Interface: number limit limit_text flat_keyed nested_keyed device. The names are those of "Interface Files" in cgroup-v2.rst.
"""

from __future__ import annotations

from minidocker.errors import SpecError


def number(text: str) -> int:
    """A plain decimal number, as "4096". SpecError: anything else, a sign or a space included."""
    if not (text.isascii() and text.isdigit()):
        raise SpecError(f"not a number of a cgroup file: {text!r}")
    return int(text)


def limit(text: str) -> int | None:
    """A number, or None for "max": no limit."""
    return None if text == "max" else number(text)


def limit_text(value: int | None) -> str:
    """The text for the kernel. SpecError: negative."""
    if value is None:
        return "max"
    if value < 0:
        raise SpecError(f"a limit cannot be negative: {value}")
    return str(value)


def flat_keyed(text: str) -> dict[str, int]:
    """Lines of "key number", as memory.events and cpu.stat have them."""
    found = {}
    for line in text.splitlines():
        key, space, value = line.partition(" ")
        if not key or not space:
            raise SpecError(f"not a line of a flat keyed cgroup file: {line!r}")
        found[key] = number(value)
    return found


def nested_keyed(text: str) -> dict[str, dict[str, str]]:
    """Lines of "key sub=value sub=value", as io.max, io.stat and memory.pressure have them. A key may stand alone."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        key, *pairs = line.split(" ")
        inner = found.setdefault(key, {})
        for pair in filter(None, pairs):  # io.stat ends some lines with a space
            name, equals, value = pair.partition("=")
            if not key or not name or not equals or not value:
                raise SpecError(f"not a line of a nested keyed cgroup file: {line!r}")
            inner[name] = value
    return found


def device(text: str) -> str:
    """The name of a block device in a cgroup file, "major:minor", in its one right form. SpecError: anything else."""
    major, _, minor = text.partition(":")
    return f"{number(major)}:{number(minor)}"
