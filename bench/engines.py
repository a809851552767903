"""The engines that bench/run.py compares, each as a user of it would have it, in directories of the benchmark's own.

    with Docker(workplace, rootfs_tar) as docker:
        docker.start_to_exit()        one container that runs `true`, from asking for it to its exit code
        ids = docker.start_many(40)   detached and waiting, asked for by 40 threads of one process
        docker.waiting_cost(ids)      bytes of PSS that the engine keeps for each of them, beyond their own processes
        docker.remove_many(ids)

An engine that is not installed says so in `missing`. All run the same static busybox, without a network.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from minidocker.engine.container import Container
from minidocker.engine.engine import Engine
from minidocker.paths import Paths

T = TypeVar("T")
NAME = "mdbench"
READY = 30.0  # seconds for a daemon to answer
WAITING = ["sleep", "600"]
LIMITS = {  # one for each controller that every host has
    "memory": "64m",
    "memory_swap": "64m",
    "memory_reservation": "32m",
    "cpus": 1.0,
    "cpu_shares": 512,
    "cpuset_cpus": "0",
    "pids_limit": 50,
    "ulimits": ["nofile=512:512"],
}
# Here podman cannot raise limits above its own, so it gets values that any host allows.
PODMAN_LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]


def in_threads(count: int, task: Callable[[int], T]) -> list[T]:
    """*task* for 0..count-1, each in a thread of its own, all at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(task, range(count)))


def pss(pid: int) -> int:
    """The memory of a process, with what it shares counted in fair parts. See proc_pid_smaps(5), smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def run(command: Sequence[str | Path], **settings: Any) -> str:
    """Run a command to its end, without input, and give its output; CalledProcessError with its stderr otherwise."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, **settings)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return str(done.stdout).strip()


class Contestant:
    """What all have in common. *workplace* is removed afterwards; *rootfs* is the base image's root as a tar file."""

    name = ""
    program = ""

    def __init__(self, workplace: Path, rootfs: Path) -> None:
        self.place, self.rootfs = workplace / self.name, rootfs
        self.stack = contextlib.ExitStack()

    @property
    def missing(self) -> str:
        """Why it cannot take part, or "" if it can."""
        return "" if shutil.which(self.program) else f"{self.program} is not installed (vagrant/packages.sh bench)"

    def version(self) -> str:
        return run([self.program, "--version"]).splitlines()[0]

    def mine(self) -> set[int]:
        """The processes that work in its directories: daemons, shims, and whatever tidies up behind a container."""
        return {pid for pid, words in command_lines() if any(str(self.place) in word for word in words)}

    def settle(self) -> None:
        """Wait until it has tidied up, so that its work is not counted as the next one's."""
        deadline = time.monotonic() + READY
        while self.mine() - self.daemons and time.monotonic() < deadline:
            time.sleep(0.01)  # podman's clean-up runs unseen, after its command has ended

    def __enter__(self) -> Self:
        self.place.mkdir(parents=True)
        try:
            self.open()
            self.daemons = self.mine()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stack.close()

    def open(self) -> None:
        """Make it ready: daemon up, image there."""

    def start_to_exit(self) -> None:
        raise NotImplementedError


class Minidocker(Contestant):
    """Through its Python API, with a warm spawner."""

    name, program = "minidocker", sys.executable
    missing = ""

    def version(self) -> str:
        return run([Path(sys.executable).with_name("minidocker"), "--version"])

    def open(self) -> None:
        shutil.rmtree(Paths(NAME).root, ignore_errors=True)
        self.engine = Engine(NAME)
        self.stack.callback(shutil.rmtree, self.engine.paths.root)
        self.stack.callback(self.end)
        self.engine.images.make_base()

    def end(self) -> None:
        for container in self.engine.containers.list(all=True):
            container.remove(force=True)
        self.engine.shutdown()

    def start_to_exit(self) -> None:
        self.engine.containers.run("busybox", ["true"], remove=True)

    def ready(self, **limits: Any) -> Container:
        """A container whose bundle is written, as runc's is when it is called."""
        return self.engine.containers.create("busybox", ["true"], **limits)

    def start_ready(self, container: Container) -> None:
        with container.start_attached() as attachment:
            attachment.wait()

    def command(self) -> None:
        run([Path(sys.executable).with_name("minidocker"), "--engine", NAME, "run", "--rm", "busybox", "true"])

    def start_many(self, count: int) -> list[Container]:
        def start(_: int) -> Container:
            container = self.engine.containers.create("busybox", WAITING)
            container.start()
            return container

        return in_threads(count, start)

    def remove_many(self, containers: Sequence[Container]) -> None:
        in_threads(len(containers), lambda number: containers[number].remove(force=True))

    def waiting_cost(self, containers: Sequence[Container]) -> list[int]:
        return [pss(parent(container.pid)) for container in containers]


