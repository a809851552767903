"""Whether this host can do what containers need: each probe really tries it, in a child process, and leaves nothing.

    PROBES["overlay"](root)      detail, or an error: OSError, MinidockerError
    python -m minidocker.engine.probes ROOT     runs them all, each in a fork of its own, and prints what came out as JSON

Most probes change the process that tries them. So they run in a program of their own, which has a single thread and may fork; a
Jupyter kernel may not. What each result means for the engine and the lessons is in doctor.py.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minidocker.engine import probes_files as files
from minidocker.errors import MinidockerError, MissingFeature
from minidocker.linux import capabilities, cgroups, namespaces, syscalls

Probe = Callable[[Path], str]

OLDEST_KERNEL = (5, 14)  # cgroup.kill
LONGEST = 10  # seconds for one probe
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "MKNOD", "NET_ADMIN", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT"]
PR_SET_DUMPABLE = 4


def kernel(root: Path) -> str:
    release = os.uname().release
    major, minor = release.split(".")[:2]
    if (int(major), int("".join(filter(str.isdigit, minor)))) < OLDEST_KERNEL:
        raise MissingFeature(f"Linux {release} is older than {OLDEST_KERNEL[0]}.{OLDEST_KERNEL[1]}")
    return f"Linux {release} on {os.uname().machine}"


def is_root(root: Path) -> str:
    if os.geteuid() != 0:
        raise MissingFeature(f"running as user {os.geteuid()}")
    return "running as root"


def root_capabilities(root: Path) -> str:
    effective = capabilities.sets()["effective"]
    missing = [name for name in CAPABILITIES if not effective >> capabilities.bit(name) & 1]
    if missing:
        raise MissingFeature(f"not among root's capabilities: {', '.join(missing)}")
    return f"{effective.bit_count()} of {capabilities.last() + 1}"


def raise_limits(root: Path) -> str:
    if not capabilities.sets()["effective"] >> capabilities.bit("SYS_RESOURCE") & 1:
        raise MissingFeature("CAP_SYS_RESOURCE is not among root's capabilities")
    return "limits may be raised"


def namespace(name: str) -> Probe:
    """A probe that makes one namespace and looks at /proc whether it did."""

    def probe(root: Path) -> str:
        link = f"/proc/self/ns/{name}{'_for_children' if name in ('pid', 'time') else ''}"
        before = os.stat(link).st_ino
        namespaces.unshare(name)
        if name == "pid":  # the link shows nothing before the first process exists
            if not files.in_first_child(lambda: os.getpid() == 1):
                raise MissingFeature("its first process is not number 1")
        elif os.stat(link).st_ino == before:
            raise MissingFeature(f"still in the old {name} namespace")
        return "made one"

    return probe


def ordinary_user_namespace(root: Path) -> str:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    syscalls.prctl(PR_SET_DUMPABLE, 1)  # or our own /proc files would belong to root
    namespaces.unshare("user")
    Path("/proc/self/uid_map").write_text("0 65534 1\n")
    if os.geteuid() != 0:
        raise MissingFeature("the user map has no effect")
    return "user 65534 became root in one"


def pidfd(root: Path) -> str:
    fd = syscalls.pidfd_open(os.getpid())
    signal.pidfd_send_signal(fd, 0)
    return "pidfd_open, pidfd_send_signal"


def clone3(root: Path) -> str:
    if (child := syscalls.clone3(syscalls.CLONE_NEWUTS)) == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "forks into new namespaces"


@contextmanager
def own_cgroup() -> Iterator[cgroups.Cgroup]:
    """Two levels, as an engine's containers have: on v1 only the second gets its processors by itself."""
    parent = f"minidocker-doctor-{os.getpid()}"
    group = cgroups.open_cgroup(f"{parent}/probe")
    try:
        group.create()
        yield group
    finally:
        group.remove_with_processes()
        cgroups.open_cgroup(parent).remove()


def cgroup(root: Path) -> str:
    with own_cgroup() as group:
        if (child := os.fork()) == 0:
            signal.alarm(LONGEST)
            signal.pause()
        try:
            group.join(child)
            if group.pids() != [child]:
                raise MissingFeature("a process could not be put into a cgroup")
            group.kill()
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            os.waitpid(child, 0)
    return f"cgroup {cgroups.mode()}"


def controller(file: str, value: str) -> Probe:
    """A probe that sets one limit, by its v2 name, in a cgroup of its own."""

    def probe(root: Path) -> str:
        with own_cgroup() as group:
            group.write(file, value)
            return f"{file} = {group.read(file)}"

    return probe


