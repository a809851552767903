"""What happened to the containers: read from the engine's log of events, and followed as it grows.

    for event in engine.events(since=time.time() - 60, follow=False): print(event.action, event.attributes["name"])
    with engine.events(filters={"event": ["oom", "die"]}) as events: next(events)          # waits

Who writes is whoever did it: the engine (create, kill, destroy, ...), and the container's monitor (start, oom, die), which outlives it.
Man page: inotify(7). The same from a shell: tail -F /run/NAME/events/log.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from minidocker.errors import SpecError
from minidocker.linux import syscalls
from minidocker.runtime import events as log

if TYPE_CHECKING:
    from fractions import Fraction

Filters = Mapping[str, list[str]]
FILTERS = ("container", "event", "image", "label", "type")


class Event(NamedTuple):
    """One thing that happened. *time* in nanoseconds since 1970; *attributes* has the container's name, image and labels, and more."""

    time: int
    type: str
    action: str
    id: str
    attributes: dict[str, str]


class Events:
    """The events from *since* until *until* (seconds since 1970), and on as they happen; an iterator.

    Without *since*: those that happen from now on. Without *follow*, or with an *until* that is over: those that were.
    SpecError: there is no such filter.
    """

    def __init__(
        self,
        run: str,
        *,
        since: Fraction | float | None = None,
        until: Fraction | float | None = None,
        filters: Filters | None = None,
        follow: bool = True,
    ) -> None:
        self.filters = dict(filters or {})
        for name in self.filters:
            if name not in FILTERS:
                raise SpecError(f"invalid filter '{name}'", hint=f"there are {', '.join(FILTERS)}")
        self._until = until
        self._follow = follow and (until is None or until > time.time())
        self._files = _Files(log.log_path(run))
        self._waiting: deque[Event] = deque()
        self._inotify = self._files.watch() if self._follow else -1
        past = self._files.read()
        if since is not None or not self._follow:
            self._waiting.extend(event for event in past if since is None or event.time >= since * 10**9)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """The next event; waits for it if we follow. StopIteration: there will be no more."""
        while True:
            while self._waiting:
                event = self._waiting.popleft()
                if (self._until is None or event.time <= self._until * 10**9) and matches(event, self.filters):
                    return event
            if not self._follow or not self._wait():
                self.close()
                raise StopIteration
            self._waiting.extend(self._files.read())

    def _wait(self) -> bool:
        """Block until the log has changed. False: the time is over."""
        poller = select.poll()
        poller.register(self._inotify, select.POLLIN)
        left = None if self._until is None else max(0.0, self._until - time.time())
        if not poller.poll(None if left is None else left * 1000 + 1):
            return False
        os.read(self._inotify, 1 << 16)
        return True

    def fileno(self) -> int:
        """For poll(2): readable when the log has changed."""
        return self._inotify

    def close(self) -> None:
        self._follow = False
        self._files.close()
        if self._inotify >= 0:
            os.close(self._inotify)
            self._inotify = -1

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Files:
    """The log, and what was the log before it was renamed: a slow writer may still be at that one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.open: dict[int, tuple[int, bytes]] = {}  # inode -> descriptor, the beginning of a line whose end has not come

    def watch(self) -> int:
        """An inotify descriptor for the directory, which is made if there was no event yet."""
        directory = os.path.dirname(self.path)
        os.makedirs(directory, mode=0o750, exist_ok=True)
        fd = syscalls.inotify_init1()
        syscalls.inotify_add_watch(fd, directory, syscalls.IN_MODIFY | syscalls.IN_CREATE | syscalls.IN_MOVED_TO)
        return fd

    def read(self) -> list[Event]:
        """Every event that was written since the last call."""
        current = self._look()
        found = []
        for inode, (fd, rest) in list(self.open.items()):
            while data := os.read(fd, 1 << 16):
                rest += data
            *lines, rest = rest.split(b"\n")
            found += [event for line in lines for event in parse(line)]
            self.open[inode] = (fd, rest)
            if inode not in current:
                os.close(self.open.pop(inode)[0])
        return sorted(found, key=lambda event: event.time)  # several write: a later line may be an earlier event

    def _look(self) -> set[int]:
        """Open the files that have come; the inodes of those that are there. The log first: it may become the other one meanwhile."""
        current = set()
        for path in (self.path, f"{self.path}.1"):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            inode = os.fstat(fd).st_ino
            current.add(inode)
            if inode in self.open:
                os.close(fd)
            else:
                self.open[inode] = (fd, b"")
        return current

    def close(self) -> None:
        for fd, _ in self.open.values():
            os.close(fd)
        self.open.clear()


def parse(line: bytes) -> list[Event]:
    """The event of one line; none if a killed writer, or a full disk, left only a part of it."""
    try:
        found = json.loads(line)
        return [Event(int(found["time"]), str(found["type"]), str(found["action"]), str(found["id"]), dict(found["attributes"]))]
    except (ValueError, KeyError, TypeError):
        return []


def matches(event: Event, filters: Filters) -> bool:
    """Every filter must fit, with any of its values."""
    name, image = event.attributes.get("name", ""), event.attributes.get("image", "")

    def fits(key: str, value: str) -> bool:
        if key == "container":
            return value in (name, event.id) or (len(value) >= 2 and event.id.startswith(value))
        if key == "event":
            return event.action.partition(":")[0] == value
        if key == "image":
            return value in (image, image.removesuffix(":latest"))
        if key == "label":
            label, equals, wanted = value.partition("=")
            return label in event.attributes and (not equals or event.attributes[label] == wanted)
        return event.type == value

    return all(any(fits(key, value) for value in values) for key, values in filters.items())
