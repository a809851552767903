"""The monitor: one small process beside each container. It starts it, keeps its log, and writes down how it ended.

Interface: run(message, fds), called by the spawner in a fresh fork.
It holds the container's lock as long as it lives. It needs nobody: creator and spawner may die.
Man pages: pidfd_open(2), poll(2), wait(2). Notebook: 20_life.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time

from minidocker.errors import MinidockerError, WrongStatus
from minidocker.linux import cgroups, namespaces, process, syscalls
from minidocker.runtime import init, lock, log, sync, tracing

CHUNK = 1 << 16
OCI_VERSION = "1.2.0"


def run(message: sync.Message, fds: list[int]) -> None:
    """Create the container that *message* names, and stay with it. Answers on the channel fds[0]; traces to fds[1] if given."""
    syscalls.set_process_name("mdmonitor")
    creator = sync.from_fd(fds[0])
    tracing.trace_to(fds[1] if len(fds) > 1 else -1, "monitor")
    monitor = Monitor(message, creator)
    try:
        monitor.create()
    except Exception as error:  # whatever it was, the creator must hear of it, and nothing may stay
        answer = sync.error_message(error, monitor.step)
        monitor.undo()
        creator.send(answer)
        return
    monitor.serve()


class Monitor:
    def __init__(self, message: sync.Message, creator: sync.Channel) -> None:
        self.id: str = message["id"]
        self.bundle: str = message["bundle"]
        self.run_dir = f"{message['run']}/containers/{self.id}"
        self.stdin_mode: str = message["stdin"]  # "" none, "once" until the first attached client leaves, "open" for good
        self.clients: list[sync.Channel] = [creator]
        self.step = "take the lock"
        self.lock = self.pid = self.pidfd = self.stdin = -1
        self.cgroup: cgroups.Cgroup | None = None
        self.outputs: dict[int, str] = {}  # descriptor -> stream name
        self.master = -1
        self.feeder: sync.Channel | None = None  # the client whose end means the end of stdin
        self.remover: sync.Channel | None = None  # the client that will remove the container after its end
        self.own_pid_namespace = True
        self.started_at = ""
        self.log = log.Writer(f"{self.bundle}/{log.NAME}")

    # -- create ------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Everything up to a process that only waits for "start"."""
        try:
            self.lock = lock.take(f"{self.bundle}/lock")
        except BlockingIOError:
            raise WrongStatus(f"container {self.id[:12]} is running", status="running", needed="stopped") from None
        syscalls.trace("lock the container: it is ours")
        self.step = "read config.json"
        with open(f"{self.bundle}/config.json", encoding="utf-8") as file:
            spec = json.load(file)
        self.hooks = spec.get("hooks", {}).get("poststop", [])
        self.step = "make the runtime directory"
        os.makedirs(self.run_dir, mode=0o711, exist_ok=True)
        self.step = "make the cgroup"
        self.cgroup = cgroups.open_cgroup(spec["linux"]["cgroupsPath"].lstrip("/"))
        self.cgroup.remove_with_processes()  # what a killed monitor left: we hold its lock, so it is nobody's
        self.cgroup.create()
        for file, value in spec["linux"].get("resources", {}).get("unified", {}).items():
            self.cgroup.write(file, value)
        self.step = "start the first process"
        self.clone_init(spec)
        self.step = "write the state"
        self.write_state("created")
        self.listener = sync.listen(f"{self.run_dir}/monitor.sock")
        syscalls.trace("write the state: created")
        self.clients[0].send({"created": self.pid})

    def clone_init(self, spec: sync.Message) -> None:
        """Clone the container's first process into its namespaces, put it into its cgroup, and wait until it is ready."""
        ours, theirs = sync.pair()
        stdio = self.open_stdio(terminal=spec["process"].get("terminal", False))
        new, joined = init.namespace_plan(spec)
        self.own_pid_namespace = "pid" in new
        if "pid" in joined:
            syscalls.setns(joined.pop("pid"), syscalls.CLONE_NEWPID)  # takes effect for our children only
        if syscalls.tracing():
            names = " ".join(f"--{name}" for name in new)
            syscalls.trace(f"clone with new namespaces: {', '.join(new)}", f"unshare --fork {names}")
        self.pid = syscalls.clone3(namespaces.flags([name for name in new if name not in init.UNSHARED_BY_INIT]))
        if self.pid == 0:
            init.run(spec, theirs, stdio, joined, self.bundle)
        self.pidfd = syscalls.pidfd_open(self.pid)
        theirs.close()
        for fd in {*stdio, *joined.values()}:
            os.close(fd)
        assert self.cgroup is not None
        self.cgroup.join(self.pid)  # before "go", so before any code of the container
        syscalls.trace("the process is in its cgroup")
        ours.send({"go": True})
        self.init_channel = ours
        answer, fds = ours.receive()
        if answer is None:
            raise MinidockerError("the first process ended before it was ready")
        sync.raise_error(answer)
        if fds:
            self.master = self.stdin = fds[0]
            self.outputs[self.master] = "stdout"

    def open_stdio(self, *, terminal: bool) -> tuple[int, int, int]:
        """The three descriptors for init; our ends of the pipes are kept. With a terminal init makes all three itself."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        if terminal:
            return null, null, null
        stdin = null
        if self.stdin_mode:
            stdin, self.stdin = os.pipe2(os.O_CLOEXEC)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        self.outputs = {out_read: "stdout", err_read: "stderr"}
        return stdin, out_write, err_write

    def undo(self) -> None:
        """After a failed create: the process, the cgroup and the runtime directory are gone as if never made."""
        if self.pid > 0:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.lock >= 0:  # else everything belongs to another monitor
            self.tidy()

    # -- serve -------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Pump output, answer clients, until the container's first process has ended."""
        poller = self.poller = select.poll()
        for fd in [self.pidfd, self.listener.fileno(), *self.outputs, *(client.fileno() for client in self.clients)]:
            poller.register(fd, select.POLLIN)
        while True:
            events = [fd for fd, _ in poller.poll()]
            grown = any([self.pump(fd) for fd in events if fd in self.outputs])
            if grown:
                self.ring()
            if self.listener.fileno() in events:
                connection, _ = self.listener.accept()
                self.clients.append(sync.Channel(connection))
                poller.register(connection, select.POLLIN)
            for client in [client for client in self.clients if client.fileno() in events]:
                self.answer(client)
            if self.pidfd in events:
                self.finish()
                return

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

    def ring(self) -> None:
        for client in self.clients:
            client.ring()

    def answer(self, client: sync.Channel) -> None:
        """One message of a client: "start", "attach" (hands over stdin), "stdin_eof", "removes"; its end may end stdin."""
        message, _ = client.receive()
        if message is None:
            self.poller.unregister(client.fileno())
            self.clients.remove(client)
            if client is self.feeder:
                self.end_stdin()
            if client is self.remover:
                self.remover = None
            client.close()
        elif "start" in message:
            client.send(self.start())
        elif "attach" in message:
            if self.stdin_mode == "once" and self.feeder is None:
                self.feeder = client
            client.send({"attached": True}, [self.stdin] if self.stdin >= 0 else [])
        elif "removes" in message:
            self.remover = client
        elif "stdin_eof" in message and client is self.feeder:
            self.end_stdin()

    def end_stdin(self) -> None:
        """Close our copy of the pipe, so that the container reads the end of its input. A terminal has no such end."""
        self.feeder = None
        if self.stdin >= 0 and self.stdin != self.master:
            os.close(self.stdin)
            self.stdin = -1

    def start(self) -> sync.Message:
        """Let init go on to execve, and tell what came of it: its channel ends exactly when execve has succeeded."""
        if self.started_at:
            return sync.error_message(WrongStatus(f"container {self.id[:12]} is running", status="running", needed="created"), "start")
        self.init_channel.send({"start": True})
        answer, _ = self.init_channel.receive()
        if answer is not None:
            return answer
        self.init_channel.close()
        self.started_at = log.timestamp(time.time_ns())
        self.write_state("running")
        syscalls.trace("execve has succeeded: running")
        return {"started": self.pid}

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Reap, save the rest of the output, write down the end, leave nothing, and only then tell."""
        _, status = os.waitpid(self.pid, 0)
        code = exit_code(status)
        syscalls.trace(f"the process has ended: {code}")
        if not self.own_pid_namespace and self.cgroup is not None:
            self.cgroup.kill()  # what it started lives on, and holds the pipes
        self.drain()
        self.write_end(code)
        syscalls.trace("write the end: exit.json")
        self.tidy()
        os.close(self.lock)
        for client in self.clients:
            try:
                client.send({"exited": code})
            except OSError:
                continue  # it has left meanwhile
        self.run_poststop_hooks()

    def drain(self) -> None:
        """Read the pipes to their end. The kernel has killed all of the PID namespace before its init could be reaped."""
        while self.outputs:
            for fd in [fd for fd, _ in self.poller.poll() if fd in self.outputs]:
                self.pump(fd)
        self.ring()

    def tidy(self) -> None:
        """Remove the cgroup and the runtime directory."""
        if self.cgroup is not None:
            self.cgroup.remove_with_processes()
        for name in ("monitor.sock", "state.json"):
            try:
                os.unlink(f"{self.run_dir}/{name}")
            except FileNotFoundError:
                continue
        if os.path.isdir(self.run_dir):
            os.rmdir(self.run_dir)

    def run_poststop_hooks(self) -> None:
        """The bundle's poststop hooks, unless a client is there that said it removes the container itself."""
        if self.remover is not None:
            return
        state = json.dumps({"ociVersion": OCI_VERSION, "id": self.id, "status": "stopped", "bundle": self.bundle})
        for hook in self.hooks:
            readable, writable = os.pipe2(os.O_CLOEXEC)
            os.write(writable, state.encode())
            os.close(writable)
            environment = dict(entry.split("=", 1) for entry in hook.get("env", []))
            pid = os.posix_spawn(hook["path"], hook["args"], environment, file_actions=[(os.POSIX_SPAWN_DUP2, readable, 0)])
            os.close(readable)
            os.waitpid(pid, 0)

    def write_state(self, status: str) -> None:
        """state.json as the runtime-spec has it ("State"), with the start time that makes the pid unmistakable."""
        state = {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "status": status,
            "pid": self.pid,
            "bundle": self.bundle,
            "startTime": process.stat(self.pid).start_time,
            "monitorPid": os.getpid(),
        }
        if self.started_at:
            state["startedAt"] = self.started_at
        write_json(f"{self.run_dir}/state.json", state)

    def write_end(self, code: int) -> None:
        """exit.json in the bundle: how it ended. A container that never started has no end."""
        if self.started_at:
            end = {"exitCode": code, "startedAt": self.started_at, "finishedAt": log.timestamp(time.time_ns())}
            write_json(f"{self.bundle}/exit.json", end)


def exit_code(status: int) -> int:
    """A wait(2) status as a shell has it: 128 + the signal that killed it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def write_json(path: str, value: object) -> None:
    """Replace a file in one step: a reader sees the old or the new, never a half."""
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, json.dumps(value).encode())
    finally:
        os.close(fd)
    os.rename(temporary, path)

