"""kill -9 at named points: afterwards `ps` is truthful, prune leaves nothing, and no other container was touched.

A traced step is told when it has been done, and who tells it waits while the pipe is full. So a pipe of one page that is full already
holds the monitor or init at its very next step; each line read lets it go on by one. That stops a start exactly where we want it,
with no sleep, and then the chosen process is killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from minidocker.engine.container import Container
from minidocker.engine.engine import Engine
from minidocker.errors import MinidockerError
from minidocker.linux import process

PAGE = 4096
# who is killed, and the step that was just told: the beginning of its words
POINTS = [
    ("monitor", "lock the container"),
    ("monitor", "make cgroup"),
    ("monitor", "clone with new namespaces"),
    ("monitor", "enter the cgroup"),
    ("monitor", "unshare the cgroup namespace"),
    ("monitor", "mount overlay"),
    ("monitor", "pivot_root"),
    ("monitor", "make the device nodes"),
    ("monitor", "write the state: running"),
    ("monitor", "execve /bin/sleep"),
    ("init", "clone with new namespaces"),
    ("init", "mount overlay"),
    ("init", "mount proc"),
    ("init", "keep"),
    ("spawner", "lock the container"),
    ("spawner", "make cgroup"),
    ("spawner", "pivot_root"),
    ("spawner", "write the state: running"),
]
CREATOR_POINTS = ["prepare the snapshot", "write the bundle", "the container exists", "lock the container", "pivot_root", "write the state"]


class Held:
    """A start that goes on by one step each time its trace is read."""

    def __init__(self, container: Container) -> None:
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PAGE)
        os.write(writing, b"\n" * PAGE)  # full: the first step is held already
        self.result: list[BaseException | None] = []
        self.thread = threading.Thread(target=self._start, args=[container, writing])
        self.thread.start()
        self.text = b""
        self.letting_go = False

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever went wrong: a start that is held would hold all that comes after it."""
        if not self.letting_go:
            self.let_go()

    def _start(self, container: Container, writing: int) -> None:
        try:
            container.engine.runtime.create(container.id, str(container.home), trace=writing, start=True).close()
            self.result.append(None)
        except MinidockerError as error:
            self.result.append(error)
        finally:
            os.close(writing)

    def steps(self) -> Iterator[str]:
        """Each step, once it has been done and told."""
        while piece := os.read(self.reading, 64):
            self.text += piece
            *lines, self.text = self.text.split(b"\n")
            for line in filter(None, lines):
                yield json.loads(line)["step"]

    def run_to(self, step: str) -> None:
        for seen in self.steps():
            if seen.startswith(step):
                return
        pytest.fail(f"the step {step!r} was never told")

    def let_go(self) -> None:
        """Stop listening: whoever is left goes on. Waits for the start's end."""
        self.letting_go = True
        os.close(self.reading)
        self.thread.join(timeout=30)
        assert not self.thread.is_alive(), "the start hangs"


def engine_processes(engine: Engine, comm: str) -> list[int]:
    """The engine's processes of that name, told by /proc: their command line names its runtime directory."""
    found = []
    for pid in process.pids():
        try:
            if str(engine.paths.run) in process.cmdline(pid) and process.stat(pid).comm == comm:
                found.append(pid)
        except MinidockerError:
            continue
    return found


