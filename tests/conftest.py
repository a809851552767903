"""Engines for tests, and the check after every test that nothing stayed behind.

    def test_x(engine): ...        an Engine of its own, with the image busybox; removed with all it made
    def test_y(make_engine): ...   several: make_engine(), make_engine()
    def test_z(engine_name): ...   only a name, for commands: run("--name", engine_name, ...)

Each engine's name is mdt + 3 digits of this run + 1 of the worker + 3 of its own, so that workers, and several developers on one machine,
do not take each other's things for leaks. Lessons run under such a name, too: MINIDOCKER_LAB. The tests of a file stay on one worker, apart
from those of notebooks, which take long and each have a lab of their own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from leaks import MARK, Owner, Snapshot
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:  # at run time where it is used: what tests linux/ and oci/ needs no engine
    from minidocker.engine.engine import Engine

# The first process of a run chooses, its xdist workers inherit.
RUN = os.environ.setdefault("MINIDOCKER_TEST_RUN", secrets.token_hex(2)[:3])
# The first process has the digit f: its mark stays in the environment that /proc shows of its workers, and of their children until they
# execute something. If it were also a worker's mark, that one would take the children of the others for its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw15").removeprefix("gw")) % 16
PREFIX = f"mdt{RUN}{WORKER:x}"
_numbers = itertools.count(secrets.randbelow(0x1000))

# On a busy machine one example may take long for reasons of its own: how long says nothing about being right.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

os.environ[MARK] = PREFIX
WHOLE_RUN = Owner((f"mdt{RUN}",), f"mdt{RUN}")
_at_start = pytest.StashKey[Snapshot]()
_at_end = pytest.StashKey[list[str]]()


class InGroups(LoadScopeScheduling):
    """One group's tests stay together. (xdist's own loadgroup does nothing under pytest 9.2, and says nothing.)"""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith("tests/notebooks/") else nodeid.partition("::")[0]


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> InGroups:
    return InGroups(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.stash[_at_start] = Snapshot.take(WHOLE_RUN)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What outlives the fixtures of a module or of the session escapes the check after each test, but not this one."""
    if (before := session.config.stash.get(_at_start, None)) is not None:
        session.config.stash[_at_end] = before.leaks(WHOLE_RUN)
        if session.config.stash[_at_end] and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    if lessons := sorted(str(text) for report in reports for kind, text in getattr(report, "user_properties", []) if kind == "lesson"):
        terminalreporter.section("lessons under nbval, pytest's own start included")
        for line in lessons:
            terminalreporter.line(line)
    if found := config.stash.get(_at_end, []):
        terminalreporter.section("left behind by the whole run", red=True)
        for line in found:
            terminalreporter.line(line)


@pytest.fixture(autouse=True)
def no_leaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the test that leaves a mount, cgroup, link, namespace, process or directory behind.

    What still runs is ended, so that one leak is one failure."""
    mine = Owner((PREFIX,), PREFIX, (str(tmp_path_factory.getbasetemp()),))
    before = Snapshot.take(mine)
    yield
    found = before.leaks(mine)
    if found:
        for process in before.new_processes(mine):
            os.kill(process.pid, signal.SIGKILL)
            if process.parent == os.getpid():
                os.waitpid(process.pid, 0)
        pytest.fail("left behind:\n  " + "\n  ".join(found), pytrace=False)


def new_name() -> str:
    return f"{PREFIX}{next(_numbers) % 0x1000:03x}"


def remove_engine(name: str) -> None:
    """End what an engine runs and remove all it has. Containers go by the engine's own ways: what those miss is a leak, and is reported."""
    from minidocker.engine.engine import Engine

    engine = Engine(name)
    try:
        for container in engine.containers.list(all=True):
            container.remove(force=True)
        engine.shutdown()
    finally:
        shutil.rmtree(engine.paths.root, ignore_errors=True)
        shutil.rmtree(engine.paths.run, ignore_errors=True)


@pytest.fixture(scope="session")
def base_store() -> Iterator[Path]:
    """An engine's data root with the image busybox, built once."""
    from minidocker.engine.engine import Engine

    name = new_name()
    with Engine(name) as engine:
        image = engine.images.make_base()
        engine.snapshots.lower_dirs(image)
    yield engine.paths.root
    remove_engine(name)


@pytest.fixture
def engine_name(base_store: Path) -> Iterator[str]:
    """The name of an engine that has the image busybox and that nobody has opened yet."""
    name = new_name()
    seed(name, base_store)
    yield name
    remove_engine(name)


@pytest.fixture
def make_engine(base_store: Path) -> Iterator[Callable[[], Engine]]:
    from minidocker.engine.engine import Engine

    with contextlib.ExitStack() as stack:

        def make() -> Engine:
            name = new_name()
            seed(name, base_store)
            stack.callback(remove_engine, name)
            return stack.enter_context(Engine(name))

        yield make


@pytest.fixture
def engine(make_engine: Callable[[], Engine]) -> Engine:
    return make_engine()


def seed(name: str, base_store: Path) -> None:
    """Blobs and unpacked layers are never written again, so hard links make a store in some milliseconds."""
    root = Path("/var/lib", name)
    for part in ("images", "layers"):
        shutil.copytree(base_store / part, root / part, symlinks=True, copy_function=os.link)
