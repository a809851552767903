"""The build: a percent script becomes an executed notebook, and the same one when it is built again."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import nbformat
import pytest

from minidocker.course import build, lessons
from minidocker.course.lessons import Lesson

SOURCE = """
    # %% [markdown]
    # # 02 · Numbers: do they add up?

    # %%
    import os
    one = 1

    # %% [markdown]
    # A sentence of six words here.

    # %% tags=["predict"]
    print("predict")

    # %% [markdown]
    # And `code`, a [link](https://example.org/a/b) and a number 7.
    #
    # ```sh
    # not counted at all
    # ```

    # %%
    print("this host: pid", os.getpid())
    print("one and one is", one + 1)

    # %% tags=["raises-exception"]
    1 / 0

    # %% tags=["exercise"]
    answer = None

    # %% tags=["solution"]
    # %%child
    answer = 1

    # %% [markdown]
    # The end.
"""


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lesson:
    """A lesson of the test's own, at lesson 02's place."""
    monkeypatch.setattr(lessons, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    (tmp_path / "source").mkdir()
    found = lessons.lesson("02")
    found.source.write_text(textwrap.dedent(SOURCE).lstrip())
    return found


@pytest.fixture
def built(entry: Lesson):
    assert build.build(entry) == 0
    return nbformat.read(entry.notebook, as_version=4)


def test_cells_are_executed_in_order(built):
    assert [cell.execution_count for cell in built.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]


def test_the_links_stand_in_the_first_and_the_last_text(built):
    links = "[← 01 · What is a container](01_container.ipynb) | [Contents](README.md) | [03 · Host name and IPC →](03_uts_ipc.ipynb)"
    assert [cell.source.endswith(links) for cell in built.cells if cell.cell_type == "markdown"] == [True, False, False, False, True]


def test_the_first_lesson_has_no_previous_and_the_last_no_next():
    assert build.navigation(lessons.LESSONS[0]).startswith("[Contents]")
    assert build.navigation(lessons.LESSONS[-1]).endswith("[Contents](README.md)")


def test_a_solution_is_folded_into_text_that_run_all_does_not_run(built):
    (solution,) = [cell for cell in built.cells if "solution" in cell.metadata.get("tags", [])]
    assert solution.cell_type == "markdown"
    assert solution.source.startswith("<details>\n<summary>Solution</summary>\n\n```python\n")
    assert build.solution_code(solution) == "%%child\nanswer = 1"


def test_the_source_of_a_question_is_hidden(built):
    (question,) = [cell for cell in built.cells if "predict" in cell.metadata.get("tags", [])]
    assert question.metadata.jupyter.source_hidden is True


def test_a_second_build_changes_no_byte_although_a_host_line_did(built, entry):
    before = entry.notebook.read_bytes()
    assert build.build(entry) == 0
    assert entry.notebook.read_bytes() == before


def test_an_edited_cell_changes_its_id_and_no_other(built, entry):
    before = [cell.id for cell in built.cells]
    entry.source.write_text(entry.source.read_text().replace("six words", "6 words"))
    after = [cell.id for cell in build.convert(entry).cells]
    assert [old == new for old, new in zip(before, after, strict=True)].count(False) == 1


def test_cells_with_the_same_text_have_different_ids(entry):
    entry.source.write_text(entry.source.read_text() + "\n# %%\none\n\n# %%\none\n")
    ids = [cell.id for cell in build.convert(entry).cells]
    assert len(set(ids)) == len(ids)


def test_difference_finds_what_was_edited_or_never_built(entry):
    assert build.difference(entry) == "not built yet"
    build.build(entry)
    assert build.difference(entry) == ""
    entry.source.write_text(entry.source.read_text().replace("one + 1", "one + 2"))
    assert "cell 5 differs" in build.difference(entry)
    entry.source.write_text(entry.source.read_text() + "\n# %%\n1\n")
    assert build.difference(entry) == "the source has 11 cells, the notebook 10"


def test_a_cell_that_fails_stops_the_build_and_nothing_is_written(entry, capsys):
    entry.source.write_text(entry.source.read_text().replace("one + 1", "two + 1"))
    assert build.build(entry) == 1
    assert not entry.notebook.exists()
    assert "NameError" in capsys.readouterr().err


def test_words_are_those_that_a_reader_reads():
    text = "# 02 · One *two* three\n[four](five.md) `six`\n\n```sh\nno words\n```\n<b>seven</b> https://example.org/none"
    folded = nbformat.v4.new_markdown_cell("hidden words", metadata={"tags": ["solution"]})
    cells = [nbformat.v4.new_markdown_cell(text), folded, nbformat.v4.new_code_cell("code = 1")]
    assert build.words(nbformat.v4.new_notebook(cells=cells)) == 7


def test_the_sanitizer_file_holds_rules_that_compile():
    rules = build.patterns()
    assert len(rules) >= 5
    for regex, replacement in rules:
        re.sub(regex, replacement, "")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("this host: x\nstays\nthis host: y\n", "stays\n"),
        ("pid 4711 and pid 12", "pid N and pid 12"),
        ("a" * 64 + " x", "CONTAINER_ID x"),
        ("/var/lib/mdl02.lab/a and /run/mdt3f5002/b", "/var/lib/LAB.lab/a and /run/LAB/b"),
        ("in 12.3 ms", "in TIME ms"),
        ('<div class="lab-source" data-object="a">x\ny</div>', "SOURCE"),
        ("uts namespace  different", "uts namespace  different"),
        ("exit code 137", "exit code 137"),
    ],
)
def test_the_sanitizer_hides_what_it_should_and_no_more(text, wanted):
    assert build.sanitized(text, build.patterns()) == wanted
