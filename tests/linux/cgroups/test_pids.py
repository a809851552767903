"""pids: exactly N, threads included; the next fork fails, and the processes that are there live on."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest
from inhabited import inside

from minidocker.errors import MissingFeature
from minidocker.linux.cgroups import Cgroup, pids

FORK_ALL = textwrap.dedent(
    """
    made, error = 0, 0
    while True:
        try:
            if os.fork() == 0:
                os.read(0, 1); os._exit(0)
            made += 1
        except OSError as failure:
            error = failure.errno
            break
    say(made, error); hear()
    """
)
THREADS = textwrap.dedent(
    """
    import threading
    end, made = threading.Event(), 0
    try:
        while True:
            threading.Thread(target=end.wait).start()
            made += 1
    except RuntimeError:
        say(made)
    hear(); end.set()
    """
)


@pytest.mark.parametrize("most", [1, 2, 20])
def test_exactly_as_many(make_group: Callable[[], Cgroup], most: int) -> None:
    group, neighbour = make_group(), make_group()
    pids.set_max(group, most)
    assert pids.get_max(group) == most and pids.get_max(neighbour) is None
    with inside(group, FORK_ALL, ends=False) as child:
        assert child.line() == f"{most - 1} 11"  # the first is one of them; EAGAIN
        assert pids.current(group) == len(group.pids()) == most
        assert pids.refused(group) == 1 and pids.refused(neighbour) == 0
        with inside(neighbour, "say(fork(lambda: None))") as other:
            assert other.line() == "0"
        group.kill()
        group.wait_empty()


def test_threads_are_counted(group: Cgroup) -> None:
    pids.set_max(group, 8)
    with inside(group, THREADS) as child:
        assert child.line() == "7"
        assert pids.current(group) == 8 and len(group.pids()) == 1
        child.go()


def test_the_peak_stays(group: Cgroup) -> None:
    with inside(group, "fork(lambda: None)"):
        pass
    try:
        assert pids.peak(group) == 2
    except MissingFeature as error:
        pytest.skip(f"{error} (it came with Linux 6.1)")


def test_a_limit_may_be_under_what_is_there(group: Cgroup) -> None:
    """Nobody is killed for it."""
    with inside(group, "say('ready'); hear()\ntry: os.fork()\nexcept OSError as error: say(error.errno)") as child:
        child.line()
        pids.set_max(group, 0)
        assert (pids.current(group), pids.get_max(group)) == (1, 0)
        child.go()
        assert child.line() == "11"
    pids.set_max(group, None)
    assert pids.get_max(group) is None
