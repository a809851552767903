"""The house stays as ARCHITECTURE.md draws it: who may import whom, how long a file may be, what may stand where."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PACKAGE = TOP / "minidocker"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES_OF_A_FILE = 330
MOST_LINES_OF_A_FUNCTION = 50
MOST_LINES_OF_THE_ENGINE = 12_000
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
DOCKERS_WORDS = {"HostConfig", "NetworkSettings", "RepoTags", "RepoDigests", "GraphDriver", "ExitCode", "OOMKilled", "RestartPolicy"}
# Every monitor is a fork of the spawner, so each of these would be paid for once per container.
TOO_HEAVY = {"asyncio", "click", "dataclasses", "email", "http", "logging", "msgspec", "pathlib", "rich", "sqlite3", "subprocess",
             "tempfile", "typing", "unittest", "urllib", "zstandard"}  # fmt: skip


def named(path: Path) -> str:
    return str(path.relative_to(TOP))




def test_imports_follow_the_contracts() -> None:
    ran = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=TOP, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert "0 broken" in ran.stdout


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_learner_can_read_it(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {length} lines"


def test_the_engine_is_small() -> None:
    """What a learner reads to the end: the floors below the faces."""
    engine = [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] not in ("cli", "course")]
    assert sum(path.read_text().count("\n") for path in engine) <= MOST_LINES_OF_THE_ENGINE


def test_names_say_what_is_inside() -> None:
    parts = {part for path in SOURCES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert not parts & VAGUE_NAMES


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=named)
def test_init_files_only_hand_names_on(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_list_of_names = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        assert is_text or is_list_of_names or isinstance(node, ast.Import | ast.ImportFrom), f"line {node.lineno}: {ast.unparse(node)[:80]}"


def strings_of(path: Path) -> Iterator[str]:
    """The names and the literal strings of a file, without its docstrings and comments."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.keyword | ast.arg) and node.arg:
            yield node.arg


def test_only_docker_json_speaks_dockers_json() -> None:
    speakers = {named(path) for path in SOURCES if DOCKERS_WORDS & set(strings_of(path))}
    assert speakers <= {"minidocker/engine/docker_json.py"}


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after *statement*. Without site: the installed project's own finder would count as well."""
    script = f"import sys; sys.path.insert(0, {str(TOP)!r}); {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True, capture_output=True, text=True).stdout.split())


def test_the_spawner_stays_light() -> None:
    extra = loaded_by("import minidocker.runtime.spawner") - loaded_by("pass")
    assert "minidocker.runtime.spawner" in extra
    assert not extra & TOO_HEAVY


@pytest.mark.parametrize("floor", ["errors", "paths", "linux", "oci"])
def test_lower_floors_need_nothing_above(floor: str) -> None:
    """Each can be imported alone, by a learner who has only read so far."""
    modules = [path.relative_to(TOP).with_suffix("") for path in SOURCES if path.relative_to(PACKAGE).with_suffix("").parts[0] == floor]
    statement = "import " + ", ".join(".".join(module.parts).removesuffix(".__init__") for module in modules)
    script = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=TOP).stdout.split()
    above = {name for name in loaded if name.startswith(("minidocker.engine", "minidocker.runtime", "minidocker.cli", "minidocker.course"))}
    assert not above


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_every_file_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body, "no docstring at the top"
