"""One container, and the verbs that Docker has for it."""

from __future__ import annotations

import contextlib
import os
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from minidocker.engine import bundle, trace
from minidocker.engine.attachment import Attachment
from minidocker.engine.container_exec import ContainerExec
from minidocker.engine.container_resources import ContainerResources
from minidocker.engine.options import check_name, parse_signal
from minidocker.engine.record import ContainerRecord
from minidocker.errors import Conflict, ContainerNotFound, WrongStatus
from minidocker.runtime import lock
from minidocker.runtime.container import Handle

if TYPE_CHECKING:
    from minidocker.engine.engine import Engine


class Container(ContainerExec, ContainerResources):
    """A container of *engine*. Cheap to make; every question is answered from the present."""

    def __init__(self, engine: Engine, record: ContainerRecord) -> None:
        super().__init__(engine, record)
        self._created: Handle | None = None  # between the runtime's create (by attach) and its start

    # -- its life ------------------------------------------------------------------------------------------------------

    def _runtime_create(self, *, stdin: str, start: bool = False, removes: bool = False) -> Handle:
        """The runtime's `create`, and with *start* its `start`; the steps of the monitor and of init become trace records."""
        if not self.home.is_dir():
            raise ContainerNotFound(f"No such container: {self.name}")
        if bundle.joins_others(self.record):
            bundle.update_namespaces(self.record, self.home, self._running_state)
        bundle.check_sources(self.record)
        self._listener = trace.Listener()
        try:
            return self.engine.runtime.create(
                self.id,
                str(self.home),
                stdin=stdin,
                trace=self._listener.fd,
                start=start,
                owned=not start,
                removes=removes,
                events=self.event_attributes,
            )
        except BaseException:
            self._listener.close()
            raise
        finally:
            self._listener.flush()

    def _running_state(self, name: str) -> dict[str, Any]:
        """The state of a container whose namespaces we shall join."""
        donor = self.engine.containers.get(name)
        if self.record.ipc_mode == f"container:{name}" and donor.record.ipc_mode not in ("shareable", "host"):
            raise Conflict(f"cannot join IPC of container {name}: non-shareable IPC", hint="start that one with --ipc shareable")
        state = donor.state
        if state["status"] != "running":
            words = f"cannot join the namespaces of container {name}: it is not running"
            raise WrongStatus(words, status=state["status"], needed="running")
        return state

    def start(self) -> None:
        """Run it. Running already is fine. SyscallError: a step failed, perhaps the command (ENOENT, EACCES). WrongStatus: it is paused."""
        if self._created is not None:  # `attach` has done the runtime's create, and keeps the handle
            handle, self._created = self._created, None
            try:
                handle.start()
            finally:
                self._listener.close()
            return
        with self.locked():  # of two at once the second finds it running
            status = self.status
            if status == "paused":
                words = "cannot start a paused container, try unpause instead"
                raise WrongStatus(words, status=status, needed="running", hint=f"minidocker unpause {self.name}")
            if status != "running":
                self._start().close()

    def _start(self, *, removes: bool = False) -> Handle:
        handle = self._runtime_create(stdin="open" if self.record.stdin_open else "", start=True, removes=removes)
        self._listener.close()
        return handle

    def start_attached(self) -> Attachment:
        """Run it with us attached to its output from the first byte on, in one step: for who has no input for it."""
        position = self._log_size()
        with self.locked():
            handle = self._start(removes=self.record.auto_remove)
        return Attachment(self, handle, position, stdin=False)

    def _log_size(self) -> int:
        return os.stat(self.log_path).st_size if self.log_path.exists() else 0

    def attach(self, *, stdin: bool = False) -> Attachment:
        """A connection to its output from now on, and to its stdin if asked. WrongStatus: it has ended while we came.

        One that is not running is created by the runtime, and waits for `start`.
        """
        position = self._log_size()
        if self.status in ("running", "paused"):
            handle = self.engine.runtime.connect(self.id)
            if self.record.auto_remove:
                handle.will_remove()  # who is there at the end removes it; if we are not, the monitor sees to it
        else:
            mode = "" if not self.record.stdin_open else "once" if stdin else "open"
            with self.locked():
                handle = self._created = self._runtime_create(stdin=mode, removes=self.record.auto_remove)
        return Attachment(self, handle, position, stdin=stdin and self.record.stdin_open)

    def kill(self, signal: str | int = "KILL") -> None:
        """Send a signal to its first process. WrongStatus: it does not run.

        A paused one hears it when it goes on; for SIGKILL and its stop signal that is now, as in Docker."""
        number = parse_signal(signal)
        self.engine.runtime.kill(self.id, str(self.home), number)
        if number in (SIGKILL, self.record.stop_signal):
            self.thaw()
        self.tell("kill", signal=str(number))

    def stop(self, timeout: float | None = None, *, signal: str | int | None = None) -> None:
        """Ask it to end (its stop signal), and kill it after *timeout* seconds (its own by default; -1: never). Not running is fine."""
        if self.status not in ("running", "paused"):
            return
        patience = self.record.stop_timeout if timeout is None else timeout
        try:
            handle = self.engine.runtime.connect(self.id)
        except WrongStatus:
            return
        try:
            self.kill(self.record.stop_signal if signal is None else signal)
            if handle.wait(None if patience < 0 else patience) is None:
                self.kill("KILL")
                handle.wait()
        except WrongStatus:
            return  # it ended between two questions
        finally:
            handle.close()
        self.tell("stop")

    def restart(self, timeout: float | None = None, *, signal: str | int | None = None) -> None:
        """Stop it, and start it again."""
        self.stop(timeout, signal=signal)
        self.start()
        self.tell("restart")

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, as soon as it has ended; 0 for one that was never started, as Docker. TimeoutError after *timeout* seconds."""
        try:
            handle = self.engine.runtime.connect(self.id)
        except WrongStatus:
            return int(self.exit_code or 0)
        try:
            code = handle.wait(timeout)
        finally:
            handle.close()
        if code is None:
            raise TimeoutError(f"container {self.name} still runs after {timeout} s")
        return code

    def remove(self, *, force: bool = False) -> None:
        """Remove it with all it wrote. WrongStatus: it runs, and not *force* (which kills it). ContainerNotFound: it is gone already."""
        if self._created is not None:
            self._created.close()
            self._created = None
            self._listener.close()
            self._end_created()
        while True:
            if self.status in ("running", "paused"):
                if not force:
                    message = f"cannot remove container {self.name!r}: container is running"
                    hint = f"stop it first, or use force: minidocker rm -f {self.name}"
                    raise WrongStatus(message, status="running", needed="stopped", hint=hint)
                self.stop(0, signal="KILL")
            try:
                held = lock.take(f"{self.home}/lock") if self.home.is_dir() else -1
            except FileNotFoundError:
                held = -1
            except BlockingIOError:  # created and waiting, or just ending: its monitor lets go of the lock when it is done
                self._end_created()
                continue
            break
        try:
            try:
                self.engine.store.find(self.id)
            except ContainerNotFound:  # another was faster; but our lock file may have come into a directory that it was just removing
                self.engine.remove_home(self.id)
                raise
            self.engine.store.remove(self.id)
            trace.step(f"the container no longer exists: {self.name}")
            self.engine.runtime.sweep(self.id, self.cgroup)
            self.engine.remove_home(self.id)
            self.tell("destroy")
        finally:
            if held >= 0:
                os.close(held)

    def _end_created(self) -> None:
        """End a first process that still waits for `start`, or wait for one that is just ending."""
        try:
            handle = self.engine.runtime.connect(self.id)
        except WrongStatus:
            with contextlib.suppress(FileNotFoundError):  # it was somebody who removes it
                os.close(lock.take(f"{self.home}/lock", wait=True))  # its monitor is on its way out: wait for that
            return
        try:
            self.kill("KILL")
            handle.wait()
        except WrongStatus:
            return
        finally:
            handle.close()

    def rename(self, new_name: str) -> None:
        """Give it another name. NameInUse; SpecError: not a name."""
        old_name = self.name
        self.record = self.engine.store.rename(self.record, check_name(new_name))
        with contextlib.suppress(WrongStatus):
            handle = self.engine.runtime.connect(self.id)
            handle.will_be_called(self.event_attributes)
            handle.close()
        self.tell("rename", oldName=f"/{old_name}")
