"""What a monitor does for its container: streams, log, doorbell, terminal, --init."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fresh
import pytest

from minidocker.linux import process, terminal
from minidocker.runtime import log
from minidocker.runtime.container import Handle
from minidocker.runtime.state import INIT_ANNOTATION


def feed(handle: Handle, data: bytes) -> int:
    fd = handle.attach_stdin()
    assert fd is not None
    os.write(fd, data)
    return fd


def until(handle: Handle, box: Any, wanted: bytes, stream: str = "stdout") -> None:
    """Wait, ring by ring, until the log holds it."""
    while wanted not in box.output(stream):
        assert handle.wait_for_output(30) and handle.exit_code is None


# -- standard input ----------------------------------------------------------------------------------------------------


def test_without_stdin_there_is_an_end_of_input(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "cat; readlink /proc/self/fd/0")
    handle = box.create()
    assert handle.attach_stdin() is None
    handle.start()
    assert handle.wait() == 0 and box.output() == b"/dev/null\n"
    handle.close()


def test_stdin_once_ends_with_the_client_that_had_it(bundle: Callable[..., Any]) -> None:
    box = bundle("cat")
    handle = box.create(stdin="once")
    fd = feed(handle, b"one")
    handle.start()
    os.close(fd)
    handle.close()
    witness = box.runtime.connect(box.id) if box.status() == "running" else None
    if witness is not None:
        assert witness.wait() == 0
        witness.close()
    assert box.output() == b"one"


def test_stdin_can_be_ended_while_the_client_listens_on(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "cat; echo after")
    handle = box.create(stdin="once")
    handle.start()
    fd = feed(handle, b"one\n")
    os.close(fd)
    handle.end_stdin()
    assert handle.wait() == 0 and box.output() == b"one\nafter\n"
    handle.end_stdin()  # it has ended: nothing to end any more
    handle.close()


def test_open_stdin_survives_its_clients(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "read a; read b; echo $a$b")
    handle = box.create(stdin="open")
    handle.start()
    for part in (b"one\n", b"two\n"):
        client = box.runtime.connect(box.id)
        os.close(feed(client, part))
        client.close()
    assert handle.wait() == 0 and box.output() == b"onetwo\n"
    handle.close()


def test_a_client_that_is_not_the_feeder_does_not_end_it(bundle: Callable[..., Any]) -> None:
    box = bundle("cat")
    handle = box.create(stdin="once")
    handle.start()
    first = feed(handle, b"a")
    second = box.runtime.connect(box.id)
    fd = feed(second, b"b")
    os.close(fd)
    second.end_stdin()
    second.close()
    os.write(first, b"c")
    os.close(first)
    handle.end_stdin()
    assert handle.wait() == 0 and box.output() == b"abc"
    handle.close()


# -- output ------------------------------------------------------------------------------------------------------------


def test_two_clients_are_rung_for_the_same_output(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "read x; echo $x; read x; echo bye")
    handle = box.create(stdin="open", start=True)
    other = box.runtime.connect(box.id)
    fd = feed(other, b"hello\n")
    for client in (handle, other):
        until(client, box, b"hello\n")
    os.write(fd, b"\n")
    os.close(fd)
    assert handle.wait() == other.wait() == 0
    handle.close()
    other.close()


def test_bytes_that_are_no_text_and_lines_that_do_not_end(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", r"printf 'a\377\376b\000c\r\nd'; printf '\xe2\x82' >&2; printf '\xac' >&2")
    assert box.run() == (0, b"a\xff\xfeb\0c\r\nd", "€".encode())


def test_every_byte_arrives(bundle: Callable[..., Any]) -> None:
    box = bundle("cat", "/blob")
    data = os.urandom(300_000) + bytes(range(256)) * 100
    (box.rootfs / "blob").write_bytes(data)
    assert box.run()[1] == data


def test_much_output_costs_the_monitor_no_memory(bundle: Callable[..., Any]) -> None:
    """50 MB, while a client is attached that never reads: it is not waited for."""
    box = bundle("sh", "-c", "dd if=/dev/zero bs=65536 count=763 2>/dev/null; echo end; exit 4")
    handle = box.create(owned=True)
    deaf = box.runtime.connect(box.id)
    monitor = box.state()["monitorPid"]
    before = memory(monitor)
    handle.start()
    most = before
    while handle.exit_code is None:
        handle.wait_for_output()
        most = max(most, memory(monitor) or most)
    assert handle.exit_code == 4 and deaf.wait() == 4
    handle.close()
    deaf.close()
    assert most - before < 8 << 10
    size = sum(len(data) for _, data, _ in log.Reader(f"{box.path}/{log.NAME}").records())
    assert size == 763 * 65536 + 4


def memory(pid: int) -> int:
    """KiB that are its own, 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_a_log_that_was_cut_short_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.Writer(str(path)).write("stdout", b"one\n")
    with open(path, "ab") as file:
        file.write(b'{"log": "tw')  # its writer was killed here
    reader = log.Reader(str(path))
    assert [data for _, data, _ in reader.records()] == [b"one\n"]
    log.Writer(str(path)).write("stderr", b"three\n")
    assert [data for _, data, _ in reader.records()] == [b"three\n"]
    assert [(stream, data) for stream, data, _ in log.Reader(str(path)).records()] == [("stdout", b"one\n"), ("stderr", b"three\n")]


