"""The cpu controller: a ceiling (quota), a share under contention (weight), and what was used.

Interface: Max get_max set_max get_weight set_weight get_burst set_burst Stat stat; weight_from_shares shares_from_weight.
Microseconds throughout. Man page: cgroups(7), "CPU" in cgroup-v2.rst; cpu.shares is v1's and Docker's word. Notebook: 11.
"""

from __future__ import annotations

from collections import namedtuple

from minidocker.errors import SpecError
from minidocker.linux.cgroups import formats
from minidocker.linux.cgroups.v2 import Cgroup

Max = namedtuple("Max", "quota_us period_us")
Max.__doc__ = """*quota_us* of CPU time in every *period_us*: 150000 in 100000 is one and a half CPUs. None: no ceiling."""
Stat = namedtuple("Stat", "usage_us user_us system_us periods throttled throttled_us bursts burst_us", defaults=(0, 0, 0, 0, 0))
Stat.__doc__ = """Time used since the cgroup was made, and in how many of how many *periods* it was *throttled*, for how long."""

PERIOD_US = 100_000  # the kernel's default
WEIGHTS = (1, 10_000)  # of cpu.weight; 100 is the default
SHARES = (2, 262_144)  # of cpu.shares; 1024 is the default
_STAT = "usage_usec user_usec system_usec nr_periods nr_throttled throttled_usec nr_bursts burst_usec".split()


def get_max(cgroup: Cgroup) -> Max:
    return parse_max(cgroup.read("cpu.max"))


def parse_max(text: str) -> Max:
    """ "50000 100000" or "max 100000". SpecError: anything else."""
    quota, space, period = text.partition(" ")
    if not space:
        raise SpecError(f"not the text of cpu.max: {text!r}")
    return Max(formats.limit(quota), formats.number(period))


def set_max(cgroup: Cgroup, quota_us: int | None, period_us: int = PERIOD_US) -> None:
    """SyscallError EINVAL: a quota under 1 ms, a period outside 1 ms to 1 s, or on v1 more than a cgroup above has."""
    cgroup.write("cpu.max", f"{formats.limit_text(quota_us)} {period_us}")


def get_weight(cgroup: Cgroup) -> int:
    return formats.number(cgroup.read("cpu.weight"))


def set_weight(cgroup: Cgroup, weight: int) -> None:
    """The part of the CPU among siblings that all want it: 1 to 10000. Where nobody else wants it, it limits nothing."""
    if not WEIGHTS[0] <= weight <= WEIGHTS[1]:
        raise SpecError(f"a CPU weight is {WEIGHTS[0]} to {WEIGHTS[1]}, not {weight}")
    cgroup.write("cpu.weight", str(weight))


def get_burst(cgroup: Cgroup) -> int:
    return formats.number(cgroup.read("cpu.max.burst"))


def set_burst(cgroup: Cgroup, burst_us: int) -> None:
    """Let unused quota be saved up to this and spent at once later. SyscallError EINVAL: more than the quota."""
    cgroup.write("cpu.max.burst", formats.limit_text(burst_us))


def stat(cgroup: Cgroup) -> Stat:
    found = formats.flat_keyed(cgroup.read("cpu.stat"))
    return Stat(*(found.get(name, 0) for name in _STAT))  # without the controller the kernel leaves the throttling out


def weight_from_shares(shares: int) -> int:
    """The cpu.weight for Docker's --cpu-shares: ratios stay, and 1024 becomes 100. SpecError: outside 2..262144."""
    if not SHARES[0] <= shares <= SHARES[1]:
        raise SpecError(f"CPU shares are {SHARES[0]} to {SHARES[1]}, not {shares}")
    return nearest_weight(shares)


def nearest_weight(shares: int) -> int:
    return min(WEIGHTS[1], max(WEIGHTS[0], round(shares * 100 / 1024)))


def shares_from_weight(weight: int) -> int:
    """cpu.weight 1..10000 as cpu.shares, 10..102400."""
    return max(SHARES[0], weight * 1024 // 100)
