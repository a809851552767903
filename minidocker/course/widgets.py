"""What a reader can touch: questions, answered by opening one of the choices, and sliders that act on the kernel.

Interface: predict(question, choices, answer=, why=), quiz([...]), Slider(label, low, high, value=, action=).
Questions are plain HTML, so they work without a kernel, by keyboard and in print. Each has a text twin, which is what tests compare.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from minidocker.errors import MinidockerError

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


class Slider:
    """A slider and, beside it, what became of the last move. *action* is called with each value; what it refuses, the slider takes back."""

    def __init__(self, label: str, low: int, high: int, *, value: int, action: Callable[[int], object]) -> None:
        import ipywidgets

        self.label, self.action, self.accepted = label, action, value
        wide = ipywidgets.Layout(width="420px")
        self._slider = ipywidgets.IntSlider(value, low, high, description=label, style={"description_width": "initial"}, layout=wide)
        self._said = ipywidgets.HTML()
        self._box = ipywidgets.HBox([self._slider, self._said])
        self._slider.observe(self._moved, names="value")

    def __repr__(self) -> str:
        return f"slider: {self.label}, from {self._slider.min} to {self._slider.max}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {**self._box._repr_mimebundle_(), "text/plain": repr(self)}

    @property
    def value(self) -> int:
        """Where it stands. To set it is to move it."""
        return int(self._slider.value)

    @value.setter
    def value(self, value: int) -> None:
        self._slider.value = value

    @property
    def said(self) -> str:
        """The kernel's or the engine's refusal of the last move, or ""."""
        return html.unescape(self._said.value)

    def _moved(self, change: Any) -> None:
        if change["new"] == self.accepted:
            return  # taken back
        try:
            self.action(change["new"])
        except MinidockerError as error:
            self._slider.value = self.accepted
            self._said.value = html.escape(f"refused: {error}")
            return
        self.accepted, self._said.value = change["new"], ""


def show(thing: Any) -> None:
    from IPython.display import display

    display(thing)
