"""cgroups: v2 in a subtree of the unified tree, v1 in every hierarchy, with /proc/PID/cgroup and the directories as witnesses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import fresh
import pytest
from conftest import new_name

from minidocker.errors import MinidockerError, MissingFeature, SpecError, SyscallError
from minidocker.linux import cgroups, syscalls
from minidocker.linux.cgroups import Cgroup, CgroupV1, v2

layout = v2.layout  # the module: the package hands on a function of the same name
needs_v1 = pytest.mark.skipif(layout.mode() == "v2", reason="this host has no v1 hierarchies")


@pytest.fixture(params=["v2", "hybrid", "v1"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Cgroup]]:
    """The class for each kind of host, as far as this host can be one. On v2 the top is a cgroup of ours, so the host's own stays alone."""
    here = layout.layout()
    if request.param == "v2":
        top = Cgroup(new_name())
        os.mkdir(top.path)
        monkeypatch.setattr(layout, "_layouts", [layout.Layout(top.path, {})])
        yield Cgroup
        os.rmdir(top.path)
        return
    if layout.mode() == "v2":
        pytest.skip("this host has no v1 hierarchies")
    if request.param == "v1":
        text = "".join(line for line in Path("/proc/self/mounts").read_text().splitlines(keepends=True) if " cgroup2 " not in line)
        here = layout.parse(text)
    monkeypatch.setattr(layout, "_layouts", [here])
    yield CgroupV1


@pytest.fixture
def group(make: type[Cgroup]) -> Iterator[Cgroup]:
    parent = make(new_name())
    found = make(f"{parent.name}/one")
    yield found
    found.remove_with_processes()
    parent.remove()


def directories(group: Cgroup) -> list[str]:
    return list(group.paths) if isinstance(group, CgroupV1) else [group.path]


def memberships(pid: int) -> list[str]:
    return [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]


@contextlib.contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            yield process
        finally:
            process.kill()


def test_create_join_and_remove(group: Cgroup) -> None:
    assert not group.exists() and group.pids() == [] and group.children() == []
    group.create()
    assert all(os.path.isdir(path) for path in directories(group)) and group.exists()
    with sleeper() as process:
        group.join(process.pid)
        assert group.pids() == [process.pid]
        assert sum(place.endswith(group.name) for place in memberships(process.pid)) == len(directories(group))
        with pytest.raises(SyscallError) as busy:
            group.remove()
        assert busy.value.errno == 16
        group.kill()
        assert process.wait() == -signal.SIGKILL
    group.wait_empty()
    group.remove()
    assert not any(os.path.exists(path) for path in directories(group))
    group.remove()  # gone is fine
    group.kill()
    group.wait_empty()
    group.remove_with_processes()


def test_a_second_create_is_eexist_and_changes_nothing(group: Cgroup) -> None:
    group.create()
    with pytest.raises(SyscallError) as caught:
        group.create()
    assert caught.value.errno == 17 and all(os.path.isdir(path) for path in directories(group))


@needs_v1
def test_a_create_that_fails_half_way_leaves_nothing(group: Cgroup) -> None:
    if not isinstance(group, CgroupV1):
        return
    group.create()
    group.remove()
    os.mkdir(group.paths[3])
    with pytest.raises(SyscallError) as caught:
        group.create()
    assert caught.value.errno == 17
    assert [path for path in group.paths if os.path.exists(path)] == [group.paths[3]]


def test_a_process_is_born_inside_or_walks_in_before_it_does_anything(group: Cgroup) -> None:
    group.create()
    birthplace, entrances = group.birthplace(), group.entrances()
    with fresh.Child(
        """
        from minidocker.linux import cgroups, syscalls
        birthplace, *entrances = [int(number) for number in sys.argv[1:]]
        pid = syscalls.clone3(0, cgroup_fd=birthplace)
        if pid == 0:
            cgroups.enter(entrances)
            say(os.getpid()); hear(); os._exit(0)
        os.waitpid(pid, 0)
        """,
        *(str(fd) for fd in inherited([birthplace, *entrances])),
    ) as child:
        inner = int(child.line())
        assert group.pids() == [inner]
        assert sum(place.endswith(group.name) for place in memberships(inner)) == len(directories(group))
        assert not any(place.endswith(group.name) for place in memberships(child.pid))
        child.go()
    for fd in {birthplace, *entrances} - {-1}:
        os.close(fd)


def inherited(fds: list[int]) -> list[int]:
    """The same numbers, by /proc of this process: a child of subprocess has them closed."""
    for fd in fds:
        if fd >= 0:
            os.set_inheritable(fd, True)
    return fds


@pytest.fixture(autouse=True)
def children_inherit(monkeypatch: pytest.MonkeyPatch) -> None:
    original = subprocess.Popen.__init__
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda self, *args, **more: original(self, *args, **{"close_fds": False, **more}))


