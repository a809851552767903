"""A fresh single-threaded Python for code that a notebook's own process must not run (it has threads: no fork, unshare or setns there).

`run(code)` runs code in a child and shows its output here; `Child(name)` is a child that stays and takes more code until `end()`.
Both are what the %%child magic uses (magics.py); checks use `run` to try the learner's functions. A child that raises makes the cell
raise ChildFailed. Output travels through pipes and is written to sys.stdout and sys.stderr: text that a process writes to an inherited
descriptor would be lost under nbval.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minidocker.course import ending
from minidocker.errors import MinidockerError

MAIN = Path(__file__).with_name("child_main.py")
Sink = Callable[[str, str], None]


class ChildFailed(MinidockerError):
    """The child's code raised, or the child ended with a status other than 0.

    *kind* is the exception's class name ("" if there was none), *errno* its error number, *status* the exit status (negative: a signal)."""

    def __init__(self, message: str, *, kind: str = "", errno: int | None = None, status: int = 0, trace: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.kind, self.errno, self.status, self.trace = kind, errno, status, trace

    def _render_traceback_(self) -> list[str]:
        """What IPython prints for this error: the child's own traceback, without the notebook's machinery around it."""
        return "".join(self.trace).splitlines() or [f"ChildFailed: {self.message}"]


def to_notebook(stream: str, text: str) -> None:
    """Write a child's output where the cell's output goes."""
    target = sys.stdout if stream == "stdout" else sys.stderr
    target.write(text)
    target.flush()


class Child:
    """A Python process of its own session that runs the code it is given. `pid` is its number on the host."""

    def __init__(self, name: str = "child", *, sink: Sink = to_notebook, tag: str = "") -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | ({"MINIDOCKER_LESSON": tag} if tag else {})
        environment.pop("PYTHONUNBUFFERED", None)  # else the parts of one line are written apart: see child_main.py
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(MAIN), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=environment,
            )
        self.name, self.pid, self._control, self._sink = name, self._process.pid, ours, sink
        self._reply = b""
        self._selector = selectors.DefaultSelector()
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        for stream, pipe in (("stdout", self._process.stdout), ("stderr", self._process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
            self._selector.register(pipe, selectors.EVENT_READ, stream)
        self._pidfd = os.pidfd_open(self.pid)
        self._selector.register(self._pidfd, selectors.EVENT_READ, "exit")
        self._selector.register(ours, selectors.EVENT_READ, "control")

    def __repr__(self) -> str:
        return f"<child {self.name}: {'running' if self.alive else 'ended'}>"

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def run(self, code: str, values: Mapping[str, object] | None = None) -> Any:
        """Run *code* in the child with *values* as variables; show its output; give what it left in `result`.

        ChildFailed: the code raised, or the child ended with another status than 0."""
        if not self.alive:
            raise ChildFailed(f"the child {self.name!r} has ended", status=self._process.returncode)
        request = {"code": code, "values": dict(values or {}), "name": f"<{self.name}>"}
        try:
            self._control.sendall(json.dumps(request).encode() + b"\n")
            answer = self._await_answer()
        except BaseException:
            self.end()
            raise
        if answer is None:
            self._raise_for_status()
            return None
        if error := answer.get("error"):
            raise ChildFailed(
                f"{error['type']}: {error['message']}", kind=error["type"], errno=error["errno"], status=1, trace=tuple(error["traceback"])
            )
        return answer["result"]

    def _await_answer(self) -> dict[str, Any] | None:
        """Pass output on until the child answers. None: it ended (or became another program, which ended) without an answer.

        The end is learnt from a pidfd: pipes and sockets may still be open in processes that the child forked."""
        ended = False
        while b"\n" not in self._reply and not ended:
            for key, _ in self._selector.select():
                if key.data == "control":
                    self._receive()
                elif key.data == "exit":
                    ended = True
                else:
                    self._read(key.fileobj, key.data)
        self.show_output()
        if ended:
            self._process.wait()
        if b"\n" not in self._reply:
            return None
        line, _, self._reply = self._reply.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _receive(self) -> None:
        data = self._control.recv(65536)
        self._reply += data
        if not data:
            self._selector.unregister(self._control)

    def _read(self, pipe: Any, stream: str) -> bool:
        """Show what is there now; say whether there may be more."""
        try:
            data = os.read(pipe.fileno(), 65536)
        except BlockingIOError:
            return False
        text = self._decoders[stream].decode(data, final=not data)
        if text:
            self._sink(stream, text)
        if not data:
            self._selector.unregister(pipe)
        return bool(data)

    def show_output(self) -> None:
        """Show what the child has written since the last look (a kept child may write at any time)."""
        for key in list(self._selector.get_map().values()):
            if key.data in self._decoders:
                while self._read(key.fileobj, key.data):
                    pass

    def _raise_for_status(self) -> None:
        status = self._process.returncode
        if status < 0:
            raise ChildFailed(f"the child was killed by {signal.Signals(-status).name}", status=status)
        if status > 0:
            raise ChildFailed(f"the child ended with exit status {status}", status=status)

    def finish(self) -> None:
        """Let the child end by itself, as a program ends after its last line, and wait for it. What it started lives on."""
        if self.alive:
            with contextlib.suppress(BrokenPipeError):  # it ended a moment ago
                self._control.sendall(json.dumps({"code": "raise SystemExit(0)", "values": {}, "name": "<end>"}).encode() + b"\n")
            self._await_answer()
        self._close()

    def end(self) -> None:
        """Kill the child and all that is in its session, and wait until they are gone. Safe to call twice."""
        if self._pidfd >= 0:
            ending.kill_all(lambda: ending.in_session(self.pid))
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._pidfd < 0:
            return
        os.close(self._pidfd)
        self._pidfd = -1
        self._selector.close()
        self._control.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def run(code: str, values: Mapping[str, object] | None = None, *, sink: Sink = to_notebook, tag: str = "") -> Any:
    """Run *code* in a fresh child, wait for its end and give what it left in `result`. ChildFailed as in Child.run."""
    child = Child(sink=sink, tag=tag)
    try:
        result = child.run(code, values)
        if child.alive:
            child.finish()
    except BaseException:
        child.end()
        raise
    child._close()
    return result
