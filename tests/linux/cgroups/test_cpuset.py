"""cpuset: seen by nproc, and by where the threads really ran."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from inhabited import inside

from minidocker.errors import SyscallError
from minidocker.linux.cgroups import Cgroup, cpuset

THREADS = """
import threading
def spin():
    while True: pass
for _ in range(4): threading.Thread(target=spin, daemon=True).start()
say("spins"); hear()
os._exit(0)
"""


def places(pid: int) -> set[int]:
    """On which CPU each thread is now, or was last: field 39 of /proc/PID/task/TID/stat."""
    found = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8") as file:
            found.add(int(file.read().rpartition(")")[2].split()[36]))
    return found


@pytest.mark.parametrize("which", [min, max])
def test_threads_run_only_there(group: Cgroup, which: type[min]) -> None:
    one = which(os.sched_getaffinity(0))
    cpuset.set_cpus(group, [one])
    assert cpuset.get_cpus(group) == cpuset.effective_cpus(group) == [one]
    with inside(group, THREADS) as child:
        assert child.line() == "spins"
        seen: set[int] = set()
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            seen |= places(child.pid)
        assert seen == {one} == os.sched_getaffinity(child.pid)
        child.go()


def test_nproc_counts_them(group: Cgroup, last_cpu: int) -> None:
    cpuset.set_cpus(group, [last_cpu])
    code = "import subprocess; say(subprocess.run(['nproc'], capture_output=True, text=True).stdout.strip())"
    with inside(group, code) as child:
        assert child.line() == "1"


def test_running_processes_move_with_the_set(group: Cgroup) -> None:
    everywhere = sorted(os.sched_getaffinity(0))
    with inside(group, "say('ready'); hear()") as child:
        child.line()
        for cpus in ([everywhere[0]], [everywhere[-1]], everywhere):
            cpuset.set_cpus(group, cpus)
            assert sorted(os.sched_getaffinity(child.pid)) == cpus == cpuset.effective_cpus(group)
        child.go()


def test_all_there_is_from_the_start(group: Cgroup) -> None:
    assert cpuset.effective_cpus(group) == sorted(os.sched_getaffinity(0))
    assert cpuset.effective_mems(group) == cpuset.parse_list(Path("/sys/devices/system/node/has_memory").read_text().strip())
    cpuset.set_mems(group, [0])
    assert cpuset.get_mems(group) == [0]


def test_a_cpu_that_this_machine_has_not(group: Cgroup) -> None:
    before = cpuset.effective_cpus(group)
    with pytest.raises(SyscallError) as caught:
        cpuset.set_cpus(group, [4000])
    assert caught.value.errno in (22, 34) and cpuset.effective_cpus(group) == before
