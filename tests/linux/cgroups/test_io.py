"""io: the asked rate on a loop device, with direct I/O, by what the kernel counted."""

from __future__ import annotations

import os
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fresh
import pytest
from inhabited import MIB, inside

from minidocker.errors import MissingFeature, SpecError, SyscallError
from minidocker.linux.cgroups import Cgroup, io, mode

SIZE = 32 * MIB
NO_SCHEDULER_KNOWS_WEIGHTS = "this kernel has neither BFQ's weights nor io.cost"
TRANSFER = textwrap.dedent(
    """
    import mmap
    path, direction, block, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    fd = os.open(path, (os.O_RDONLY if direction == "r" else os.O_WRONLY) | os.O_DIRECT)
    buffer = mmap.mmap(-1, block)  # aligned, as direct I/O wants it
    say("open"); hear()
    for number in range(count):
        offset = number * block % (32 << 20)
        done = os.preadv(fd, [buffer], offset) if direction == "r" else os.pwritev(fd, [buffer], offset)
        assert done == block
    say("done")
    """
)


def transfer(child: fresh.Child) -> float:
    """Let it begin, wait until it has done all, and give the seconds between the two."""
    assert child.line() == "open"
    start = time.monotonic()
    child.go()
    assert child.line() == "done"
    return time.monotonic() - start


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A loop device of our own, and its "major:minor"."""
    image = tmp_path / "disk"
    image.write_bytes(bytes(SIZE))
    path = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    number = os.stat(path).st_rdev
    yield path, f"{os.major(number)}:{os.minor(number)}"
    subprocess.run(["losetup", "--detach", path], check=True)


@pytest.mark.parametrize("direction", ["r", "w"])
@pytest.mark.parametrize(("unit", "block", "rate"), [("bps", 64 << 10, 4 * MIB), ("iops", 4 << 10, 200)])
def test_a_rate_is_kept(group: Cgroup, disk: tuple[str, str], direction: str, unit: str, block: int, rate: int) -> None:
    path, device = disk
    limit = io.Max(**{direction + unit: rate})
    io.set_max(group, device, limit)
    assert io.get_max(group) == {device: limit}
    seconds = 2
    count = rate * seconds // (block if unit == "bps" else 1)
    before = io.stat(group).get(device, io.Stat())
    with inside(group, TRANSFER, path, direction, str(block), str(count)) as child:
        took = transfer(child)
    after = io.stat(group)[device]
    done, operations = (getattr(after, direction + name) - getattr(before, direction + name) for name in ("bytes", "ios"))
    assert (done, operations) == (count * block, count)
    assert (done if unit == "bps" else operations) / took == pytest.approx(rate, rel=0.15)


def test_another_is_as_fast_as_ever(make_group: Callable[[], Cgroup], disk: tuple[str, str]) -> None:
    path, device = disk
    slow, other = make_group(), make_group()
    io.set_max(slow, device, io.Max(wbps=MIB))
    with inside(other, TRANSFER, path, "w", str(MIB), "32") as child:
        assert transfer(child) < 16  # the limit would take 32


def test_limits_go_one_by_one(group: Cgroup, disk: tuple[str, str]) -> None:
    _, device = disk
    assert io.get_max(group) == {}
    io.set_max(group, device, io.Max(rbps=MIB, wbps=2 * MIB, riops=30, wiops=40))
    assert io.get_max(group) == {device: io.Max(MIB, 2 * MIB, 30, 40)}
    io.set_max(group, device, io.Max(wiops=50))
    assert io.get_max(group) == {device: io.Max(wiops=50)}
    io.set_max(group, device, io.Max())
    assert io.get_max(group) == {}


def test_a_device_that_is_not_there(group: Cgroup) -> None:
    with pytest.raises(SyscallError) as caught:
        io.set_max(group, "4000:1", io.Max(rbps=MIB))
    assert caught.value.errno == 19 and io.get_max(group) == {}
    with pytest.raises(SpecError):
        io.set_max(group, "/dev/sda", io.Max(rbps=MIB))


def test_weights(group: Cgroup) -> None:
    try:
        assert io.get_weight(group) == 100
    except MissingFeature as error:
        pytest.skip(f"{error}: {NO_SCHEDULER_KNOWS_WEIGHTS}")
    for weight in (1, 250, 1000):
        io.set_weight(group, weight)
        assert io.get_weight(group) == weight
    for weight in (0, 10_001):
        with pytest.raises(SpecError, match="weight"):
            io.set_weight(group, weight)
    if mode() != "v2":
        with pytest.raises(MissingFeature, match="1000"):
            io.set_weight(group, 1001)
