"""More processes in a running container: `docker exec`."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from minidocker.engine import bundle, trace
from minidocker.engine.container_view import ContainerView
from minidocker.errors import WrongStatus
from minidocker.runtime.container import Exec


class ExecResult(NamedTuple):
    exit_code: int
    output: bytes
    stderr: bytes


class ContainerExec(ContainerView):
    """The verbs that start something in a container that runs."""

    def exec_start(
        self,
        command: list[str],
        *,
        stdin: int = -1,
        stdout: int = -1,
        stderr: int = -1,
        tty: bool = False,
        user: str | None = None,
        workdir: str | None = None,
        env: list[str] | None = None,
        privileged: bool = False,
        detach: bool = False,
    ) -> Exec:
        """Start one more process in it, on the caller's descriptors (-1: /dev/null), or on a terminal of its own (`Exec.fd`).

        With *detach* a terminal's master is closed at once. WrongStatus: it does not run. SyscallError ENOENT, EACCES: the command.
        """
        state = self.state
        if state["status"] != "running":
            hint = f"minidocker start {self.name}"
            raise WrongStatus(f"container {self.name} is not running", status=self.status, needed="running", hint=hint)
        if self.is_paused():  # a process that is born in a frozen cgroup would never begin
            words = f"Container {self.name} is paused, unpause the container before exec"
            raise WrongStatus(words, status="paused", needed="running", hint=f"minidocker unpause {self.name}")
        process_spec = bundle.process_spec(
            self.record, command, user=user, workdir=workdir, env=env, tty=tty and not detach, privileged=privileged
        )
        listener = trace.Listener()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            stdio = (stdin if stdin >= 0 else null, stdout if stdout >= 0 else null, stderr if stderr >= 0 else null)
            passed = None if process_spec["terminal"] else stdio
            line, attributes = " ".join(command), {**self.event_attributes, "execID": os.urandom(32).hex()}
            self.tell(f"exec_create: {line}", execID=attributes["execID"])
            return self.engine.runtime.exec(
                state, self.cgroup, process_spec, passed, trace=listener.fd, events={"command": line, "attributes": attributes}
            )
        finally:
            os.close(null)
            listener.close()

    def exec_run(
        self,
        command: list[str],
        *,
        user: str | None = None,
        workdir: str | None = None,
        env: list[str] | None = None,
        stdin: bytes = b"",
        privileged: bool = False,
    ) -> ExecResult:
        """Run one more process in it to its end. Errors as in `exec_start`."""
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = pipes
        try:
            running = self.exec_start(
                command, stdin=in_read, stdout=out_write, stderr=err_write, user=user, workdir=workdir, env=env, privileged=privileged
            )
        except BaseException:
            for fd in (in_write, out_read, err_read):
                os.close(fd)
            raise
        finally:
            for fd in (in_read, out_write, err_write):
                os.close(fd)
        results: dict[int, bytes] = {}
        readers = [threading.Thread(target=lambda fd=fd: results.update({fd: read_all(fd)})) for fd in (out_read, err_read)]
        for reader in readers:
            reader.start()
        feed(in_write, stdin)
        for reader in readers:
            reader.join()
        return ExecResult(running.wait(), results[out_read], results[err_read])


def read_all(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def feed(fd: int, data: bytes) -> None:
    """Write all of *data* and close; a reader that does not want it is fine."""
    try:
        with open(fd, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
    except BrokenPipeError:
        return
