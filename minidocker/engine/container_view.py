"""A container as one may look at it: what it is, how it fares, what it has written."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidocker.engine import bundle
from minidocker.engine.output import Selection, follow, past
from minidocker.engine.record import ContainerRecord
from minidocker.errors import ContainerNotFound, MissingFeature, SyscallError, WrongStatus
from minidocker.linux import cgroups
from minidocker.runtime import events, lock, log, state
from minidocker.runtime.container import KILLED

if TYPE_CHECKING:
    from fractions import Fraction

    from minidocker.engine.engine import Engine


class ContainerView:
    """A container of *engine*, made as *record* says. Cheap to make; every question is answered from the present."""

    def __init__(self, engine: Engine, record: ContainerRecord) -> None:
        self.engine, self.record = engine, record

    def __repr__(self) -> str:
        return f"<Container {self.name}>"

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def short_id(self) -> str:
        return self.record.id[:12]

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def image(self) -> str:
        return self.record.image

    @property
    def command(self) -> list[str]:
        return self.record.args

    @property
    def labels(self) -> dict[str, str]:
        return self.record.labels

    @property
    def created(self) -> str:
        return self.record.created

    @property
    def home(self) -> Path:
        """The container's directory: the OCI bundle, what it wrote, its log."""
        return self.engine.paths.containers / self.id

    @property
    def log_path(self) -> Path:
        return self.home / log.NAME

    @property
    def cgroup(self) -> str:
        """The name of its cgroup, below the mount point of each hierarchy."""
        return bundle.cgroup_name(self.engine.paths, self.id)

    # -- how it fares --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """The OCI state, or "dead" if its files are gone. If its monitor was killed, the truth is written now: the end is 137."""
        try:
            found = self.engine.runtime.state(self.id, str(self.home))
        except ContainerNotFound:
            return {"id": self.id, "status": "dead", "bundle": str(self.home)}
        if found["status"] == "stopped" and self.engine.runtime.has_leftovers(self.id):
            self._settle()
        return found

    def _settle(self) -> None:
        """Finish what a killed monitor could not: kill what is left, and write down the end."""
        try:
            held = lock.take(f"{self.home}/lock")
        except (BlockingIOError, FileNotFoundError):  # started or removed this moment: then there is nothing to settle
            return
        try:
            path = self.engine.runtime.state_path(self.id)
            started = ""
            if os.path.exists(path):
                started = json.loads(Path(path).read_bytes()).get("startedAt", "")
            self.engine.runtime.sweep(self.id, self.cgroup)
            if started and self._end().get("startedAt") != started:
                end = {"exitCode": KILLED, "startedAt": started, "finishedAt": log.timestamp(time.time_ns())}
                state.write_json(f"{self.home}/exit.json", {**end, "error": "the container's monitor was killed"})
                self.tell("die", exitCode=str(KILLED))
        finally:
            os.close(held)

    def _end(self) -> dict[str, Any]:
        """exit.json, {} if it has not ended yet."""
        try:
            content = (self.home / "exit.json").read_bytes()
        except FileNotFoundError:
            return {}
        return dict(json.loads(content)) if content else {"exitCode": KILLED, "error": "the machine stopped"}

    @property
    def status(self) -> str:
        """created, running, paused, exited; "dead" if its files are gone."""
        status = str(self.state["status"])
        if status in ("stopped", "creating"):  # creating: its monitor is just beginning, or just ending
            return "exited" if self._end() else "created"
        return "paused" if status == "running" and self.is_paused() else status

    def is_paused(self) -> bool:
        """Is its cgroup frozen? The kernel knows; no file of ours says it."""
        from minidocker.linux.cgroups import freezer

        try:
            return freezer.is_frozen(cgroups.open_cgroup(self.cgroup))
        except (SyscallError, MissingFeature):  # the cgroup is gone: it has ended this moment
            return False

    @property
    def pid(self) -> int:
        """The first process's pid on the host; 0 if none runs."""
        found = self.state
        return int(found["pid"]) if found["status"] == "running" else 0

    @property
    def exit_code(self) -> int | None:
        """None as long as it has not ended."""
        return None if self.state["status"] == "running" else self._end().get("exitCode")

    @property
    def error(self) -> str:
        """Why it ended, if that was not its own doing."""
        return str(self._end().get("error", ""))

    @property
    def oom_killed(self) -> bool:
        """Has the kernel killed a process of it, in its last run, because there was no memory?"""
        if self.state["status"] != "running":
            return bool(self._end().get("oomKilled"))
        from minidocker.linux.cgroups import memory

        try:
            return bool(memory.events(cgroups.open_cgroup(self.cgroup)).oom_kill)
        except (SyscallError, MissingFeature):
            return False

    @property
    def started_at(self) -> str:
        """When it was last started, "" if never."""
        return str(self.state.get("startedAt") or self._end().get("startedAt", ""))

    @property
    def finished_at(self) -> str:
        return "" if self.state["status"] == "running" else str(self._end().get("finishedAt", ""))

    def reload(self) -> None:
        """Read the record again, for a name that was changed elsewhere. ContainerNotFound: it was removed."""
        self.record = self.engine.store.find(self.id)

    # -- its output ----------------------------------------------------------------------------------------------------

    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        since: Fraction | float | None = None,
        until: Fraction | float | None = None,
        tail: int | None = None,
        timestamps: bool = False,
    ) -> bytes:
        """What it has written so far. *since*, *until*: seconds of the epoch; *tail*: only so many lines at the end."""
        selection = Selection(stdout, stderr, since, until, tail, timestamps)
        return b"".join(data for _, data in past(log.Reader(str(self.log_path)), selection))

    def follow(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        since: Fraction | float | None = None,
        until: Fraction | float | None = None,
        tail: int | None = None,
        timestamps: bool = False,
        wait: bool = True,
    ) -> Iterator[tuple[str, bytes]]:
        """As `logs`, as (stream, bytes), and on as it writes, until it ends; without *wait* only what is there."""
        selection = Selection(stdout, stderr, since, until, tail, timestamps)
        try:
            handle = self.engine.runtime.connect(self.id) if wait else None
        except WrongStatus:
            handle = None
        if handle is None:
            yield from past(log.Reader(str(self.log_path)), selection)
            return
        try:
            yield from follow(log.Reader(str(self.log_path)), selection, handle)
        finally:
            handle.close()

    # -- what happened to it -----------------------------------------------------------------------------------------------

    @property
    def event_attributes(self) -> dict[str, str]:
        """What every event of it says of it."""
        return {**self.labels, "image": self.image, "name": self.name}

    def tell(self, action: str, **more: str) -> None:
        """Write an event."""
        events.write(str(self.engine.paths.run), action, self.id, {**self.event_attributes, **more})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold its config.json: who starts it, and who changes it, do so one after the other. ContainerNotFound: it is gone."""
        while True:
            try:
                held = lock.take(f"{self.home}/config.json", wait=True)
            except FileNotFoundError:
                raise ContainerNotFound(f"No such container: {self.name}") from None
            if os.fstat(held).st_nlink:
                break
            os.close(held)  # replaced while we waited
        try:
            yield
        finally:
            os.close(held)
