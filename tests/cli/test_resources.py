"""update, pause, unpause, stats, top and events, through the real command."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from cli.driver import Cli

EATER = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")


def test_flags_and_update(cli: Cli) -> None:
    limits = "-m 64m --memory-reservation 32m --memory-swap 64m --cpu-period 50000 --cpu-quota 25000 -c 512 --cpuset-cpus 0 --cpuset-mems 0"
    cli("run", "-d", "--name", "web", *limits.split(), "--pids-limit", "20", "--ulimit", "nofile=64:128", "busybox", "sleep", "100")
    wanted = "{{.Memory}} {{.MemoryReservation}} {{.MemorySwap}} {{.CpuPeriod}} {{.CpuQuota}} {{.CpuShares}} {{.CpusetCpus}} {{.PidsLimit}}"
    template = wanted.replace("{{.", "{{.HostConfig.")
    assert cli.field("web", template) == "67108864 33554432 67108864 50000 25000 512 0 20"
    assert cli.text("exec", "web", "sh", "-c", "ulimit -n") == "64"
    assert cli.text("update", "--cpus", "0.5", "--pids-limit", "-1", "web") == "web"
    assert cli.field("web", "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuQuota}} {{.HostConfig.PidsLimit}}") == "500000000 0 <nil>"
    assert "you must provide one or more flags" in cli.fails("update", "web", code=1)
    assert "update the memoryswap at the same time" in cli.fails("update", "-m", "1g", "web", code=1)
    cli("rm", "-f", "web")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-m", "5m"], "Minimum memory limit allowed is 6MB"),
        (["--cpus", "9999"], "Range of CPUs is from 0.01"),
        (["--cpuset-cpus", "999"], "Requested CPUs are not available"),
        (["--device-read-bps", "/dev/sda"], "bad format: /dev/sda"),
        (["--device-write-iops", "/dev/sda:1mb"], "invalid rate for device"),
        (["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
        (["--ulimit", "nofile"], "invalid ulimit argument: nofile"),
        (["--oom-kill-disable"], "the OOM killer cannot be disabled"),
        (["--cgroup-conf", "memory.max=1"], "memory.max has a flag of its own"),
    ],
)
def test_what_cannot_be(cli: Cli, flags: list[str], words: str) -> None:
    said = cli.fails("run", *flags, "busybox", "true", code=125)
    assert words in said and "hint: " in said
    assert cli.containers() == []


def test_pause(cli: Cli) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sleep", "100")
    assert cli.text("pause", "web") == "web"
    assert cli.field("web", "{{.State.Status}} {{.State.Running}} {{.State.Paused}}") == "paused true true"
    assert "(Paused)" in cli.text("ps")
    for verb in (["pause"], ["attach"], ["start"]):
        said = cli.fails(*verb, "web", code=1)
        assert "paused" in said and "hint: " in said
    assert "unpause the container before exec" in cli.fails("exec", "web", "true", code=1)
    assert cli.text("unpause", "web") == "web"
    assert "is not paused" in cli.fails("unpause", "web", code=1)
    cli("rm", "-f", "web")


def test_stats(cli: Cli) -> None:
    cli("run", "-d", "--name", "web", "-m", "64m", "busybox", "sleep", "100")
    cli("create", "--name", "new", "busybox")
    head, row = cli.text("stats", "--no-stream").splitlines()
    assert re.split("  +", head) == ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    assert re.fullmatch(r"[0-9a-f]{12} +web +\d+\.\d\d% +\S+iB / 64MiB +\d+\.\d\d% +0B / 0B +\S+ / \S+ +1", row)
    found = [json.loads(line) for line in cli.text("stats", "-a", "--no-stream", "--format", "json").splitlines()]
    assert {one["Name"]: one["PIDs"] for one in found} == {"web": "1", "new": "--"}
    assert "No such container: nosuch" in cli.fails("stats", "nosuch", code=1)
    cli("rm", "-f", "web")


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_stats_on_a_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """One whose cursor cannot go back gets one table below the other."""
    monkeypatch.setenv("TERM", kind)
    cli("run", "-d", "--name", "web", "busybox", "sleep", "100")
    with cli.terminal("stats") as terminal:
        terminal.expect(b"web")
        terminal.expect(b"web")
        terminal.process.send_signal(2)
        assert terminal.wait() == 130
    cli("rm", "-f", "web")


def test_top(cli: Cli) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sleep", "100")
    head, row = cli.text("top", "web").splitlines()
    assert head.split() == "UID PID PPID C STIME TTY TIME CMD".split()
    assert row.split()[1] == cli.field("web", "{{.State.Pid}}") and row.endswith("sleep 100")
    assert cli.text("top", "web", "-eo", "nspid,comm").split() == ["NSPID", "COMMAND", "1", "sleep"]
    assert "has no ps option" in cli.fails("top", "web", "--forest", code=1)
    cli("rm", "-f", "web")
    assert "No such container" in cli.fails("top", "web", code=1)


def test_events_of_an_oom_kill(cli: Cli) -> None:
    cli("run", "--name", "eater", "-m", "32m", "--memory-swap", "32m", "busybox", *EATER, code=137)
    assert cli.field("eater", "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 137"
    lines = cli.text("events", "--since", "1h", "--until", "0s").splitlines()
    found = [
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d container (\w+) [0-9a-f]{64} \(.*\)", line) for line in lines
    ]
    assert [one and one[1] for one in found] == ["create", "start", "oom", "die"]
    assert "exitCode=137, image=busybox, name=eater" in lines[-1]
    (oom,) = cli.text("events", "--since", "1h", "--until", "0s", "-f", "event=oom", "--format", "json").splitlines()
    assert json.loads(oom)["Actor"]["Attributes"]["name"] == "eater"
    assert "invalid filter 'colour'" in cli.fails("events", "-f", "colour=red", code=1)


def test_events_as_they_happen(cli: Cli) -> None:
    with cli.start("events", "--since", "1h", "--format", "{{.Action}}", stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        cli("run", "--rm", "busybox", "true")
        assert [process.stdout.readline() for _ in range(4)] == [b"create\n", b"start\n", b"die\n", b"destroy\n"]
        process.kill()
