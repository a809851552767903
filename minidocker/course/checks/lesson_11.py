"""Checks of lesson 11."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minidocker.course.checks.registry import Miss, NotAttempted, Work, exercise
from minidocker.course.lab import lab
from minidocker.errors import ContainerNotFound
from minidocker.linux import cgroups
from minidocker.linux.cgroups import cpu, cpuset

PATIENCE = 10.0  # seconds in which two containers must have used ENOUGH
ENOUGH = 300_000  # microseconds of CPU time of both, to compare
RUN = 'lab.engine.containers.run("busybox", busy, detach=True, name='
BOTH = f'{RUN}"gold", cpuset_cpus=last, %s)\n{RUN}"silver", cpuset_cpus=last, %s)\n'


@exercise(
    "11",
    1,
    hints=[
        "Weights decide between those who want the same core: both containers need cpuset_cpus=last.",
        "cpu_shares counts from 1024. Only the ratio of the two numbers matters.",
    ],
    wrong=[
        (f'{RUN}"gold", cpu_shares=4096)\n{RUN}"silver", cpu_shares=1024)', "the core that last names"),
        (BOTH % ("cpu_shares=1024", "cpu_shares=4096"), "the other way round"),
        (BOTH % ("cpus=0.8", "cpus=0.2"), "a ceiling"),
        (BOTH % ("cpu_shares=3072", "cpu_shares=1024"), "times as much"),
        (f'{RUN}"gold", cpuset_cpus=last, cpu_shares=4096)', "silver"),
    ],
)
def four_to_one(work: Work) -> str:
    found: dict[str, Any] = {}
    for name in ("gold", "silver"):
        try:
            container = lab.engine.containers.get(name)
        except ContainerNotFound:
            if not found:
                raise NotAttempted("start a container called gold, and one called silver") from None
            raise Miss("gold runs; there is no container called silver yet") from None
        if container.status != "running":
            raise Miss(f"{name} does not run: start it with `busy` as its command")
        found[name] = cgroups.open_cgroup(container.cgroup)
    last = int(str(work.value("last")))
    for name, group in found.items():
        if cpuset.effective_cpus(group) != [last]:
            raise Miss(
                f"{name} may also run elsewhere: who does not want the same core does not compete; pin both to the core that last names"
            )
    capped = [name for name, group in found.items() if cpu.get_max(group).quota_us is not None]
    if capped:
        raise Miss(f"{capped[0]} has a quota, a ceiling that holds also while the other sleeps: the two shall only share")
    ratio = cpu.get_weight(found["gold"]) / cpu.get_weight(found["silver"])
    if ratio < 0.9:
        raise Miss("it is the other way round: silver has the greater weight")
    if not 3.9 < ratio < 4.1:
        raise Miss(f"by their weights gold gets {ratio:.2g} times as much as silver: make it 4")
    measured = compare(found["silver"], found["gold"])
    if not 3 < measured < 5.2:
        raise Miss(f"the weights are right, but gold used {measured:.1f} times as much CPU time: are both busy all the time?")
    return "on one core gold gets four times the CPU time of silver, and neither has a ceiling"


def compare(base: cgroups.Cgroup, other: cgroups.Cgroup) -> float:
    """The CPU time of *other* as a multiple of that of *base*, over a while."""
    pair = (base, other)
    before, end = [cpu.stat(group).usage_us for group in pair], time.monotonic() + PATIENCE
    gained = [0, 0]
    while sum(gained) < ENOUGH and time.monotonic() < end:
        time.sleep(0.02)
        gained = [cpu.stat(group).usage_us - then for group, then in zip(pair, before, strict=True)]
    return gained[1] / max(1, gained[0])


@contextmanager
def fresh() -> Iterator[cgroups.Cgroup]:
    """A cgroup to try a learner's function on."""
    group = cgroups.open_cgroup(f"{lab.name}/check")
    group.create()
    try:
        yield group
    finally:
        group.remove_with_processes()


SHARE = "from minidocker.linux import cgroups\ndef share_cpu(name, cpus=None, shares=None, cores=None):\n"
SHARE += "    cgroup = cgroups.open_cgroup(name)\n"
CORES = "    if cores is not None:\n        cgroup.write('cpuset.cpus', cores)\n"
MAX = "    if cpus is not None:\n        cgroup.write('cpu.max', f'{round(cpus * 100_000)} 100000')\n"
WEIGHT = "    if shares is not None:\n        cgroup.write('cpu.weight', str(round(shares * 100 / 1024)))\n"


