"""Pictures of what the kernel knows, each with a text twin that tests compare.

Interface: Source(thing); Comparison(pid, against).
"""

from __future__ import annotations

import html
import inspect
import os
from dataclasses import dataclass
from pathlib import Path

from minidocker.linux import capabilities, mounts, namespaces


class Source:
    """The source code of a function, class or module, as the file that is running has it."""

    def __init__(self, thing: object) -> None:
        self.text = inspect.getsource(thing)  # type: ignore[arg-type]
        self.module = getattr(thing, "__module__", getattr(thing, "__name__", ""))
        self.qualified = f"{self.module}.{thing.__qualname__}" if hasattr(thing, "__qualname__") else self.module

    def __repr__(self) -> str:
        return f"source of {self.qualified}"

    def _repr_html_(self) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        code = highlight(self.text.rstrip(), PythonLexer(), HtmlFormatter(noclasses=True, nowrap=True))
        style = "background:#f8f8f8;color:#222;padding:8px;border-radius:6px;overflow-x:auto;line-height:1.35"
        place = self.module.replace(".", "/") + ".py"
        return (
            f'<div class="lab-source" data-object="{html.escape(self.qualified)}"><p><code>{html.escape(place)}</code></p>'
            f'<pre style="{style}">{code}</pre></div>'
        )


@dataclass(frozen=True)
class Row:
    """One line of a comparison: what is compared, and the two sides' words for it."""

    what: str
    ours: str
    theirs: str


class Comparison:
    """How process *pid* sees the machine, beside how process *against* does (this one, unless said otherwise).

    Namespaces and the root are "same" or "different"; mounts and links are counted or named; no raw numbers that change from run to run."""

    def __init__(self, pid: int, against: int | str = "self") -> None:
        self.rows: list[Row] = []
        for name, same in namespaces.compare(pid, against).items():
            self.rows.append(Row(f"{name} namespace", "", "same" if same else "different"))
        same_root = os.stat(f"/proc/{pid}/root").st_ino == os.stat(f"/proc/{against}/root").st_ino
        self.rows.append(Row("root directory", "", "same" if same_root else "different"))
        ours, theirs = cgroup_paths(against), cgroup_paths(pid)
        self.rows.append(Row("cgroup", "", "same" if ours == theirs else "different"))
        ours_mounts, theirs_mounts = mounts.mountinfo(against), mounts.mountinfo(pid)
        shared = {entry.target for entry in ours_mounts} == {entry.target for entry in theirs_mounts}
        self.rows.append(Row("mount points", "", "same" if shared else "different"))
        self.rows.append(Row("network links", "", "same" if links(against) == links(pid) else ", ".join(links(pid))))
        held, kept = (len(capabilities.names(capabilities.sets(who)["effective"])) for who in (against, pid))
        self.rows.append(Row("capabilities", "", "same" if held == kept else f"{kept}, fewer" if kept < held else f"{kept}, more"))

    def __repr__(self) -> str:
        width = max(len(row.what) for row in self.rows)
        return "\n".join(f"{row.what.ljust(width)}  {row.theirs}" for row in self.rows)


def cgroup_paths(pid: int | str) -> list[str]:
    """The lines of /proc/PID/cgroup."""
    return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()


def links(pid: int | str) -> list[str]:
    """The names of the network links that the process sees."""
    lines = Path(f"/proc/{pid}/net/dev").read_text(encoding="utf-8").splitlines()[2:]
    return sorted(line.split(":")[0].strip() for line in lines)