def test_a_full_disk_loses_output_and_not_the_container() -> None:
    said = fresh.run(
        """
        from minidocker.linux import mounts, namespaces, syscalls
        from minidocker.runtime import log
        namespaces.unshare("mnt"); mounts.make_private("/", recursive=True)
        syscalls.mount("t", "/mnt", "tmpfs", 0, "size=64k")
        writer = log.Writer("/mnt/log")
        for number in range(100):
            writer.write("stdout", b"x" * 1000)
        blob = os.path.getsize("/mnt/log")
        os.truncate("/mnt/log", 30000)
        writer.write("stdout", b"room again")
        records = list(log.Reader("/mnt/log").records())
        print(blob <= 65536, len(records) > 20, records[-1][1])
        """
    )
    assert said == "True True b'room again'"


def test_a_process_that_keeps_the_pipes_does_not_keep_the_end(bundle: Callable[..., Any]) -> None:
    """In the host's PID namespace nobody kills what the first process leaves: its cgroup does."""
    box = bundle("sh", "-c", "sleep 1000 & echo $!")
    box.config["linux"]["namespaces"] = [entry for entry in box.config["linux"]["namespaces"] if entry["type"] != "pid"]
    found = stat_line(int(box.says()))
    assert not found or found[0] == "Z"  # ended; the host's first process has still to notice


def stat_line(pid: int) -> list[str]:
    """State and what follows it in /proc/PID/stat; [] if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_a_user_other_than_root_may_open_its_streams(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr; id -u")
    box.process["user"]["username"] = "1234"
    assert box.run() == (0, b"out\n1234\n", b"err\n")


# -- terminal ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(bundle: Callable[..., Any]) -> Iterator[tuple[Any, Handle, int]]:
    box = bundle("sh")
    box.process.update(terminal=True, consoleSize={"height": 11, "width": 22})
    box.process["env"].append("PS1=> ")
    handle = box.create(stdin="open")
    master = handle.attach_stdin()
    assert master is not None
    handle.start()
    until(handle, box, b"> ")
    yield box, handle, master
    os.close(master)
    handle.close()


def test_a_terminal_inside(shell: tuple[Any, Handle, int]) -> None:
    box, handle, master = shell
    os.write(master, b"tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all-t''hree; ls -l /dev/console\n")
    until(handle, box, b"all-three")
    until(handle, box, b"/dev/console\r\n")
    assert b"/dev/pts/0\r\n11 22\r\n" in box.output()
    terminal.set_window_size(master, 33, 44)
    os.write(master, b"stty size\n")
    until(handle, box, b"33 44")
    os.write(master, b"echo spoken > /dev/console\n")
    until(handle, box, b"spoken\r\n")
    os.write(master, b"exit 6\n")
    assert handle.wait() == 6


def test_ctrl_c_ends_the_foreground_job_and_not_the_shell(shell: tuple[Any, Handle, int]) -> None:
    box, handle, master = shell
    os.write(master, b"echo go; sleep 1000\n")
    until(handle, box, b"go\r\n")
    while not [pid for pid in process.children(box.state()["pid"]) if process.stat(pid).comm == "sleep"]:
        os.sched_yield()
    os.write(master, b"\x03")
    os.write(master, b"echo code $?\n")
    until(handle, box, b"code 130")
    os.write(master, b"\x04")  # and ctrl-D is the end of its input
    assert handle.wait() == 0


# -- init --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_init(bundle: Callable[..., Any]) -> Callable[..., Any]:
    def make(*command: str) -> Any:
        box = bundle(*command)
        box.config["annotations"] = {INIT_ANNOTATION: "true"}
        return box

    return make


def test_init_reaps_orphans(with_init: Callable[..., Any]) -> None:
    box = with_init("sh", "-c", "for i in $(seq 20); do (sleep 0 &) ; done; echo ready; read x; exit 3")
    handle = box.create(stdin="open", start=True)
    until(handle, box, b"ready")
    first = box.state()["pid"]
    inner = process.children(first)
    while len(process.descendants(first)) > 1:  # the last orphans are on their way
        os.sched_yield()
    assert [process.ns_pids(pid)[-1] for pid in inner[:1]] == [2]
    fd = feed(handle, b"\n")
    os.close(fd)
    assert handle.wait() == 3
    handle.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_init_passes_signals_on(with_init: Callable[..., Any], number: int) -> None:
    box = with_init("sh", "-c", f"trap 'exit 33' {int(number)}; echo ready; while :; do sleep 1000 & wait; done")
    handle = box.create(start=True)
    until(handle, box, b"ready")
    box.kill(number)
    assert handle.wait() == 33
    handle.close()


def test_init_of_a_command_that_is_not_there(with_init: Callable[..., Any]) -> None:
    box = with_init("sh")
    (box.rootfs / "script").write_text("#!/nowhere\n")
    (box.rootfs / "script").chmod(0o755)
    box.process["args"] = ["/script"]
    with pytest.raises(OSError) as caught:
        box.create(start=True)
    assert caught.value.errno == 2


def test_readable_only_when_something_has_come(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "read x; echo $x; read x")
    handle = box.create(stdin="open", start=True)
    fd = feed(handle, b"")
    assert not select.select([handle.channel], [], [], 0)[0]
    os.write(fd, b"x\n")
    until(handle, box, b"x\n")
    os.close(fd)
    handle.close()
