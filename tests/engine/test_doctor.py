"""The doctor's answers against hosts that lack something, and against the kernel's own lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from minidocker.engine import doctor, probes
from minidocker.paths import Paths

WITHOUT = """
import json, os, sys
from pathlib import Path
from minidocker.engine import images, probes
from minidocker.linux import capabilities, syscalls
{change}
names = sys.argv[1:]
print(json.dumps({{name: probes.attempt(probes.PROBES[name], Path("/var/lib/mdtnone")) for name in names}}))
"""


def attempts_after(change: str, *names: str) -> dict[str, tuple[bool, str]]:
    """What some probes say on a host from which *change* has taken something away."""
    command = [sys.executable, "-c", WITHOUT.format(change=change), *names]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def traces() -> set[str]:
    """What a careless doctor could leave: mounts, cgroups, links, directories."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    cgroups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if "minidocker-doctor" in path]
    directories = [path for top in ("/var/lib", "/run", "/tmp") for path in os.listdir(top) if "doctor" in path]
    return {*mounts, *cgroups, *directories, *os.listdir("/sys/class/net")}


def test_every_probe_is_explained() -> None:
    assert list(doctor.NEEDS) == list(probes.PROBES)
    assert all(need.needed_by and need.lost and need.fix for need in doctor.NEEDS.values())


def test_this_host_can_run_the_engine_and_nothing_is_left() -> None:
    before = traces()
    findings = doctor.examine(Paths("mdtnone"))
    assert traces() == before
    assert not Path("/var/lib/mdtnone").exists()
    assert [finding for finding in findings if finding.required and not finding.ok] == []
    assert doctor.can_run(findings)


def test_findings_are_what_the_kernel_says() -> None:
    found = {finding.name: finding for finding in doctor.examine(Paths("mdtnone"))}
    assert os.uname().release in found["kernel"].detail
    mounted = Path("/proc/mounts").read_text()
    assert found["memory.high"].ok == (" cgroup2 " in mounted and ",memory " not in mounted)
    assert found["time namespace"].ok == Path("/proc/self/ns/time").exists()
    assert found["pressure"].ok == Path("/proc/pressure/memory").exists()
    bits = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")).split()[1], 16)
    assert found["raising limits"].ok == bool(bits >> 24 & 1)


def test_may_be_asked_from_a_process_with_threads() -> None:
    enough = threading.Event()
    threads = [threading.Thread(target=enough.wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        assert doctor.can_run(doctor.examine(Paths("mdtnone")))
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def test_findings_become_json() -> None:
    finding = doctor.Finding("x", False, True, "engine", "detail", "lost", "fix")
    assert json.loads(json.dumps(finding.to_dict())) == {
        "name": "x", "ok": False, "required": True, "needed_by": "engine", "detail": "detail", "lost": "lost", "fix": "fix",
    }  # fmt: skip
    assert not doctor.can_run([finding])


def test_not_root() -> None:
    names = ("root", "mnt namespace", "overlayfs", "cgroup", "data root", "user namespace of an ordinary user")
    found = attempts_after("os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)", *names)
    assert found["root"] == [False, "running as user 65534"]
    assert not any(ok for name, (ok, _) in found.items() if name != "user namespace of an ordinary user")
    assert found["mnt namespace"][1].endswith("Operation not permitted (run as root)")


def test_a_capability_is_missing() -> None:
    without = "keep = capabilities.sets()['permitted'] & ~(1 << capabilities.bit('SYS_ADMIN')); syscalls.capset(keep, keep, 0)"
    found = attempts_after(without, "capabilities", "uts namespace", "pidfd")
    assert found["capabilities"] == [False, "not among root's capabilities: SYS_ADMIN"]
    assert not found["uts namespace"][0]
    assert found["pidfd"][0]


def test_a_data_root_that_cannot_hold_an_upper_layer() -> None:
    """On an overlay, as in a container's own root, the kernel refuses to stack another."""
    change = (
        "syscalls.unshare(syscalls.CLONE_NEWNS)\n"
        "syscalls.mount('', '/', '', syscalls.MS_REC | syscalls.MS_PRIVATE)\n"
        "syscalls.mount('tmpfs', '/tmp', 'tmpfs')\n"
        "for name in ('l', 'u', 'w'): os.mkdir('/tmp/' + name)\n"
        "syscalls.mount('overlay', '/var/lib', 'overlay', 0, 'lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w')"
    )
    ok, detail = attempts_after(change, "data root")["data root"]
    assert not ok and detail.startswith("mount ")


def test_a_chroot() -> None:
    """Where / is no mount point the engine cannot make its mounts private."""
    change = (
        "syscalls.unshare(syscalls.CLONE_NEWNS)\n"
        "syscalls.mount('', '/', '', syscalls.MS_REC | syscalls.MS_PRIVATE)\n"
        "syscalls.mount('tmpfs', '/mnt', 'tmpfs')\n"
        "os.makedirs('/mnt/below/tmp'); os.chroot('/mnt/below'); os.chdir('/')"
    )
    ok, detail = attempts_after(change, "overlayfs")["overlayfs"]
    assert not ok and detail.startswith("/ is not a mount point, as in a chroot")


def test_a_read_only_data_root() -> None:
    change = (
        "syscalls.unshare(syscalls.CLONE_NEWNS)\n"
        "syscalls.mount('', '/', '', syscalls.MS_REC | syscalls.MS_PRIVATE)\n"
        "syscalls.mount('tmpfs', '/var/lib', 'tmpfs', syscalls.MS_RDONLY)"
    )
    ok, detail = attempts_after(change, "data root")["data root"]
    assert not ok and "Read-only file system" in detail


def test_tools_are_missing() -> None:
    found = attempts_after("os.environ['PATH'] = '/nowhere'", "shell tools", "nftables", "docker")
    assert found["shell tools"] == [False, "not found: ip, lsns, mount, nsenter, ps, unshare"]
    assert found["nftables"] == [False, "not found: nft"]
    assert found["docker"] == [False, "not found: docker"]


def test_a_busybox_that_needs_libraries() -> None:
    """Debian's other busybox package is linked dynamically and would not run alone in a root of its own."""
    ok, detail = attempts_after("images.BUSYBOX = '/bin/ls'", "busybox-static")["busybox-static"]
    assert (ok, detail) == (False, "/bin/ls is not linked statically")


def test_no_cgroups_are_mounted() -> None:
    change = (
        "syscalls.unshare(syscalls.CLONE_NEWNS)\n"
        "syscalls.mount('', '/', '', syscalls.MS_REC | syscalls.MS_PRIVATE)\n"
        "syscalls.umount2('/sys/fs/cgroup', syscalls.MNT_DETACH)"
    )
    assert attempts_after(change, "cgroup")["cgroup"] == [False, "no cgroup filesystem is mounted"]


def test_a_probe_that_hangs_or_dies_is_an_answer() -> None:
    script = (
        "import os, time; from pathlib import Path; from minidocker.engine import probes\n"
        "probes.LONGEST = 1\n"
        "print(probes.attempt(lambda root: time.sleep(60), Path('/')))\n"
        "print(probes.attempt(lambda root: os._exit(7), Path('/')))\n"
        "print(probes.attempt(lambda root: os.kill(os.getpid(), 9), Path('/')))"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=20).stdout.splitlines()
    endings = ("no answer within 1 seconds", "the attempt ended with code 7", "the attempt ended with code -9")
    assert told == [str((False, text)) for text in endings]
