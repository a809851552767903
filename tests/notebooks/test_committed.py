"""The committed notebooks are what the course promises: executed in order, whole, in the course's form, and made from their sources.

nbval cannot see most of this: it skips the comparison of a cell without an execution count, and of every picture.
"""

from __future__ import annotations

import html
import importlib
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest

from minidocker.course.build import difference, navigation, words
from minidocker.course.exercises import exercises, tags
from minidocker.course.lessons import LESSONS, NOTEBOOKS, Lesson
from minidocker.course.tables import Source

BUILT = [entry for entry in LESSONS if entry.notebook.exists()]
HEADINGS = ("## The idea", "## The engine's version", "## Break it", "## Same fact, other tools", "## Exercises", "## Summary")


@pytest.fixture(params=BUILT, ids=[entry.stem for entry in BUILT])
def entry(request: pytest.FixtureRequest) -> Lesson:
    return request.param


@pytest.fixture
def notebook(entry: Lesson) -> Any:
    return nbformat.read(entry.notebook, as_version=4)


@pytest.fixture
def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def texts(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def outputs(cells: list[Any]) -> Iterator[tuple[Any, Any]]:
    for cell in cells:
        for output in cell.outputs:
            yield cell, output


def test_every_lesson_of_the_list_has_a_notebook():
    assert [entry.stem for entry in LESSONS if not entry.notebook.exists()] == []


def test_every_notebook_is_a_lesson_of_the_list():
    assert sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")) == sorted(entry.notebook.name for entry in BUILT)


@pytest.mark.parametrize("entry", LESSONS, ids=[entry.stem for entry in LESSONS])
def test_the_contents_page_lists_it_with_its_minutes_and_needs(entry):
    readme = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| \[{entry.number} · {entry.topic}\]\({entry.notebook.name}\) \|.* {entry.minutes} \|", readme, re.MULTILINE)
    needs = [row for row in readme.splitlines() if re.match(rf"\| [\d, ]*\b{entry.number}\b[\d, ]* \|", row)]
    assert len(needs) == 1
    assert ("nothing" in needs[0]) == (not entry.needs)


def test_the_notebook_is_made_from_its_source(entry):
    assert difference(entry) == "", f"build it again: python -m minidocker.course.build {entry.number}"


def test_the_format_is_valid_and_holds_nothing_volatile(notebook):
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags", "jupyter"} for cell in notebook.cells)


def test_every_code_cell_was_executed_in_order(code):
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_only_wanted_failures_are_in_it_and_each_has_happened(code):
    failed = [cell.execution_count for cell, output in outputs(code) if output.output_type == "error"]
    wanted = [cell.execution_count for cell in code if "raises-exception" in tags(cell)]
    assert failed == wanted
    assert wanted, "a lesson breaks something on purpose"


def test_nothing_went_to_stderr(code):
    assert [output.text for _, output in outputs(code) if output.output_type == "stream" and output.name == "stderr"] == []


def test_no_output_names_a_directory_of_the_machine_it_was_built_on(code):
    assert [cell.execution_count for cell, output in outputs(code) if str(NOTEBOOKS.parent) + "/" in str(output)] == []


def test_no_output_is_left_out_of_the_comparison(notebook):
    hidden = [cell.source for cell in notebook.cells if {"nbval-skip", "nbval-ignore-output"} & set(tags(cell)) or "NBVAL_" in cell.source]
    assert hidden == []


def test_the_first_cell_is_a_question_with_links(entry, notebook):
    lines = notebook.cells[0].source.splitlines()
    assert re.fullmatch(rf"# {entry.number} · .+\?", lines[0])
    assert f" {entry.minutes} minutes" in notebook.cells[0].source
    assert lines[-1] == navigation(entry)


def test_it_says_what_you_will_be_able_to_do(texts):
    objectives = [cell.source for cell in texts if cell.source.startswith("**You will**")]
    assert len(objectives) == 1
    assert len(re.findall(r"^- ", objectives[0], re.MULTILINE)) == 3


def test_it_begins_and_ends_in_the_lab(entry, code):
    assert f'lab.start("{entry.number}")' in code[0].source
    assert code[-1].source == "lab.stop()"


def test_its_parts_are_there_in_order(texts):
    found = [line for cell in texts for line in cell.source.splitlines() if line in HEADINGS]
    assert tuple(found) == HEADINGS


def test_it_has_three_to_six_numbered_steps(texts):
    steps = [int(number) for cell in texts for number in re.findall(r"^## (\d+)\. ", cell.source, re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert 3 <= len(steps) <= 6


def test_its_length_is_a_lesson(notebook):
    assert 30 <= len(notebook.cells) <= 60
    assert 1000 <= words(notebook) <= 1900


def test_code_cells_are_short(code):
    long = [cell.source for cell in code if not {"predict", "exercise"} & set(tags(cell)) and len(cell.source.splitlines()) > 15]
    assert long == []


def test_no_two_code_cells_follow_each_other_without_a_sentence(notebook):
    bare = [
        second.source
        for first, second in pairwise(notebook.cells)
        if first.cell_type == second.cell_type == "code" and not ("exercise" in tags(first) and "check" in tags(second))
    ]
    assert bare == []


def test_every_picture_has_a_text_twin_and_a_description(notebook):
    shown = 0
    for cell, following in pairwise(notebook.cells):
        pictures = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        for output in pictures:
            assert not output.data.get("text/plain", "<").startswith("<"), cell.source
            assert re.search(r"^\*Figure: .+\*$", following.source, re.MULTILINE), cell.source
        shown += len(pictures)
    assert shown, "a lesson has a figure"


def test_predictions_come_before_the_cells_that_answer_them(code):
    asked = [cell for cell in code if "predict" in tags(cell)]
    assert len(asked) >= 4
    assert all(cell.metadata.jupyter.source_hidden and cell.source.startswith("predict(") for cell in asked)


def test_three_exercises_wait_for_the_learner(notebook, code):
    assert len(exercises(notebook)) == 3
    judged = [cell for cell in code if "check" in tags(cell)]
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in judged]
    assert [re.match(r"check\((\d)\)", cell.source)[1] for cell in judged] == ["1", "2", "3"]
    assert all(text.startswith("not attempted: ") for text in said), said


def test_shown_source_is_the_source_of_today(entry, code):
    for _, output in outputs(code):
        shown = output.get("data", {}).get("text/html", "")
        if found := re.match(r'<div class="lab-source" data-object="([^"]+)">', shown):
            body = html.unescape(re.sub(r"<[^>]+>", "", shown[shown.index("<pre") :]))
            assert body.rstrip() == Source(resolve(found[1])).text.rstrip(), (
                f"{found[1]} changed: python -m minidocker.course.build {entry.number}"
            )


def resolve(qualified: str) -> object:
    """The object with this dotted name."""
    parts = qualified.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise LookupError(qualified)


@pytest.mark.parametrize("path", [entry.notebook for entry in BUILT] + [NOTEBOOKS / "README.md"], ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(path: Path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "markdown")
    targets = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target}
    assert [target for target in sorted(targets) if target and not (path.parent / target).exists()] == []
