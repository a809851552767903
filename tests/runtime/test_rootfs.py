"""The container's tree: what is mounted, masked and read-only in it, and that no link of an image leads out of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minidocker.errors import MinidockerError, SyscallError
from minidocker.linux import mounts
from minidocker.oci import spec


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that no container may change."""
    found = tmp_path / "outside"
    found.mkdir()
    (found / "kept").write_text("kept")
    yield found
    assert sorted(path.name for path in found.iterdir()) == ["kept"] and (found / "kept").read_text() == "kept"


def test_the_standard_mounts_and_devices(bundle: Callable[..., Any]) -> None:
    box = bundle("sleep", "1000")
    box.create(start=True).close()
    pid = box.state()["pid"]
    found = {mount.target: mount for mount in mounts.mountinfo(pid)}
    kinds = {"/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs", "/dev/mqueue": "mqueue", "/sys": "sysfs"}
    for target, kind in kinds.items():
        assert found[target].fstype == kind
    assert "ro" in found["/sys"].options.split(",") and "ro" in found["/proc/sys"].options.split(",")
    assert all(not mount.propagation or mount.propagation[0].startswith("master") for mount in found.values())
    dev = f"/proc/{pid}/root/dev"
    for name, number in {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}.items():
        status = os.stat(f"{dev}/{name}")
        assert stat.S_ISCHR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o666
        assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == number
    assert {name: os.readlink(f"{dev}/{name}") for name in ("fd", "stdin", "ptmx")} == {
        "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "ptmx": "pts/ptmx"}  # fmt: skip


def test_the_host_sees_no_mount_of_it(bundle: Callable[..., Any]) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    box = bundle("sleep", "1000")
    box.create(start=True).close()
    assert [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if box.path in line] == []
    assert len(before.splitlines()) == len(Path("/proc/self/mountinfo").read_text().splitlines())


REFUSED = {
    "echo x > /proc/sys/kernel/hostname": "Read-only file system",
    "mkdir /sys/fs/cgroup/x": "Read-only file system",
    "echo 1 > /sys/kernel/uevent_helper": "Read-only file system",
    "mknod /tmp/disk b 7 0": "Operation not permitted",
    "mount -t tmpfs t /mnt": "permission denied",
    "umount /proc/sys": "",
    "mount -o remount,rw /sys": "permission denied",
    "hostname x": "Operation not permitted",
}


@pytest.mark.parametrize("command", REFUSED)
def test_what_root_inside_may_not(bundle: Callable[..., Any], command: str) -> None:
    code, _, errors = bundle("sh", "-c", command).run()
    assert code != 0 and REFUSED[command] in errors.decode()


def test_masked_paths_are_empty(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "for path in $PATHS; do [ -d $path ] && ls $path; [ -f $path -o -c $path ] && cat $path; done; true")
    box.process["env"].append(f"PATHS={' '.join(spec.MASKED_PATHS)}")
    assert box.says() == ""


def test_a_read_only_root(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "touch /x; touch /dev/shm/y && echo fine")
    box.config["root"]["readonly"] = True
    code, output, errors = box.run()
    assert (code, output) == (0, b"fine\n") and b"Read-only file system" in errors


def test_sysctls_and_more_devices(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_unprivileged_port_start; stat -c '%a %u %t:%T' /dev/extra")
    box.config["linux"]["sysctl"] = {"kernel.shmmni": "123", "net.ipv4.ip_unprivileged_port_start": "0"}
    box.config["linux"]["devices"] = [{"type": "c", "path": "/dev/extra", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6}]
    assert box.says().splitlines() == ["123", "0", "640 5 1:3"]


def test_binds_with_their_options(bundle: Callable[..., Any], outside: Path) -> None:
    box = bundle("sh", "-c", "cat /data/kept /file; touch /data/x; cp /bin/busybox /run/b; /run/b true")
    box.config["mounts"] += [
        spec.bind(str(outside), "/data", "ro"),
        spec.bind(str(outside / "kept"), "/file", "ro"),
        spec.mount("tmpfs", "/run", "tmpfs", "noexec", "size=4m"),
    ]
    code, output, errors = box.run()
    assert code == 126 and output == b"keptkept" and b"Read-only" in errors and b"Permission denied" in errors


@pytest.mark.parametrize(("word", "fields"), [("rprivate", 0), ("rslave", 0), ("rshared", 1)])
def test_propagation_of_a_bind(bundle: Callable[..., Any], outside: Path, word: str, fields: int) -> None:
    box = bundle("sleep", "1000")
    box.config["mounts"].append(spec.mount(str(outside), "/data", "bind", "rbind", word))
    box.create(start=True).close()
    (found,) = [mount for mount in mounts.mountinfo(box.state()["pid"]) if mount.target == "/data"]
    assert len([one for one in found.propagation if one.startswith("shared")]) == fields


# -- an image that means harm ------------------------------------------------------------------------------------------


def replace(box: Any, path: str, target: str) -> None:
    """*path* in the image becomes a link to *target*."""
    place = box.rootfs / path.lstrip("/")
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


LINKS = ["/etc", "/proc", "/sys", "/dev", "/tmp", "/data"]


@pytest.mark.parametrize("path", LINKS)
@pytest.mark.parametrize("way", ["{outside}", "../../../../../../../..{outside}", "/proc/1/root{outside}", "/proc/self/root{outside}", "/"])
def test_a_link_where_a_mount_belongs(bundle: Callable[..., Any], outside: Path, path: str, way: str) -> None:
    """With the host's PID namespace /proc/1/root is the host's root: the kernel would go there, with our powers."""
    box = bundle("true")
    box.config["linux"]["namespaces"] = [entry for entry in box.config["linux"]["namespaces"] if entry["type"] != "pid"]
    replace(box, path, way.format(outside=outside))
    (box.home / "hosts").write_text("h")
    box.config["mounts"] += [spec.bind(str(box.home / "hosts"), "/etc/hosts"), spec.mount("tmpfs", "/tmp/deep/er", "tmpfs"),
                             spec.bind(str(box.home / "hosts"), "/data/x")]  # fmt: skip
    box.process["cwd"] = f"{path}/made"
    with contextlib.suppress(MinidockerError):  # it may be refused, but it may not get out: the fixture looks
        box.run()
    assert [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(outside) in line] == []


@pytest.mark.parametrize("levels", ["", "/..", "/../..", "/../../../../../../.."])
def test_no_descriptor_of_ours_is_a_way_out(bundle: Callable[..., Any], levels: str) -> None:
    """CVE-2024-21626 of runc: a working directory below a descriptor that was left open."""
    for number in range(3, 25):
        box = bundle("sh", "-c", "ls /proc/self/cwd/ > /dev/null; pwd; stat -c %d:%i .; stat -c %d:%i /")
        box.process["cwd"] = f"/proc/self/fd/{number}{levels}"
        try:
            code, output, _ = box.run()
        except SyscallError:
            continue
        place, here, root = output.decode().splitlines()
        assert code == 0 and place.startswith("/") and "unreachable" not in place and (here == root) == (place == "/")


def test_the_command_inherits_only_its_three(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "ls /proc/$$/fd")
    assert box.says().split()[:3] == ["0", "1", "2"]
    box = bundle("ls", "/proc/self/fd")
    assert box.says().split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
