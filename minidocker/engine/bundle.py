"""From a container's record to its OCI bundle: config.json and the few files in /etc that the engine writes.

Interface: write_bundle(record, home, overlay, ...), process_spec(record, ...) for exec as well, cgroup_name(engine, id).
Spec: runtime-spec bundle.md. What is where: ARCHITECTURE.md, "State on disk".
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from minidocker.engine import unified
from minidocker.engine.record import ContainerRecord, MountPoint
from minidocker.engine.snapshots import Overlay
from minidocker.errors import SpecError
from minidocker.oci import spec
from minidocker.paths import Paths
from minidocker.runtime.state import INIT_ANNOTATION, OVERLAY_ANNOTATION

SHM = "/dev/shm"  # what shares an IPC namespace shares this too; a fresh mount of mqueue shows the namespace's queues by itself


def cgroup_name(paths: Paths, container_id: str) -> str:
    """The container's cgroup, below the engine's own."""
    return f"{paths.name}/{container_id}"


def write_bundle(record: ContainerRecord, paths: Paths, overlay: Overlay) -> None:
    """Write config.json, hostname, hosts and resolv.conf into the container's directory."""
    home = paths.containers / record.id
    shared_network = record.network == "host"
    write(home / "hostname", f"{record.hostname}\n")
    write(home / "hosts", hosts(record.hostname, copied=shared_network))
    write(home / "resolv.conf", host_file("/etc/resolv.conf"))
    annotations = {OVERLAY_ANNOTATION: json.dumps({"lower": overlay.lower, "upper": overlay.upper, "work": overlay.work})}
    if record.init:
        annotations[INIT_ANNOTATION] = "true"
    config = spec.runtime_spec(
        process=process_spec(record, record.args),
        hostname=record.hostname,
        mounts=all_mounts(record, home),
        namespaces=[],  # they depend on other containers' processes, so `update_namespaces` fills them in at each start
        cgroup=cgroup_name(paths, record.id),
        unified=unified.files(record),
        read_only=record.read_only,
        annotations=annotations,
        poststop=[auto_remove_hook(paths, record.id)] if record.auto_remove else [],
        unconfined=record.privileged,
    )
    config["linux"]["namespaces"] = namespaces(record, lambda name: {})
    (home / "config.json").write_bytes(msgspec.json.encode(config))


def replace_config(home: Path, config: dict[str, Any]) -> None:
    """Write config.json in one step: whoever reads it finds the old or the new one."""
    temporary = home / "config.json.tmp"
    temporary.write_bytes(msgspec.json.encode(config))
    os.rename(temporary, home / "config.json")


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def process_spec(
    record: ContainerRecord,
    args: list[str],
    *,
    user: str | None = None,
    workdir: str | None = None,
    env: list[str] | None = None,
    tty: bool | None = None,
    privileged: bool = False,
) -> dict[str, Any]:
    """The spec's `process` for the container's own command, or for another one beside it (exec)."""
    from minidocker.engine.options import allowed_capabilities

    return spec.process(
        args,
        env=record.env + (env or []),
        cwd=workdir or record.workdir,
        user=record.user if user is None else user,
        terminal=record.tty if tty is None else tty,
        capabilities=allowed_capabilities([], [], privileged=True) if privileged else record.capabilities,
        rlimits=record.ulimits,
    )


def namespaces(record: ContainerRecord, state_of: Callable[[str], dict[str, Any]]) -> list[dict[str, str]]:
    """New ones, but those shared with the host or with another running container, whose state *state_of*(name) gives."""
    modes = {"pid": record.pid_mode, "ipc": record.ipc_mode, "uts": record.uts_mode, "network": record.network}
    joined, of_host = {}, set()
    for kind, mode in modes.items():
        if mode == "host":
            of_host.add(kind)
        elif mode.startswith("container:"):
            state = state_of(mode.removeprefix("container:"))
            if state:
                joined[kind] = f"/proc/{state['pid']}/ns/{'net' if kind == 'network' else kind}"
    return spec.namespaces(joined, of_host)


def joins_others(record: ContainerRecord) -> bool:
    return any(mode.startswith("container:") for mode in (record.pid_mode, record.ipc_mode))


def update_namespaces(record: ContainerRecord, home: Path, state_of: Callable[[str], dict[str, Any]]) -> None:
    """Write the namespaces of other containers, as they run now, into config.json."""
    config = json.loads((home / "config.json").read_bytes())
    config["linux"]["namespaces"] = namespaces(record, state_of)
    if record.ipc_mode.startswith("container:"):
        pid = state_of(record.ipc_mode.removeprefix("container:"))["pid"]
        for entry in config["mounts"]:
            if entry["destination"] == SHM:
                entry |= {"type": "bind", "source": SHM, "options": ["rbind"], "mountNamespace": f"/proc/{pid}/ns/mnt"}
    (home / "config.json").write_bytes(msgspec.json.encode(config))  # in place: who starts it holds this very file


def all_mounts(record: ContainerRecord, home: Path) -> list[spec.Mount]:
    """The standard filesystems, the engine's files in /etc, and what the user asked for on top."""
    mounts = spec.default_mounts()
    asked = {point.target for point in record.mounts}
    if record.privileged:
        for entry in mounts:
            entry["options"] = [option for option in entry["options"] if option != "ro"]
    if record.ipc_mode == "host":
        mounts = [spec.bind(SHM, SHM) if entry["destination"] == SHM else entry for entry in mounts]
    for name in ("hostname", "hosts", "resolv.conf"):
        mounts.append(spec.bind(str(home / name), f"/etc/{name}"))
    mounts = [entry for entry in mounts if entry["destination"] not in asked]
    return mounts + [user_mount(point) for point in record.mounts]


def user_mount(point: MountPoint) -> spec.Mount:
    if point.kind == "tmpfs":
        return spec.mount("tmpfs", point.target, "tmpfs", *point.options)
    propagates = any(option.endswith(("private", "shared", "slave")) for option in point.options)
    return spec.mount(point.source, point.target, "bind", "rbind", *([] if propagates else ["rprivate"]), *point.options)


def check_sources(record: ContainerRecord) -> None:
    """Every bind's source is there, or is made if -v asked for it. SpecError otherwise."""
    for point in record.mounts:
        if point.kind != "bind" or os.path.exists(point.source):
            continue
        if not point.create_source:
            hint = "make it first, or use -v, which makes the directory"
            raise SpecError(f'invalid mount config for type "bind": bind source path does not exist: {point.source}', hint=hint)
        try:
            os.makedirs(point.source, exist_ok=True)
        except OSError as error:
            raise SpecError(f"cannot make the bind source {point.source}: {error.strerror}") from error


def hosts(hostname: str, *, copied: bool) -> str:
    """/etc/hosts: the host's own if its network is shared; without a network a container knows only itself."""
    if copied:
        return host_file("/etc/hosts")
    local = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    return f"{local}127.0.1.1\t{hostname}\n"


def host_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def auto_remove_hook(paths: Paths, container_id: str) -> dict[str, Any]:
    """An OCI poststop hook that removes a detached --rm container: the monitor runs it, whatever became of everybody else."""
    arguments = [sys.executable, "-m", "minidocker.engine.autoremove", paths.name, str(paths.root), str(paths.run), container_id]
    return {"path": sys.executable, "args": arguments, "env": [f"PYTHONPATH={os.pathsep.join(path for path in sys.path if path)}"]}
