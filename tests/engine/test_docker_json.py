"""Docker's JSON and Docker's words for times and sizes, from records made by hand."""

from __future__ import annotations

import datetime
import json
from typing import NamedTuple

import pytest

from minidocker.engine import docker_json
from minidocker.engine.images import Image
from minidocker.engine.phrases import NEVER
from minidocker.engine.record import ContainerRecord, MountPoint
from minidocker.oci.image import ContainerConfig, Descriptor, History, ImageConfig, RootFS
from minidocker.paths import Paths

# What Docker 20.10 answers, less SizeRw and SizeRootFs, which it gives on request only.
SUMMARY_KEYS = "Id Names Image ImageID Command Created Ports Labels State Status HostConfig NetworkSettings Mounts"
INSPECT_KEYS = (
    "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver Platform MountLabel "
    "ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config NetworkSettings"
)
STATE_KEYS = "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt"
CONFIG_KEYS = (
    "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd Image Volumes WorkingDir Entrypoint "
    "OnBuild Labels"
)
IMAGE_KEYS = (
    "Id RepoTags RepoDigests Parent Comment Created Container DockerVersion Author Config Architecture Os Size VirtualSize GraphDriver "
    "RootFS Metadata"
)


class State(NamedTuple):
    status: str = "created"
    pid: int = 0
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    started_at: str = ""
    finished_at: str = ""


STARTED = State("running", pid=42, started_at="2026-11-24T08:30:00.000000000Z")
ENDED = State("exited", exit_code=3, started_at="2026-11-24T08:30:00.5Z", finished_at="2026-11-24T08:31:00.25Z")
RECORD = ContainerRecord(
    id="ab" * 32,
    name="web",
    created="2026-11-24T08:29:59.123456789Z",
    image="busybox",
    image_id="sha256:" + "cd" * 32,
    entrypoint=["/entry"],
    command=["serve", "--all of it"],
    env=["A=1"],
    hostname="box",
    user="1000",
    workdir="/srv",
    labels={"role": "db"},
    mounts=[
        MountPoint(kind="bind", source="/data", target="/data", options=["ro", "rslave"]),
        MountPoint(kind="bind", source="/logs", target="/logs"),
        MountPoint(kind="tmpfs", target="/tmp", options=["size=1m"]),
    ],
    tty=True,
    stdin_open=True,
    stop_signal=1,
    memory=64 << 20,
    pids_limit=20,
    cpus=0.5,
    cap_add=["NET_ADMIN"],
    read_only=True,
)


def test_summary_has_the_keys_of_the_api() -> None:
    summary = docker_json.container_summary(RECORD, ENDED)
    assert list(summary) == SUMMARY_KEYS.split()
    assert summary["Names"] == ["/web"]
    assert summary["Command"] == "/entry serve '--all of it'"
    assert summary["Created"] == 1795508999
    assert summary["State"] == "exited"
    assert json.loads(json.dumps(summary)) == summary


def test_inspect_has_the_keys_of_the_api() -> None:
    found = docker_json.container_inspect(RECORD, STARTED, Paths("mdt"), lower=["/top", "/bottom"])
    assert set(found) >= set(INSPECT_KEYS.split())
    assert list(found["State"]) == STATE_KEYS.split()
    assert set(found["Config"]) >= set(CONFIG_KEYS.split())
    assert json.loads(json.dumps(found)) == found


