"""What the engine remembers of a container: one record, written when it is created.

How it fares (running, exited, ...) is not here: that is asked of the kernel and of the monitor's files each time.
"""

from __future__ import annotations

from typing import TypedDict

import msgspec


class ResourceOptions(TypedDict, total=False):
    """What a container may use: the options of `Container.update`, and of `create` too. See resources.py for what each accepts."""

    memory: str | int
    memory_reservation: str | int
    memory_swap: str | int
    oom_kill_disable: bool
    cpus: float
    cpu_shares: int
    cpu_quota: int
    cpu_period: int
    cpuset_cpus: str
    cpuset_mems: str
    pids_limit: int
    blkio_weight: int
    device_read_bps: list[str]
    device_write_bps: list[str]
    device_read_iops: list[str]
    device_write_iops: list[str]
    cgroup_conf: list[str]


class ContainerOptions(ResourceOptions, total=False):
    """The options of `containers.create` and `run`, named as docker's flags; see options.py for what each accepts."""

    name: str
    hostname: str
    env: list[str] | dict[str, str]
    volumes: list[str]
    mounts: list[str]
    tmpfs: list[str]
    read_only: bool
    workdir: str
    user: str
    entrypoint: list[str] | str
    init: bool
    tty: bool
    stdin_open: bool
    stop_signal: str | int
    stop_timeout: int
    network: str
    pid: str
    ipc: str
    uts: str
    labels: dict[str, str]
    remove: bool
    cap_add: list[str]
    cap_drop: list[str]
    privileged: bool
    ulimits: list[str]


class MountPoint(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One -v, --mount or --tmpfs: *kind* is "bind" or "tmpfs", *options* are mount(8) words."""

    kind: str
    source: str = ""
    target: str
    options: list[str] = []
    create_source: bool = False

    @property
    def read_only(self) -> bool:
        return "ro" in self.options


class Resources(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a container may use; 0 and "" for no limit. Sizes in bytes, rates by device path, *memory_swap* with -1 for all there is."""

    memory: int = 0
    memory_reservation: int = 0
    memory_swap: int = 0
    cpus: float = 0.0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    device_read_bps: dict[str, int] = {}
    device_write_bps: dict[str, int] = {}
    device_read_iops: dict[str, int] = {}
    device_write_iops: dict[str, int] = {}
    cgroup_conf: dict[str, str] = {}


class ContainerRecord(Resources, kw_only=True, omit_defaults=True):
    """A container as it was asked for, and what it may use. *entrypoint* and *command* together are what runs; times in seconds."""

    id: str
    name: str
    created: str
    image: str
    image_id: str
    entrypoint: list[str] = []
    command: list[str] = []
    env: list[str] = []
    hostname: str = ""
    user: str = ""
    workdir: str = "/"
    labels: dict[str, str] = {}
    mounts: list[MountPoint] = []
    read_only: bool = False
    init: bool = False
    tty: bool = False
    stdin_open: bool = False
    stop_signal: int = 15
    stop_timeout: int = 10
    network: str = "none"
    pid_mode: str = ""
    ipc_mode: str = "private"
    uts_mode: str = ""
    auto_remove: bool = False
    cap_add: list[str] = []
    cap_drop: list[str] = []
    capabilities: list[str] = []
    privileged: bool = False
    ulimits: dict[str, tuple[int, int]] = {}

    @property
    def args(self) -> list[str]:
        """What execve gets."""
        return self.entrypoint + self.command
