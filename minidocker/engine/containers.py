"""Containers, from the engine up: Docker's verbs on records, snapshots and the runtime.

    container = engine.containers.create("busybox", ["sh", "-c", "echo hello"], name="web")
    container.start(); container.wait(); container.logs(); container.remove()
    engine.containers.run("busybox", ["echo", "hello"], remove=True)          # b"hello\\n"

`create` writes a bundle and a row; `start` is the runtime's create and start. How a container fares is asked each time: its monitor's
lock says whether it lives, state.json how it runs, exit.json how it ended. Notebooks: 01, 20.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from minidocker.engine import bundle, trace, unified
from minidocker.engine.container import Container
from minidocker.engine.options import make_record
from minidocker.engine.record import ContainerOptions
from minidocker.errors import ContainerFailed, ContainerNotFound, MinidockerError
from minidocker.runtime import lock

if TYPE_CHECKING:
    from minidocker.engine.engine import Engine


class Containers:
    """The containers of *engine*."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def create(self, image: str, command: list[str] | str | None = None, **options: Unpack[ContainerOptions]) -> Container:
        """Make a container that `start` can run. Options (all by keyword, as docker's flags; sizes "64m" or bytes):

        name hostname env volumes mounts tmpfs read_only workdir user entrypoint init tty stdin_open stop_signal stop_timeout
        network pid ipc uts labels remove cap_add cap_drop privileged ulimits, and what limits it: memory memory_reservation memory_swap
        cpus cpu_shares cpu_quota cpu_period cpuset_cpus cpuset_mems pids_limit blkio_weight device_read_bps device_write_bps
        device_read_iops device_write_iops cgroup_conf.
        ImageNotFound; NameInUse; SpecError for an option that cannot be; TypeError for one that does not exist; MissingFeature for a
        limit that this host does not have. After an error nothing is left. See options.py, resources.py and `docker create`.
        """
        engine = self.engine
        found = engine.images.get(image)
        record = make_record(found, image, command, options)
        engine.store.check_name(record.name)
        for mode in (record.pid_mode, record.ipc_mode):
            if mode.startswith("container:"):
                self.get(mode.removeprefix("container:"))
        unified.check(unified.files(record), engine.paths.name)
        bundle.check_sources(record)
        home = engine.paths.containers / record.id
        held = make_home(home)
        try:
            overlay = engine.snapshots.prepare(record.id, found)
            trace.step("prepare the snapshot", f"mkdir -p {home}/upper {home}/work {home}/rootfs")
            bundle.write_bundle(record, engine.paths, overlay)
            trace.step("write the bundle", f"cat {home}/config.json")
            engine.store.add(record)
            trace.step(f"the container exists: {record.name}")
        except BaseException:
            engine.remove_home(record.id)
            raise
        finally:
            os.close(held)
        container = Container(engine, record)
        container.tell("create")
        return container

    def run(
        self,
        image: str,
        command: list[str] | str | None = None,
        *,
        detach: bool = False,
        stdin: bytes | None = None,
        **options: Unpack[ContainerOptions],
    ) -> bytes | Container:
        """Create and start. With *detach* the running Container; else wait, and give what it wrote to stdout.

        *stdin*: bytes for its standard input. Options as in `create`. ContainerFailed: it ended with another exit code than 0.
        SyscallError ENOENT, EACCES: there is no such command, or it cannot be run; the container is removed then.
        """
        if stdin is not None:
            options["stdin_open"] = True
        container = self.create(image, command, **options)
        try:
            if stdin is not None and not detach:
                attachment = container.attach(stdin=True)
                container.start()
            elif detach:
                container.start()
                return container
            else:
                attachment = container.start_attached()
        except BaseException:
            container.remove(force=True)
            raise
        with attachment:
            if stdin is not None:
                attachment.feed(stdin)
            code = attachment.wait()
        output = container.logs(stderr=False)
        errors = container.logs(stdout=False) if code else b""
        if container.record.auto_remove:
            container.remove()
        if code:
            words = " ".join(container.record.args)
            raise ContainerFailed(f"command {words[:200]!r} ended with exit code {code}", exit_code=code, stderr=errors)
        return output

    def get(self, name: str) -> Container:
        """By name, id, or the beginning of an id. ContainerNotFound; SpecError if several ids begin so."""
        return Container(self.engine, self.engine.store.find(name))

    def list(self, *, all: bool = False, filters: dict[str, list[str]] | None = None) -> Sequence[Container]:
        """The running containers, newest first; with *all* the others too. *filters*: see `matches`."""
        found = [Container(self.engine, record) for record in self.engine.store.all()]
        wanted = filters or {}
        everything = all or "status" in wanted or "exited" in wanted
        return [one for one in found if (everything or one.status in ("running", "paused")) and matches(one, wanted)]

    def prune(self) -> Sequence[Container]:
        """Remove all containers that do not run; those that were removed."""
        removed = []
        for container in self.list(all=True):
            if container.status not in ("running", "paused"):
                try:
                    container.remove()
                except ContainerNotFound:
                    continue
                removed.append(container)
        return removed


def make_home(home: Path) -> int:
    """Make a new container's directory and hold its lock until we are done: a prune must not take it for a leftover."""
    while True:
        os.makedirs(home, mode=0o710, exist_ok=True)
        try:
            held = lock.take(f"{home}/lock", wait=True)
        except FileNotFoundError:  # a prune was faster, and has removed it
            continue
        if os.fstat(held).st_nlink:
            return held
        os.close(held)


def matches(container: Container, filters: dict[str, list[str]]) -> bool:
    """Docker's filters (name, id, label, status, ancestor, exited): every key must match, with any of its values."""
    tests: dict[str, Callable[[str], bool]] = {
        "name": lambda value: value in container.name,
        "id": lambda value: container.id.startswith(value),
        "label": lambda value: has_label(container, value),
        "status": lambda value: container.status == value,
        "ancestor": lambda value: value in (container.image, container.record.image_id) or container.image == f"{value}:latest",
        "exited": lambda value: container.exit_code is not None and str(container.exit_code) == value,
    }
    for key in filters:
        if key not in tests:
            raise MinidockerError(f"invalid filter '{key}'", hint=f"filters are {', '.join(tests)}")
    return all(any(tests[key](value) for value in values) for key, values in filters.items())


def has_label(container: Container, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in container.labels and (not equals or container.labels[key] == value)