def test_inspect_tells_what_was_asked_for() -> None:
    found = docker_json.container_inspect(RECORD, STARTED, Paths("mdt"), lower=["/top", "/bottom"])
    assert (found["Id"], found["Name"], found["Image"]) == (RECORD.id, "/web", RECORD.image_id)
    assert (found["Path"], found["Args"]) == ("/entry", ["serve", "--all of it"])
    config, host = found["Config"], found["HostConfig"]
    assert (config["Entrypoint"], config["Cmd"], config["Env"]) == (["/entry"], ["serve", "--all of it"], ["A=1"])
    assert (config["Hostname"], config["User"], config["WorkingDir"], config["Image"]) == ("box", "1000", "/srv", "busybox")
    assert (config["Tty"], config["OpenStdin"], config["StopSignal"], config["Labels"]) == (True, True, "SIGHUP", {"role": "db"})
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"], host["ReadonlyRootfs"]) == (64 << 20, 500_000_000, 20, True)
    assert (host["CapAdd"], host["CapDrop"], host["NetworkMode"], host["IpcMode"]) == (["NET_ADMIN"], None, "none", "private")
    assert host["Binds"] == ["/data:/data:ro,rslave", "/logs:/logs"]
    assert host["Tmpfs"] == {"/tmp": "size=1m"}
    assert [(mount["Destination"], mount["RW"], mount["Propagation"]) for mount in found["Mounts"]] == [
        ("/data", False, "rslave"),
        ("/logs", True, "rprivate"),
    ]
    home = f"/var/lib/mdt/containers/{RECORD.id}"
    assert found["LogPath"] == f"{home}/container.log"
    assert found["GraphDriver"] == {
        "Data": {"LowerDir": "/top:/bottom", "MergedDir": f"{home}/rootfs", "UpperDir": f"{home}/upper", "WorkDir": f"{home}/work"},
        "Name": "overlay2",
    }
    assert found["NetworkSettings"]["Networks"]["none"]["IPAddress"] == ""


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State(), {"Status": "created", "Running": False, "Pid": 0, "ExitCode": 0, "StartedAt": NEVER}),
        (STARTED, {"Status": "running", "Running": True, "Pid": 42, "ExitCode": 0, "FinishedAt": NEVER}),
        (STARTED._replace(status="paused"), {"Status": "paused", "Running": True, "Paused": True, "Pid": 42}),
        (ENDED, {"Status": "exited", "Running": False, "Pid": 0, "ExitCode": 3, "FinishedAt": "2026-11-24T08:31:00.25Z"}),
        (State("dead", error="lost"), {"Dead": True, "Error": "lost"}),
    ],
)
def test_state(state: State, expected: dict[str, object]) -> None:
    found = docker_json.container_inspect(RECORD, state, Paths("mdt"))["State"]
    assert {key: found[key] for key in expected} == expected


def test_privileged_masks_nothing() -> None:
    record = ContainerRecord(id="a", name="n", created=RECORD.created, image="i", image_id="x", command=["sh"], privileged=True)
    host = docker_json.container_inspect(record, State(), Paths("mdt"))["HostConfig"]
    assert (host["Privileged"], host["MaskedPaths"], host["ReadonlyPaths"]) == (True, None, None)
    assert docker_json.container_inspect(RECORD, State(), Paths("mdt"))["HostConfig"]["MaskedPaths"]


def image() -> Image:
    created = datetime.datetime(2026, 11, 24, 8, 30, tzinfo=datetime.UTC)
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        author="us",
        rootfs=RootFS(diff_ids=["sha256:" + "1" * 64]),
        config=ContainerConfig(cmd=["sh"], env=["A=1"], labels={"a": "b"}, stop_signal="SIGINT"),
        history=[History(comment="made")],
    )
    layer = Descriptor(media_type="x", digest="sha256:" + "2" * 64, size=5)
    return Image("sha256:" + "3" * 64, "sha256:" + "4" * 64, ["me/app:1", "me/app:2"], config, [layer], 5, created)


def test_image_forms() -> None:
    found = docker_json.image_inspect(image())
    assert set(found) >= set(IMAGE_KEYS.split())
    assert found["RepoDigests"] == ["me/app@sha256:" + "4" * 64]
    assert (found["Created"], found["Comment"], found["Author"]) == ("2026-11-24T08:30:00Z", "made", "us")
    assert (found["Config"]["Cmd"], found["Config"]["Entrypoint"], found["Config"]["StopSignal"]) == (["sh"], None, "SIGINT")
    assert found["RootFS"] == {"Type": "layers", "Layers": ["sha256:" + "1" * 64]}
    summary = docker_json.image_summary(image())
    assert (summary["Created"], summary["Size"], summary["RepoTags"]) == (1795509000, 5, ["me/app:1", "me/app:2"])
    assert json.loads(json.dumps([found, summary])) == [found, summary]
