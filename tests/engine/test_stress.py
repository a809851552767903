"""A thousand starts in a row and two hundred at once, beside busy threads: no hang, no wrong exit code, nothing left."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minidocker.engine.engine import Engine
from minidocker.errors import ContainerFailed

SEQUENTIAL, CONCURRENT, AT_ONCE, THREADS = 1000, 200, 20, 8

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def busy_threads() -> Iterator[list[threading.Thread]]:
    """Threads that compute all the time, at the lowest priority: they take the lock of the interpreter, not the time of the test."""
    ended = threading.Event()

    def compute() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        block = bytes(1 << 16)
        while not ended.is_set():
            hashlib.sha256(block)

    threads = [threading.Thread(target=compute) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    yield threads
    ended.set()
    for thread in threads:
        thread.join()


def exit_code_of(engine: Engine, wanted: int) -> int:
    try:
        engine.containers.run("busybox", ["sh", "-c", f"exit {wanted}"], remove=True)
    except ContainerFailed as failed:
        return failed.exit_code
    return 0


def left_behind(name: str) -> dict[str, int]:
    """Counted from outside: what still carries the engine's name."""
    cgroups = [path for path in Path("/sys/fs/cgroup").rglob(f"{name}/*") if path.is_dir()]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/{name}/" in line]
    homes = list(Path("/var/lib", name, "containers").glob("*"))
    states = list(Path("/run", name).glob("**/*"))
    counts = {"cgroups": cgroups, "mounts": mounts, "container directories": homes, "runtime files": states}
    return {**{what: len(found) for what, found in counts.items()}, "monitors": monitors(name)}


def monitors(name: str) -> int:
    """Processes of the engine that stand beside a container."""
    found = 0
    for directory in Path("/proc").iterdir():
        try:
            named = directory.name.isdigit() and f"/run/{name}".encode() in (directory / "cmdline").read_bytes()
            found += named and (directory / "comm").read_text() in ("mdmonitor\n", "mdexec\n")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_many_starts(engine: Engine, busy_threads: list[threading.Thread], capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [code for code in (number % 256 for number in range(SEQUENTIAL)) if exit_code_of(engine, code) != code]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = [number % 256 for number in range(CONCURRENT)]
        results = pool.map(lambda code: exit_code_of(engine, code), codes)
        wrong += [wanted for wanted, got in zip(codes, results, strict=True) if got != wanted]
    name = engine.paths.name
    engine.shutdown()  # waits for the last monitor
    left = left_behind(name)
    with capsys.disabled():
        print(f"\n{SEQUENTIAL} starts in a row, {CONCURRENT} with {AT_ONCE} at once, beside {len(busy_threads)} busy threads:", end=" ")
        print(f"{len(wrong)} wrong exit codes, left behind: {left}")
    assert not wrong
    assert not any(left.values())
