"""The engine: all containers and images under one name. The one door for the command line, the daemon and the course.

    with Engine() as engine:
        print(engine.containers.run("busybox", ["echo", "hello"], remove=True))

Several engines with different names share a machine without touching each other. Making one touches nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidocker.engine import bundle
from minidocker.engine.container import Container
from minidocker.engine.containers import Containers
from minidocker.engine.images import Images, Removal
from minidocker.engine.snapshots import Snapshots
from minidocker.engine.store import Store
from minidocker.errors import InUse, MissingFeature
from minidocker.linux import cgroups
from minidocker.paths import DEFAULT_NAME, Paths
from minidocker.runtime import hire, lock
from minidocker.runtime.container import Runtime

if TYPE_CHECKING:
    from fractions import Fraction

    from minidocker.engine.events import Events


class Engine:
    """The engine called *name*. *root* and *run*: where its data and its runtime state are, if not in the usual places."""

    def __init__(self, name: str = DEFAULT_NAME, *, root: str | Path | None = None, run: str | Path | None = None) -> None:
        self.paths = Paths(name, root, run)
        if os.geteuid() != 0:
            raise MissingFeature("minidocker must run as root", hint="use sudo; containers for other users come with a later version")
        self.store = Store(self.paths.db)
        self.images = Images(self.paths)
        self.snapshots = Snapshots(self.paths, self.images)
        self.runtime = Runtime(str(self.paths.run))
        self.containers = Containers(self)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything. Containers go on; the spawner leaves by itself when it is idle."""
        self.store.close()

    def shutdown(self) -> None:
        """As `close`, and end the spawner and remove the runtime directory and the cgroup now. InUse: containers still run."""
        running = [record.name for record in self.store.all() if lock.is_held(f"{self.paths.containers}/{record.id}/lock")]
        if running:
            raise InUse(f"{len(running)} containers still run: {', '.join(running[:5])}", hint="stop them first")
        self.close()
        hire.stop(str(self.paths.run))
        cgroups.open_cgroup(self.paths.name).remove()
        shutil.rmtree(self.paths.run, ignore_errors=True)

    def events(
        self,
        *,
        since: Fraction | float | None = None,
        until: Fraction | float | None = None,
        filters: dict[str, list[str]] | None = None,
        follow: bool = True,
    ) -> Events:
        """What happens to the containers: an iterator of events, from now on or from *since*, until *until*. See events.py.

        *filters*: container, event, image, label, type. Without *follow* only what has happened so far."""
        from minidocker.engine.events import Events

        return Events(str(self.paths.run), since=since, until=until, filters=filters, follow=follow)

    def remove_image(self, name: str, *, force: bool = False) -> Removal:
        """Untag an image, and remove it with its last tag. InUse: a container needs it, and not *force*."""
        users: dict[str, list[str]] = {}
        for record in self.store.all():
            users.setdefault(record.image_id, []).append(record.name)
        return self.images.remove(name, force=force, used_by=users)

    def remove_home(self, container_id: str) -> None:
        """Delete a container's directory: what it wrote, its bundle, its log."""
        self.snapshots.remove(container_id)
        shutil.rmtree(self.paths.containers / container_id, ignore_errors=True)

    def prune(self) -> dict[str, list[str]]:
        """Find and remove what killed processes left; a running container is never touched. Returns what was removed, by kind."""
        removed = {
            "containers": self._prune_promised(),
            "directories": self._prune_directories(),
            "cgroups": self._prune_cgroups(),
            "layers": [str(path) for path in self.snapshots.prune()],
            "blobs": [str(path) for path in self.images.prune()],
        }
        return {kind: items for kind, items in removed.items() if items}

    def _prune_promised(self) -> list[str]:
        """Containers whose files are gone, and those that promised to vanish at their end (--rm); the others' states are set right."""
        gone = []
        for record in self.store.all():
            container = Container(self, record)
            status = container.status
            if status == "dead":
                self.store.remove(record.id)
                container.tell("destroy")
                gone.append(record.id)
            elif status == "exited" and record.auto_remove:
                container.remove()
                gone.append(record.id)
        return gone

    def _prune_directories(self) -> list[str]:
        """Directories of containers that never came to exist, or whose removal was cut short."""
        removed = []
        homes = names_in(self.paths.containers)
        for name in sorted(homes | {Path(file).stem.partition(".")[0] for file in names_in(self.paths.run_containers)}):
            with self._held(name) as free:
                if not free or self.store.has(name):  # asked while we hold it: until now it may have come to exist
                    continue
                self.runtime.sweep(name, bundle.cgroup_name(self.paths, name))
                if name in homes:
                    self.remove_home(name)
                removed.append(name)
        return removed

    def _prune_cgroups(self) -> list[str]:
        """Cgroups below the engine's own that no living container has."""
        removed = []
        for name in cgroups.open_cgroup(self.paths.name).children():
            with self._held(name) as free:
                if free:
                    cgroups.open_cgroup(f"{self.paths.name}/{name}").remove_with_processes()
                    removed.append(f"{self.paths.name}/{name}")
        return removed

    @contextlib.contextmanager
    def _held(self, container_id: str) -> Iterator[bool]:
        """Hold a container's lock. False: somebody else does, who runs, makes or removes it."""
        try:
            held = lock.take(f"{self.paths.containers}/{container_id}/lock")
        except BlockingIOError:
            yield False
            return
        except FileNotFoundError:  # it has no directory, so nobody can run it
            held = -1
        try:
            yield True
        finally:
            if held >= 0:
                os.close(held)

    def info(self) -> dict[str, Any]:
        """What `minidocker info` shows: counts, places, the kernel."""
        statuses = [container.status for container in self.containers.list(all=True)]
        system = os.uname()
        return {
            "name": self.paths.name,
            "containers": len(statuses),
            "running": statuses.count("running"),
            "paused": statuses.count("paused"),
            "stopped": len(statuses) - statuses.count("running") - statuses.count("paused"),
            "images": len(self.images.list()),
            "root": str(self.paths.root),
            "run": str(self.paths.run),
            "storage_driver": "overlay",
            "cgroup_mode": cgroups.mode(),
            "kernel_version": system.release,
            "architecture": system.machine,
            "host": system.nodename,
            "cpus": os.cpu_count() or 1,
            "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        }


def names_in(directory: Path) -> set[str]:
    return set(os.listdir(directory)) if directory.is_dir() else set()
