"""The verb ``demo``: one container, and what each kernel feature did for it, read from the kernel's own files.

Nothing here asks the engine how things are: /proc and the cgroup files of the running container say it, for anybody to look up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door

if TYPE_CHECKING:
    from minidocker.engine.container import Container

LIMIT = 64 << 20
INSIDE = 'set -- /proc/[0-9]*; echo "I am process $$ of $#, on host $(hostname)"; exec sleep 60'
GREEDY = f"head -c {2 * LIMIT} /dev/zero | tail"  # tail keeps its whole input in memory, as it has no line ends
MEANING = {
    "pid": "process numbers",
    "mnt": "files",
    "uts": "host name",
    "ipc": "queues, shared memory",
    "net": "network stack",
    "cgroup": "view of its cgroup",
    "user": "users",
    "time": "clocks",
}


def _namespaces(pid: int) -> Iterator[str]:
    for name, meaning in MEANING.items():
        host, inside = (os.stat(f"/proc/{who}/ns/{name}").st_ino for who in ("self", pid))
        yield f"{name:<7} {meaning:<22} host {host}  container {inside}  {'shared' if host == inside else 'its own'}"


def _memory_limit(pid: int) -> str:
    """The file that holds the limit: on cgroup v2 memory.max, on v1 memory.limit_in_bytes in the hierarchy of its controller."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"
    return f"/sys/fs/cgroup{path}/memory.max"


def _root_mount(pid: int) -> str:
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return next(line for line in lines if line.split()[4] == "/").partition(" - ")[2]


def _capabilities(pid: int | str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapEff")), 16).bit_count()


def _evidence(container: Container) -> Iterator[tuple[str, list[str]]]:
    """(kernel feature, what it did) for a running container."""
    pid = container.pid
    yield "namespaces: a world of its own", list(_namespaces(pid))
    limit = _memory_limit(pid)
    yield "cgroup: what it may use", [f"{limit} = {Path(limit).read_text().strip()}"]
    kind, source, options = _root_mount(pid).split(" ", 2)
    mounted = [f"{source} on / type {kind}", *(f"  {option}" for option in options.split(","))]
    yield "overlay: shared layers below, its own changes on top", mounted
    hidden = _root_mount(pid) not in Path("/proc/self/mountinfo").read_text()
    yield (
        "pivot_root: the host's files are out of reach",
        [
            f"/ inside: {' '.join(sorted(os.listdir(f'/proc/{pid}/root')))}",
            f"in the host's own list of mounts: {'no trace of it' if hidden else 'visible'}",
        ],
    )
    yield "capabilities: root, but not all of it", [f"{_capabilities(pid)} inside, {_capabilities('self')} outside"]


def _show(container: Container) -> None:
    _, said = next(container.follow())
    click.echo(f"container {container.short_id}, process {container.pid} on the host, says:\n  {said.decode().strip()}\n")
    for feature, facts in _evidence(container):
        click.echo(f"{feature}\n" + "".join(f"  {fact}\n" for fact in facts))
    code = container.exec_run(["sh", "-c", GREEDY]).exit_code
    click.echo(f"memory limit: asks for {2 * LIMIT >> 20} MiB with {LIMIT >> 20} allowed")
    click.echo(f"  exit code {code}: {'killed by the kernel' if code == 137 else 'not what was expected'}\n")


@verb("demo", examples=["demo"])
@pass_door
def demo(door: Door) -> None:
    """Run one container with a memory limit and show what each kernel feature did for it."""
    started = time.monotonic()
    with door.engine() as engine:
        image = engine.images.make_base()
        click.echo(f"image {image.tags[0]}: {len(image.layers)} layer, {image.size >> 10} KiB, {image.id}\n")
        container = engine.containers.create("busybox", ["sh", "-c", INSIDE], memory=LIMIT, hostname="demo")
        try:
            container.start()
            pid = container.pid
            _show(container)
        finally:
            container.remove(force=True)
    fate = "still there" if os.path.exists(f"/proc/{pid}") else "gone"
    click.echo(f"removed: process {pid} is {fate}; {time.monotonic() - started:.1f} s in all")
