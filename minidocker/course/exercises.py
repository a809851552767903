"""Prove a lesson's exercises without running the whole notebook: blank, wrong and right answers, each judged as a learner's would be.

    python -m minidocker.course.exercises 02          a line per attempt; exit 1 if one was judged otherwise than intended
    python -m minidocker.course.exercises --json 02   the same for tests

It runs the cells tagged `setup`, and then for each exercise the stub as it stands, every known wrong answer of the lesson's checks, and the
folded solution, each followed by the exercise's check cell. So an exercise may lean on cells tagged `setup` and on nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from typing import Any

from nbformat import NotebookNode

from minidocker.course.build import convert, solution_code
from minidocker.course.checks.registry import EXERCISES
from minidocker.course.lab import lab
from minidocker.course.lessons import LESSONS, Lesson, lesson


@dataclass(frozen=True)
class Attempt:
    """One answer and what the check said to it. *wanted* is what it had to say: the start, or, for a wrong answer, words of its hint."""

    exercise: int
    answer: str
    wanted: str
    said: str

    @property
    def right(self) -> bool:
        if self.answer.startswith("wrong"):
            return self.said.startswith("hint: ") and self.wanted in self.said
        return self.said.startswith(self.wanted)


@dataclass(frozen=True)
class Cells:
    """The cells of one exercise."""

    stub: str
    check: str
    solution: str


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def exercises(notebook: NotebookNode) -> list[Cells]:
    """The exercises of a lesson in order. ValueError: one is not a stub, a check and a solution, in that order."""
    marked = [(kind, cell) for cell in notebook.cells for kind in ("exercise", "check", "solution") if kind in tags(cell)]
    kinds = [kind for kind, _ in marked]
    if kinds != ["exercise", "check", "solution"] * (len(kinds) // 3):
        raise ValueError(f"each exercise is cells tagged exercise, check, solution, in this order; found {kinds}")
    groups = [[cell for _, cell in marked[start : start + 3]] for start in range(0, len(marked), 3)]
    return [Cells(stub.source, judge.source, solution_code(solution)) for stub, judge, solution in groups]


class Runner:
    """An IPython shell (not a kernel: it starts in a fraction of the time) that runs a lesson's cells."""

    def __init__(self) -> None:
        from IPython.core.interactiveshell import InteractiveShell

        self.shell: Any = InteractiveShell.instance()
        self.shell.colors = "nocolor"

    def run(self, source: str) -> tuple[str, BaseException | None]:
        """Run one cell; give what it printed, and the exception that it raised."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            outcome = self.shell.run_cell(source, store_history=True)
        return printed.getvalue(), outcome.error_before_exec or outcome.error_in_exec

    def must(self, source: str) -> None:
        printed, error = self.run(source)
        if error is not None:
            raise RuntimeError(f"a cell that exercises rely on failed: {error}\n{source}\n{printed}") from error


def prove(entry: Lesson) -> list[Attempt]:
    """Try every exercise of a lesson with every kind of answer."""
    notebook, runner = convert(entry), Runner()
    attempts = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and "setup" in tags(cell):
            runner.must(cell.source)
    before = Standing(runner)
    try:
        for number, cells in enumerate(exercises(notebook), 1):
            judge = EXERCISES[entry.number, number]
            answers = [("blank", cells.stub, "not attempted: ")]
            answers += [(f"wrong {place}", code, words) for place, (code, words) in enumerate(judge.wrong, 1)]
            answers.append(("solution", cells.solution, "ok: "))
            for answer, code, wanted in answers:
                printed, error = runner.run(code)
                said, _ = runner.run(cells.check)
                if error is not None and answer == "solution":
                    said = f"the solution raised {type(error).__name__}: {error}\n{printed}"
                attempts.append(Attempt(number, answer, wanted, said.strip()))
                before.restore()
    finally:
        runner.must("from minidocker.course import lab; lab.stop()")
    return attempts


class Standing:
    """What the notebook holds after its setup cells, to come back to between two answers."""

    def __init__(self, runner: Runner) -> None:
        self._space = runner.shell.user_ns
        self._names = dict(self._space)
        self._children = dict(lab._children)
        self._containers = self._container_ids()

    def _container_ids(self) -> set[str]:
        return {container.id for container in lab.engine.containers.list(all=True)} if lab._engine else set()

    def restore(self) -> None:
        """Forget the names, children and containers that came since."""
        for name in set(self._space) - set(self._names):
            if not name.startswith("_"):
                del self._space[name]
        self._space.update({name: value for name, value in self._names.items() if not name.startswith("_")})
        for name in [name for name, child in lab._children.items() if self._children.get(name) is not child]:
            lab._children.pop(name).end()
        if lab._engine:
            for container in lab.engine.containers.list(all=True):
                if container.id not in self._containers:
                    container.remove(force=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minidocker.course.exercises", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="one lesson (default: all that have a source)")
    options = parser.parse_args()
    chosen = [lesson(number) for number in options.numbers] or [entry for entry in LESSONS if entry.source.exists()]
    with tempfile.TemporaryDirectory() as kept:
        os.environ.setdefault("MINIDOCKER_KEPT", kept)
        attempts = {entry.number: prove(entry) for entry in chosen}
    if options.json:
        print(json.dumps([{"lesson": number, "right": a.right, **asdict(a)} for number, found in attempts.items() for a in found]))
        return 0
    for number, found in attempts.items():
        for attempt in found:
            verdict = "as wanted" if attempt.right else f"WRONG, wanted {attempt.wanted!r}"
            print(f"{number}.{attempt.exercise} {attempt.answer}: {verdict}: {attempt.said}")
    return 0 if all(attempt.right for found in attempts.values() for attempt in found) else 1


if __name__ == "__main__":
    sys.exit(main())
