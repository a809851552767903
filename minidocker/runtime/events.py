"""What happened to the engine's containers: one JSON object a line in a small log that every process of the engine appends to.

Interface: write(run, action, id, attributes), log_path(run). Reading and following: engine/events.py.
{"time": nanoseconds, "type": "container", "action": "die", "id": "...", "attributes": {"name": "web", "exitCode": "137"}}
A line is one write(2) with O_APPEND: the kernel keeps those of several processes apart. When the file has grown large it is renamed,
and a new one begins; what a slow writer still appends to the old one is read there. A reader who is two files behind has lost one.
"""

from __future__ import annotations

import json
import os
import time

from minidocker.runtime import lock

LARGE = 1 << 20  # bytes: some thousand events


def log_path(run: str) -> str:
    """The log of the engine whose runtime directory is *run*; beside it, with .1 at the end, what was written before it."""
    return f"{run}/events/log"


def write(run: str, action: str, container_id: str, attributes: dict[str, str]) -> None:
    """Append one event, as of now. A full disk loses it, and nothing else."""
    line = {"time": time.time_ns(), "type": "container", "action": action, "id": container_id, "attributes": attributes}
    path = log_path(run)
    try:
        fd = open_log(path)
        try:
            os.write(fd, json.dumps(line).encode() + b"\n")
            large = os.fstat(fd).st_size > LARGE
        finally:
            os.close(fd)
        if large:
            rotate(path)
    except OSError:
        return


def open_log(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o640)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        return os.open(path, flags, 0o640)


def rotate(path: str) -> None:
    """Begin a new file, unless another process is doing it, or has done it."""
    try:
        held = lock.take(f"{path}.lock")
    except BlockingIOError:
        return
    try:
        if os.stat(path).st_size > LARGE:
            os.rename(path, f"{path}.1")
    except FileNotFoundError:
        return
    finally:
        os.close(held)
