"""One more process in a running container: in all its namespaces and its cgroup, with its own user, directory and streams."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minidocker.errors import SpecError, SyscallError, WrongStatus
from minidocker.linux import capabilities, namespaces
from minidocker.oci import spec
from minidocker.runtime.container import Exec


@pytest.fixture
def box(bundle: Callable[..., Any]) -> Iterator[Any]:
    found = bundle("sh", "-c", "echo $$ > /started; sleep 1000")
    found.config["linux"]["resources"]["unified"] = {"pids.max": "50"}
    found.create(start=True).close()
    yield found


class Execution:
    """A process in *box* with pipes."""

    def __init__(self, box: Any, *command: str, state: Any = None, stdin: bytes = b"", **changes: Any) -> None:
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = pipes = [os.pipe() for _ in range(3)]
        process = spec.process(
            list(command), env=changes.pop("env", [spec.DEFAULT_PATH]), cwd=changes.pop("cwd", "/"), user=changes.pop("user", ""),
            terminal=False, capabilities=list(capabilities.DEFAULT),
        )  # fmt: skip
        os.write(in_write, stdin)
        os.close(in_write)
        self.fds = [out_read, err_read]
        try:
            self.running: Exec = box.runtime.exec(state or box.state(), box.cgroup, process, (in_read, out_write, err_write))
        except BaseException:
            self.close()
            raise
        finally:
            for fd in (in_read, out_write, err_write):
                os.close(fd)
        assert pipes

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)

    def result(self) -> tuple[int, bytes, bytes]:
        texts = []
        for fd in self.fds:
            with open(fd, "rb") as file:
                texts.append(file.read())
        return self.running.wait(), texts[0], texts[1]


def test_it_is_in_every_namespace_and_in_the_cgroup(box: Any) -> None:
    execution = Execution(box, "sh", "-c", "echo ready; sleep 1000")
    assert os.read(execution.fds[0], 10) == b"ready\n"
    pid, first = execution.running.pid, box.state()["pid"]
    assert all(namespaces.compare(pid, first).values())
    assert not any(same for name, same in namespaces.compare(pid, os.getpid()).items() if name != "user")
    assert Path(f"/proc/{pid}/cgroup").read_text() == Path(f"/proc/{first}/cgroup").read_text()
    assert os.stat(f"/proc/{pid}/root").st_ino == os.stat(f"/proc/{first}/root").st_ino
    assert capabilities.sets(pid) == capabilities.sets(first)
    os.kill(pid, signal.SIGTERM)
    assert execution.result()[0] == 143


def test_streams_and_exit_code(box: Any) -> None:
    assert Execution(box, "sh", "-c", "cat; echo bad >&2; exit 5", stdin=b"in").result() == (5, b"in", b"bad\n")


def test_user_directory_and_environment(box: Any) -> None:
    said = Execution(box, "sh", "-c", "id -u; id -g; pwd; echo $A $HOME", user="1000:2000", cwd="/tmp", env=[spec.DEFAULT_PATH, "A=b"])
    assert said.result()[1].split() == [b"1000", b"2000", b"/tmp", b"b", b"/"]


@pytest.mark.parametrize(
    ("command", "changes", "kind", "number"),
    [
        (["nosuch"], {}, SyscallError, 2),
        (["/etc/passwd"], {}, SyscallError, 13),
        (["true"], {"cwd": "/etc/passwd"}, SyscallError, 20),
        (["true"], {"cwd": "/not/there"}, SyscallError, 2),
        (["true"], {"user": "nosuch"}, SpecError, 0),
    ],
)
def test_what_cannot_be(box: Any, command: list[str], changes: dict[str, str], kind: type[Exception], number: int) -> None:
    with pytest.raises(kind) as caught:
        Execution(box, *command, **changes)
    assert not number or caught.value.errno == number  # type: ignore[attr-defined]
    assert box.status() == "running"


def test_into_one_that_has_ended(box: Any) -> None:
    state = box.state()
    handle = box.runtime.connect(box.id)
    box.kill()
    handle.wait()
    handle.close()
    with pytest.raises(WrongStatus) as caught:
        Execution(box, "true", state=state)
    assert caught.value.status == "stopped"


def test_into_one_that_is_just_ending(box: Any) -> None:
    """Its first process is a zombie or about to be one: whatever the exec has reached, the answer is the same, or it ran."""
    state = box.state()
    os.kill(state["pid"], signal.SIGKILL)
    for _ in range(5):
        try:
            assert Execution(box, "true", state=state).result()[0] in (0, 137)
        except WrongStatus:
            continue


def test_a_terminal_of_its_own(box: Any) -> None:
    process = spec.process(["sh", "-c", "tty; stty size"], env=[spec.DEFAULT_PATH], cwd="/", user="", terminal=True, capabilities=[])
    process["consoleSize"] = {"height": 7, "width": 77}
    running = box.runtime.exec(box.state(), box.cgroup, process, None)
    assert running.fd is not None
    text = b""
    while True:
        try:
            text += os.read(running.fd, 1000)
        except OSError:  # EIO: the last user of the terminal is gone
            break
    os.close(running.fd)
    assert running.wait() == 0 and text.split() == [b"/dev/pts/0", b"7", b"77"]


def test_it_ends_with_the_container_and_outlives_its_client(box: Any) -> None:
    execution = Execution(box, "sh", "-c", "trap '' HUP; echo ready; sleep 1000")
    assert os.read(execution.fds[0], 10) == b"ready\n"
    pidfd = os.pidfd_open(execution.running.pid)
    execution.running.channel.close()  # the client has gone
    assert box.status() == "running" and Path(f"/proc/{execution.running.pid}").exists()
    handle = box.runtime.connect(box.id)
    box.kill()
    assert handle.wait() == 137
    handle.close()
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)
    execution.close()


def test_no_descriptor_of_ours_is_a_way_out(box: Any) -> None:
    for number in range(3, 25):
        try:
            code, output, _ = Execution(box, "sh", "-c", "pwd; stat -c %d:%i . /", cwd=f"/proc/self/fd/{number}/../../../..").result()
        except SyscallError:
            continue
        place, here, root = output.decode().splitlines()
        assert code == 0 and "unreachable" not in place and (here == root) == (place == "/")
