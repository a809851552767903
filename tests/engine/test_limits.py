"""Containers at their limits: what the kernel's own files say, live changes, freezing, statistics and the OOM killer."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minidocker.engine.container import Container
from minidocker.engine.docker_json import container_inspect
from minidocker.engine.engine import Engine
from minidocker.errors import MissingFeature, SpecError, WrongStatus
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory

M = 1 << 20
BUSY = ["sh", "-c", "echo ready; while :; do :; done"]
EATER = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]


def start(engine: Engine, *command: str, **options: object) -> Container:
    container = engine.containers.run("busybox", list(command or ("sleep", "1000")), detach=True, **options)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def ready(container: Container) -> Container:
    next(iter(container.follow()))
    return container


def cgroup(container: Container) -> cgroups.Cgroup:
    return cgroups.open_cgroup(container.cgroup)


def actions(engine: Engine, **filters: list[str]) -> list[str]:
    return [event.action.partition(":")[0] for event in engine.events(follow=False, filters=filters)]


def test_limits_stand_before_the_first_instruction(engine: Engine) -> None:
    container = start(
        engine,
        memory="64m",
        memory_swap="96m",
        cpus=0.5,
        cpu_shares=512,
        cpuset_cpus="0",
        cpuset_mems="0",
        pids_limit=7,
        ulimits=["nofile=100:200"],
    )
    files = ("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "cpuset.cpus", "pids.max")
    assert [cgroup(container).read(file) for file in files] == [str(64 * M), str(32 * M), "50000 100000", "50", "0", "7"]
    status = Path(f"/proc/{container.pid}/status").read_text()
    assert "Cpus_allowed_list:\t0\n" in status
    assert "Max open files            100                  200" in Path(f"/proc/{container.pid}/limits").read_text()
    assert container.exec_run(["sh", "-c", "ulimit -n; ulimit -Hn; nproc"]).output == b"100\n200\n1\n", (
        "what is executed in it has them, too"
    )
    host = container_inspect(container.record, container, engine.paths)["HostConfig"]
    assert (host["MemorySwap"], host["CpuShares"], host["CpusetCpus"]) == (96 * M, 512, "0")
    assert host["Ulimits"] == [{"Name": "nofile", "Hard": 200, "Soft": 100}]


def test_what_cannot_be_is_refused_before_anything_is_made(engine: Engine) -> None:
    before = engine.paths.containers.exists()
    for options in (
        {"memory": "5m"},
        {"cpus": 1000},
        {"cpuset_cpus": "999"},
        {"device_read_bps": ["/dev/nosuch:1mb"]},
        {"ulimits": ["x=1"]},
    ):
        with pytest.raises(SpecError):
            engine.containers.create("busybox", **options)  # type: ignore[arg-type]
    with pytest.raises(MissingFeature):
        engine.containers.create("busybox", oom_kill_disable=True)
    with pytest.raises(MissingFeature) as caught:
        engine.containers.create("busybox", cgroup_conf=["memory.nosuch=1"])
    assert caught.value.hint
    assert engine.paths.containers.exists() == before and engine.containers.list(all=True) == []


def test_update_live_and_for_the_next_start(engine: Engine) -> None:
    container = start(engine, memory="32m")
    container.update(memory="64m", memory_swap="64m", pids_limit=9, cpus=0.25)
    assert [cgroup(container).read(file) for file in ("memory.max", "pids.max", "cpu.max")] == [str(64 * M), "9", "25000 100000"]
    container.update(memory=0, memory_swap=0, pids_limit=-1, cpus=0)
    assert [cgroup(container).read(file).split()[0] for file in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")] == ["max"] * 4
    container.update(memory="16m", memory_swap="16m")
    container.restart(0)
    assert cgroup(container).read("memory.max") == str(16 * M) == str(engine.containers.get(container.name).record.memory)
    assert actions(engine, event=["update"]) == ["update"] * 3


def test_an_update_that_cannot_be_changes_nothing(engine: Engine) -> None:
    container = start(engine, memory="96m", memory_swap="96m", tmpfs=["/tmp"])
    container.exec_run(["dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=40"])
    config, record = (container.home / "config.json").read_bytes(), container.record
    for options in ({"memory": "8m", "memory_swap": "8m", "pids_limit": 3}, {"memory": "1m"}, {"pids_limit": 5, "cpus": 10_000.0}):
        with pytest.raises(SpecError) as caught:
            container.update(**options)  # type: ignore[typeddict-item]
        assert caught.value.hint
    with pytest.raises(TypeError, match="no such option: user"):
        container.update(user="x")  # type: ignore[call-arg]
    assert (container.home / "config.json").read_bytes() == config and engine.store.find(container.id) == record
    assert [cgroup(container).read(file) for file in ("memory.max", "pids.max")] == [str(96 * M), "max"]
    assert container.status == "running" and memory.events(cgroup(container)).oom_kill == 0


def test_paused_means_no_cpu_at_all(engine: Engine) -> None:
    container = ready(start(engine, *BUSY))
    container.pause()
    assert (container.status, container.pid > 0, container.exit_code) == ("paused", True, None)
    used = container.stats().cpu_usage_us
    assert select.select([], [], [], 0.3) == ([], [], [])  # let time pass
    assert container.stats().cpu_usage_us == used
    for verb in (container.pause, container.start, lambda: container.exec_run(["true"])):
        with pytest.raises(WrongStatus) as caught:
            verb()  # type: ignore[operator]
        assert "paused" in str(caught.value) and caught.value.hint
    container.unpause()
    deadline = time.monotonic() + 10
    while container.stats().cpu_usage_us == used:
        assert time.monotonic() < deadline
    with pytest.raises(WrongStatus, match="is not paused"):
        container.unpause()
    assert container.status == "running" and actions(engine, event=["pause", "unpause"]) == ["pause", "unpause"]


@pytest.mark.parametrize(
    "end", [lambda one: one.stop(1), lambda one: one.kill(), lambda one: one.remove(force=True), lambda one: one.restart(0)]
)
def test_what_is_paused_can_be_ended(engine: Engine, end: Callable[[Container], None]) -> None:
    container = start(engine, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    container.pause()
    end(container)
    left = engine.containers.list(all=True)
    assert not left or left[0].status == "running" or left[0].wait() in (3, 137)


def test_verbs_that_need_it_running(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["true"])
    for verb in (container.pause, container.unpause, container.stats, container.top, container.processes):
        with pytest.raises(WrongStatus) as caught:
            verb()  # type: ignore[operator]
        assert "is not" in str(caught.value)
    assert list(container.stats_stream()) == []
    container.update(memory="64m")
    assert container.record.memory == 64 * M


def test_samples(engine: Engine) -> None:
    container = ready(start(engine, *BUSY, memory="64m", cpus=0.5, pids_limit=9))
    stream = container.stats_stream(0.5)
    first, second = next(stream), next(stream)
    assert first.cpu_percent == 0 and 0 < second.cpu_percent < 75
    assert (second.memory_max, second.memory_limit, second.pids, second.pids_max) == (64 * M, 64 * M, 1, 9)
    assert 0 < second.memory <= second.memory_current and second.memory_percent == 100 * second.memory / (64 * M)
    assert second.cpu_usage_us > first.cpu_usage_us and second.periods >= first.periods
    container.kill()
    assert list(stream) == [], "the stream ends with the container"


def test_processes(engine: Engine) -> None:
    container = ready(start(engine, "sh", "-c", "sleep 1000 & echo ready; wait", user="1000"))
    titles, rows = container.processes()
    assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    deadline = time.monotonic() + 10
    while {row[-1] for row in rows} != {"sh -c sleep 1000 & echo ready; wait", "sleep 1000"}:  # the shell's child may not be sleep yet
        assert time.monotonic() < deadline, rows
        _, rows = container.processes()
    _, rows = container.processes(["pid", "nspid", "comm"])
    assert [str(container.pid), "1", "sh"] in rows
    with pytest.raises(SpecError, match="unknown user-defined format specifier 'x'"):
        container.processes(["x"])


# -- the OOM killer ----------------------------------------------------------------------------------------------------


def test_a_limit_kills_the_eater_and_not_its_neighbour(engine: Engine) -> None:
    neighbour = start(engine, memory="32m", memory_swap="32m")
    eater = engine.containers.create("busybox", EATER, name="eater", memory="32m", memory_swap="32m")
    eater.start()
    assert eater.wait() == 137
    assert eater.oom_killed and not neighbour.oom_killed and neighbour.status == "running"
    assert container_inspect(eater.record, eater, engine.paths)["State"]["OOMKilled"] is True
    told = list(engine.events(follow=False, filters={"container": ["eater"]}))
    assert [event.action for event in told] == ["create", "start", "oom", "die"]
    assert told[-1].attributes == {"image": "busybox", "name": "eater", "exitCode": "137"}
    eater.update(memory="128m", memory_swap="128m")
    eater.start()
    assert eater.wait() == 0 and not eater.oom_killed, "a new run is a new story"


def test_a_kill_inside_is_told_while_it_runs(engine: Engine) -> None:
    container = start(engine, memory="32m", memory_swap="32m")
    with engine.events(filters={"event": ["oom"]}, until=time.time() + 20) as events:
        assert container.exec_run(EATER).exit_code == 137
        assert next(events).id == container.id
    assert container.status == "running" and container.oom_killed


def test_all_limits_leave_nothing_behind(engine: Engine) -> None:
    options = {"memory": "32m", "cpus": 0.5, "cpu_shares": 100, "cpuset_cpus": "0", "pids_limit": 5, "ulimits": ["core=0"]}
    for _ in range(5):
        engine.containers.run("busybox", ["true"], remove=True, **options)  # type: ignore[arg-type]
    assert cgroups.open_cgroup(engine.paths.name).children() == []
