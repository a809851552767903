"""A house for libvirt and its virtual machines, apart from the host: what happens in it ends with it, however it ends.

    enter(command)         run *command* in namespaces of its own: processes, mounts, network, IPC; its exit code
    with libvirt(place):   inside: a libvirt of our own, all of whose files are below *place*
    traces()               what of such a house is to be seen on this machine: [] is what we want

The first process of a PID namespace takes all others with it, a network namespace its bridges, addresses and firewall chains, a mount
namespace its mounts. The outermost process dies with its parent. So a SIGKILL anywhere leaves nothing but files.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

NAMESPACES = ("--mount", "--pid", "--net", "--ipc")
MARK = "MINIDOCKER_VM"  # in the environment of all that we start
QEMU_CONF = """\
security_driver = "none"
cgroup_controllers = []
namespaces = []
user = "root"
group = "root"
remember_owner = 0
stdio_handler = "file"
"""


def enter(command: Sequence[str]) -> int:
    alone = ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    init = ["bash", "-c", '"$@"; exit $?', "init"]  # process 1 inherits orphans, and bash reaps them: libvirt waits for each one's end
    return subprocess.run([*alone, *init, *command], env=os.environ | {MARK: "1"}).returncode


def furnish(place: Path) -> None:
    """Put private directories where libvirt keeps its files, and show this network namespace's /sys, without the host's cgroups."""
    for target in ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"):
        private = place / target.strip("/").replace("/", "-")
        private.mkdir(parents=True)
        subprocess.run(["mount", "--bind", private, target], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    Path("/etc/libvirt/libvirtd.conf").write_text('auth_unix_rw = "none"\n')


@contextlib.contextmanager
def libvirt(place: Path) -> Iterator[None]:
    """libvirtd, listening on its usual socket, which only this house sees."""
    furnish(place)
    with open(place / "libvirtd.log", "wb") as log, subprocess.Popen(["libvirtd"], stdout=log, stderr=log) as daemon:
        try:
            wait_for_socket("/run/libvirt/libvirt-sock", daemon)
            yield
        finally:
            daemon.terminate()


def wait_for_socket(path: str, daemon: subprocess.Popen[bytes], patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    pidfd = os.pidfd_open(daemon.pid)
    try:
        while True:
            with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
                client.connect(path)
                return
            # Ends early when the daemon does; a daemon tells nobody that it listens.
            if select.select([pidfd], [], [], 0.2)[0] or time.monotonic() > deadline:
                raise RuntimeError(f"{daemon.args} does not listen on {path}")
    finally:
        os.close(pidfd)


def traces() -> list[str]:
    """Processes, network links and firewall chains that only a house brings with it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if f"{MARK}=1".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(f"process {entry.name}: {(entry / 'comm').read_text().strip()}")
    found += [f"network link {path.name}" for path in Path("/sys/class/net").iterdir() if path.name.startswith(("virbr", "vnet"))]
    for tool in ("iptables-save", "ip6tables-save"):
        rules = subprocess.run([tool], capture_output=True, text=True, check=True).stdout
        found += [f"{tool}: {line}" for line in rules.splitlines() if line.startswith(":LIBVIRT_")]
    return found
