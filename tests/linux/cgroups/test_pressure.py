"""Pressure: whose it is, is said."""

from __future__ import annotations

import select
from collections.abc import Callable
from pathlib import Path

import pytest
from inhabited import spinner

from minidocker.errors import MissingFeature, SpecError
from minidocker.linux.cgroups import Cgroup, cpuset, open_cgroup, pressure, v2

layout = v2.layout  # the module


@pytest.mark.parametrize("resource", pressure.RESOURCES)
def test_the_machines_own(resource: str) -> None:
    found = pressure.host(resource)
    shown = Path(f"/proc/pressure/{resource}").read_text()
    assert found.scope == "host" and found.some.total_us >= 0 and f"avg300={found.some.avg300:.2f}" in shown


def test_a_cgroup_that_waits_for_a_cpu(make_group: Callable[[], Cgroup], last_cpu: int) -> None:
    group, idle = make_group(), make_group()
    cpuset.set_cpus(group, [last_cpu])
    before = pressure.read(group, "cpu")
    with spinner(group), spinner(group):
        select.select([], [], [], 0.5)
        after = pressure.read(group, "cpu")
    assert (before.scope, after.scope) == ("cgroup", "cgroup")
    assert after.some.total_us - before.some.total_us > 200_000
    assert pressure.read(idle, "cpu").some.total_us == 0


def test_without_a_v2_tree_it_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_layouts", [layout.Layout("", {"memory": "/sys/fs/cgroup/memory"})])
    assert pressure.read(open_cgroup("nothing"), "memory").scope == "host"


def test_there_is_no_pressure_of_that(group: Cgroup) -> None:
    for call in (lambda: pressure.read(group, "../cpu"), lambda: pressure.host("pids")):
        with pytest.raises(SpecError, match="no pressure"):
            call()


def test_a_kernel_without_it(group: Cgroup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(group, "path", str(tmp_path))
    with pytest.raises(MissingFeature, match="pressure") as caught:
        pressure.read(group, "io")
    assert "psi=1" in caught.value.hint
