"""The course's table of contents: every lesson that exists, in order. Notebooks, links, tests and the README read it here.

A lesson's notebook is notebooks/NN_slug.ipynb, its source notebooks/source/NN_slug.py, its checks minidocker/course/checks/lesson_NN.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@dataclass(frozen=True)
class Lesson:
    """One notebook. *minutes* is what a learner needs, *needs* are the doctor's names of what it wants beyond what the engine needs."""

    number: str
    slug: str
    topic: str
    minutes: int
    needs: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        return f"{self.number}_{self.slug}"

    @property
    def source(self) -> Path:
        return NOTEBOOKS / "source" / f"{self.stem}.py"

    @property
    def notebook(self) -> Path:
        return NOTEBOOKS / f"{self.stem}.ipynb"


TOOLS = "shell tools"

LESSONS = (
    Lesson("00", "welcome", "Welcome", 25, (TOOLS,)),
    Lesson("01", "container", "What is a container", 30, (TOOLS,)),
    Lesson("02", "pid", "Processes and the PID namespace", 35),
    Lesson("03", "uts_ipc", "Host name and IPC", 30, (TOOLS,)),
    Lesson("04", "mounts", "Mount namespaces", 40, (TOOLS,)),
    Lesson("05", "rootfs", "A root of its own", 40, (TOOLS,)),
    Lesson("06", "time_cgroup", "Time and cgroup namespaces", 30, (TOOLS, "time namespace")),
    Lesson("10", "memory", "Memory", 40, (TOOLS, "memory limit", "memory.high", "pressure")),
    Lesson("11", "cpu", "CPU", 35, (TOOLS, "cpu limit", "cpuset")),
    Lesson("12", "pids_io", "Processes, disks and pause", 35, (TOOLS, "pids limit", "io", "freezer")),
    Lesson("20", "life", "A container's life", 40, (TOOLS,)),
)


def lesson(number: str) -> Lesson:
    """The lesson with this two-digit *number*. KeyError: there is none."""
    for entry in LESSONS:
        if entry.number == number:
            return entry
    raise KeyError(f"no lesson {number!r}; there are {', '.join(entry.number for entry in LESSONS)}")


def neighbours(number: str) -> tuple[Lesson | None, Lesson | None]:
    """The lessons before and after *number*, or None at either end."""
    position = LESSONS.index(lesson(number))
    before = LESSONS[position - 1] if position else None
    after = LESSONS[position + 1] if position + 1 < len(LESSONS) else None
    return before, after
