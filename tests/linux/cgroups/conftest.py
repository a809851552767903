"""Cgroups of their own for tests, on whichever kind of host this is: make_group() is one more beside the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from conftest import new_name

from minidocker.linux.cgroups import Cgroup, cpu, open_cgroup


@pytest.fixture
def make_group() -> Iterator[Callable[[], Cgroup]]:
    """Siblings below one parent. It has all the weight there is: other work on this machine is not to disturb what is measured."""
    parent = open_cgroup(new_name())
    made: list[Cgroup] = []

    def make() -> Cgroup:
        group = open_cgroup(f"{parent.name}/{len(made)}")
        group.create()
        made.append(group)
        cpu.set_weight(parent, cpu.WEIGHTS[1])
        return group

    yield make
    for group in made:
        group.remove_with_processes()
    parent.remove()


@pytest.fixture
def group(make_group: Callable[[], Cgroup]) -> Cgroup:
    return make_group()


@pytest.fixture
def last_cpu() -> int:
    return max(os.sched_getaffinity(0))
