"""What this host can do: every kernel feature, tool and permission that the engine or a lesson needs, tried for real.

    findings = examine(Paths())          # changes nothing on the host
    can_run(findings)                    # is all there that the engine cannot do without?
    findings[0].to_dict()                # name ok required needed_by detail lost fix

How each is tried: probes.py and probes_files.py. A shell user sees the same with ``minidocker doctor``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import NamedTuple

from minidocker.errors import MinidockerError
from minidocker.paths import Paths

KERNEL = "a kernel of Debian 12, Debian 13 or Ubuntu 24.04 has it; one inside another container may be refused it"
OUTSIDE = "run it on the machine itself, not inside a chroot or a container"
PACKAGES = "vagrant/packages.sh"
V2 = "boot with cgroup v2 only, as the course's virtual machine does"
BENCH = "vagrant/packages.sh bench"


class Need(NamedTuple):
    """Why a probe's answer matters: who needs it, what is lost without it, how to get it, and whether the engine can do without."""

    needed_by: str
    lost: str
    fix: str
    required: bool = False


NEEDS = {
    "kernel": Need("engine", "tested with Linux 6.1 and newer", "use a newer kernel: Debian 12 has 6.1"),
    "root": Need("engine", "everything", "use sudo, or become root", required=True),
    "capabilities": Need("engine", "making namespaces, mounts, devices and users", OUTSIDE, required=True),
    "raising limits": Need("engine", "resource limits above those of the process that starts the engine", OUTSIDE),
    "mnt namespace": Need("engine", "a file system of its own", KERNEL, required=True),
    "pid namespace": Need("engine", "process numbers of its own, and an end for all of them", KERNEL, required=True),
    "uts namespace": Need("engine", "a host name of its own", KERNEL, required=True),
    "ipc namespace": Need("engine", "message queues and shared memory of its own", KERNEL, required=True),
    "net namespace": Need("engine", "a network stack of its own", KERNEL, required=True),
    "cgroup namespace": Need("engine", "a view of its own cgroup only", KERNEL, required=True),
    "time namespace": Need("lesson 06", "clocks of its own", "use Linux 5.6 or newer, built with CONFIG_TIME_NS"),
    "user namespace": Need("lesson 07", "root inside who is nobody outside", "sysctl -w user.max_user_namespaces=15000"),
    "user namespace of an ordinary user": Need(
        "lesson 07", "containers without root", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (on Ubuntu)"
    ),
    "overlayfs": Need("engine", "shared layers under a writable one", f"modprobe overlay; {OUTSIDE}", required=True),
    "data root": Need(
        "engine", "a place for the writable layer", "keep the data on ext4 or xfs: minidocker --root DIR", required=True
    ),
    "disk space": Need("engine", "room for images and containers", "minidocker system prune, or another --root DIR"),
    "proc": Need("engine", "a /proc that shows the container's processes", OUTSIDE, required=True),
    "sysfs": Need("engine", "a /sys that shows the container's network", OUTSIDE, required=True),
    "devpts": Need("engine", "terminals of its own", KERNEL, required=True),
    "mqueue": Need("engine", "POSIX message queues", "use a kernel built with CONFIG_POSIX_MQUEUE", required=True),
    "detached mounts": Need("engine", "bind mounts of volumes", "use Linux 5.2 or newer", required=True),
    "recursive read-only": Need("engine", "one step; each mount is remounted by itself instead", "use Linux 5.12 or newer"),
    "pidfd": Need("engine", "naming a process for good", "use Linux 5.4 or newer", required=True),
    "clone3": Need("engine", "nothing: clone(2) takes its place", KERNEL),
    "cgroup": Need("engine", "ending all of a container's processes", "mount -t cgroup2 none /sys/fs/cgroup", required=True),
    "memory limit": Need("engine, lesson 10", "--memory", "boot with cgroup_enable=memory"),
    "cpu limit": Need("engine, lesson 11", "--cpus", "use a kernel built with CONFIG_CFS_BANDWIDTH"),
    "pids limit": Need("engine, lesson 12", "--pids-limit", "use a kernel built with CONFIG_CGROUP_PIDS"),
    "freezer": Need("lesson 12", "pause and resume", V2),
    "memory.high": Need("lesson 10", "slowing a container down before it is killed", V2),
    "cpuset": Need("lesson 11", "particular cores for a container", KERNEL),
    "io": Need("lesson 12", "limits on reading and writing", KERNEL),
    "pressure": Need("lesson 10", "seeing how long processes wait for memory", "boot with psi=1"),
    "seccomp": Need("lesson 21", "filters on system calls", KERNEL),
    "busybox-static": Need("engine", "the base image busybox", f"{PACKAGES}, or apt-get install busybox-static", required=True),
    "veth": Need("lessons 09, 18", "a cable between two network stacks", f"{PACKAGES}, then modprobe veth"),
    "bridge": Need("lesson 18", "the switch that containers are plugged into", f"{PACKAGES}, then modprobe bridge"),
    "nftables": Need("lesson 19", "address translation and published ports", f"{PACKAGES}, then modprobe nf_tables"),
    "shell tools": Need("lessons 01 to 09", "the same facts shown by other tools", PACKAGES),
    "runc": Need("bench", "a bare runtime to compare with", BENCH),
    "docker": Need("bench", "Docker to compare with", BENCH),
    "podman": Need("bench", "podman to compare with", BENCH),
}


@dataclass(frozen=True)
class Finding:
    """One answer. *detail* is what the attempt saw; *lost* and *fix* matter when it is not *ok*."""

    name: str
    ok: bool
    required: bool
    needed_by: str
    detail: str
    lost: str
    fix: str

    def to_dict(self) -> dict[str, str | bool]:
        return asdict(self)


def examine(paths: Paths) -> list[Finding]:
    """Try everything, for an engine with these *paths*. Takes about half a second and leaves nothing.

    May be called from a process with threads: the trying is done by another program. MinidockerError if that one does not answer."""
    command = [sys.executable, "-m", "minidocker.engine.probes", str(paths.root)]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise MinidockerError(f"the probes ended with exit code {ran.returncode}: {ran.stderr.strip()[-500:]}")
    findings = []
    for name, (ok, detail) in json.loads(ran.stdout).items():
        need = NEEDS[name]
        findings.append(Finding(name, ok, need.required, need.needed_by, detail, need.lost, need.fix))
    return findings


def can_run(findings: Iterable[Finding]) -> bool:
    """Is everything there that the engine cannot do without?"""
    return all(finding.ok for finding in findings if finding.required)
