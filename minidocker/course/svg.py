"""The moving picture of a Watch as SVG text: a drawing by matplotlib costs 50 ms, this one less than one.

Interface: chart(lines, samples, marks, unit) -> HTML; styles(lines) -> [Style], for the figure that is drawn afterwards, too.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from minidocker.course.plots import COLOURS

if TYPE_CHECKING:
    from minidocker.course.watch import Line

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 250, 52, 150, 16, 30  # pixels
CONTAINERS = (COLOURS["container"], "#7A5200", COLOURS["plain"])  # shades of the containers' colour, dark enough to tell apart
MARK = COLOURS["stop"]
Point = tuple[float, float]


class Style(NamedTuple):
    """How a line is drawn: a limit is dashed and in the colour of what stops."""

    colour: str
    dashed: bool


def styles(lines: Sequence[Line]) -> list[Style]:
    names = list(dict.fromkeys(line.container for line in lines))
    return [
        Style(MARK, dashed=True) if line.quantity.limit else Style(CONTAINERS[names.index(line.container) % len(CONTAINERS)], dashed=False)
        for line in lines
    ]


def chart(
    lines: Sequence[Line], samples: Mapping[str, list[tuple[float, float | None]]], marks: Sequence[tuple[float, str]], unit: str
) -> str:
    """The whole picture. Axes begin at 0; a line's label stands at its end."""
    drawn = {line.label: [(when, value) for when, value in list(samples[line.label]) if value is not None] for line in lines}
    last = max((points[-1][0] for points in drawn.values() if points), default=0.0)
    first = min((points[0][0] for points in drawn.values() if points), default=0.0)
    wide = max(10.0, last - first)
    high = nice(max((value for points in drawn.values() for _, value in points), default=1.0))

    def place(when: float, value: float) -> Point:
        across, up = (WIDTH - LEFT - RIGHT) / wide, (HEIGHT - TOP - BOTTOM) / high
        return LEFT + (when - first) * across, HEIGHT - BOTTOM - value * up

    parts = [frame(wide, high, unit)]
    taken: list[float] = []
    for line, style in zip(lines, styles(lines), strict=True):
        points = drawn[line.label]
        if not points:
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        dash = ' stroke-dasharray="6 4"' if style.dashed else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{style.colour}" stroke-width="2"{dash}/>')
        x, y = place(*points[-1])
        y = apart(y, taken)
        parts.append(words(x + 6, y + 4, f"{line.label} {points[-1][1]:.{0 if high > 20 else 1}f}", colour=style.colour))
    for when, text in list(marks):
        x, _ = place(max(when, first), 0)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{MARK}" stroke-dasharray="2 3"/>')
        parts.append(words(x + 3, apart(TOP + 10, taken), text, colour=MARK))
    return f'<svg width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12" role="img">{"".join(parts)}</svg>'


def frame(wide: float, high: float, unit: str) -> str:
    """The axes, with five grid lines and their values."""
    parts = [words(LEFT, TOP - 4, unit)]
    for step in range(5):
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * step / 4
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(words(LEFT - 6, y + 4, f"{high * step / 4:g}", anchor="end"))
    parts.append(words(LEFT, HEIGHT - 10, "0"))
    parts.append(words(WIDTH - RIGHT, HEIGHT - 10, f"{wide:.0f} s", anchor="end"))
    return "".join(parts)


def words(x: float, y: float, text: str, *, colour: str = "#333", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{html.escape(text)}</text>'


def apart(y: float, taken: list[float], room: float = 14) -> float:
    """A height near *y* at which no label stands yet; each needs *room*."""
    while any(abs(y - other) < 0.9 * room for other in taken):
        y += room
    taken.append(y)
    return y


def nice(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 times a power of ten: a scale whose quarters read well."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 4, 6, 8, 10) if value <= factor * power * 1.0001)