@exercise(
    "11",
    2,
    hints=[
        'Three files: cpuset.cpus ("0"), cpu.max ("50000 100000") and cpu.weight ("50"). Each is one write, unless its value is None.',
        "Half a CPU is 50 ms in each 100 ms. cpu.max counts in microseconds, and wants whole numbers.",
        "1024 shares are a weight of 100, and ratios stay: multiply by 100 and divide by 1024.",
    ],
    wrong=[
        (SHARE + CORES + MAX + WEIGHT.replace("round(shares * 100 / 1024)", "shares"), "Docker's default"),
        (SHARE + CORES + WEIGHT + "    if cpus is not None:\n        cgroup.write('cpu.max', f'{cpus} 1')\n", "did not get through"),
        (SHARE + CORES + WEIGHT + MAX.replace("100_000)}", "1_000_000)}"), "cpu.max is"),
        (SHARE + CORES.replace("cores is not None", "False") + MAX + WEIGHT, "cpuset.cpus"),
        (SHARE + CORES + MAX.replace("    if cpus is not None:\n    ", "").replace("cpus * ", "(cpus or 1) * ") + WEIGHT, "left alone"),
    ],
    keep="share_cpu",
)
def share_cpu(work: Work) -> str:
    work.function("share_cpu")
    core = str(work.value("first"))
    with fresh() as group:
        work.call("share_cpu", group.name, 0.5, 1536, core)
        quota, period = cpu.get_max(group)
        if quota is None or abs(quota / period - 0.5) > 0.01:
            raise Miss(f"after share_cpu(name, cpus=0.5, ...) cpu.max is {group.read('cpu.max')!r}: half of each period is wanted")
        if cpu.get_weight(group) != 150:
            words = "1024 shares, Docker's default, are a weight of 100, the kernel's default"
            raise Miss(f"1536 shares became a weight of {cpu.get_weight(group)}: {words}")
        if cpuset.get_cpus(group) != [int(core)]:
            raise Miss(f"after share_cpu(name, cores={core!r}, ...) cpuset.cpus is {group.read('cpuset.cpus')!r}")
    with fresh() as group:
        before = {file: group.read(file) for file in ("cpu.max", "cpu.weight", "cpuset.cpus")}
        work.run("share_cpu", f"share_cpu({group.name!r})")
        for file, text in before.items():
            if group.read(file) != text:
                raise Miss(f"share_cpu(name) alone changed {file}: what is None is to be left alone")
    return "the kernel has the ceiling, the weight and the cores, and None changes nothing"


@exercise(
    "11",
    3,
    hints=[
        "Which part do the weights of the two give box? And what does cpu.max of box say?",
        "There are two rules, and the stricter one holds at each moment.",
    ],
    wrong=[
        ("together, alone = 50, 50", "weights"),
        ("together, alone = 20, 100", "cpu.max"),
        ("together, alone = 20, 20", "limits nothing"),
        ("together, alone = 25, 50", "of both"),
        ("together, alone = '20 %', '50 %'", "a number"),
    ],
)
def best_and_worst(work: Work) -> str:
    together, alone = work.value("together"), work.value("alone")
    if not all(isinstance(value, int | float) for value in (together, alone)):
        raise Miss("each answer is a number, in percent of one core")
    box, rival = (cgroups.open_cgroup(work.value(name).cgroup) for name in ("box", "rival"))
    quota, period = cpu.get_max(box)
    ceiling = 100.0 if quota is None else 100 * quota / period
    weight, other = cpu.get_weight(box), cpu.get_weight(rival)
    right = min(ceiling, 100 * weight / (weight + other))
    if alone > ceiling + 1:
        raise Miss("alone: cpu.max holds also while nobody else wants the core")
    if abs(alone - ceiling) > 1:
        raise Miss("alone: a weight limits nothing while the other one sleeps; what does?")
    if abs(together - 100 * weight / other) < 1:
        raise Miss("together: divide by the sum of the weights of both")
    if abs(together - right) > 1:
        raise Miss("together: the weights of the two give box less than its ceiling; read cpu.weight of both")
    return "the weights decide while both are busy, the quota when box is alone"
