"""Being at a container: its output from the moment of attaching on, and its stdin or terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from minidocker.engine.output import Selection, follow
from minidocker.runtime import log
from minidocker.runtime.container import Handle

if TYPE_CHECKING:
    from minidocker.engine.container import Container


class Attachment:
    """`fd` is the write end of the container's stdin, or its terminal's master (for its size, without *stdin* too); else None."""

    def __init__(self, container: Container, handle: Handle, position: int, *, stdin: bool) -> None:
        self.container, self._handle, self._position = container, handle, position
        self.fd = handle.attach_stdin() if stdin or container.record.tty else None

    def output(self) -> Iterator[tuple[str, bytes]]:
        """(stream, bytes) as it comes, until the container ends."""
        return follow(log.Reader(str(self.container.log_path), self._position), Selection(), self._handle)

    def feed(self, data: bytes) -> None:
        """Write all of *data* to its stdin, and end that. A container that does not read it is fine."""
        assert self.fd is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except BrokenPipeError:
            pass
        self.close_stdin()

    def close_stdin(self) -> None:
        """End of input. A terminal has none: there the user types ctrl-D."""
        if self.fd is not None and not self.container.record.tty:
            os.close(self.fd)
            self.fd = None
            self._handle.end_stdin()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        code = self._handle.wait()
        assert code is not None
        return code

    def close(self) -> None:
        """Leave; the container goes on."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
        self._handle.close()

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
