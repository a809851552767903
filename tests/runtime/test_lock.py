"""A lock that tells who is alive, and the small files beside it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import fresh
import pytest

from minidocker.runtime import lock, state

HOLDER = "from minidocker.runtime import lock\nfd = lock.take(sys.argv[1]); say('held'); hear()"


def test_asking_does_not_take_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert not lock.is_held(path) and not os.path.exists(path)
    held = lock.take(path)
    os.close(held)
    assert not lock.is_held(path)
    with fresh.Child(HOLDER, path) as child:
        assert child.line() == "held"
        for _ in range(3):
            assert lock.is_held(path)
        with pytest.raises(BlockingIOError):
            lock.take(path)
        child.go()
    assert not lock.is_held(path)


def test_a_killed_holder_has_let_go(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    child = fresh.Child(HOLDER, path)
    assert child.line() == "held"
    child.process.send_signal(signal.SIGKILL)
    child.process.communicate()
    assert not lock.is_held(path)
    os.close(lock.take(path))


def test_one_process_excludes_itself_too(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = lock.take(path)
    with pytest.raises(BlockingIOError):
        lock.take(path)
    assert lock.is_held(path)
    os.close(os.open(path, os.O_RDONLY))  # with the older kind of lock this would give it back
    assert lock.is_held(path)
    os.close(held)


def test_waiting_for_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with fresh.Child(HOLDER, path) as child:
        assert child.line() == "held"
        code = "from minidocker.runtime import lock\nsay('waiting'); lock.take(sys.argv[1], wait=True); say('mine')"
        with fresh.Child(code, path) as other:
            assert other.line() == "waiting"
            child.go()
            assert other.line() == "mine"


def test_a_failed_take_leaves_no_descriptor(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = lock.take(path)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BlockingIOError):
        lock.take(path)
    assert os.listdir("/proc/self/fd") == before and not os.get_inheritable(held)
    os.close(held)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state.write_json(str(path), {"a": 1})
    with open(path, encoding="utf-8") as old:
        state.write_json(str(path), {"b": "x" * 100_000})
        assert json.load(old) == {"a": 1}
    assert json.loads(state.read_file(str(path))) == {"b": "x" * 100_000}
    state.write_json(str(path), {"c": 1}, visible=False)
    assert "b" in json.loads(path.read_text())
    os.rename(f"{path}.tmp", path)
    assert json.loads(path.read_text()) == {"c": 1} and os.listdir(tmp_path) == ["state.json"]


ENDS = {"os._exit(0)": 0, "os._exit(255)": 255, "os.kill(os.getpid(), 9)": 137, "os.kill(os.getpid(), 15)": 143}


@pytest.mark.parametrize("end", ENDS)
def test_exit_codes_as_a_shell_has_them(end: str) -> None:
    code = f"pid = os.fork()\nif pid == 0: {end}\nfrom minidocker.runtime import state\nprint(state.exit_code(os.waitpid(pid, 0)[1]))"
    assert fresh.run(code) == str(ENDS[end])
