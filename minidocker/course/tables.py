"""Things a cell may end with and show as text or a table: Source, Table, Comparison. Each has a text twin, which is what tests compare."""

from __future__ import annotations

import html
import importlib
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidocker.linux import capabilities, mounts, namespaces


class Source:
    """The source code of a function, class or module, as the file that is running has it."""

    def __init__(self, thing: Any) -> None:
        self.text = inspect.getsource(thing)
        self.module: str = getattr(thing, "__module__", None) or thing.__name__
        self.qualified = f"{self.module}.{thing.__qualname__}" if hasattr(thing, "__qualname__") else self.module

    def __repr__(self) -> str:
        return f"source of {self.qualified}"

    def _repr_html_(self) -> str:
        pygments, formatters, lexers = (importlib.import_module(f"pygments{part}") for part in ("", ".formatters", ".lexers"))
        code = pygments.highlight(self.text.rstrip(), lexers.PythonLexer(), formatters.HtmlFormatter(noclasses=True, nowrap=True))
        style = "background:#f8f8f8;color:#222;padding:8px;border-radius:6px;overflow-x:auto;line-height:1.35"
        place = self.module.replace(".", "/") + ".py"
        return (
            f'<div class="lab-source" data-object="{html.escape(self.qualified)}"><p><code>{html.escape(place)}</code></p>'
            f'<pre style="{style}">{code}</pre></div>'
        )


class Table:
    """A small table; cells are shown with str()."""

    def __init__(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.headers = list(headers)
        self.rows = [[str(cell) for cell in row] for row in rows]
        if any(len(row) != len(self.headers) for row in self.rows):
            raise ValueError("every row of a table has as many cells as there are headers")

    def __repr__(self) -> str:
        lines = [self.headers, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headers))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Sequence[str]) -> str:
            style = "text-align:left;padding:2px 12px 2px 4px"
            return "<tr>" + "".join(f'<{tag} style="{style}{self.accent(cell)}">{html.escape(cell)}</{tag}>' for cell in cells) + "</tr>"

        body = "".join(row("td", cells) for cells in self.rows)
        return f"<table><thead>{row('th', self.headers)}</thead><tbody>{body}</tbody></table>"

    def accent(self, cell: str) -> str:
        """Extra style for a cell; what stands out says so in words too."""
        return ";font-weight:bold" if cell == "different" else ""


class Comparison(Table):
    """How process *pid* sees the machine, beside how process *against* does: "same" or "different", and what is there.

    Namespaces, the root and the mount points are compared by identity; nothing in the table changes from run to run."""

    def __init__(self, pid: int, against: int | str = "self") -> None:
        rows: list[tuple[str, str, str]] = []
        for name, same in namespaces.compare(pid, against).items():
            rows.append((f"{name} namespace", word(same), ""))
        rows.append(("root directory", word(root(pid) == root(against)), ""))
        rows.append(("mount points", word(targets(pid) == targets(against)), ""))
        rows.append(("cgroup", word(cgroup(pid) == cgroup(against)), ""))
        rows.append(("network links", word(links(pid) == links(against)), "" if links(pid) == links(against) else ", ".join(links(pid))))
        held, own = (capabilities.names(capabilities.sets(who)["effective"]) for who in (pid, against))
        rows.append(("capabilities", word(held == own), "" if held == own else f"{len(held)} in effect"))
        super().__init__(["what", "compared", "there"], rows)


def word(same: bool) -> str:
    return "same" if same else "different"


def root(pid: int | str) -> tuple[int, int]:
    """Which directory is the process's root: device and inode."""
    status = os.stat(f"/proc/{pid}/root")
    return status.st_dev, status.st_ino


def targets(pid: int | str) -> set[str]:
    return {entry.target for entry in mounts.mountinfo(pid)}


def cgroup(pid: int | str) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")


def links(pid: int | str) -> list[str]:
    """The names of the network links that the process sees."""
    lines = Path(f"/proc/{pid}/net/dev").read_text(encoding="utf-8").splitlines()[2:]
    return sorted(line.split(":")[0].strip() for line in lines)