class Runc(Contestant):
    """A bare runtime on a plain bundle: no image, no layers, no state but its own."""

    name = program = "runc"

    def open(self) -> None:
        bundle = self.place / "bundle"
        (bundle / "rootfs").mkdir(parents=True)
        run(["tar", "-xf", self.rootfs, "-C", bundle / "rootfs"])
        run(["runc", "spec", "--bundle", bundle])
        config = json.loads((bundle / "config.json").read_text())
        config["process"].update(args=["true"], terminal=False)
        (bundle / "config.json").write_text(json.dumps(config))
        self.line = ["runc", "--root", str(self.place / "state"), "run", "--bundle", str(bundle), f"{NAME}-{os.getpid()}"]

    def start_to_exit(self) -> None:
        run(self.line)


class Docker(Contestant):
    """dockerd started here, in mount and network namespaces of its own, so that the host's tables stay as they are."""

    name, program = "docker", "dockerd"

    def open(self) -> None:
        import docker

        socket = f"unix://{self.place}/docker.sock"
        (self.place / "daemon.json").write_text("{}")
        daemon = [
            *("unshare", "--mount", "--propagation", "slave", "--net", "dockerd", "--host", socket, "--data-root", f"{self.place}/data"),
            *("--exec-root", f"{self.place}/exec", "--pidfile", f"{self.place}/pid", "--config-file", f"{self.place}/daemon.json"),
            *("--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--cgroup-parent", f"/{NAME}-docker"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs"),
        ]
        with open(self.place / "log", "wb") as log:
            self.daemon = subprocess.Popen(daemon, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.stack.callback(self.end)
        self.client = self.connected(docker, socket)
        self.stack.callback(self.client.close)
        self.client.api.import_image(str(self.rootfs), repository="busybox", tag="latest")
        self.line = ["docker", "--host", socket, "run", "--rm", "--network", "none", "busybox", "true"]
        self.environment = {**os.environ, "DOCKER_CONFIG": str(self.place)}

    def connected(self, docker: Any, socket: str) -> Any:
        deadline = time.monotonic() + READY
        while True:
            try:
                return docker.DockerClient(base_url=socket, version="auto", max_pool_size=64, timeout=120)
            except docker.errors.DockerException as error:
                if self.daemon.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"dockerd does not answer: {(self.place / 'log').read_text()[-800:]}") from error
                time.sleep(0.1)  # nothing tells us when it is ready

    def end(self) -> None:
        """dockerd ends its containerd; the containers were removed before, and its mounts go with its namespace."""
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(timeout=60)

    def start_to_exit(self) -> None:
        run(self.line, env=self.environment)

    def start_many(self, count: int) -> list[Any]:
        return in_threads(count, lambda _: self.client.containers.run("busybox", WAITING, detach=True, network_mode="none"))

    def remove_many(self, containers: Sequence[Any]) -> None:
        in_threads(len(containers), lambda number: containers[number].remove(force=True))

    def waiting_cost(self, containers: Sequence[Any]) -> list[int]:
        ids = {container.id for container in containers}
        return [pss(pid) for pid, line in command_lines() if "containerd-shim" in line[0] and ids & set(line)]


class Podman(Contestant):
    name = program = "podman"

    def open(self) -> None:
        self.base = ["podman", "--root", f"{self.place}/root", "--runroot", f"{self.place}/run", "--tmpdir", f"{self.place}/tmp"]
        self.base += ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        self.stack.callback(self.end)
        run([*self.base, "import", self.rootfs, "busybox:latest"])
        self.line = [*self.base, "run", "--rm", "--network", "none", "--cgroup-parent", f"/{NAME}-podman", *PODMAN_LIMITS]
        self.line += ["busybox", "true"]

    def end(self) -> None:
        """It binds its storage directory to itself, and leaves that."""
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if (target := line.split()[4]).startswith(f"{self.place}/"):
                run(["umount", target])

    def start_to_exit(self) -> None:
        run(self.line)


def command_lines() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(name), words
