"""Every lesson runs as root on the live kernel and says what its committed outputs say (nbval); nothing of it stays behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minidocker.course.lessons import LESSONS, NOTEBOOKS, Lesson

HERE = Path(__file__).parent
BUILT = [entry for entry in LESSONS if entry.notebook.exists()]


def nbval(entry: Lesson) -> subprocess.CompletedProcess[str]:
    """Run one notebook under nbval in a pytest of its own, on a lab whose name only this test process uses."""
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-c", str(HERE / "nbval.ini"), "--rootdir", str(NOTEBOOKS)]
    command += ["--nbval", "--nbval-cell-timeout=60", f"--nbval-sanitize-with={HERE / 'sanitize.cfg'}", str(entry.notebook)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MINIDOCKER_LAB": os.environ["MINIDOCKER_TEST"]})


def clean_up_after(entry: Lesson) -> None:
    """A failed lesson has not come to lab.stop(): do it, so that its leftovers are not the next test's trouble."""
    code = f"from minidocker.course import lab; lab.start({entry.number!r}); lab.stop()"
    environment = os.environ | {"MINIDOCKER_LAB": os.environ["MINIDOCKER_TEST"]}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("times", [1, 2], ids=["once", "again"])
@pytest.mark.parametrize("entry", BUILT, ids=[entry.stem for entry in BUILT])
def test_lesson(entry: Lesson, times: int, record_property: Callable[[str, object], None]):
    """The second time begins where the first one ended, as for a learner who comes back."""
    started = time.monotonic()
    done = nbval(entry)
    record_property("lesson", f"{entry.stem} {time.monotonic() - started:.1f} s")
    if done.returncode:
        clean_up_after(entry)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = sum(cell["cell_type"] == "code" for cell in json.loads(entry.notebook.read_text(encoding="utf-8"))["cells"])
    assert f"{cells} passed" in done.stdout, done.stdout
