"""The monitor: one small process beside each container. It starts it, keeps its log, and writes down how it ended.

Interface: run(message, creator, ...), called by the spawner in a spare fork. How the container is made: creation.py.
It holds the container's lock as long as it lives. It needs nobody: creator and spawner may die.
Man pages: pidfd_open(2), poll(2), wait(2). Notebook: 20_life.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import time

from minidocker.errors import MissingFeature, SyscallError
from minidocker.linux import syscalls
from minidocker.linux.cgroups import memory, oom
from minidocker.runtime import log, state, sync, tracing
from minidocker.runtime.creation import Creation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 16


def run(message: sync.Message, creator: sync.Channel, fds: list[int], host_network: int, let_fork: Callable[[], None]) -> None:
    """Create the container that *message* names, answer its *creator*, and stay with it. Traces to fds[0] if given.

    This process is in a network namespace that is ready for a container to be born in; *host_network* leads back.
    *let_fork*: to be called when there is nothing to do but wait.
    """
    syscalls.set_process_name("mdmonitor")
    tracing.trace_to(fds[0] if fds else -1, "monitor")
    monitor = Monitor(message, creator, host_network, let_fork)
    try:
        monitor.create()
    except Exception as error:  # whatever it was, the creator must hear of it, and nothing may stay
        answer = sync.error_message(error, monitor.step)
        monitor.undo()
        creator.send(answer)
        return
    monitor.serve()


class Monitor(Creation):
    """A container from its creation to its end."""

    oom: oom.OomWatch | None = None
    oom_kills = 0  # that we have told of

    # -- serve -------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Pump output, answer clients, until the container's first process has ended."""
        poller = self.poller = select.poll()
        for fd in [self.pidfd, self.listener.fileno(), *self.outputs, *(client.fileno() for client in self.clients)]:
            poller.register(fd, select.POLLIN)
        self.watch_memory()
        while True:
            events = [fd for fd, _ in poller.poll()]
            speaking = [client for client in self.clients if client.fileno() in events]  # now: a closed pipe's number may become a client's
            grown = [self.pump(fd) for fd in events if fd in self.outputs]  # all of them, not only up to the first
            if any(grown):
                self.ring()
            if self.listener.fileno() in events:
                self.welcome()
            for client in speaking:
                self.answer(client)
            if self.pidfd in events:
                self.finish()
                return
            if self.oom is not None and self.oom.fileno() in events:
                self.tell_kills()

    def pump(self, fd: int) -> bool:
        """Move what is there from a pipe or the terminal into the log. False: nothing came."""
        try:
            data = os.read(fd, CHUNK)
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the last user of the terminal is gone
                raise
            data = b""
        if data:
            self.log.write(self.outputs[fd], data)
            return True
        self.poller.unregister(fd)
        del self.outputs[fd]
        if fd != self.master:
            os.close(fd)
        return False

    def welcome(self) -> None:
        """Accept all who wait. Each gets a ring: the log may have grown since it read it, when we did not know of it yet."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            client = sync.Channel(connection)
            client.ring()
            self.clients.append(client)
            self.poller.register(connection, select.POLLIN)

    def ring(self) -> None:
        for client in self.clients:
            client.ring()

    def answer(self, client: sync.Channel) -> None:
        """One message of a client: "start", "attach" (hands over stdin), "stdin_eof", "removes", "events"; its end may end stdin."""
        message, _ = client.receive()
        if message is None:
            self.forget(client)
        elif "start" in message:
            self.reply(client, self.start())
            self.watch_memory()
        elif "attach" in message:
            if self.stdin_mode == "once" and self.feeder is None:
                self.feeder = client
            self.reply(client, {"attached": True}, [self.stdin] if self.stdin >= 0 else [])
        elif "removes" in message:
            self.remover = client
        elif "events" in message:
            self.event_attributes = message["events"]
        elif "stdin_eof" in message and client is self.feeder:
            self.end_stdin()

    @staticmethod
    def reply(client: sync.Channel, message: sync.Message, fds: list[int] | tuple[int, ...] = ()) -> None:
        with contextlib.suppress(OSError):  # it has left meanwhile: that is its affair, and not the container's
            client.send(message, fds)

    def forget(self, client: sync.Channel) -> None:
        """A client has left, or was killed."""
        self.poller.unregister(client.fileno())
        self.clients.remove(client)
        client.close()
        if client is self.feeder:
            self.end_stdin()
        if client is self.remover:
            self.remover = None
        if client is self.owner and not self.started_at:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)  # nobody else knows that there is something to start

    def end_stdin(self) -> None:
        """Close our copy of the pipe, so that the container reads the end of its input. A terminal has no such end."""
        self.feeder = None
        if self.stdin >= 0 and self.stdin != self.master:
            os.close(self.stdin)
            self.stdin = -1

    # -- when memory runs out ------------------------------------------------------------------------------------------

    def watch_memory(self) -> None:
        """Hear of each OOM kill from now on. Done when the start has been answered, so that nobody waits for it."""
        if self.started_at and self.oom is None and self.cgroup is not None:
            with contextlib.suppress(MissingFeature, SyscallError):  # no memory controller: then nothing is counted either
                self.oom = oom.OomWatch(self.cgroup)
                self.poller.register(self.oom, select.POLLIN)
                self.tell_kills()

    def tell_kills(self) -> None:
        """An event for each process that the kernel has killed for lack of memory, with the victim as far as the kernel's log names it."""
        assert self.oom is not None and self.cgroup is not None
        self.oom.kills()  # on v1 this waits for the kill that was announced
        victims = self.oom.victims()
        kills = memory.events(self.cgroup).oom_kill
        for number in range(kills - self.oom_kills):
            victim = victims[number] if number < len(victims) else None
            self.tell("oom", **({"pid": str(victim.pid), "comm": victim.comm} if victim else {}))
        self.oom_kills = kills

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Reap, save the rest of the output, write down the end, leave nothing, and only then tell."""
        _, status = os.waitpid(self.pid, 0)
        code = state.exit_code(status)
        syscalls.trace(f"the process has ended: {code}")
        if not self.own_pid_namespace and self.cgroup is not None:
            self.cgroup.kill()  # what it started lives on, and holds the pipes
        self.drain()
        if self.oom is not None:
            self.tell_kills()
            self.oom.close()
        self.write_end(code)
        syscalls.trace("write the end: exit.json")
        self.tidy()
        if self.started_at:
            self.tell("die", exitCode=str(code))
        os.close(self.lock)
        self.welcome()  # who connected in the last moment hears of it too; the socket's name is gone, so nobody comes after
        for client in self.clients:
            self.reply(client, {"exited": code})
        self.run_poststop_hooks()

    def drain(self) -> None:
        """Read the pipes to their end. The kernel has killed all of the PID namespace before its init could be reaped."""
        poller = self.poller = select.poll()  # for the pipes alone: the first process's end would be told again and again
        for fd in self.outputs:
            poller.register(fd, select.POLLIN)
        while self.outputs:
            for fd, _ in poller.poll():
                self.pump(fd)
        self.ring()

    def run_poststop_hooks(self) -> None:
        """The bundle's poststop hooks, unless a client is there that said it removes the container itself."""
        if self.remover is not None:
            return
        stopped = json.dumps({"ociVersion": state.OCI_VERSION, "id": self.id, "status": "stopped", "bundle": self.bundle})
        for hook in self.hooks:
            readable, writable = os.pipe2(os.O_CLOEXEC)
            os.write(writable, stopped.encode())
            os.close(writable)
            environment = dict(entry.partition("=")[::2] for entry in hook.get("env", []))
            with contextlib.suppress(OSError):  # the others' turn comes all the same, as the runtime-spec says
                pid = os.posix_spawn(hook["path"], hook["args"], environment, file_actions=[(os.POSIX_SPAWN_DUP2, readable, 0)])
                os.waitpid(pid, 0)
            os.close(readable)

    def write_end(self, code: int) -> None:
        """exit.json in the bundle: how it ended. A container that never started has no end."""
        if self.started_at:
            end = {"exitCode": code, "startedAt": self.started_at, "finishedAt": log.timestamp(time.time_ns())}
            if self.oom_kills:
                end["oomKilled"] = True
            state.write_json(f"{self.bundle}/exit.json", end)
