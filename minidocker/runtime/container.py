"""One container, as the OCI runtime-spec's lifecycle has it, seen by whoever drives it.

Interface: Runtime(run): create(id, bundle) -> Handle, connect(id), state(id, bundle), kill(id, ...), delete(id, bundle), exec(...).
A Handle is a connection to the container's monitor: start() wait() attach() wait_for_output(). Any process may open one.
Spec: runtime-spec runtime.md. Notebook: 20_life.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time

from minidocker.errors import ContainerNotFound, MinidockerError, SyscallError, WrongStatus
from minidocker.linux import cgroups, process, syscalls
from minidocker.runtime import hire, lock, state, sync

KILLED = 128 + signal.SIGKILL


class Handle:
    """A connection to a monitor. Close it when done; the container does not care."""

    def __init__(self, channel: sync.Channel) -> None:
        self.channel = channel
        self.exit_code: int | None = None

    def _ask(self, message: sync.Message, answer_key: str) -> tuple[sync.Message, list[int]]:
        self._tell(message)
        while True:
            answer, fds = self.channel.receive()
            if answer is None:
                raise WrongStatus("the container's monitor has gone", status="stopped", needed="running")
            sync.raise_error(answer)
            if "exited" in answer:
                self.exit_code = answer["exited"]
                raise WrongStatus("the container has ended", status="stopped", needed="running")
            if answer_key in answer:
                return answer, fds

    def _tell(self, message: sync.Message) -> None:
        try:
            self.channel.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise WrongStatus("the container has ended", status="stopped", needed="running") from None

    def start(self) -> int:
        """Let the created process execute the command; returns its pid. SyscallError: execve failed, with its errno."""
        answer, _ = self._ask({"start": True}, "started")
        return int(answer["started"])

    def attach_stdin(self) -> int | None:
        """The write end of the container's stdin, or its terminal's master: ours to close. None: it has no stdin."""
        _, fds = self._ask({"attach": True}, "attached")
        return fds[0] if fds else None

    def end_stdin(self) -> None:
        """The monitor closes its copy too (the caller has closed its own): the container reads the end of its input."""
        with contextlib.suppress(WrongStatus):
            self._tell({"stdin_eof": True})

    def will_remove(self) -> None:
        """Promise to remove the container after its end, so that the monitor need not see to it. WrongStatus: it has ended."""
        self._tell({"removes": True})

    def will_be_called(self, attributes: dict[str, str]) -> None:
        """Have the monitor write these attributes into its events from now on: the container was renamed. WrongStatus: it has ended."""
        self._tell({"events": attributes})

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, once the container has ended and its cgroup is gone; 137 if its monitor was killed. None: *timeout* is over."""
        if self.exit_code is None and timeout is not None:
            return self._wait_until(timeout)
        while self.exit_code is None:
            answer, _ = self.channel.receive()
            self._note(answer)
        return self.exit_code

    def _wait_until(self, timeout: float) -> int | None:
        deadline = time.monotonic() + timeout
        while self.exit_code is None:
            left = deadline - time.monotonic()
            if left <= 0 or not self.wait_for_output(left):
                return self.exit_code
        return self.exit_code

    def wait_for_output(self, timeout: float | None = None) -> bool:
        """Block until the log has grown or the container has ended (`exit_code` is set then). False: *timeout* seconds have passed."""
        poller = select.poll()
        poller.register(self.channel.fileno(), select.POLLIN)
        if not poller.poll(None if timeout is None else timeout * 1000):
            return False
        answer, _ = self.channel.receive_any()
        if answer is not sync.RING:
            self._note(answer)
        return True

    def _note(self, answer: sync.Message | None) -> None:
        if answer is None:
            self.exit_code = KILLED
        elif "exited" in answer:
            self.exit_code = int(answer["exited"])

    def close(self) -> None:
        self.channel.close()


class Exec:
    """A process started in a running container. `fd` is its terminal's master if it has one (ours to close)."""

    def __init__(self, channel: sync.Channel, pid: int, fd: int | None) -> None:
        self.channel, self.pid, self.fd = channel, pid, fd

    def wait(self) -> int:
        """Its exit code; 137 if its monitor was killed."""
        answer, _ = self.channel.receive()
        self.channel.close()
        return KILLED if answer is None else int(answer["exited"])


