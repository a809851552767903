"""Containers and images in Docker's JSON: what ``inspect`` and ``ps`` show and what the daemon answers.

    container_inspect(record, state, paths)   GET /containers/ID/json       container_summary(record, state)   one of GET /containers/json
    image_inspect(image)                      GET /images/NAME/json         image_summary(image)               one of GET /images/json
    system_info(facts)                        GET /info

Pure functions from records to dicts in Docker's order, with the fields of its API (1.41) that clients read. What this engine does not
have yet (ports, volumes, networks with addresses) is there and empty, as clients expect. https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import datetime
import signal
from typing import Any

from minidocker.engine.docker_json_limits import limits, ulimits
from minidocker.engine.images import Image
from minidocker.engine.phrases import NEVER, State, command_text, seconds, status_text
from minidocker.engine.record import ContainerRecord, MountPoint
from minidocker.oci import spec
from minidocker.oci.image import ContainerConfig
from minidocker.paths import Paths

JSON = dict[str, Any]


# -- containers --------------------------------------------------------------------------------------------------------


def container_summary(record: ContainerRecord, state: State) -> JSON:
    """The short form, for lists."""
    return {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": record.image,
        "ImageID": record.image_id,
        "Command": command_text(record.args),
        "Created": int(seconds(record.created)),
        "Ports": [],
        "Labels": record.labels,
        "State": state.status,
        "Status": status_text(state),
        "HostConfig": {"NetworkMode": record.network},
        "NetworkSettings": {"Networks": {record.network: _endpoint()}},
        "Mounts": _mounts(record),
    }


def container_inspect(record: ContainerRecord, state: State, paths: Paths, *, lower: list[str] | None = None) -> JSON:
    """The long form. *lower*: the image's unpacked layers, top first, if they are known."""
    home = paths.containers / record.id
    return {
        "Id": record.id,
        "Created": record.created,
        "Path": record.args[0],
        "Args": record.args[1:],
        "State": _state(state),
        "Image": record.image_id,
        "ResolvConfPath": str(home / "resolv.conf"),
        "HostnamePath": str(home / "hostname"),
        "HostsPath": str(home / "hosts"),
        "LogPath": str(home / "container.log"),
        "Name": f"/{record.name}",
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(record, paths),
        "GraphDriver": _graph_driver(str(home), lower or []),
        "Mounts": _mounts(record),
        "Config": _config_of_container(record),
        "NetworkSettings": _network_settings(record.network),
    }


def _state(state: State) -> JSON:
    return {
        "Status": state.status,
        "Running": state.status in ("running", "paused"),
        "Paused": state.status == "paused",
        "Restarting": False,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid if state.status in ("running", "paused") else 0,
        "ExitCode": state.exit_code or 0,
        "Error": state.error,
        "StartedAt": state.started_at or NEVER,
        "FinishedAt": state.finished_at or NEVER,
    }


def _config_of_container(record: ContainerRecord) -> JSON:
    return {
        "Hostname": record.hostname,
        "Domainname": "",
        "User": record.user,
        "AttachStdin": record.stdin_open,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": record.tty,
        "OpenStdin": record.stdin_open,
        "StdinOnce": record.stdin_open,
        "Env": record.env,
        "Cmd": record.command or None,
        "Image": record.image,
        "Volumes": None,
        "WorkingDir": record.workdir,
        "Entrypoint": record.entrypoint or None,
        "OnBuild": None,
        "Labels": record.labels,
        "StopSignal": signal.Signals(record.stop_signal).name if record.stop_signal in set(signal.Signals) else str(record.stop_signal),
        "StopTimeout": record.stop_timeout,
    }


def _host_config(record: ContainerRecord, paths: Paths) -> JSON:
    binds = [point for point in record.mounts if point.kind == "bind"]
    tmpfs = [point for point in record.mounts if point.kind == "tmpfs"]
    return {
        "Binds": [":".join([point.source, point.target, *([",".join(point.options)] if point.options else [])]) for point in binds] or None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": record.network,
        "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": record.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": record.cap_add or None,
        "CapDrop": record.cap_drop or None,
        "CgroupnsMode": "private",
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": None,
        "GroupAdd": None,
        "IpcMode": record.ipc_mode,
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": 0,
        "PidMode": record.pid_mode,
        "Privileged": record.privileged,
        "PublishAllPorts": False,
        "ReadonlyRootfs": record.read_only,
        "SecurityOpt": None,
        **({"Tmpfs": {point.target: ",".join(point.options) for point in tmpfs}} if tmpfs else {}),
        "UTSMode": record.uts_mode,
        "UsernsMode": "",
        "ShmSize": 64 << 20,
        "Runtime": "minidocker",
        "Isolation": "",
        **limits(record),
        "CgroupParent": paths.name,
        "Devices": [],
        "Init": record.init,
        "Ulimits": ulimits(record),
        "MaskedPaths": None if record.privileged else spec.MASKED_PATHS,
        "ReadonlyPaths": None if record.privileged else spec.READONLY_PATHS,
    }


