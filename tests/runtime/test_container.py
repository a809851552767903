"""The runtime-spec's lifecycle on a plain bundle: create, start, kill, delete, state, and what is said when a step fails."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fresh
import pytest

from minidocker.errors import ContainerNotFound, MinidockerError, SpecError, SyscallError, WrongStatus
from minidocker.linux import cgroups
from minidocker.oci import spec
from minidocker.runtime import hire, lock
from minidocker.runtime.container import Runtime
from minidocker.runtime.state import INIT_ANNOTATION


def test_create_start_kill_delete(bundle: Callable[..., Any]) -> None:
    box = bundle("sleep", "1000")
    assert box.status() == "stopped"
    handle = box.create()
    state = box.state()
    assert state["status"] == "created" and state["bundle"] == box.path and state["id"] == box.id and state["ociVersion"]
    assert b"python" in Path(f"/proc/{state['pid']}/cmdline").read_bytes()  # all is made, but the command has not begun
    assert os.readlink(f"/proc/{state['pid']}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert handle.start() == state["pid"]
    assert Path(f"/proc/{state['pid']}/cmdline").read_bytes() == b"sleep\x001000\x00"
    assert box.status() == "running" and box.state()["startedAt"].endswith("Z")
    with pytest.raises(WrongStatus) as running:
        box.runtime.delete(box.id, box.path, box.cgroup)
    assert running.value.status == "running"
    box.kill(signal.SIGKILL)
    assert handle.wait() == 137
    handle.close()
    assert box.status() == "stopped"
    assert json.loads((box.home / "exit.json").read_text())["exitCode"] == 137
    for _ in range(2):
        box.runtime.delete(box.id, box.path, box.cgroup)
    assert not cgroups.open_cgroup(box.cgroup).exists() and os.listdir(f"{box.runtime.run}/containers") == []
    with pytest.raises(WrongStatus):
        box.kill()


def test_it_is_process_1_with_its_own_everything(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "echo $$; hostname; ls /proc | grep -c '^[0-9]'; id -u; pwd; cat /proc/self/cgroup | grep -cv ':/$'")
    said = box.run()[1].decode().split()
    assert said[:2] == ["1", "bundle"] and int(said[2]) <= 3 and said[3:5] == ["0", "/"]


@pytest.mark.parametrize("code", [0, 1, 2, 42, 125, 126, 127, 128, 255])
def test_exit_codes(bundle: Callable[..., Any], code: int) -> None:
    assert bundle("sh", "-c", f"exit {code}").run() == (code, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1, signal.SIGSEGV])
def test_a_signal_is_128_and_its_number(bundle: Callable[..., Any], number: int) -> None:
    box = bundle("sh", "-c", f"kill -{number} $$")
    box.config["annotations"] = {INIT_ANNOTATION: "true"}  # process 1 itself is deaf to signals from inside
    assert box.run()[0] == 128 + number


FAILURES: list[tuple[str, Callable[[Any], object], type[MinidockerError], int, str]] = [
    ("no config.json", lambda box: (box.write(), (box.home / "config.json").unlink(), os.mkdir(box.home / "config.json")),
     SyscallError, 21, "read config.json"),
    ("bad JSON", lambda box: (box.home / "config.json").write_text("{"), MinidockerError, 0, "read config.json"),
    ("no linux section", lambda box: box.config.pop("linux"), MinidockerError, 0, ""),
    ("bind source missing", lambda box: box.config["mounts"].append(spec.bind("/nowhere", "/x")),
     SyscallError, 2, "open /nowhere"),
    ("unknown filesystem", lambda box: box.config["mounts"].append({"destination": "/x", "type": "nosuch", "source": "x"}),
     SyscallError, 19, "mount /x"),
    ("unknown user", lambda box: box.process["user"].update(username="nosuch"), SpecError, 0, "unable to find user nosuch"),
    ("unknown group", lambda box: box.process["user"].update(username="root:nosuch"), SpecError, 0, "unable to find group nosuch"),
    ("missing command", lambda box: box.process.update(args=["nosuch"]), SyscallError, 2, "find the command"),
    ("missing path", lambda box: box.process.update(args=["/bin/nosuch"]), SyscallError, 2, "find the command"),
    ("dangling link", lambda box: (os.symlink("/nowhere", box.rootfs / "link"), box.process.update(args=["/link"])),
     SyscallError, 2, "find the command"),
    ("empty command", lambda box: box.process.update(args=[""]), SyscallError, 2, "find the command"),
    ("a directory", lambda box: box.process.update(args=["/etc"]), SyscallError, 13, "find the command"),
    ("not executable", lambda box: box.process.update(args=["/etc/passwd"]), SyscallError, 13, "find the command"),
    ("no interpreter", lambda box: script(box, "#!/nowhere\n"), SyscallError, 2, "execve"),
    ("no program", lambda box: script(box, "\x7fnonsense"), SyscallError, 8, "execve"),
    ("cwd is a file", lambda box: box.process.update(cwd="/etc/passwd"), SyscallError, 20, "enter the working directory"),
    ("no such limit", lambda box: box.process.update(rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]), SpecError, 0, "no such limit"),
    ("long host name", lambda box: box.config.update(hostname="x" * 65), SyscallError, 22, "set the host name"),
    ("unknown sysctl", lambda box: box.config["linux"].update(sysctl={"kernel.nosuch": "1"}), SyscallError, 2, "set kernel.nosuch"),
    ("namespace of nobody", lambda box: box.config["linux"]["namespaces"].append({"type": "uts", "path": "/proc/4194304/ns/uts"}),
     SyscallError, 2, "join the uts namespace"),
    ("unknown cgroup file", lambda box: box.config["linux"]["resources"]["unified"].update({"no.such": "1"}), MinidockerError, 0, ""),
    ("a long error", lambda box: box.process.update(args=["/" + "x" * 5000]), SyscallError, 0, ""),
]  # fmt: skip


def script(box: Any, text: str) -> None:
    (box.rootfs / "script").write_text(text)
    (box.rootfs / "script").chmod(0o755)
    box.process.update(args=["/script"])


@pytest.mark.parametrize("start", [True, False], ids=["start at once", "create"])
@pytest.mark.parametrize(("change", "kind", "number", "step"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_a_failed_create_names_the_step_and_leaves_nothing(
    bundle: Callable[..., Any], change: Callable[[Any], object], kind: type[MinidockerError], number: int, step: str, start: bool
) -> None:
    box = bundle("true")
    change(box)
    with pytest.raises(kind) as caught:
        handle = box.create(start=start)
        try:
            handle.start()
        finally:
            handle.close()
    assert step in str(caught.value)
    if number:
        assert isinstance(caught.value, SyscallError) and caught.value.errno == number
    assert len(str(caught.value)) < 1000
    wait_for_the_end(box)
    assert not cgroups.open_cgroup(box.cgroup).exists()
    containers = Path(box.runtime.run, "containers")
    assert not containers.exists() or not list(containers.iterdir())
    assert not (box.home / "exit.json").exists() and box.status() == "stopped"


def wait_for_the_end(box: Any) -> None:
    """A start that failed is told before all is tidied; the lock comes last."""
    if (box.home / "lock").exists():
        os.close(lock.take(f"{box.path}/lock", wait=True))


def test_a_bundle_that_is_not_there(runtime: Runtime) -> None:
    with pytest.raises(SyscallError) as caught:
        runtime.create("0" * 64, "/nowhere")
    assert caught.value.errno == 2 and "take the lock" in str(caught.value)
    with pytest.raises(ContainerNotFound):
        runtime.state("0" * 64, "/nowhere")
    with pytest.raises(WrongStatus):
        runtime.connect("0" * 64)


def test_a_second_start_and_a_second_create(bundle: Callable[..., Any]) -> None:
    box = bundle("sleep", "1000")
    handle = box.create()
    with pytest.raises(WrongStatus):
        box.create()
    handle.start()
    for again in (handle.start, lambda: box.create(start=True)):
        with pytest.raises(WrongStatus) as caught:
            again()
        assert caught.value.status == "running"
    assert box.status() == "running"
    handle.close()


def test_another_connection_may_start_it_and_the_creator_may_leave(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "exit 7")
    box.create().close()
    assert box.status() == "created"
    other = box.runtime.connect(box.id)
    assert other.start() > 0
    assert other.wait() == 7
    other.close()


def test_a_creator_that_owns_it_takes_it_along_before_the_start_but_not_after(bundle: Callable[..., Any]) -> None:
    box = bundle("sleep", "1000")
    handle = box.create(owned=True)
    witness = box.runtime.connect(box.id)
    handle.close()
    assert witness.wait() == 137
    witness.close()
    assert box.status() == "stopped" and not (box.home / "exit.json").exists()
    handle = box.create(owned=True)
    handle.start()
    witness = box.runtime.connect(box.id)
    handle.close()
    assert not witness.wait_for_output(0) or witness.exit_code is None
    box.kill()
    assert witness.wait() == 137
    witness.close()


def test_every_client_hears_the_exit_code_even_one_that_never_listened(bundle: Callable[..., Any]) -> None:
    """A client whose queue is full of rings must not keep the others, or the end itself, waiting."""
    box = bundle("sh", "-c", "for i in $(seq 2000); do echo $i; done; exit 9")
    handle = box.create(owned=True)
    deaf = [box.runtime.connect(box.id) for _ in range(3)]
    for one in deaf:
        one.will_remove()  # left unread by the monitor perhaps: what it has said before counts all the same
    handle.start()
    assert handle.wait() == 9
    for one in deaf:
        one.end_stdin()
        assert one.wait() == 9
        one.close()
    handle.close()
    assert box.output().split()[-1] == b"2000"


def test_clients_that_are_killed_in_the_middle_do_no_harm(bundle: Callable[..., Any]) -> None:
    box = bundle("cat")
    handle = box.create(stdin="open")
    for message in ({"start": True}, {"attach": True}, {"nonsense": 1}):
        one = box.runtime.connect(box.id)
        one.channel.send(message)
        one.close()  # before the answer
    other = box.runtime.connect(box.id)
    assert other.attach_stdin() is not None
    assert box.status() == "running"
    other.close()
    handle.close()


def test_a_detached_container_outlives_its_creator(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "read x; exit 3")
    box.write()
    code = f"from minidocker.runtime.container import Runtime; Runtime({box.runtime.run!r})"
    code += f".create({box.id!r}, {box.path!r}, start=True, stdin='open'); import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert box.status() == "running"
    handle = box.runtime.connect(box.id)
    fd = handle.attach_stdin()
    assert fd is not None
    os.write(fd, b"go\n")
    os.close(fd)
    assert handle.wait() == 3
    handle.close()


def test_the_monitor_killed_takes_the_container_along(bundle: Callable[..., Any]) -> None:
    box = bundle("sleep", "1000")
    handle = box.create(start=True)
    state = box.state()
    pidfd = os.pidfd_open(state["pid"])
    os.kill(state["monitorPid"], signal.SIGKILL)
    assert handle.wait() == 137
    handle.close()
    assert select.select([pidfd], [], [], 30)[0]  # its end
    os.close(pidfd)
    assert box.status() == "stopped" and box.runtime.has_leftovers(box.id)
    box.runtime.delete(box.id, box.path, box.cgroup)
    assert not box.runtime.has_leftovers(box.id)
    assert box.runtime.create(box.id, box.path, start=True).close() is None  # and it can be run again
    assert box.status() == "running"


def test_poststop_hooks_run_in_order_and_one_that_cannot_is_passed_over(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    record = box.home / "record"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >> {record}; echo $A >> {record}"], "env": ["A=first", "B"]}
    box.config["hooks"]["poststop"] = [hook, {"path": "/nowhere", "args": ["x"]}, {**hook, "env": ["A=second"]}]
    assert box.run()[0] == 0
    hire.stop(box.runtime.run)  # waits for the monitor, which runs them after it has told the end
    text = record.read_text()
    assert text.index("first") < text.index("second") and json.loads(text.splitlines()[0].partition("}")[0] + "}")["status"] == "stopped"


def test_time_offsets(bundle: Callable[..., Any]) -> None:
    box = bundle("cat", "/proc/uptime")
    box.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 0}}
    with open("/proc/uptime", encoding="utf-8") as file:
        here = float(file.read().split()[0])
    there = float(box.says().split()[0])
    assert 1_000_000 <= there - here < 1_000_100


def test_limits_are_set_before_the_first_instruction(bundle: Callable[..., Any]) -> None:
    box = bundle("true")
    box.config["linux"]["resources"]["unified"] = {"pids.max": "23", "memory.max": "33554432", "cpu.max": "50000 100000"}
    handle = box.create()
    group = cgroups.open_cgroup(box.cgroup)
    assert (group.read("pids.max"), group.read("memory.max"), group.read("cpu.max")) == ("23", "33554432", "50000 100000")
    assert group.pids() == [box.state()["pid"]]
    handle.start()
    assert handle.wait() == 0
    handle.close()


def test_rlimits_umask_and_no_new_privileges(bundle: Callable[..., Any]) -> None:
    box = bundle("sh", "-c", "ulimit -n; umask; grep NoNewPrivs /proc/self/status")
    box.process.update(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}], noNewPrivileges=True)
    assert box.says().split() == ["100", "0022", "NoNewPrivs:", "1"]


def test_signals_are_as_a_fresh_process_has_them(bundle: Callable[..., Any]) -> None:
    """Whatever the creator blocks or ignores: here the first one starts the spawner."""
    box = bundle("grep", "Sig", "/proc/self/status")
    box.write()
    code = f"""
        import signal
        from minidocker.runtime.container import Runtime
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        print(Runtime({box.runtime.run!r}).create({box.id!r}, {box.path!r}, start=True).wait())
        """
    assert fresh.run(code) == "0"
    masks = dict(line.split(":\t") for line in box.output().decode().splitlines())
    assert int(masks["SigBlk"], 16) == 0
    assert int(masks["SigIgn"], 16) & (1 << 31) - 1 == 0  # 32 and 33 are the C library's own
