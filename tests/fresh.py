"""Code that moves itself into namespaces, or waits to be looked at, in a fresh single-threaded Python.

    run("print(6 * 7)")                                        "42": what it printed; fails with its traceback
    with Child("say(1); hear(); say(2)") as child:             one that is looked at from outside while it waits
        child.line(); child.go(); child.line()

In the code: say(*words) prints a line, hear() waits for the test's `go`, fork(function) -> the child's exit code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from types import TracebackType

PATIENCE = 60.0  # seconds; a slow machine is not a failure
PRELUDE = """
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
def fork(function):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            sys.stdout.flush()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
import os, sys
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(command(code, arguments), capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def command(code: str, arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *arguments]


class Child:
    def __init__(self, code: str, *arguments: str) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command(code, arguments), text=True, encoding="utf-8", errors="surrogateescape", **pipes)
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line it says; fails if it has ended instead."""
        assert self.process.stdout is not None and self.process.stderr is not None
        text = self.process.stdout.readline()
        assert text.endswith("\n"), self.process.stderr.read()
        return str(text[:-1])

    def go(self, word: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.process.kill()
        _, words = self.process.communicate(timeout=PATIENCE)
        assert kind is not None or self.process.returncode == 0, words


def link(pid: int, name: str) -> str:
    """What the kernel says: "uts:[4026531838]"."""
    return os.readlink(f"/proc/{pid}/ns/{name}")
