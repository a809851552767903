"""What a container may use and what it uses: `docker update`, `pause`, `stats` and `top`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Unpack

from minidocker.engine.container_view import ContainerView
from minidocker.engine.record import ResourceOptions
from minidocker.errors import SyscallError, WrongStatus
from minidocker.linux import cgroups, process

if TYPE_CHECKING:
    from minidocker.engine.stats import Sample


class ContainerResources(ContainerView):
    """The verbs around a container's cgroup."""

    def update(self, **options: Unpack[ResourceOptions]) -> None:
        """Change what it may use, at once if it runs, and for its next start. Options as in `create`; 0 and [] take a limit away.

        All or nothing: SpecError for what cannot be (Docker's rules, this host, or the kernel's word), and then nothing has changed.
        """
        from minidocker.engine import bundle, resources, unified

        unknown = set(options) - set(ResourceOptions.__annotations__)
        if unknown:
            raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
        changed = resources.parse(options)
        with self.locked():
            self.reload()
            wanted = resources.merged(self.record, changed)
            config = json.loads((self.home / "config.json").read_bytes())
            before = config["linux"]["resources"]["unified"]
            after = config["linux"]["resources"]["unified"] = unified.files(wanted)
            unified.check(after, self.engine.paths.name)
            files = unified.changes(before, after)
            if self.state["status"] in ("created", "running"):
                self._apply(files)
            try:
                bundle.replace_config(self.home, config)
                self.engine.store.update(wanted)
            except BaseException:
                bundle.replace_config(self.home, config | {"linux": config["linux"] | {"resources": {"unified": before}}})
                if self.state["status"] in ("created", "running"):
                    self._apply(unified.changes(after, before))
                raise
            self.record = wanted
        self.tell("update")

    def _apply(self, files: dict[str, str]) -> None:
        from minidocker.linux.cgroups import limits

        try:
            limits.apply(cgroups.open_cgroup(self.cgroup), files)
        except SyscallError as error:
            if error.errno != 2:  # ENOENT: it has just ended
                raise

    def pause(self) -> None:
        """Freeze all its processes; returns when they stand. WrongStatus: it does not run, or is paused already."""
        from minidocker.linux.cgroups import freezer

        status = self.status
        if status == "paused":
            hint = f"minidocker unpause {self.name}"
            raise WrongStatus(f"Container {self.name} is already paused", status=status, needed="running", hint=hint)
        if status != "running":
            hint = f"minidocker start {self.name}"
            raise WrongStatus(f"Container {self.name} is not running", status=status, needed="running", hint=hint)
        freezer.freeze(cgroups.open_cgroup(self.cgroup))
        self.tell("pause")

    def unpause(self) -> None:
        """Let its processes go on. WrongStatus: it is not paused."""
        if not self.thaw():
            hint = "minidocker ps -f status=paused shows which are"
            raise WrongStatus(f"Container {self.name} is not paused", status=self.status, needed="paused", hint=hint)
        self.tell("unpause")

    def thaw(self) -> bool:
        """Let its processes go on, if it is paused. False: it was not."""
        from minidocker.linux.cgroups import freezer

        if not self.is_paused():
            return False
        freezer.thaw(cgroups.open_cgroup(self.cgroup))
        return True

    def stats(self, before: Sample | None = None) -> Sample:
        """What it uses now, as the kernel counts it. `cpu_percent` is that since the sample *before*.

        WrongStatus: it does not run."""
        from minidocker.engine import stats

        return stats.sample(self, before)

    def stats_stream(self, interval: float = 1.0) -> Iterator[Sample]:
        """A sample now and then every *interval* seconds, until it ends; each knows the one before, and so its `cpu_percent`."""
        from minidocker.engine import stats

        return stats.stream(self, interval)

    def processes(self, columns: list[str] | None = None) -> tuple[list[str], list[list[str]]]:
        """Titles and rows of a table of its processes, as ps(1) has it. WrongStatus: it does not run. SpecError: no such column."""
        from minidocker.engine import top

        return top.table([one.pid for one in self.top()], columns or [])

    def top(self) -> list[process.Stat]:
        """Its processes, with their pids on the host. WrongStatus: it does not run."""
        if self.pid == 0:
            raise WrongStatus(f"container {self.name} is not running", status=self.status, needed="running")
        found = []
        for pid in cgroups.open_cgroup(self.cgroup).pids():
            try:
                found.append(process.stat(pid))
            except SyscallError:  # it has ended meanwhile
                continue
        return found
