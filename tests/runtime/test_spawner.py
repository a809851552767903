"""The spawner: one per engine, warm, single-threaded, gone when idle; it survives its clients, and its containers survive it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fresh
import pytest

from minidocker.runtime import hire, spawner, sync
from minidocker.runtime.container import Runtime


def named(run: str, name: str) -> list[int]:
    """The processes of this engine called *name*: the spawner's run directory stands in their command line."""
    found = []
    for directory in Path("/proc").iterdir():
        try:
            is_named = directory.name.isdigit() and (directory / "comm").read_text() == f"{name}\n"
            if is_named and run.encode() in (directory / "cmdline").read_bytes().split(b"\0"):
                found.append(int(directory.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)


def leader(run: str) -> int:
    """The spawner itself: its spare bears the same name and is its child. One that has just been started takes its name a moment later."""
    deadline = time.monotonic() + 30
    while True:
        found = named(run, "mdspawner")
        leaders = [pid for pid in found if parent(pid) not in found]
        if leaders or time.monotonic() > deadline:
            (one,) = leaders
            return one
        os.sched_yield()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ends(pid: int, patience: float = 30) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], patience)[0])
    finally:
        os.close(pidfd)


def zombies_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"]


def reaps_all(pid: int, patience: float = 30) -> bool:
    """A monitor ends after it has told its container's end: so the last one may be a zombie at this moment, but not for long."""
    deadline = time.monotonic() + patience
    while zombies_of(pid):
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def test_ten_processes_at_once_start_one(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    runtime = box.runtime
    code = "from minidocker.runtime import hire\nsay('ready'); hear(); channel = hire.connect(sys.argv[1]); say('connected'); hear()"
    children = [fresh.Child(code, runtime.run) for _ in range(10)]
    for child in children:
        assert child.line() == "ready"
    for child in children:
        child.go()
    for child in children:
        assert child.line() == "connected"
    for child in children:  # each keeps the spare to itself as long as it says nothing
        child.go()
        with child:
            pass
    handle = box.create(start=True)
    assert handle.wait() == 0  # so it is up
    handle.close()
    leader(runtime.run)


def test_it_is_single_threaded_warm_and_light(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    for _ in range(2):
        assert box.run()[0] == 0
    pid = leader(box.runtime.run)
    assert os.listdir(f"/proc/{pid}/task") == [str(pid)]
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}
    assert parent(pid) != os.getpid()


def test_what_it_loads_is_light() -> None:
    """A fresh Python without site-packages, as the spawner is: all that a start needs, and none of the heavy modules."""
    package = str(Path(spawner.__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {package!r}); import minidocker.runtime.spawner; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"typing", "dataclasses", "pathlib", "asyncio", "subprocess", "logging", "threading", "msgspec", "inspect", "tempfile"}
    assert not heavy & set(loaded) and len(loaded) < 110


def test_stop_ends_it_and_its_spare(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    box.run()
    run = box.runtime.run
    before = named(run, "mdspawner")
    hire.stop(run)
    assert all(ends(pid) for pid in before) and not list(Path(run).glob("spawner.*.sock"))
    hire.stop(run)  # there is none: nothing happens
    assert box.run()[0] == 0  # and a new one comes when it is wanted


SERVE = """
from minidocker.runtime import hire, spawner, sync
spawner.IDLE = float(sys.argv[2])
run = sys.argv[1]
os.makedirs(run, exist_ok=True)
path = hire.socket_path(run)
listener = sync.listen(path)
null = os.open("/dev/null", os.O_RDWR)
say("serving")
os.dup2(listener.fileno(), 0); os.dup2(null, 1)
listener.close()
spawner.serve(run, path)
"""


def test_it_leaves_when_it_has_been_idle(runtime: Runtime) -> None:
    with fresh.Child(SERVE, runtime.run, "0.05") as child:
        assert child.line() == "serving"
        assert ends(child.pid)
        assert not list(Path(runtime.run).glob("spawner.*.sock")) and named(runtime.run, "mdspawner") == []


def test_it_does_not_leave_while_a_container_lives_or_somebody_connects(bundle: Callable[..., Any]) -> None:
    box = bundle("sleep", "1000")
    run = box.runtime.run
    with fresh.Child(SERVE, run, "0.1") as child:
        assert child.line() == "serving"
        handle = box.create(start=True)
        assert not ends(child.pid, 1)
        held = spawner.lock.take(f"{run}/spawner.lock")  # somebody is about to connect
        box.kill()
        assert handle.wait() == 137
        assert not ends(child.pid, 0.5)
        os.close(held)
        assert ends(child.pid)
        handle.close()


def test_clients_that_are_killed_or_talk_nonsense_leave_no_trace(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    box.run()
    run = box.runtime.run
    pid = leader(run)
    for data in (None, b"", b"nonsense", b"[]", b"{}", b'{"verb": "create"}', b'{"verb": "exec"}', b"\xff\xfe", b"1" * 60000):
        with hire.connect(run) as channel:
            if data:
                channel.socket.send(data)
                assert channel.receive() == (None, []) or data.startswith(b"{")
    assert box.run()[0] == 0
    assert leader(run) == pid and reaps_all(pid)
    hire.stop(run)
    assert ends(pid)


def test_a_client_that_says_nothing_keeps_nobody_waiting(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    box.run()
    run = box.runtime.run
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(hire.connect(run)) for _ in range(3)]
        assert box.run()[0] == 0
        pid = leader(run)
        silent[0].send(sync.LEAVE)  # too late to be heard as such: it ends that one, and nobody else
        assert silent[0].receive() == (None, [])
        assert box.run()[0] == 0 and leader(run) == pid
    hire.stop(run)
    assert ends(pid) and named(run, "mdspawner") == []


def test_a_spare_that_is_killed_is_replaced_and_reaped(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    box.run()
    run = box.runtime.run
    pid = leader(run)
    for _ in range(5):
        (spare,) = [one for one in named(run, "mdspawner") if one != pid] or [0]
        os.kill(spare, signal.SIGKILL)
        assert ends(spare)
        while named(run, "mdspawner") in ([pid], [pid, spare]):
            os.sched_yield()
        assert box.run()[0] == 0
        while [one for one in named(run, "mdspawner") if one != pid] == []:
            os.sched_yield()
    assert reaps_all(pid)


def test_containers_survive_its_death_and_the_next_start_has_a_new_one(bundle: Callable[..., Any]) -> None:
    box, other = bundle("sh", "-c", "read x; exit 8"), bundle("true")
    handle = box.create(stdin="open", start=True)
    run = box.runtime.run
    pid = leader(run)
    os.kill(pid, signal.SIGKILL)
    assert ends(pid)
    assert other.run()[0] == 0
    assert leader(run) != pid
    fd = handle.attach_stdin()
    assert fd is not None
    os.write(fd, b"\n")
    os.close(fd)
    assert handle.wait() == 8
    handle.close()


def test_it_survives_its_creator(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    box.write()
    code = f"from minidocker.runtime.container import Runtime; Runtime({box.runtime.run!r}).create({box.id!r}, {box.path!r}, start=True)"
    code += ".wait(); os.kill(os.getpid(), 9)"
    assert subprocess.run(fresh.command(code, ())).returncode == -9
    pid = leader(box.runtime.run)
    assert box.run()[0] == 0 and leader(box.runtime.run) == pid


def test_a_new_age_of_the_code_gets_a_new_one(bundle: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    box = bundle("true")
    box.run()
    run = box.runtime.run
    old = leader(run)
    newer = hire.socket_path(run).replace("spawner.", "spawner.f")
    with monkeypatch.context() as patch:
        patch.setattr(hire, "socket_path", lambda run: newer)
        assert box.run()[0] == 0
        assert len([pid for pid in named(run, "mdspawner") if parent(pid) not in named(run, "mdspawner")]) == 2
        hire.stop(run)
    assert leader(run) == old


def test_from_a_process_with_threads(bundle: Callable[..., Any]) -> None:
    """Several at once, from threads, and each hears its own exit code."""
    boxes = [bundle("sh", "-c", f"exit {code}") for code in range(1, 7)]
    codes: dict[int, int] = {}
    threads = [threading.Thread(target=lambda n=n, box=box: codes.update({n: box.run()[0]})) for n, box in enumerate(boxes, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {code: code for code in range(1, 7)}


def test_a_host_that_can_make_no_network_namespace_says_so(bundle: Callable[..., Any]) -> None:
    """The spare cannot make it ahead, and must not be forked in a loop for that. Here the power to is missing."""
    box = bundle("true")
    box.write()
    code = """
        from minidocker.linux import capabilities, syscalls
        from minidocker.runtime.container import Runtime
        keep = syscalls.capget()[1] & ~(1 << capabilities.bit("SYS_ADMIN"))
        capabilities.drop_bounding(keep); capabilities.set_to(keep)
        for _ in range(2):
            try: Runtime(sys.argv[1]).create(sys.argv[2], sys.argv[3], start=True)
            except OSError as error: print(error)
        """
    said = fresh.run(code, box.runtime.run, box.id, box.path)
    assert said.splitlines() == ["start the first process: unshare: Operation not permitted"] * 2


def test_messages_of_any_length_up_to_the_limit(runtime: Runtime) -> None:
    ours, theirs = sync.pair()
    with ours, theirs:
        words = {"x": "y" * (sync.MAX_MESSAGE - 100)}
        ours.send(words)
        assert theirs.receive() == (words, [])
        ours.socket.send(json.dumps({"a": 1}).encode())
        for _ in range(1000):
            ours.ring()  # one that waits is enough
        ours.close()
        assert theirs.receive() == ({"a": 1}, []) and theirs.receive() == (None, [])
