"""check() and hint(), and what a lesson's checks are made of.

A check is a function of one Work, registered with @exercise. It asks the kernel or runs the learner's function in a child, and then
returns what it found (printed after "ok:"), or raises Miss with one sentence that leads on (printed after "hint:"). What the learner
has not touched makes Work raise NotAttempted. check() itself prints one line and never raises.

    @exercise("02", 1, hints=["..."], wrong=[("pid = 1", "words of the hint it must get")])
    def inside(work: Work) -> str:
        if work.value("pid") != 1:
            raise Miss("...")
        return "the first process is pid 1"
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minidocker.course import child
from minidocker.course.lab import cell_source, lab


class Miss(Exception):
    """The learner's work is not right yet; the message is the hint that fits this mistake."""


class NotAttempted(Exception):
    """The learner has not begun. The message says where to begin."""


@dataclass(frozen=True)
class Exercise:
    """One exercise's judge. *wrong* lists known mistakes: the code, and words of the hint that it must get."""

    lesson: str
    number: int
    judge: Callable[[Work], str]
    hints: tuple[str, ...]
    wrong: tuple[tuple[str, str], ...]
    keep: str


EXERCISES: dict[tuple[str, int], Exercise] = {}
_hints_given: dict[tuple[str, int], int] = {}


def exercise(
    lesson: str, number: int, *, hints: Sequence[str], wrong: Sequence[tuple[str, str]], keep: str = ""
) -> Callable[[Callable[[Work], str]], Callable[[Work], str]]:
    """Register the decorated function as the judge of this exercise. *keep* names the learner's function to save once it is right."""

    def register(judge: Callable[[Work], str]) -> Callable[[Work], str]:
        EXERCISES[lesson, number] = Exercise(lesson, number, judge, tuple(hints), tuple(wrong), keep)
        return judge

    return register


class Work:
    """The learner's side of an exercise: variables, functions and kept children of the notebook."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables

    def value(self, name: str) -> Any:
        """The learner's variable. NotAttempted: it is missing, None or `...`."""
        found = self._variables.get(name)
        if found is None or found is ...:
            raise NotAttempted(f"give {name} a value")
        return found

    def child(self, name: str) -> int:
        """The pid of the child that the learner keeps. NotAttempted: there is none."""
        kept = lab._children.get(name)
        if kept is None:
            raise NotAttempted(f"run a cell that begins with %%child --keep {name}")
        if not kept.alive:
            raise Miss(f"the child {name!r} has ended: did its code fail?")
        return kept.pid

    def function(self, name: str) -> Any:
        """The learner's function. NotAttempted: it is missing, or its body is still the stub's (only `...`)."""
        found = self._variables.get(name)
        if not callable(found) or is_stub(found):
            raise NotAttempted(f"write the body of {name}()")
        return found

    def run(self, name: str, code: str, **values: Any) -> Any:
        """Run *code* in a fresh child that has the learner's function *name* (with its whole cell); give what *code* left in `result`.

        What the learner's code prints is not shown. Miss: it raised."""
        source = cell_source(self.function(name))
        try:
            return child.run(f"{source}\n{textwrap.dedent(code)}", values, sink=lambda stream, text: None, tag=lab.name)
        except child.ChildFailed as error:
            raise Miss(f"{name}() did not get through: {error}") from error

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the learner's function in a fresh child, with arguments and a result that JSON can carry. Miss: it raised."""
        return self.run(name, f"result = {name}(*arguments)", arguments=list(arguments))


def is_stub(function: Any) -> bool:
    """Does the function's body consist of a docstring, `...`, `pass` or a bare return only?"""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return False  # no source to look at: judge what it does
    body = getattr(tree.body[0], "body", [])
    return all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        or (isinstance(line, ast.Return) and line.value is None)
        for line in body
    )


def check(number: int) -> None:
    """Judge exercise *number* of this lesson by what the kernel and the notebook hold now. Prints one line; never raises."""
    found = EXERCISES.get((lab.number, number))
    if found is None:
        print(f"there is no exercise {number} here; has lab.start been run?")
        return
    try:
        print(f"ok: {found.judge(Work(lab.variables))}")
    except NotAttempted as error:
        print(f"not attempted: {error}")
        return
    except Miss as error:
        print(f"hint: {error}")
        return
    except Exception as error:  # a learner's mistake must not look like the course's: whatever it is becomes a hint
        print(f"hint: the check met {type(error).__name__}: {error}")
        return
    if found.keep:
        lab.keep(lab.variables[found.keep])


def hint(number: int) -> None:
    """Print the next hint for exercise *number* of this lesson; after the last one, begin again."""
    found = EXERCISES.get((lab.number, number))
    if found is None:
        print(f"there is no exercise {number} here; has lab.start been run?")
        return
    given = _hints_given.get((lab.number, number), 0)
    _hints_given[lab.number, number] = given + 1
    position = given % len(found.hints)
    print(f"hint {position + 1} of {len(found.hints)}: {found.hints[position]}")
