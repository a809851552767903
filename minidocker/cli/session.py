"""A user at a running container: keys go in, output comes out, signals are passed on, the terminal is put back.

    with Terminal(master) if tty else nullcontext(): code = Session(...).run()

The main thread waits for keys and signals; one worker brings the output. Nothing here can block the container, whose output is in its log.
Docker's words for the keys that leave: https://docs.docker.com/reference/cli/docker/container/attach/#detach-keys
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any

from minidocker.errors import MinidockerError, SpecError

STDIN, STDOUT, STDERR = 0, 1, 2
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_CHUNK = 1 << 16
# Those that the kernel or Python use for themselves, or that nobody can catch: never passed on.
_OUR_OWN = frozenset(["CHLD", "PIPE", "URG", "KILL", "STOP", "SEGV", "FPE", "ILL", "BUS", "TRAP", "TSTP", "TTIN", "TTOU"])
_ENDINGS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3  # so many of _ENDINGS end the client, whatever the container does


class Detached(Exception):
    """The user has typed the detach keys: the container runs on."""


class ReaderGone(BrokenPipeError):
    """Nobody reads our output any more, as with ``| head``."""


class DetachKeys:
    """Finds the key sequence in what is typed. What may still become the sequence is held back."""

    def __init__(self, words: str = DEFAULT_DETACH_KEYS) -> None:
        self.sequence = bytes(_key(word) for word in words.split(",")) if words else b""
        self.seen = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether the sequence is complete)."""
        passed = bytearray()
        for position in range(len(data) if self.sequence else 0):
            byte = data[position : position + 1]
            if self.seen and byte != self.sequence[self.seen : self.seen + 1]:
                passed += self.sequence[: self.seen]
                self.seen = 0
            if byte == self.sequence[self.seen : self.seen + 1]:
                self.seen += 1
                if self.seen == len(self.sequence):
                    return bytes(passed), True
            else:
                passed += byte
        return (bytes(passed) if self.sequence else data), False


def _key(word: str) -> int:
    if len(word) == 1 and ord(word) < 128:
        return ord(word)
    letter = word.removeprefix("ctrl-").upper()
    if word.startswith("ctrl-") and len(letter) == 1 and "@" <= letter <= "_":
        return ord(letter) - ord("@")
    raise SpecError(f"invalid detach keys: {word[:40]!r}", hint='write keys with commas between, such as "ctrl-p,ctrl-q" or "ctrl-a,d"')


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*, however many calls that takes. ReaderGone if it is our output and nobody reads it."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BrokenPipeError as error:
            if fd in (STDOUT, STDERR):
                raise ReaderGone(*error.args) from error
            raise


class Terminal:
    """Raw mode on our stdin and its window size on the *master*; put back whatever happens, a signal included."""

    def __init__(self, master: int | None, *, raw: bool = True) -> None:
        self.master, self.raw = master, raw
        self.saved: Any = None  # what tcgetattr gives, for tcsetattr

    def __enter__(self) -> Terminal:
        self.handlers = {number: signal.signal(number, self._leave) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
        self.handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda _number, _frame: self.resize())
        self.resize()
        if self.raw and os.isatty(STDIN):
            self.saved = termios.tcgetattr(STDIN)
            tty.setraw(STDIN, termios.TCSADRAIN)  # not TCSAFLUSH: what was typed ahead is for the container
        return self

    def resize(self) -> None:
        """Give the container's terminal the size of ours."""
        for fd in (STDIN, STDOUT):
            if self.master is not None and os.isatty(fd):
                with contextlib.suppress(termios.error):  # the container has just ended
                    termios.tcsetwinsize(self.master, termios.tcgetwinsize(fd))
                return

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def __exit__(self, *_: object) -> None:
        if self.saved is not None:
            termios.tcsetattr(STDIN, termios.TCSADRAIN, self.saved)
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