def wait_for_end(pid: int) -> None:
    """Until the process has ended, told by its pidfd."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    assert poller.poll(10_000), f"process {pid} does not end"
    os.close(pidfd)


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_for_end(pid)


@pytest.fixture
def neighbour(engine: Engine) -> Iterator[Container]:
    """Another running container of the same engine, with data of its own."""
    script = "echo precious > /data; trap 'cat /data; exit 7' TERM; echo up; while true; do sleep 0.05; done"
    container = engine.containers.run("busybox", ["sh", "-c", script], detach=True, name="neighbour")
    assert isinstance(container, Container)
    assert next(container.follow()) == ("stdout", b"up\n")
    yield container


def check_neighbour(container: Container, pid: int) -> None:
    """The same process, still there, with its data and its own end."""
    assert (container.status, container.pid) == ("running", pid)
    container.stop(timeout=10)
    assert (container.exit_code, container.logs()) == (7, b"up\nprecious\n")
    container.remove()


def check_nothing_left(engine: Engine) -> None:
    """Told from outside: no mount, cgroup, file or process of a container."""
    name = engine.paths.name
    assert [path for path in Path("/sys/fs/cgroup").rglob(f"{name}/*") if path.is_dir()] == []
    assert list(engine.paths.containers.iterdir()) == []
    assert list(engine.paths.run_containers.glob("*")) == []
    assert f"/{name}/" not in Path("/proc/self/mountinfo").read_text()
    assert engine.containers.list(all=True) == []


@pytest.mark.parametrize(("victim", "step"), POINTS)
def test_killed_while_a_container_starts(engine: Engine, neighbour: Container, victim: str, step: str) -> None:
    neighbours_pid = neighbour.pid
    before = {comm: engine_processes(engine, comm) for comm in ("mdmonitor", "mdspawner")}
    container = engine.containers.create("busybox", ["sleep", "1000"], name="victim")
    with Held(container) as held:
        held.run_to(step)
        new_monitors = [pid for pid in engine_processes(engine, "mdmonitor") if pid not in before["mdmonitor"]]
        families = {pid: process.children(pid) for pid in new_monitors}
        monitors = [pid for pid in new_monitors if not any(pid in children for children in families.values())]
        inits = [child for children in families.values() for child in children]
        if victim == "spawner":
            kill(engine_processes(engine, "mdspawner"))  # with its spare
        else:
            kill(monitors if victim == "monitor" else inits)
        held.let_go()
    if victim == "monitor":
        for pid in inits:
            wait_for_end(pid)  # the kernel takes init along
    if victim == "init":
        container.wait(timeout=30)  # its monitor sees to the end
    check_the_truth(container, victim)
    engine.prune()
    container.remove(force=True)
    again = engine.containers.run("busybox", ["true"], name="victim", remove=True)
    assert again == b""
    check_neighbour(neighbour, neighbours_pid)
    assert engine.prune() == {}
    check_nothing_left(engine)


def check_the_truth(container: Container, victim: str) -> None:
    """What `ps` says, against /proc."""
    status, pid = container.status, container.pid
    if status == "running":
        assert process.stat(pid).comm == "sleep"
    else:
        assert pid == 0
        assert status in ("created", "exited")
        assert container.exit_code in (None, 137)
    if victim == "spawner":
        assert status == "running", "losing the spawner loses nothing"


CREATOR = """
import logging, os, signal, sys
from minidocker.engine.engine import Engine
class Killer(logging.Handler):
    def emit(self, record):
        if sys.argv[2] in record.getMessage():
            os.kill(os.getpid(), signal.SIGKILL)
logger = logging.getLogger("minidocker.trace")
logger.setLevel(logging.DEBUG)
logger.addHandler(Killer())
Engine(sys.argv[1]).containers.run("busybox", ["sleep", "1000"], detach=True, name="victim")
"""


@pytest.mark.parametrize("step", CREATOR_POINTS)
def test_killed_creator(engine: Engine, neighbour: Container, step: str) -> None:
    neighbours_pid = neighbour.pid
    done = subprocess.run([sys.executable, "-c", CREATOR, engine.paths.name, step], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for container in engine.containers.list(all=True):
        if container.name == "victim":
            check_the_truth(container, "creator")
    engine.prune()
    for container in engine.containers.list(all=True):
        if container.name == "victim":
            container.remove(force=True)
    assert engine.containers.run("busybox", ["true"], name="victim", remove=True) == b""
    check_neighbour(neighbour, neighbours_pid)
    assert engine.prune() == {}
    check_nothing_left(engine)


def test_a_killed_monitor_of_a_running_container(engine: Engine, neighbour: Container) -> None:
    neighbours_pid = neighbour.pid
    container = engine.containers.run("busybox", ["sleep", "1000"], detach=True)
    assert isinstance(container, Container)
    pid, monitor = container.pid, container.state["monitorPid"]
    kill([monitor])
    wait_for_end(pid)
    assert (container.status, container.exit_code, container.error) == ("exited", 137, "the container's monitor was killed")
    container.start()
    assert container.status == "running"
    container.remove(force=True)
    check_neighbour(neighbour, neighbours_pid)
    check_nothing_left(engine)
