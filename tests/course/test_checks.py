"""check and hint: one line, never an exception, whatever the learner did."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minidocker.course.checks import registry
from minidocker.course.checks.registry import Miss, Work, check, exercise, hint, is_stub
from minidocker.course.lab import Lab

Space = dict[str, Any]


@pytest.fixture
def space(lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Space]:
    """The notebook's variables, in a lesson without exercises of its own."""
    variables: Space = {}
    monkeypatch.setattr(registry, "lab", lab)
    monkeypatch.setattr(Lab, "variables", property(lambda self: variables))
    monkeypatch.setattr(registry, "EXERCISES", {})
    monkeypatch.setattr(registry, "_hints_given", {})
    lab.start("02")
    capsys.readouterr()
    yield variables


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    def judge(number: int = 1) -> str:
        check(number)
        return capsys.readouterr().out

    return judge


def write(space: Space, code: str) -> None:
    """Run *code* as a notebook's cell."""
    linecache.cache["<cell>"] = (len(code), None, code.splitlines(keepends=True), "<cell>")
    exec(compile(code, "<cell>", "exec"), space)


def judge_is(function: Callable[[Work], str], **options: Any) -> None:
    exercise("02", 1, **({"hints": ["look", "look again"], "wrong": []} | options))(function)


def test_a_value_is_judged(space, said):
    def seven(work: Work) -> str:
        if work.value("answer") != 7:
            raise Miss("count again")
        return "there are seven"

    judge_is(seven)
    assert said() == "not attempted: give answer a value\n"
    space["answer"] = ...
    assert said() == "not attempted: give answer a value\n"
    space["answer"] = 6
    assert said() == "hint: count again\n"
    space["answer"] = 7
    assert said() == "ok: there are seven\n"


@pytest.mark.parametrize(
    "body", ["...", "pass", "'''Only words.'''", "'''Words.'''\n    ...", "return", "# your code\n    ..."], ids=lambda body: body[:12]
)
def test_a_stub_is_not_attempted(space, said, body):
    judge_is(lambda work: str(work.call("mine")))
    write(space, f"def mine():\n    {body}\n")
    assert is_stub(space["mine"])
    assert said() == "not attempted: write the body of mine()\n"


def test_a_function_is_called_in_a_process_of_its_own_with_its_cells_imports(space, said):
    judge_is(lambda work: f"{work.call('mine', 2)}")
    write(space, "import os\nHERE = 20\n\ndef mine(n):\n    os.chdir('/proc')\n    print('not shown')\n    return HERE + n\n")
    assert said() == "ok: 22\n"


def test_code_of_the_check_may_look_after_the_function_ran(space, said):
    judge_is(lambda work: work.run("mine", "mine(add)\nresult = os.environ['X']", add="z"))
    write(space, "import os\n\ndef mine(add):\n    os.environ['X'] = add\n")
    assert said() == "ok: z\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def mine(): return 1 / 0", "hint: mine() did not get through: ZeroDivisionError"),
        ("def mine(): raise SystemExit(3)", "hint: mine() did not get through: the child ended with exit status 3"),
        ("def mine(n): return n", "hint: mine() did not get through: TypeError"),
        ("import os\ndef mine(): os.kill(os.getpid(), 9)", "hint: mine() did not get through: the child was killed by SIGKILL"),
    ],
)
def test_a_function_that_fails_gets_a_hint(space, said, code, words):
    judge_is(lambda work: str(work.call("mine")))
    write(space, code)
    assert said().startswith(words)


def test_a_mistake_in_the_judging_is_no_exception_either(space, said):
    judge_is(lambda work: f"{work.value('answer') + 1}")
    space["answer"] = "text"
    assert said().startswith("hint: the check met TypeError")


def test_a_kept_child_is_judged_by_the_kernel(space, said, lab):
    judge_is(lambda work: str(work.child("right") == lab.child("right").pid))
    assert said() == "not attempted: run a cell that begins with %%child --keep right\n"
    lab.keep_child("right")
    assert said() == "ok: True\n"
    lab.child("right").end()
    assert said().startswith("hint: the child 'right' has ended")


def test_a_right_function_is_kept(space, said, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDOCKER_KEPT", str(tmp_path))
    judge_is(lambda work: str(work.call("mine")), keep="mine")
    write(space, "def mine():\n    return 1 + 1\n")
    assert said() == "ok: 2\nkept for the last lesson: kept/02_mine.py\n"
    assert (tmp_path / "02_mine.py").exists()


def test_hints_come_one_by_one_and_begin_again(space, capsys):
    judge_is(lambda work: "")
    for _ in range(3):
        hint(1)
    assert capsys.readouterr().out == "hint 1 of 2: look\nhint 2 of 2: look again\nhint 1 of 2: look\n"


def test_an_exercise_that_is_not_there_is_said_so(space, capsys):
    check(9)
    hint(9)
    assert capsys.readouterr().out == "there is no exercise 9 here; has lab.start been run?\n" * 2
