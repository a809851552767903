"""From a bundle to a process that waits for its execve: the runtime-spec's `create` and `start`, done by a monitor.

Interface: Creation: create(), start(), undo(), tidy(); what it opened and made are its attributes. monitor.py stays with the result.
The first process's own side of it is init.py. Man pages: clone3(2), setns(2), pidfd_open(2). Notebook: 20_life.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import time

from minidocker.errors import MinidockerError, SyscallError, WrongStatus
from minidocker.linux import cgroups, namespaces, process, syscalls
from minidocker.linux.cgroups import limits
from minidocker.runtime import events, init, lock, log, state, sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Creation:
    def __init__(self, message: sync.Message, creator: sync.Channel, host_network: int, let_fork: Callable[[], None]) -> None:
        self.id: str = message["id"]
        self.bundle: str = message["bundle"]
        self.run_path = f"{message['run']}/containers/{self.id}"  # with .json: the state, with .sock: our socket
        self.stdin_mode: str = message["stdin"]  # "" none, "once" until the first attached client leaves, "open" for good
        self.host_network, self.let_fork = host_network, let_fork
        self.start_at_once: bool = message["start"]
        self.clients: list[sync.Channel] = [creator]
        self.step = "take the lock"
        self.lock = self.pid = self.pidfd = self.stdin = -1
        self.cgroup: cgroups.Cgroup | None = None
        self.outputs: dict[int, str] = {}  # descriptor -> stream name
        self.master = -1
        self.feeder: sync.Channel | None = None  # the client whose end means the end of stdin
        self.owner = creator if message["owned"] else None  # the client without which the container need not be started
        self.remover = creator if message["removes"] else None  # the client that will remove the container after its end
        self.run: str = message["run"]
        self.event_attributes: dict[str, str] | None = message["events"]
        self.own_pid_namespace = True
        self.started_at = ""
        self.log = log.Writer(f"{self.bundle}/{log.NAME}")

    def create(self) -> None:
        """Everything up to a process that only waits for "start"."""
        try:
            self.lock = lock.take(f"{self.bundle}/lock")
        except BlockingIOError:
            raise WrongStatus(f"container {self.id[:12]} is running", status="running", needed="stopped") from None
        syscalls.trace("lock the container: it is ours")
        self.step = "read config.json"
        spec = json.loads(state.read_file(f"{self.bundle}/config.json"))
        self.hooks = spec.get("hooks", {}).get("poststop", [])
        self.step = "make the cgroup"
        self.cgroup = cgroups.open_cgroup(spec["linux"]["cgroupsPath"].lstrip("/"))
        self.make_cgroup()
        self.step = "set the limits"
        limits.set_first(self.cgroup, spec["linux"].get("resources", {}).get("unified", {}))
        self.step = "start the first process"
        self.clone_init(spec)
        self.step = "make the socket"  # while init is busy with its mounts
        os.makedirs(os.path.dirname(self.run_path), mode=0o711, exist_ok=True)
        self.listener = sync.listen(f"{self.run_path}.sock")
        self.listener.setblocking(False)
        self.let_fork()
        self.step = "wait for the first process"
        self.wait_until_ready()
        answer: sync.Message = {"created": self.pid}
        if self.start_at_once:
            self.step = "start"
            answer = self.start()
            sync.raise_error(answer)
        else:
            self.step = "write the state"
            self.write_state("created")
        with contextlib.suppress(OSError):  # the creator is gone: `serve` will notice, and know what that means
            self.clients[0].send(answer)

    def make_cgroup(self) -> None:
        """A new cgroup. One that is there was left by a killed monitor: we hold its lock, so it is nobody's."""
        assert self.cgroup is not None
        try:
            self.cgroup.create()
        except SyscallError as error:
            if error.errno != errno.EEXIST:
                raise
            self.cgroup.remove_with_processes()
            self.cgroup.create()

    def clone_init(self, spec: sync.Message) -> None:
        """Clone the container's first process into its namespaces and its cgroup; it goes to work at once."""
        assert self.cgroup is not None
        ours, theirs = sync.pair()
        stdio = self.open_stdio(terminal=spec["process"].get("terminal", False))
        new, joined = init.namespace_plan(spec)
        self.own_pid_namespace = "pid" in new
        own_pids = namespaces.open_namespace(os.getpid(), "pid")
        if "pid" in joined:
            syscalls.setns(joined["pid"], syscalls.CLONE_NEWPID)  # takes effect for our children only
        birthplace, entrances = self.cgroup.birthplace(), self.cgroup.entrances()
        if self.host_network < 0:
            self.host_network = enter_new_network()
        if "net" not in new:
            syscalls.setns(self.host_network, syscalls.CLONE_NEWNET)
        flags = namespaces.flags([name for name in new if name not in init.NOT_BY_CLONE])
        self.pid = syscalls.clone3(flags, cgroup_fd=birthplace)
        if self.pid == 0:
            init.run(spec, theirs, stdio, joined, entrances, self.bundle, wait=not self.start_at_once)
        syscalls.setns(self.host_network, syscalls.CLONE_NEWNET)  # back to where we belong, for the hooks' sake
        syscalls.setns(own_pids, syscalls.CLONE_NEWPID)
        self.pidfd = syscalls.pidfd_open(self.pid)
        self.pin_mounts()
        if syscalls.tracing():
            syscalls.trace(f"clone with new namespaces: {', '.join(new)}", f"unshare --fork {namespaces.shell_options(new)}")
        theirs.close()
        for fd in {*stdio, *joined.values(), *entrances, birthplace, own_pids, self.host_network} - {-1}:
            os.close(fd)
        self.init_channel = ours

    def pin_mounts(self) -> None:
        """A mount namespace is taken apart by whoever uses it last. Let that be us, when the end has been told, not the dying process."""
        try:
            self.pinned = namespaces.open_namespace(self.pid, "mnt")
        except SyscallError:  # it has failed already: we shall hear why
            return

    def wait_until_ready(self) -> None:
        """Until init has done all but the execve, or tells what failed."""
        answer, fds = self.init_channel.receive()
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

    def start(self) -> sync.Message:
        """Let init go on to execve, and tell what came of it: its channel ends exactly when execve has succeeded."""
        if self.started_at:
            return sync.error_message(WrongStatus(f"container {self.id[:12]} is running", status="running", needed="created"), "start")
        if not self.start_at_once:
            self.init_channel.send({"start": True})
        started_at = log.timestamp(time.time_ns())
        self.write_state("running", startedAt=started_at, visible=False)
        answer, _ = self.init_channel.receive()
        if answer is not None:
            return answer
        os.rename(f"{self.run_path}.json.tmp", f"{self.run_path}.json")
        self.started_at = started_at
        self.init_channel.close()
        self.tell("start")
        syscalls.trace("execve has succeeded: running")
        return {"started": self.pid}

    def tell(self, action: str, **more: str) -> None:
        """Write an event, if the engine wants any."""
        if self.event_attributes is not None:
            events.write(self.run, action, self.id, {**self.event_attributes, **more})

    def write_state(self, status: str, *, visible: bool = True, **more: str) -> None:
        """The runtime-spec's "State", with the start time that makes the pid unmistakable. Not *visible*: under its temporary name."""
        content = {
            "ociVersion": state.OCI_VERSION,
            "id": self.id,
            "status": status,
            "pid": self.pid,
            "bundle": self.bundle,
            "startTime": process.stat(self.pid).start_time,
            "monitorPid": os.getpid(),
            **more,
        }
        state.write_json(f"{self.run_path}.json", content, visible=visible)
        syscalls.trace(f"write the state: {status}", f"cat {self.run_path}.json")

    def tidy(self) -> None:
        """Remove the cgroup and the runtime directory."""
        if self.cgroup is not None:
            self.cgroup.remove_with_processes()
        for ending in state.ENDINGS:
            try:
                os.unlink(self.run_path + ending)
            except FileNotFoundError:
                continue


def enter_new_network() -> int:
    """Make the next container's network namespace ahead, and return a descriptor of the host's, to go back to.

    It is the one namespace whose making takes long: it has an interface, tables and sysctls of its own, and waits for the
    kernel to clear away earlier ones.
    """
    host_network = namespaces.open_namespace(os.getpid(), "net")
    syscalls.unshare(syscalls.CLONE_NEWNET)
    namespaces.loopback_up()  # as Docker does, with `--network none` too
    return host_network
