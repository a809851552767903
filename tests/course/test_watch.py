"""A watch says what the kernel counts, marks what happens, ends when it should, and costs next to nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from minidocker.course import svg
from minidocker.course.lab import Lab
from minidocker.course.watch import QUANTITIES, Watch
from minidocker.course.widgets import Slider
from minidocker.engine.engine import Engine
from minidocker.errors import SpecError, WrongStatus
from minidocker.linux.cgroups import memory, open_cgroup

EATER = ["sh", "-c", "read go; x=a; while :; do x=$x$x; done"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    made.number = "10"
    yield made
    for watch in made._watches.values():
        watch.stop()


def watches() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "watch"]


def test_it_sees_the_limit_and_marks_the_kill(engine: Engine) -> None:
    container = engine.containers.create("busybox", EATER, memory="32m", stdin_open=True, name="eater")
    container.start()
    watch = Watch([container], ["memory.current", "memory.max"])
    assert watch.wait(3)
    attachment = container.attach(stdin=True)
    assert attachment.fd is not None
    with open(attachment.fd, "wb", closefd=False) as stdin:
        stdin.write(b"\n")
    assert watch.wait_end() and container.wait() == 137
    attachment.close()
    assert {value for _, value in watch.samples["memory.max"]} == {32.0}
    assert all(0 <= (value or 0) <= 32 for _, value in watch.samples["memory.current"])
    assert [text for _, text in watch.marks] == ["OOM kill", "ended"]
    assert repr(watch) == "live plot: memory.current and memory.max of eater, 10 samples a second"
    assert "marked: OOM kill, ended" in repr(watch.picture("Eaten"))
    assert watch.picture().png().startswith(b"\x89PNG")
    assert not watches()


def test_a_kill_of_which_the_kernel_tells_too_late_is_marked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "_bells", lambda watch, stack: iter(()))
    container = engine.containers.run("busybox", ["sleep", "1000"], detach=True, memory="8m", memory_swap="8m")
    watch = Watch([container], ["memory.current"])
    container.exec_run(["sh", "-c", "echo 1000 > /proc/1/oom_score_adj; x=a; while :; do x=$x$x; done"])
    with contextlib.suppress(WrongStatus):  # it may have been the victim itself
        container.kill()
    assert watch.wait_end()
    assert [text for _, text in watch.marks] == ["OOM kill", "ended"]


def test_the_share_of_a_core_and_the_cost_of_watching(engine: Engine) -> None:
    """The budget is 3 % of one core at 10 samples a second, drawing included; both are counted by the kernel."""
    container = engine.containers.run("busybox", ["sh", "-c", "while :; do :; done"], detach=True, cpus=0.5)
    watch = Watch([container], ["cpu", "cpu.max"])
    bundle = watch._repr_mimebundle_()
    assert bundle["text/plain"] == repr(watch) and "application/vnd.jupyter.widget-view+json" in bundle
    assert watch.wait(30)
    watch.stop()
    shares = [value for _, value in watch.samples["cpu"] if value is not None]
    assert 0 < sum(shares) / len(shares) < 60  # others may want the core as well, so it can be less than the quota
    assert {value for _, value in watch.samples["cpu.max"]} == {50.0}
    assert 0 < watch.cost < 0.03
    assert "<polyline" in watch._widget.value
    container.remove(force=True)


def test_it_ends_with_its_cell_its_lesson_and_its_containers(engine: Engine, lab: Lab) -> None:
    first, second = (engine.containers.run("busybox", ["sleep", "60"], detach=True, name=name) for name in ("first", "second"))
    old = lab.watch(first, second, show=["pids.current"])
    assert old.wait(2)
    new = lab.watch(first, second, show=["pids.current"])  # the same cell again
    assert old.wait_end(0) and new.wait(2) and len(watches()) == 1
    first.remove(force=True)
    assert new.wait(2)  # of the other one
    second.remove(force=True)
    assert new.wait_end() and [text for _, text in new.marks] == ["first ended", "second ended"]
    assert not watches()


def test_wrong_questions(engine: Engine) -> None:
    container = engine.containers.run("busybox", ["sleep", "60"], detach=True)
    with pytest.raises(ValueError, match="not 'memory'"):
        Watch([container], ["memory"])
    with pytest.raises(ValueError, match="one unit"):
        Watch([container], ["memory.current", "cpu"])
    container.remove(force=True)
    assert not watches()


@pytest.mark.parametrize("name", sorted(QUANTITIES))
def test_every_quantity_can_be_drawn(engine: Engine, name: str) -> None:
    container = engine.containers.run("busybox", ["sleep", "60"], detach=True, pids_limit=5, memory="16m", cpus=0.5)
    watch = Watch([container], [name])
    assert watch.wait(3)
    watch.stop()
    assert watch._drawing().count("<polyline") == 1 and watch.picture().png()
    container.remove(force=True)


def test_a_slider_acts_on_the_kernel_and_takes_back_what_is_refused(engine: Engine) -> None:
    container = engine.containers.run("busybox", ["sleep", "60"], detach=True, memory="64m")
    cgroup = open_cgroup(container.cgroup)

    def limit(mib: int) -> None:
        if mib < 6:
            raise SpecError("Minimum memory limit allowed is 6MB")
        memory.set_max(cgroup, mib << 20)

    slider = Slider("memory.max, MiB", 4, 128, value=64, action=limit)
    slider.value = 32
    assert memory.get_max(cgroup) == 32 << 20 and slider.said == ""
    slider.value = 5
    assert slider.value == 32 and slider.said == "refused: Minimum memory limit allowed is 6MB"
    assert memory.get_max(cgroup) == 32 << 20
    slider.value = 48
    assert memory.get_max(cgroup) == 48 << 20 and slider.said == ""
    assert repr(slider) == slider._repr_mimebundle_()["text/plain"] == "slider: memory.max, MiB, from 4 to 128"
    container.remove(force=True)


def test_scales_read_well() -> None:
    assert [svg.nice(value) for value in (0, 0.3, 1, 7, 31, 100, 4500)] == [1.0, 0.4, 1, 8, 40, 100, 6000]
