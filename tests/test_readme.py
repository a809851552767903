"""What the README says is so: its links lead somewhere, its targets exist, its examples do what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
TEXT = (TOP / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXT) if "://" not in link]
    assert "notebooks/images/overview.svg" in links
    assert [link for link in links if not (TOP / link).exists()] == []


def test_make_lists_the_targets_that_the_readme_names() -> None:
    told = subprocess.run(["make"], cwd=TOP, check=True, capture_output=True, text=True).stdout
    listed = re.findall(r"^  make ([\w-]+)", told, re.MULTILINE)
    assert listed == ["lab", "test", "setup", "demo", "notebooks", "bench", "box", "test-vm", "lint", "clean"]
    assert set(re.findall(r"(?:`|^)make ([\w-]+)", TEXT, re.MULTILINE)) == set(listed)


def test_the_first_container_shows_what_the_readme_shows(engine_name: str) -> None:
    line, *_ = re.findall(r"^# \.venv/bin/minidocker (.*)$", blocks("console")[0], re.MULTILINE)
    minidocker = Path(sys.executable).with_name("minidocker")
    command = ["sh", "-c", f"{minidocker} --engine {engine_name} {line}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    shown = blocks("console")[0].splitlines()[1:4]
    assert (told[0], told[2]) == (shown[0], shown[2])
    assert re.fullmatch(r"[0-9a-f]{12}", told[1]) and re.fullmatch(r"[0-9a-f]{12}", shown[1])


def test_the_python_example_runs(engine_name: str) -> None:
    script = blocks("python")[0].replace("Engine()", f"Engine({engine_name!r})")
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "b'hello\\n'\n"