def listed_controller(name: str, v1_name: str) -> Probe:
    """A probe that only asks whether a controller is there: what can be set depends on the machine's disks and processors."""

    def probe(root: Path) -> str:
        found = cgroups.layout()
        if v1_name in found.v1:
            return f"{v1_name}, on cgroup v1"
        if found.unified and name in Path(found.unified, "cgroup.controllers").read_text().split():
            return name
        raise MissingFeature(f"no {name} controller")

    return probe


def pressure(root: Path) -> str:
    return Path("/proc/pressure/memory").read_text().splitlines()[0]


def seccomp(root: Path) -> str:
    actions = Path("/proc/sys/kernel/seccomp/actions_avail").read_text().split()
    if "errno" not in actions:
        raise MissingFeature("system calls cannot be refused with an errno")
    return f"{len(actions)} actions"


def busybox(root: Path) -> str:
    from minidocker.engine.images import BUSYBOX

    text = Path(BUSYBOX).read_bytes()
    if b"\0/lib" in text[:4096] and b"ld-" in text[:4096]:  # the name of a dynamic linker stands at the front
        raise MissingFeature(f"{BUSYBOX} is not linked statically")
    return f"{BUSYBOX}, {len(text) >> 10} KiB"


def tools(*names: str) -> Probe:
    def probe(root: Path) -> str:
        missing = [name for name in names if shutil.which(name) is None]
        if missing:
            raise MissingFeature(f"not found: {', '.join(missing)}")
        return ", ".join(names)

    return probe


def asked(*command: str) -> Probe:
    """A probe that runs a tool in a network namespace of its own."""

    def probe(root: Path) -> str:
        if shutil.which(command[0]) is None:
            raise MissingFeature(f"not found: {command[0]}")
        namespaces.unshare("net")
        ran = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if ran.returncode:
            told = (ran.stderr + ran.stdout).strip() or f"exit code {ran.returncode}"
            raise MissingFeature(told.splitlines()[0])
        return " ".join(command)

    return probe


PROBES: dict[str, Probe] = {
    "kernel": kernel,
    "root": is_root,
    "capabilities": root_capabilities,
    "raising limits": raise_limits,
    **{f"{name} namespace": namespace(name) for name in ("mnt", "pid", "uts", "ipc", "net", "cgroup", "time", "user")},
    "user namespace of an ordinary user": ordinary_user_namespace,
    "overlayfs": files.overlayfs,
    "data root": files.data_root,
    "disk space": files.disk_space,
    "proc": files.proc,
    "sysfs": files.filesystem("sysfs", "net"),
    "devpts": files.filesystem("devpts", data="newinstance,ptmxmode=0666,mode=0620"),
    "mqueue": files.filesystem("mqueue", "ipc"),
    "detached mounts": files.detached_mounts,
    "recursive read-only": files.recursive_read_only,
    "pidfd": pidfd,
    "clone3": clone3,
    "cgroup": cgroup,
    "memory limit": controller("memory.max", str(64 << 20)),
    "cpu limit": controller("cpu.max", "50000 100000"),
    "pids limit": controller("pids.max", "100"),
    "freezer": controller("cgroup.freeze", "0"),
    "memory.high": controller("memory.high", str(64 << 20)),
    "cpuset": listed_controller("cpuset", "cpuset"),
    "io": listed_controller("io", "blkio"),
    "pressure": pressure,
    "seccomp": seccomp,
    "busybox-static": busybox,
    "veth": asked("ip", "link", "add", "mdv0", "type", "veth", "peer", "name", "mdv1"),
    "bridge": asked("ip", "link", "add", "mdb0", "type", "bridge"),
    "nftables": asked("nft", "add", "table", "inet", "minidocker-doctor"),
    "shell tools": tools("ip", "lsns", "mount", "nsenter", "ps", "unshare"),
    **{name: tools(name) for name in ("runc", "docker", "podman")},
}


def attempt(probe: Probe, root: Path) -> tuple[bool, str]:
    """Run one probe in a child of its own: (did it work, what it says). Whatever happens to the child is an answer, too."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        signal.alarm(LONGEST)
        try:
            answer = (True, probe(root))
        except (OSError, MinidockerError) as error:
            answer = (False, f"{error}" + (" (run as root)" if getattr(error, "errno", 0) == errno.EPERM and os.geteuid() else ""))
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        told = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not told:
        return False, f"no answer within {LONGEST} seconds" if code == -signal.SIGALRM else f"the attempt ended with code {code}"
    ok, detail = json.loads(told)
    return bool(ok), str(detail)


if __name__ == "__main__":
    print(json.dumps({name: attempt(probe, Path(sys.argv[1])) for name, probe in PROBES.items()}))
