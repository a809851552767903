"""``--explain``: each kernel step as it happens, beside the shell command that does the same."""

from __future__ import annotations

import logging
import re
import sys
from types import TracebackType

_STEP_WIDTH = 56  # a longer step has its command on the next line, so that all commands stand in one column
_CONTAINER = re.compile(r"containers/([0-9a-f]{64})")
_LONG_ID = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}")


class Explain(logging.Handler):
    """While this is entered, the engine's trace goes to stderr. The engine traces only what is created and started meanwhile.

    The container's id stands as $ID in the commands, and what $ID is comes first: so they stay exact and can be read.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.logger = logging.getLogger("minidocker.trace")
        self.container_id = ""

    def emit(self, record: logging.LogRecord) -> None:
        who, _, step = record.getMessage().partition(": ")
        shell = str(getattr(record, "shell", ""))
        if not self.container_id and (found := _CONTAINER.search(shell)):
            self.container_id = found[1]
            self._write("", "the container's id", f"ID={self.container_id}")
        if self.container_id:
            shell = shell.replace(self.container_id, "$ID")
        self._write(who, _LONG_ID.sub(r"\1", step), shell)

    def _write(self, who: str, step: str, shell: str) -> None:
        line = f"{who:<8} {step}"
        gap = "\n" + " " * _STEP_WIDTH if len(line) >= _STEP_WIDTH else " " * (_STEP_WIDTH - len(line))
        sys.stderr.write(f"{line}{gap}# {shell}\n" if shell else f"{line}\n")
        sys.stderr.flush()

    def __enter__(self) -> Explain:
        self.before = self.logger.level, self.logger.propagate
        self.logger.addHandler(self)
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.logger.removeHandler(self)
        level, self.logger.propagate = self.before
        self.logger.setLevel(level)
