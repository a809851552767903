"""The OCI runtime configuration (config.json) that the engine writes for a container.

Interface: runtime_spec(...) -> dict ready for JSON. Pure data: what a runtime does with it is runtime/'s affair.
Spec: runtime-spec config.md and config-linux.md, version 1.2.0. The defaults are Docker's.
"""

from __future__ import annotations

from typing import Any

OCI_VERSION = "1.2.0"
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ("mount", "uts", "ipc", "pid", "network", "cgroup", "time")

MASKED_PATHS = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
]
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

Mount = dict[str, Any]


def default_mounts(shm_size: int = 64 << 20) -> list[Mount]:
    """The filesystems that every container has, as Docker mounts them; *shm_size* in bytes."""
    return [
        mount("proc", "/proc", "proc", "nosuid", "noexec", "nodev"),
        mount("tmpfs", "/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("devpts", "/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        mount("shm", "/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", f"size={shm_size}"),
        mount("mqueue", "/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        mount("sysfs", "/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        mount("cgroup", "/sys/fs/cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev"),
    ]


def mount(source: str, destination: str, kind: str, *options: str) -> Mount:
    """One element of `mounts`."""
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def bind(source: str, destination: str, *options: str) -> Mount:
    """A bind mount, with the mounts below its source; *options* such as "ro"."""
    return mount(source, destination, "bind", "rbind", "rprivate", *options)


def capability_sets(names: list[str]) -> dict[str, list[str]]:
    """The five sets for a process that may have *names*: nothing is inheritable, so nothing survives the exec of another user."""
    full = [f"CAP_{name}" for name in names]
    return {"bounding": full, "effective": full, "permitted": full, "inheritable": [], "ambient": []}


def process(
    args: list[str],
    *,
    env: list[str],
    cwd: str,
    user: str,
    terminal: bool,
    capabilities: list[str],
    rlimits: dict[str, tuple[int, int]] | None = None,
    no_new_privileges: bool = False,
) -> dict[str, Any]:
    """The `process` object. *user* is looked up in the container's own files when it starts ("name", "1000:1000", "" for root).

    *rlimits*: name such as "nofile" -> (soft, hard), -1 for no limit, which the specification writes as the largest number."""
    limits = [
        {"type": f"RLIMIT_{name.upper()}", "soft": soft % (1 << 64), "hard": hard % (1 << 64)}
        for name, (soft, hard) in (rlimits or {}).items()
    ]
    return {
        "terminal": terminal,
        "user": {"uid": 0, "gid": 0, "username": user or "0:0"},
        "args": args,
        "env": env,
        "cwd": cwd,
        "capabilities": capability_sets(capabilities),
        "rlimits": limits,
        "noNewPrivileges": no_new_privileges,
    }


def namespaces(joined: dict[str, str], shared_with_host: set[str]) -> list[dict[str, str]]:
    """The `linux.namespaces` list: new ones, but those in *joined* (name -> path), and without those of the host."""
    entries = []
    for name in NAMESPACES:
        if name in joined:
            entries.append({"type": name, "path": joined[name]})
        elif name not in shared_with_host:
            entries.append({"type": name})
    return entries


def runtime_spec(
    *,
    process: dict[str, Any],
    hostname: str,
    mounts: list[Mount],
    namespaces: list[dict[str, str]],
    cgroup: str,
    unified: dict[str, str],
    read_only: bool,
    annotations: dict[str, str],
    poststop: list[dict[str, Any]],
    unconfined: bool = False,
) -> dict[str, Any]:
    """The whole config.json. *unified*: cgroup v2 file -> value. *unconfined*: nothing masked or read-only, for --privileged."""
    return {
        "ociVersion": OCI_VERSION,
        "root": {"path": "rootfs", "readonly": read_only},
        "hostname": hostname,
        "process": process,
        "mounts": mounts,
        "hooks": {"poststop": poststop},
        "annotations": annotations,
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": f"/{cgroup}",
            "resources": {"unified": unified},
            "maskedPaths": [] if unconfined else MASKED_PATHS,
            "readonlyPaths": [] if unconfined else READONLY_PATHS,
        },
    }
