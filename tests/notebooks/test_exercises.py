"""Exercises: the blank one is "not attempted", each known wrong answer gets the hint meant for it, the solution is right."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minidocker.course.checks.registry import EXERCISES
from minidocker.course.lessons import LESSONS, Lesson

WRITTEN = [entry for entry in LESSONS if entry.source.exists()]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("entry", WRITTEN, ids=[entry.stem for entry in WRITTEN])
def test_exercises(entry: Lesson, tmp_path: Path):
    environment = os.environ | {"MINIDOCKER_LAB": os.environ["MINIDOCKER_TEST"], "MINIDOCKER_KEPT": str(tmp_path)}
    command = [sys.executable, "-m", "minidocker.course.exercises", "--json", entry.number]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    attempts = json.loads(done.stdout.splitlines()[-1])
    misjudged = [attempt for attempt in attempts if not attempt["right"]]
    assert misjudged == []
    for number in (1, 2, 3):
        answers = [attempt["answer"] for attempt in attempts if attempt["exercise"] == number]
        assert {"blank", "wrong 1", "solution"} <= set(answers), f"exercise {number} has no wrong answer to try"


@pytest.mark.parametrize("entry", WRITTEN, ids=[entry.stem for entry in WRITTEN])
def test_every_exercise_has_hints(entry: Lesson):
    # Again, if another test has imported it while it had put a list of its own in the place of this one.
    importlib.reload(importlib.import_module(f"minidocker.course.checks.lesson_{entry.number}"))
    found = {number: exercise for (lesson, number), exercise in EXERCISES.items() if lesson == entry.number}
    assert sorted(found) == [1, 2, 3]
    assert all(len(exercise.hints) >= 1 for exercise in found.values())
    for exercise in found.values():
        for code, _ in exercise.wrong:
            if not code.startswith("%%"):
                ast.parse(code)
