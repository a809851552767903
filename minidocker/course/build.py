"""From notebooks/source/NN_name.py to an executed notebooks/NN_name.ipynb.

    python -m minidocker.course.build            every lesson that has a source
    python -m minidocker.course.build 02 04      these
    python -m minidocker.course.build --check    say which notebooks do not match their source; exit 1 if any

The source is a jupytext percent script. A build is repeatable: cell ids come from the content, metadata is fixed, and where a new output
differs from the committed one only in what tests do not compare either (tests/notebooks/sanitize.cfg), the committed one stays.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
import time
from typing import Any

import nbformat
from nbformat import NotebookNode

from minidocker.course.lessons import LESSONS, NOTEBOOKS, Lesson, lesson, neighbours

SANITIZE = NOTEBOOKS.parent / "tests" / "notebooks" / "sanitize.cfg"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minidocker.course.build", description="Execute the lessons' sources into notebooks.")
    parser.add_argument("--check", action="store_true", help="only say which notebooks are older than their source")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="lessons to build (default: all that have a source)")
    options = parser.parse_args()
    chosen = [lesson(number) for number in options.numbers] or [entry for entry in LESSONS if entry.source.exists()]
    if options.check:
        outdated = [entry for entry in chosen if difference(entry)]
        for entry in outdated:
            print(f"{entry.stem}: {difference(entry)}")
        print(f"{len(chosen) - len(outdated)} of {len(chosen)} notebooks match their source")
        return 1 if outdated else 0
    return max([build(entry) for entry in chosen], default=0)


def build(entry: Lesson) -> int:
    """Execute one lesson and write its notebook; 1 if a cell failed (nothing is written then)."""
    from nbclient.exceptions import CellExecutionError

    notebook, started = convert(entry), time.monotonic()
    try:
        execute(notebook)
    except CellExecutionError as error:
        print(f"{entry.stem}: a cell failed\n{error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - started
    tidy(notebook)
    if entry.notebook.exists():
        keep_equal_outputs(notebook, nbformat.read(entry.notebook, as_version=4))
    nbformat.validate(notebook)
    entry.notebook.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    print(f"{entry.stem}: {len(notebook.cells)} cells, {len(code)} executed in {seconds:.1f} s, {words(notebook)} words")
    return 0


def convert(entry: Lesson) -> NotebookNode:
    """The lesson's source as an unexecuted notebook, with its links, its folded solutions and its hidden question cells."""
    import jupytext  # here: `lab` never needs it

    notebook: NotebookNode = jupytext.read(entry.source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    links = navigation(entry)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            fold(cell)
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if "predict" in tags:
            cell.metadata["jupyter"] = {"source_hidden": True}
    texts = [cell for cell in notebook.cells if cell.cell_type == "markdown" and "solution" not in cell.metadata.get("tags", [])]
    for cell in {id(cell): cell for cell in (texts[0], texts[-1])}.values():
        cell.source += f"\n\n{links}"
    number_cells(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def fold(cell: NotebookNode) -> None:
    """Make a solution a text cell that opens at a click: "Run All Cells" must not run it over the learner's work."""
    cell.cell_type = "markdown"
    cell.source = f"<details>\n<summary>Solution</summary>\n\n```python\n{cell.source}\n```\n\n</details>"
    for field in ("outputs", "execution_count"):
        cell.pop(field, None)


def solution_code(cell: NotebookNode) -> str:
    """The code in a cell that `fold` has folded."""
    found = re.search(r"```python\n(.*)\n```", cell.source, re.DOTALL)
    if found is None:
        raise ValueError("a cell tagged solution holds no code")
    return found[1]


def navigation(entry: Lesson) -> str:
    before, after = neighbours(entry.number)
    parts = [f"[← {before.number} · {before.topic}]({before.stem}.ipynb)"] if before else []
    parts.append("[Contents](README.md)")
    parts += [f"[{after.number} · {after.topic} →]({after.stem}.ipynb)"] if after else []
    return " | ".join(parts)


def number_cells(notebook: NotebookNode) -> None:
    """Give each cell an id made from its content, so that only an edited cell changes its id."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def execute(notebook: NotebookNode) -> None:
    """Run all cells in order in a fresh kernel. CellExecutionError: a cell raised that is not tagged raises-exception."""
    from nbclient import NotebookClient
    from traitlets.config import Config

    with tempfile.TemporaryDirectory() as private:  # the kernel's sockets: only we may reach it, which TCP ports could not promise
        where = {"transport": "ipc", "connection_file": f"{private}/kernel.json", "ip": f"{private}/kernel"}
        client = NotebookClient(notebook, timeout=60, startup_timeout=20, kernel_name="python3", config=Config({"KernelManager": where}))
        client.resources = {"metadata": {"path": str(NOTEBOOKS)}}
        client.record_timing = client.store_widget_state = False
        client.coalesce_streams = True
        client.execute()


def tidy(notebook: NotebookNode) -> None:
    """Drop what would differ from run to run or tell about this machine: kernel details, paths, and views of widgets that are gone."""
    notebook.metadata = nbformat.from_dict(METADATA)
    here = f"{NOTEBOOKS.parent}/"
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if "data" in output:
                output.data.pop(WIDGET_VIEW, None)
            if output.output_type == "error":
                output.traceback = [line.replace(here, "") for line in output.traceback]
        cell.outputs = [output for output in cell.outputs if "data" not in output or output.data]


def patterns() -> list[tuple[str, str]]:
    """The (regex, replacement) pairs of the sanitizer file, as nbval reads it."""
    return re.findall(r"^regex: (.*)$\n^replace: (.*)$", SANITIZE.read_text(encoding="utf-8"), re.MULTILINE)


def sanitized(value: Any, rules: list[tuple[str, str]]) -> Any:
    """*value* (any JSON) with every rule applied to the strings in it."""
    if isinstance(value, str):
        for regex, replacement in rules:
            value = re.sub(regex, replacement, value)
        return value
    if isinstance(value, dict):
        hidden = {"traceback", "image/png"} if value.get("metadata", {}).get("live") else {"traceback"}
        return {key: sanitized(entry, rules) for key, entry in value.items() if key not in hidden}
    if isinstance(value, list):
        return [sanitized(entry, rules) for entry in value]
    return value


def keep_equal_outputs(new: NotebookNode, old: NotebookNode) -> None:
    """Where a cell says the same as the committed one, but for what the sanitizer hides, take the committed outputs: a smaller diff."""
    rules = [rule for rule in patterns() if rule[1] != "SOURCE"]  # shown source is to be today's, so it counts here
    committed = {cell.id: cell for cell in old.cells if cell.cell_type == "code"}
    for cell in new.cells:
        before = committed.get(cell.get("id"))
        if before is not None and cell.cell_type == "code" and sanitized(cell.outputs, rules) == sanitized(before.outputs, rules):
            cell.outputs = before.outputs


def words(notebook: NotebookNode) -> int:
    """Words that a reader reads: text cells without code, links' targets and folded solutions."""
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown" and "solution" not in c.metadata.get("tags", []))
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|https?://\S+|<[^>]+>", " ", text)
    return len([word for word in text.split() if any(letter.isalnum() for letter in word)])


def difference(entry: Lesson) -> str:
    """What tells the notebook from its source, in words; "" if they agree."""
    if not entry.notebook.exists():
        return "not built yet"
    wanted, found = convert(entry), nbformat.read(entry.notebook, as_version=4)
    if len(wanted.cells) != len(found.cells):
        return f"the source has {len(wanted.cells)} cells, the notebook {len(found.cells)}"
    for position, (want, have) in enumerate(zip(wanted.cells, found.cells, strict=True)):
        if (want.cell_type, want.source, want.metadata) != (have.cell_type, have.source, have.metadata):
            return f"cell {position} differs, which begins {want.source[:50]!r} in the source"
    return ""


if __name__ == "__main__":
    sys.exit(main())
