"""The real command in a process of its own, with pipes or with a terminal.

cli("run", "--rm", "busybox", "true")                         a CompletedProcess with bytes
with cli.terminal("run", "-it", "busybox") as terminal: terminal.type(b"exit 5\\n"); terminal.wait()
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Any

BINARY = str(Path(sys.executable).with_name("minidocker"))
PATIENCE = 30.0  # seconds; a slow machine is not a failure


class Cli:
    """``minidocker --engine NAME``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def line(self, *arguments: str | bytes) -> list[str | bytes]:
        return [BINARY, "--engine", self.name, *arguments]

    def __call__(
        self, *arguments: str | bytes, stdin: bytes = b"", code: int | None = 0, **settings: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end. *code*: the exit code that must come, None for any. Nobody ever sees a traceback."""
        done = subprocess.run(self.line(*arguments), input=stdin, capture_output=True, timeout=PATIENCE, **settings)
        assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def text(self, *arguments: str | bytes, **settings: Any) -> str:
        """What it prints, without the last newline."""
        return self(*arguments, **settings).stdout.decode().removesuffix("\n")

    def fails(self, *arguments: str | bytes, code: int, **settings: Any) -> str:
        """What it says on stderr when it fails with *code*, and only there."""
        done = self(*arguments, code=code, **settings)
        assert done.stdout == b""
        assert done.stderr.count(b"minidocker: ") >= 1
        return done.stderr.decode(errors="surrogateescape")

    def start(self, *arguments: str | bytes, **settings: Any) -> subprocess.Popen[bytes]:
        settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
        return subprocess.Popen(self.line(*arguments), **settings)

    def terminal(self, *arguments: str | bytes, rows: int = 24, columns: int = 80) -> Terminal:
        return Terminal(self.line(*arguments), rows, columns)

    def containers(self) -> list[str]:
        """The names of all containers."""
        return self.text("ps", "-a", "--format", "{{.Names}}").split()

    def field(self, name: str, template: str) -> str:
        return self.text("inspect", "-f", template, name)


class Terminal:
    """A process whose three descriptors are a terminal, which is its controlling one."""

    def __init__(self, line: list[str | bytes], rows: int, columns: int) -> None:
        self.master, slave = os.openpty()
        self.slave = slave
        termios.tcsetwinsize(self.master, (rows, columns))
        self.before = termios.tcgetattr(slave)

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(line, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=take_terminal)
        self.seen = b""

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def read(self, *, until: float) -> bool:
        """Read a piece. False: nothing came until then."""
        ready, _, _ = select.select([self.master], [], [], max(0.0, until - time.monotonic()))
        if ready:
            self.seen += os.read(self.master, 65536)
        return bool(ready)

    def expect(self, text: bytes) -> None:
        """Read until *text* has come; what came with it is gone then."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            if not self.read(until=deadline):
                raise AssertionError(f"{text!r} did not come, but {self.seen!r}")
        self.seen = self.seen.partition(text)[2]

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.master, (rows, columns))

    def wait(self) -> int:
        """The exit code. Reads on meanwhile, so that nobody waits for us."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            deadline = time.monotonic() + PATIENCE
            while not select.select([pidfd], [], [], 0)[0]:
                ready, _, _ = select.select([pidfd, self.master], [], [], max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise AssertionError(f"it did not end, but said {self.seen!r}")
                if self.master in ready:
                    self.read(until=deadline)
            while self.read(until=time.monotonic()):
                continue
        finally:
            os.close(pidfd)
        return self.process.wait()

    @property
    def is_restored(self) -> bool:
        """Is the terminal as it was before?"""
        return termios.tcgetattr(self.slave) == self.before

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
