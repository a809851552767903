"""The %%child line, and what it does with children and variables."""

from __future__ import annotations

import pytest

from minidocker.course.child import ChildFailed
from minidocker.course.lab import Lab, LabError
from minidocker.course.magics import child_cell, parse


@pytest.fixture
def started(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Lab:
    lab.start("03")
    capsys.readouterr()
    return lab


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("", ("", "", [])),
        ("pid path", ("", "", ["pid", "path"])),
        ("--keep left", ("keep", "left", [])),
        ("--in left pid", ("in", "left", ["pid"])),
    ],
)
def test_the_line_is_understood(line, meaning):
    assert parse(line) == meaning


@pytest.mark.parametrize("line", ["--keep", "--in", "--fork x", "-k left", "a.b", "--keep left 1x"])
def test_a_line_that_makes_no_sense_is_refused_with_the_usage(line):
    with pytest.raises(ValueError, match="usage: %%child"):
        parse(line)


def test_variables_are_handed_over_by_name(started, capsys):
    child_cell(started, "pid path", "print(pid + 1, path)", {"pid": 41, "path": "/x", "other": object()})
    assert capsys.readouterr().out == "42 /x\n"


def test_a_variable_that_does_not_exist_is_named(started):
    with pytest.raises(NameError, match="no variable 'pid'"):
        child_cell(started, "pid", "", {})


def test_a_kept_child_takes_more_cells(started, capsys):
    child_cell(started, "--keep left", "x = 1", {})
    child_cell(started, "--in left", "print(x)", {})
    assert capsys.readouterr().out == "1\n"


def test_no_code_goes_into_a_child_that_was_not_kept(started):
    with pytest.raises(LabError, match="no child called 'left'"):
        child_cell(started, "--in left", "", {})


def test_an_error_in_the_child_is_the_cells_error(started):
    with pytest.raises(ChildFailed, match="ZeroDivisionError"):
        child_cell(started, "", "1 / 0", {})


def test_the_child_carries_the_lessons_mark(started, capsys):
    child_cell(started, "", "import os; print(os.environ['MINIDOCKER_LESSON'])", {})
    assert capsys.readouterr().out == f"{started.name}\n"
