"""The %%child cell magic: the cell runs in a fresh single-threaded Python as root, not in the notebook's process.

    %%child                     run, show the output, end
    %%child pid path            the same, with the notebook's variables pid and path handed over (anything JSON can carry)
    %%child --keep left         run, and leave the child waiting; lab.child("left").pid is its number; lab.stop() ends it
    %%child --in left           run more code in the child that was kept

An exception in the child is raised in the cell as ChildFailed, so a cell tagged `raises-exception` may show a wanted failure.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from minidocker.course.child import run

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from minidocker.course.lab import Lab

USAGE = "%%child [--keep NAME | --in NAME] [VARIABLE ...]"


def parse(line: str) -> tuple[str, str, list[str]]:
    """Split the magic's line into (mode, child's name, variable names); mode is "", "keep" or "in". ValueError: not understood."""
    words = shlex.split(line)
    mode = name = ""
    if words and words[0].startswith("-"):
        option = words.pop(0)
        if option not in ("--keep", "--in") or not words:
            raise ValueError(f"usage: {USAGE}")
        mode, name = option[2:], words.pop(0)
    if bad := [word for word in words if not word.isidentifier()]:
        raise ValueError(f"{bad[0]!r} is not a variable's name; usage: {USAGE}")
    return mode, name, words


def child_cell(lab: Lab, line: str, code: str, variables: Mapping[str, Any]) -> None:
    """Do what a %%child cell with this *line* and *code* does, taking handed-over values from *variables*."""
    mode, name, wanted = parse(line)
    if missing := [word for word in wanted if word not in variables]:
        raise NameError(f"no variable {missing[0]!r} in the notebook to hand over to the child")
    values = {word: variables[word] for word in wanted}
    if mode == "keep":
        lab.keep_child(name).run(code, values)
    elif mode == "in":
        lab.child(name).run(code, values)
    else:
        run(code, values, tag=lab.name)


def register(lab: Lab, shell: InteractiveShell) -> None:
    """Make %%child known to this notebook."""

    def child(line: str, cell: str) -> None:
        child_cell(lab, line, cell, shell.user_ns)

    child.__doc__ = __doc__
    add: Callable[..., None] = shell.register_magic_function
    add(child, "cell", "child")