class Runtime:
    """The containers of one engine, by its runtime directory *run* (state lives in run/containers/ID.json)."""

    def __init__(self, run: str) -> None:
        self.run = run

    def create(
        self,
        container_id: str,
        bundle: str,
        *,
        stdin: str = "",
        trace: int = -1,
        start: bool = False,
        owned: bool = False,
        removes: bool = False,
        events: dict[str, str] | None = None,
    ) -> Handle:
        """The spec's `create`: everything is made and the first process waits for `start`; with *start* it does not wait.

        *bundle*: absolute path of a directory with config.json. *stdin*: "", "once" or "open". *trace*: a descriptor
        that gets each step as a JSON line. *owned*: if we close the handle or die before the start, so does the first
        process. *removes*: as `Handle.will_remove`. *events*: attributes for the monitor's events; None: it writes none.
        SyscallError with the step that failed; WrongStatus: it is running.
        """
        message = {"verb": "create", "id": container_id, "bundle": bundle, "run": self.run, "stdin": stdin, "events": events}
        channel, _, _ = self._ask({**message, "start": start, "owned": owned, "removes": removes}, [trace] if trace >= 0 else [])
        return Handle(channel)

    def _ask(self, message: sync.Message, fds: list[int]) -> tuple[sync.Channel, sync.Message, list[int]]:
        """Send a request to a fresh monitor: the connection, its first answer, and what came with that. Raises the error it tells."""
        channel = hire.connect(self.run)
        try:
            channel.send(message, fds)
            answer, received = channel.receive()
            if answer is None:
                raise MinidockerError("the monitor was killed while it started", hint="try again")
            sync.raise_error(answer)
        except BaseException:
            channel.close()
            raise
        return channel, answer, received

    def connect(self, container_id: str) -> Handle:
        """A connection to the monitor of a created or running container. WrongStatus: it is neither."""
        try:
            return Handle(sync.connect(f"{self.run}/containers/{container_id}.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            raise WrongStatus(f"container {container_id[:12]} is not running", status="stopped", needed="running") from None

    def state(self, container_id: str, bundle: str) -> sync.Message:
        """The spec's `state`: ociVersion id status pid bundle, and startTime monitorPid startedAt of ours.

        The lock tells whether a monitor lives, whatever the files say: status is "stopped" without one.
        """
        if not os.path.isdir(bundle):
            raise ContainerNotFound(f"no such container: {container_id[:12]}")
        stopped = {"ociVersion": state.OCI_VERSION, "id": container_id, "status": "stopped", "bundle": bundle}
        if not lock.is_held(f"{bundle}/lock"):
            return stopped
        try:
            return dict(json.loads(state.read_file(self.state_path(container_id))))
        except FileNotFoundError:
            return {**stopped, "status": "creating"}  # or just ended: in both cases there is no process to show

    def state_path(self, container_id: str) -> str:
        """Where the monitor writes the state."""
        return f"{self.run}/containers/{container_id}.json"

    def has_leftovers(self, container_id: str) -> bool:
        """Are there files of a monitor? Without a living one they say that one was killed."""
        return any(os.path.lexists(f"{self.run}/containers/{container_id}{ending}") for ending in state.ENDINGS)

    def kill(self, container_id: str, bundle: str, number: int) -> None:
        """The spec's `kill`: send signal *number* to the container's first process. WrongStatus: there is none."""
        state = self.state(container_id, bundle)
        if state["status"] not in ("created", "running"):
            raise WrongStatus(f"container {container_id[:12]} is not running", status=state["status"], needed="running")
        try:
            pidfd = syscalls.pidfd_open(state["pid"])
        except SyscallError:
            return  # it has ended this moment
        try:
            if process.is_same(state["pid"], state["startTime"]):
                signal.pidfd_send_signal(pidfd, number)
                syscalls.trace(f"send signal {number} to process {state['pid']}", f"kill -{number} {state['pid']}")
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)

    def delete(self, container_id: str, bundle: str, cgroup: str) -> None:
        """The spec's `delete`: remove what a killed monitor may have left. WrongStatus: the container is not stopped.

        The bundle is the caller's. A second call does nothing.
        """
        try:
            held = lock.take(f"{bundle}/lock")
        except FileNotFoundError:
            return
        except BlockingIOError:
            words = f"container {container_id[:12]} is running"
            raise WrongStatus(words, status="running", needed="stopped", hint="stop it first") from None
        try:
            self.sweep(container_id, cgroup)
        finally:
            os.close(held)

    def sweep(self, container_id: str, cgroup: str) -> None:
        """Remove the cgroup, with what is in it, and the files in the runtime directory. The caller holds the container's lock."""
        cgroups.open_cgroup(cgroup.lstrip("/")).remove_with_processes()
        for ending in state.ENDINGS:
            try:
                os.unlink(f"{self.run}/containers/{container_id}{ending}")
            except FileNotFoundError:
                continue

    def exec(
        self,
        state: sync.Message,
        cgroup: str,
        process_spec: sync.Message,
        stdio: tuple[int, int, int] | None,
        *,
        trace: int = -1,
        events: sync.Message | None = None,
    ) -> Exec:
        """Start one more process in the container that *state* describes. *stdio*: its three descriptors, None with a terminal.

        *events*: {"command", "attributes"} for its events. SyscallError ENOENT, EACCES: the command; WrongStatus: the container has ended.
        """
        message = {
            "verb": "exec",
            "pid": state["pid"],
            "start_time": state["startTime"],
            "cgroup": cgroup,
            "process": process_spec,
            "traced": trace >= 0,
            "events": events and {**events, "run": self.run, "id": state["id"]},
        }
        channel, answer, fds = self._ask(message, [*([trace] if trace >= 0 else []), *(stdio or ())])
        return Exec(channel, answer["created"], fds[0] if fds else None)
