"""What the engine's processes did to the machine, as log records: each step with the shell command that does the same.

Interface: the logger called NAME, step(text, shell), Listener: a descriptor for a request, whose lines become records.
Nothing is traced unless the logger is enabled for DEBUG: a start pays nothing then.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

NAME = "minidocker.trace"
_ROOM = 1 << 20  # bytes that the pipe can hold: all steps of a start, so nobody waits for the reader


def step(text: str, shell: str = "", who: str = "engine") -> None:
    """One step: a record at DEBUG with the message "who: text" and the attribute `shell`."""
    if (logger := _listening()) is not None:
        logger.debug("%s: %s", who, text, extra={"shell": shell})


def _listening() -> logging.Logger | None:
    """The logger, if it is heard. Where nobody has imported `logging` nobody can hear it: so a command need not wait for that import."""
    if "logging" not in sys.modules:
        return None
    import logging

    logger = logging.getLogger(NAME)
    return logger if logger.isEnabledFor(logging.DEBUG) else None


class Listener:
    """The reading end of a trace. `fd` goes along with a request; `flush` makes records of what has come; -1 if nobody listens."""

    def __init__(self) -> None:
        self.fd = self._reading = -1
        self._rest = b""
        if _listening() is not None:
            self._reading, self.fd = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._reading, False)
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _ROOM)

    def flush(self) -> None:
        while self._reading >= 0:
            try:
                data = os.read(self._reading, _ROOM)
            except BlockingIOError:
                return
            if not data:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                record = json.loads(line)
                step(record["step"], record["shell"], record["who"])

    def close(self) -> None:
        """Read what is left and stop listening: the writers notice and go on without."""
        self.flush()
        for fd in (self.fd, self._reading):
            if fd >= 0:
                os.close(fd)
        self.fd = self._reading = -1
