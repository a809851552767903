"""Questions that a reader answers by opening one of the choices. Plain HTML, so they work without a kernel, by keyboard and in print.

Interface: predict(question, choices, answer=, why=), quiz([...]). Each has a text twin, which is what tests compare.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

STYLE = "border:1px solid #888;border-radius:6px;padding:2px 10px;margin:4px 0;cursor:pointer"


class Question:
    """One question with two to four choices; *answer* is the index of the right one, *why* is said with every choice."""

    def __init__(self, question: str, choices: Sequence[str], *, answer: int, why: str, title: str = "Predict") -> None:
        if not 2 <= len(choices) <= 4 or not 0 <= answer < len(choices):
            raise ValueError("a question has two to four choices, and answer is the index of one of them")
        self.question, self.choices, self.answer, self.why, self.title = question, list(choices), answer, why, title

    def __repr__(self) -> str:
        lines = [f"{self.title}: {self.question}"]
        lines += [f"  {letter}) {choice}" for letter, choice in zip("abcd", self.choices, strict=False)]
        return "\n".join([*lines, f"Answer: {'abcd'[self.answer]}. {self.why}"])

    def _repr_html_(self) -> str:
        parts = [f'<div class="lab-question"><p><b>{html.escape(self.title)}:</b> {html.escape(self.question)}</p>']
        for index, (letter, choice) in enumerate(zip("abcd", self.choices, strict=False)):
            verdict = "Yes." if index == self.answer else f"Not quite: {'abcd'[self.answer]}."
            said = f"<p><b>{verdict}</b> {html.escape(self.why)}</p>"
            parts.append(f'<details style="{STYLE}"><summary>{letter}) {html.escape(choice)}</summary>{said}</details>')
        return "".join([*parts, "</div>"])


def predict(question: str, choices: Sequence[str], *, answer: int, why: str) -> None:
    """Ask for a prediction before the next cell is run."""
    show(Question(question, choices, answer=answer, why=why))


def quiz(questions: Sequence[tuple[str, Sequence[str], int, str]]) -> None:
    """Ask several questions (question, choices, answer, why), one below the other."""
    for position, (question, choices, answer, why) in enumerate(questions, 1):
        show(Question(question, choices, answer=answer, why=why, title=f"Question {position}"))


def show(thing: Any) -> None:
    from IPython.display import display

    display(thing)
