"""One style for every figure of the course: what a colour means, how a box looks, how a picture gets its text twin.

    with Diagram(10, 5) as d:                          # 10 units wide, 5 high, the origin at the lower left
        d.box(0, 0, 6, 4, "host", kind="host")         # kinds: host container image network kernel plain
        d.box(1, 1, 2, 1, "pid 1", kind="container")
        d.arrow((3, 1.5), (5, 1.5), "signal")
        d.text(5, 4.5, "both see the same kernel")
    return d.picture("one line per fact that the drawing shows")

Colours are Okabe and Ito's, which the colour-blind can tell apart; each also has its own border, and labels stand on the thing, never in a
legend. No pyplot: a figure belongs to its cell and to nothing global.
"""

from __future__ import annotations

import io
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "host": "#56B4E9",  # sky blue
    "container": "#E69F00",  # orange
    "image": "#009E73",  # bluish green
    "network": "#CC79A7",  # reddish purple
    "kernel": "#999999",
    "plain": "#333333",
    "stop": "#D55E00",  # vermilion: what fails, is refused or killed
}
BORDERS = {"host": "-", "container": "-", "image": "-", "network": "--", "kernel": ":", "plain": "-", "stop": "--"}
STYLE: Any = {  # matplotlib's settings (its own type lists every key)
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "legend.frameon": False,
    "svg.hashsalt": "minidocker",
}
Point = tuple[float, float]


class Picture:
    """A drawn figure with its text twin. A notebook shows the drawing; a terminal, a screen reader and the tests get the twin."""

    def __init__(self, figure: Figure, twin: str, *, live: bool = False) -> None:
        self.figure, self.twin, self.live = figure, twin.strip("\n"), live

    def __repr__(self) -> str:
        return self.twin

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"image/png": self.png(), "text/plain": self.twin}, {"live": True} if self.live else {}

    def png(self, *, dpi: int = 110) -> bytes:
        """The drawing as PNG bytes, the same for the same drawing."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, facecolor="white")
        return buffer.getvalue()


def figure(width: float = 7, height: float = 3.2, *, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure in the course's style and its axes (one, or an array of them), sizes in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(width, height), layout="constrained")
        return made, made.subplots(rows, columns, **options)


class Diagram:
    """A drawing of boxes, arrows and words on a grid of *width* by *height* units (one unit is 0.7 inch)."""

    def __init__(self, width: float, height: float, title: str = "") -> None:
        import matplotlib
        from matplotlib.figure import Figure

        with matplotlib.rc_context(STYLE):
            self.figure = Figure(figsize=(width * 0.7, height * 0.7 + (0.3 if title else 0)), layout="constrained")
            self.axes: Axes = self.figure.add_subplot()
        self.axes.set_xlim(-0.1, width + 0.1)
        self.axes.set_ylim(-0.1, height + 0.1)
        self.axes.set_aspect("equal")
        self.axes.axis("off")
        if title:
            self.axes.set_title(title, fontsize=11, loc="left", family="DejaVu Sans")

    def __enter__(self) -> Diagram:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def box(self, x: float, y: float, width: float, height: float, label: str = "", *, kind: str = "plain", size: float = 10) -> None:
        """A rounded box. A tall box carries its label at the top left (others fit inside), a low one in its middle."""
        from matplotlib.patches import FancyBboxPatch

        colour, inset = COLOURS[kind], 0.06
        face = (*_rgb(colour), 0.16 if height > 1.2 else 0.42) if kind != "plain" else "white"
        shape = f"round,pad=0,rounding_size={min(0.12, height / 4)}"
        patch = FancyBboxPatch((x + inset, y + inset), width - 2 * inset, height - 2 * inset, boxstyle=shape)
        patch.set(facecolor=face, edgecolor=colour, linewidth=1.6, linestyle=BORDERS[kind])
        self.axes.add_patch(patch)
        if height > 1.2:
            self.axes.text(x + 0.2, y + height - 0.18, label, va="top", ha="left", fontsize=size, weight="bold", color="#222222")
        else:
            self.axes.text(x + width / 2, y + height / 2, label, va="center", ha="center", fontsize=size, color="#111111")

    def arrow(self, start: Point, end: Point, label: str = "", *, kind: str = "plain", both: bool = False, curve: float = 0) -> None:
        """An arrow from *start* to *end* with its label above the middle; *kind* "stop" is what does not get through."""
        self.axes.annotate(
            "", xy=end, xytext=start,
            arrowprops={
                "arrowstyle": "<|-|>" if both else "-|>", "color": COLOURS[kind], "linewidth": 1.6, "linestyle": BORDERS[kind],
                "connectionstyle": f"arc3,rad={curve}", "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip
        if label:
            middle_x, middle_y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            lift = 0.12 - curve * abs(end[0] - start[0]) / 2
            sideways = abs(end[0] - start[0]) < 0.3
            self.axes.text(
                middle_x + (0.12 if sideways else 0), middle_y + (0 if sideways else lift), label, va="center" if sideways else "bottom",
                ha="left" if sideways else "center", fontsize=9, color="#222222",
            )  # fmt: skip

    def line(self, start: Point, end: Point, *, kind: str = "plain") -> None:
        """A straight line without a head."""
        self.axes.plot([start[0], end[0]], [start[1], end[1]], color=COLOURS[kind], linewidth=1.4, linestyle=BORDERS[kind])

    def text(self, x: float, y: float, words: str, *, size: float = 9, align: str = "center", bold: bool = False) -> None:
        """Words at a point; *align* is "left", "center" or "right"."""
        self.axes.text(x, y, words, ha=align, va="center", fontsize=size, weight="bold" if bold else "normal", color="#222222")

    def picture(self, twin: str, *, live: bool = False) -> Picture:
        """The finished drawing; *twin* says in words what it shows, one fact a line. *live*: the drawing also holds numbers
        that change from run to run (the build then keeps a committed drawing whose twin still holds)."""
        return Picture(self.figure, twin, live=live)


def _rgb(colour: str) -> tuple[float, float, float]:
    return int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255
