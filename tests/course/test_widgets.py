"""Questions: the twin is fixed text, the HTML opens by itself, what a choice says fits it."""

from __future__ import annotations

import re

import pytest

from minidocker.course.widgets import Question, predict, quiz

TWO = {"answer": 1, "why": "Because <it> is."}


def test_the_twin_holds_question_choices_and_answer():
    assert repr(Question("Which?", ["this", "that"], **TWO)) == "Predict: Which?\n  a) this\n  b) that\nAnswer: b. Because <it> is."


def test_each_choice_says_whether_it_was_right_and_always_why():
    shown = Question("Which?", ["this", "that"], **TWO)._repr_html_()
    opened = re.findall(r"<details[^>]*><summary>(.*?)</summary><p>(.*?)</p></details>", shown)
    assert opened == [
        ("a) this", "<b>Not quite: b.</b> Because &lt;it&gt; is."),
        ("b) that", "<b>Yes.</b> Because &lt;it&gt; is."),
    ]


@pytest.mark.parametrize(("choices", "answer"), [(["one"], 0), (["a", "b", "c", "d", "e"], 0), (["a", "b"], 2), (["a", "b"], -1)])
def test_a_question_that_cannot_be_answered_is_refused(choices, answer):
    with pytest.raises(ValueError, match="two to four choices"):
        Question("?", choices, answer=answer, why="")


def test_predict_and_quiz_show_their_questions(capsys):
    predict("Which?", ["this", "that"], **TWO)
    quiz([("First?", ["a", "b"], 0, "x"), ("Second?", ["c", "d"], 1, "y")])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("?")] == ["Predict: Which?", "Question 1: First?", "Question 2: Second?"]
