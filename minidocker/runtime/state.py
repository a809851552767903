"""The small files in which a monitor says how its container fares, and how they are written and read whole.

Interface: write_json, read_file, exit_code, ENDINGS, OCI_VERSION, and the two annotations by which a bundle asks for what is ours.
"""

from __future__ import annotations

import json
import os

OCI_VERSION = "1.2.0"
OVERLAY_ANNOTATION = "minidocker.overlay"  # {"lower": [...], "upper", "work"} as JSON; without it root.path is bound as it is
INIT_ANNOTATION = "minidocker.init"  # "true": stay pid 1 and reap
ENDINGS = (".sock", ".json", ".json.tmp")  # what a container has in the runtime directory: socket, state, the next state


def exit_code(status: int) -> int:
    """A wait(2) status as a shell has it: 128 + the signal that killed it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def read_file(path: str) -> bytes:
    """A whole file. OSError as open(2) has it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(fd, 1 << 16):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def write_json(path: str, value: object, *, visible: bool = True) -> None:
    """Replace a file in one step: a reader sees the old or the new, never a half. Not *visible*: the caller renames it."""
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, json.dumps(value).encode())
    finally:
        os.close(fd)
    if visible:
        os.rename(temporary, path)