def _mounts(record: ContainerRecord) -> list[JSON]:
    """Bind mounts; a tmpfs is told in HostConfig only, as Docker tells one of --tmpfs."""
    return [_mount(point) for point in record.mounts if point.kind == "bind"]


def _mount(point: MountPoint) -> JSON:
    propagation = next((word for word in point.options if word.removeprefix("r") in ("private", "shared", "slave")), "rprivate")
    return {
        "Type": point.kind,
        "Source": point.source,
        "Destination": point.target,
        "Mode": ",".join(point.options),
        "RW": not point.read_only,
        "Propagation": propagation,
    }


def _graph_driver(home: str, lower: list[str]) -> JSON:
    data = {"LowerDir": ":".join(lower)} if lower else {}
    return {"Data": data | {"MergedDir": f"{home}/rootfs", "UpperDir": f"{home}/upper", "WorkDir": f"{home}/work"}, "Name": "overlay2"}


def _network_settings(mode: str) -> JSON:
    none = {"Bridge": "", "SandboxID": "", "SandboxKey": "", "HairpinMode": False, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0}
    addresses = {
        key: value for key, value in _endpoint().items() if key not in ("IPAMConfig", "Links", "Aliases", "NetworkID", "DriverOpts")
    }
    return none | {"Ports": {}} | addresses | {"Networks": {mode: _endpoint()}}


def _endpoint() -> JSON:
    """A container's place in a network without addresses."""
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "",
        "DriverOpts": None,
    }


# -- images ------------------------------------------------------------------------------------------------------------


def image_summary(image: Image) -> JSON:
    """The short form, for lists."""
    return {
        "Containers": -1,
        "Created": int(image.created.timestamp()),
        "Id": image.id,
        "Labels": image.config.config.labels or None,
        "ParentId": "",
        "RepoDigests": _repo_digests(image),
        "RepoTags": image.tags,
        "SharedSize": -1,
        "Size": image.size,
        "VirtualSize": image.size,
    }


def image_inspect(image: Image) -> JSON:
    """The long form."""
    config = image.config
    return {
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": _repo_digests(image),
        "Parent": "",
        "Comment": config.history[-1].comment if config.history else "",
        "Created": image.created.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z"),
        "Container": "",
        "DockerVersion": "",
        "Author": config.author,
        "Config": _config_of_image(config.config),
        "Architecture": config.architecture,
        **({"Variant": config.variant} if config.variant else {}),
        "Os": config.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        "Metadata": {"LastTagTime": NEVER},
    }


def _repo_digests(image: Image) -> list[str]:
    return sorted({f"{tag.rpartition(':')[0]}@{image.digest}" for tag in image.tags})


def _config_of_image(config: ContainerConfig) -> JSON:
    return {
        "Hostname": "",
        "Domainname": "",
        "User": config.user,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        **({"ExposedPorts": config.exposed_ports} if config.exposed_ports else {}),
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": config.env or None,
        "Cmd": config.cmd or None,
        "Image": "",
        "Volumes": config.volumes or None,
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint or None,
        "OnBuild": None,
        "Labels": config.labels or None,
        **({"StopSignal": config.stop_signal} if config.stop_signal else {}),
    }


# -- the engine --------------------------------------------------------------------------------------------------------


def system_info(facts: JSON) -> JSON:
    """*facts*: what `Engine.info` gives."""
    return {
        "ID": facts["name"],
        "Containers": facts["containers"],
        "ContainersRunning": facts["running"],
        "ContainersPaused": facts["paused"],
        "ContainersStopped": facts["stopped"],
        "Images": facts["images"],
        "Driver": "overlay2",
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if facts["cgroup_mode"] == "v2" else "1",
        "KernelVersion": facts["kernel_version"],
        "OSType": "linux",
        "Architecture": facts["architecture"],
        "NCPU": facts["cpus"],
        "MemTotal": facts["memory"],
        "DockerRootDir": facts["root"],
        "Name": facts["host"],
        "DefaultRuntime": "minidocker",
    }