class ForwardedSignals:
    """Every signal that we get goes to the container, by *kill*; three times INT or TERM ends us all the same."""

    def __init__(self, kill: Callable[[str], object]) -> None:
        self.kill, self.endings = kill, 0

    def __enter__(self) -> ForwardedSignals:
        numbers = [number for number in signal.Signals if number.name.removeprefix("SIG") not in _OUR_OWN]
        self.handlers = {number: signal.signal(number, self._forward) for number in numbers}
        return self

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(MinidockerError):  # it has ended meanwhile: then the end is on its way to us
            self.kill(signal.Signals(number).name.removeprefix("SIG"))
        self.endings += number in _ENDINGS
        if self.endings >= _PATIENCE:
            sys.stderr.write("got 3 SIGTERM/SIGINTs, forcefully exiting\n")
            raise SystemExit(1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def woken_by_signals(poller: select.poll) -> Iterator[int]:
    """Let a signal end a poll(): the descriptor given can be read then. Python's handlers run between bytecodes, so the handler of a
    signal that comes just before the poll would else have to wait for the poll's end."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    poller.register(reading, select.POLLIN)
    try:
        yield reading
    finally:
        poller.unregister(reading)
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


class Session:
    """Moves bytes between us and a container until *output* ends, or until the detach keys are typed.

    *output* yields (stream, data) and ends with the container. *stdin* is where typed bytes go, None for nowhere; *end_of_input*
    is called when ours ends. *streams* are those that the user wants to see.
    """

    def __init__(
        self,
        output: Iterable[tuple[str, bytes]],
        *,
        stdin: int | None = None,
        end_of_input: Callable[[], object] = lambda: None,
        keys: DetachKeys | None = None,
        streams: frozenset[str] = frozenset(["stdout", "stderr"]),
    ) -> None:
        self.output, self.stdin, self.end_of_input, self.keys, self.streams = output, stdin, end_of_input, keys, streams
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Return when the output has ended. Detached, ReaderGone, or what *output* raised."""
        ended, tell = os.pipe2(os.O_CLOEXEC)
        worker = threading.Thread(target=self._bring_output, args=[tell], daemon=True)
        worker.start()
        poller = select.poll()
        poller.register(ended, select.POLLIN)
        if self.stdin is not None:
            poller.register(STDIN, select.POLLIN)
        with woken_by_signals(poller) as woken:
            while True:
                ready = [fd for fd, _ in poller.poll()]
                if ended in ready:
                    break
                if woken in ready:
                    os.read(woken, 4096)  # the handlers have run by now
                if STDIN in ready and not self._bring_input():
                    poller.unregister(STDIN)
        if self.failure is not None:
            raise self.failure

    def _bring_output(self, tell: int) -> None:
        try:
            for stream, data in self.output:
                if stream in self.streams:
                    write_all(STDERR if stream == "stderr" else STDOUT, data)
        except BaseException as error:  # it is raised again in the main thread
            self.failure = error
        os.close(tell)

    def _bring_input(self) -> bool:
        """Pass on what was typed. False: there is no more to come."""
        assert self.stdin is not None
        try:
            data = os.read(STDIN, _CHUNK)
        except OSError:  # our terminal is gone
            data = b""
        passed, leaving = self.keys.feed(data) if self.keys is not None else (data, False)
        try:
            write_all(self.stdin, passed)
        except OSError:  # EPIPE, EIO: the container has closed its input
            return False
        if leaving:
            raise Detached
        if not data:
            self.end_of_input()
        return bool(data)


class TerminalOutput:
    """What comes out of a pty until the process that *wait* waits for has ended, and everything it wrote has been read.

    A background child may keep the terminal open for ever, so the terminal's own end would not do.
    """

    def __init__(self, master: int, wait: Callable[[], int]) -> None:
        self.master, self.wait = master, wait
        self.code = 0
        self.ended, self.tell = os.pipe2(os.O_CLOEXEC)
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self) -> None:
        self.code = self.wait()
        os.close(self.tell)

    def exit_code(self) -> int:
        """The exit code, as soon as there is one."""
        self.watcher.join()
        return self.code

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        poller = select.poll()
        poller.register(self.master, select.POLLIN)
        poller.register(self.ended, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poller.poll()]
            if self.master not in ready:
                return
            try:
                data = os.read(self.master, _CHUNK)
            except OSError:  # EIO: no process has the terminal any more
                return
            if not data:
                return
            yield "stdout", data