def test_a_fork_bomb_ends_whole(group: Cgroup) -> None:
    """It forks as fast as it can, each fork again; the limit keeps it from taking the machine along where the host can set one."""
    group.create()
    if isinstance(group, CgroupV1):
        group.write("pids.max", "60")
    limit = 60
    code = f"""
import os, sys, time
sys.stdin.readline()
while True:
    try:
        if os.fork() == 0:
            while True:
                if len(open(sys.argv[1]).read().split()) < {limit}: os.fork()
    except OSError:
        pass
    if len(open(sys.argv[1]).read().split()) >= {limit // 2}: print("many", flush=True); break
while True:
    try:
        if len(open(sys.argv[1]).read().split()) < {limit}: os.fork()
    except OSError: pass
"""
    procs = f"{directories(group)[0]}/cgroup.procs"
    bomb = subprocess.Popen(["python3", "-S", "-c", code, procs], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with bomb:
        end_the_bomb(group, bomb)


def end_the_bomb(group: Cgroup, bomb: subprocess.Popen[bytes]) -> None:
    try:
        group.join(bomb.pid)
        assert bomb.stdin is not None and bomb.stdout is not None
        bomb.stdin.write(b"\n")
        bomb.stdin.flush()
        assert bomb.stdout.read(1) == b"m"  # more than one may say it
        group.kill()
        group.wait_empty()
        assert group.pids() == []
        assert bomb.wait() == -signal.SIGKILL
        group.remove()
    finally:
        group.kill()


def test_waiting_has_an_end(group: Cgroup) -> None:
    group.create()
    with sleeper() as process:
        group.join(process.pid)
        with pytest.raises(MinidockerError, match="do not end"):
            group.wait_empty(timeout=0.05)
        process.kill()
        group.wait_empty()


def test_remove_with_processes(group: Cgroup) -> None:
    group.create()
    with sleeper() as process:
        group.join(process.pid)
        group.remove_with_processes()
        assert not group.exists() and process.wait() == -signal.SIGKILL


def test_children_are_the_directories_below(make: type[Cgroup]) -> None:
    parent = make(new_name())
    for name in ("b", "a"):
        make(f"{parent.name}/{name}").create()
    assert parent.children() == ["a", "b"]
    for name in ("b", "a"):
        make(f"{parent.name}/{name}").remove()
    assert parent.children() == []
    parent.remove()


def test_joining_nobody(group: Cgroup) -> None:
    group.create()
    with pytest.raises(SyscallError) as caught:
        group.join(2**22)
    assert caught.value.errno == 3 and caught.value.filename.endswith("cgroup.procs")


@pytest.mark.parametrize("name", ["", "/", "/abs", "..", "a/../b", "a/.."])
@pytest.mark.parametrize("kind", [Cgroup, CgroupV1])
def test_names_that_would_lead_out(kind: type[Cgroup], name: str) -> None:
    with pytest.raises(SpecError, match="not the name of a cgroup"):
        kind(name)


def test_many_processes_are_all_listed(group: Cgroup) -> None:
    """The kernel hands the list out a page at a time."""
    group.create()
    with fresh.Child(
        """
        hear()
        pids = []
        for _ in range(700):
            pid = os.fork()
            if pid == 0:
                os.read(0, 1); os._exit(0)
            pids.append(pid)
        say(len(pids)); os.waitpid(pids[0], 0)
        """
    ) as child:
        group.join(child.pid)
        child.go()
        assert child.line() == "700"
        assert len(group.pids()) == 701
        group.kill()
        child.process.wait()
        child.process.returncode = 0
    group.wait_empty()


# -- layouts -----------------------------------------------------------------------------------------------------------

V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n"
HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs ro,nosuid 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0
cgroup /sys/fs/cgroup/devices cgroup rw,devices 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
cgroup /elsewhere/memory cgroup rw,memory 0 0
cgroup2 /elsewhere/unified cgroup2 rw 0 0
"""
V1 = "".join(line for line in HYBRID.splitlines(keepends=True) if "cgroup2" not in line)


def test_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for name, text in {"v2": V2, "hybrid": HYBRID, "v1": V1}.items():
        found[name] = layout.parse(text)
        monkeypatch.setattr(layout, "_layouts", [found[name]])
        assert layout.mode() == name
        assert type(cgroups.open_cgroup("x")) is (Cgroup if name == "v2" else CgroupV1)
    assert found["v2"] == ("/sys/fs/cgroup", {})
    base = {"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory"}
    assert found["hybrid"] == ("/sys/fs/cgroup/unified", {**base, "pids": "/sys/fs/cgroup/pids"})
    assert found["v1"] == ("", {**base, "pids": "/sys/fs/cgroup/pids", "freezer": "/sys/fs/cgroup/freezer"})


@pytest.mark.parametrize("text", ["", "tmpfs / tmpfs rw 0 0\n", "cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n"])
def test_no_cgroups_at_all(text: str) -> None:
    with pytest.raises(MissingFeature, match="no cgroup filesystem") as caught:
        layout.parse(text)
    assert caught.value.hint


def test_the_layout_of_this_host() -> None:
    found = layout.layout()
    for path in {found.unified, *found.v1.values()} - {""}:
        assert os.path.exists(f"{path}/cgroup.procs")


@needs_v1
def test_first_starts_at_once_all_find_cpus() -> None:
    """Ten processes make the first cgroups below a new parent: each can be entered at once."""
    parent = CgroupV1(new_name())
    code = """
        from minidocker.linux.cgroups import CgroupV1, layout
        group = CgroupV1(sys.argv[1])
        say("ready"); hear()
        group.create(); group.join(os.getpid()); say("inside"); hear()
        """
    children = [fresh.Child(code, f"{parent.name}/{number}") for number in range(10)]
    for child in children:
        assert child.line() == "ready"
    for child in children:
        child.go()
    for child in children:
        assert child.line() == "inside"
        child.go()
    for number, child in enumerate(children):
        with child:
            pass
        CgroupV1(f"{parent.name}/{number}").remove()
    parent.remove()


def test_entering_a_cgroup_that_is_gone() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(SyscallError) as caught:
        cgroups.enter([fd])
    assert (caught.value.errno, caught.value.step) == (28, "enter the cgroup")
    with pytest.raises(OSError):
        os.fstat(fd)
    assert v2.subdirectories("/nowhere") == [] and syscalls.CLONE_INTO_CGROUP == 1 << 33
