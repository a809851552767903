"""The leak check must find what it says it finds: each test makes one leak of one kind, sees it named, and takes it away again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from leaks import CGROUP_ROOT, MARK, Owner, Snapshot

NAME = "mdleak"
MINE = Owner((NAME,), "mdleak-mark")
SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


@pytest.fixture
def before() -> Snapshot:
    return Snapshot.take(MINE)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"\n"
        yield process
        process.kill()


def orphan(script: str, **environment: str) -> int:
    """A process that runs *script* and is nobody's child here: only its looks can tell whose it is."""
    command = [*SLEEP[:2], script + "\nprint(flush=True)\nimport time; time.sleep(60)"]
    parent = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "os._exit(0)"
    )
    environment["PATH"] = os.environ["PATH"]
    made = subprocess.run([sys.executable, "-c", parent, *command], env=environment, stdout=subprocess.PIPE, check=True)
    return int(made.stdout)


def test_nothing_is_nothing(before: Snapshot) -> None:
    subprocess.run(["true"], check=True)
    assert before.leaks(MINE) == []


def test_a_child_of_ours(before: Snapshot, sleeper: subprocess.Popen[bytes]) -> None:
    assert [line.split(" (")[0] for line in before.leaks(MINE, grace=0.1)] == [f"process {sleeper.pid}"]


def test_a_zombie(before: Snapshot) -> None:
    pid = os.posix_spawnp("true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        assert [line.split(" (")[0] for line in before.leaks(MINE)] == [f"zombie {pid}"]
    finally:
        os.waitpid(pid, 0)
    assert before.leaks(MINE) == []


def test_an_orphan_with_our_mark_in_its_environment(before: Snapshot) -> None:
    pid = orphan("", **{MARK: "mdleak-mark-7"})
    try:
        assert [line.split(" (")[0] for line in before.leaks(MINE, grace=0.1)] == [f"process {pid}"]
    finally:
        os.kill(pid, 9)


def test_an_orphan_in_a_mount_namespace_with_our_mount(before: Snapshot, tmp_path: Path) -> None:
    target = tmp_path / NAME
    target.mkdir()
    script = (
        "import ctypes; libc = ctypes.CDLL(None)\n"
        "assert libc.unshare(0x20000) == 0\n"
        "assert libc.mount(b'none', b'/', None, 0x44000, None) == 0\n"
        f"assert libc.mount(b'tmpfs', {os.fsencode(target)!r}, b'tmpfs', 0, None) == 0"
    )
    pid = orphan(script)
    try:
        (found,) = before.leaks(MINE, grace=0.1)
        assert found.startswith(f"process {pid} (") and found.endswith("in namespaces of its own: mnt")
    finally:
        os.kill(pid, 9)


def test_an_orphan_in_our_cgroup_and_the_cgroup(before: Snapshot) -> None:
    group = CGROUP_ROOT / ("unified" if (CGROUP_ROOT / "unified").is_dir() else "") / NAME
    group.mkdir()
    pid = orphan("")
    try:
        (group / "cgroup.procs").write_text(str(pid))
        found = before.leaks(MINE, grace=0.1)
        assert [line.split(" (")[0] for line in found] == [f"cgroup {group}", f"process {pid}"]
    finally:
        os.kill(pid, 9)
        before.leaks(MINE, grace=0.5)  # waits until it is gone
        group.rmdir()
    assert before.leaks(MINE) == []


def test_somebody_elses_process_is_none_of_our_business(before: Snapshot) -> None:
    pid = orphan("")
    try:
        assert before.leaks(MINE, grace=0.1) == []
    finally:
        os.kill(pid, 9)


@pytest.mark.skipif(not (CGROUP_ROOT / "pids").is_dir(), reason="this host has no v1 hierarchies")
def test_a_cgroup_in_a_v1_hierarchy(before: Snapshot) -> None:
    group = CGROUP_ROOT / "pids" / NAME / "deeper"
    group.mkdir(parents=True)
    try:
        assert before.leaks(MINE) == [f"cgroup {group.parent}", f"cgroup {group}"]
    finally:
        group.rmdir()
        group.parent.rmdir()


def test_a_mount(before: Snapshot, tmp_path: Path) -> None:
    target = tmp_path / f"{NAME} here"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", target], check=True)
    try:
        (found,) = before.leaks(MINE)
        assert found.startswith("mount ") and NAME in found
    finally:
        subprocess.run(["umount", target], check=True)
    assert before.leaks(MINE) == []


def test_a_network_link(before: Snapshot) -> None:
    subprocess.run(["ip", "link", "add", f"{NAME}0", "type", "veth", "peer", "name", f"{NAME}1"], check=True)
    try:
        assert before.leaks(MINE) == [f"network link {NAME}0", f"network link {NAME}1"]
    finally:
        subprocess.run(["ip", "link", "delete", f"{NAME}0"], check=True)


def test_directories_of_an_engine(before: Snapshot) -> None:
    container = Path("/run", NAME, "containers", "0123")
    container.mkdir(parents=True)
    try:
        assert before.leaks(MINE) == [f"directory {container.parent.parent}", f"directory {container}"]
    finally:
        for directory in (container, container.parent, container.parent.parent):
            directory.rmdir()


def test_a_descriptor_of_a_process(before: Snapshot) -> None:
    pidfd = os.pidfd_open(os.getpid())
    try:
        assert before.leaks(MINE) == [f"descriptor {pidfd} -> anon_inode:[pidfd]"]
    finally:
        os.close(pidfd)


def test_the_test_process_itself_in_another_namespace(before: Snapshot) -> None:
    script = (
        "import ctypes; from leaks import Owner, Snapshot\n"
        "before = Snapshot.take(Owner(('mdleak',)))\n"
        "assert ctypes.CDLL(None).unshare(0x4000000) == 0\n"
        "print(*before.leaks(Owner(('mdleak',))))"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
    assert told.startswith("test process in namespace uts:[")


def test_a_leak_fails_the_test_that_made_it(tmp_path: Path) -> None:
    """The whole chain once: a test run whose only test leaves a process fails, names it, and ends it."""
    inner = tmp_path / "test_inner.py"
    inner.write_text("import subprocess\ndef test_leave():\n    subprocess.Popen(['sleep', '47.11'])\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "MINIDOCKER"))}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-W", "default", inner]
    told = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True).stdout
    assert "1 passed" in told and "1 error" in told
    assert "left behind:\n  process " in told and "sleep 47.11" in told
    assert "by the whole run" not in told, "it was to be ended, but still ran at the end"


def test_what_proc_shows_of_us_is_no_workers_mark() -> None:
    """A child shows our environment of the beginning until it executes something: a worker that saw its own mark there would end it."""
    shown = [entry for entry in Path("/proc/self/environ").read_text().split("\0") if entry.startswith(f"{MARK}=")]
    assert all(entry.endswith("f") for entry in shown)
