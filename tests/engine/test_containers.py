"""Docker's verbs on real containers, seen from outside: /proc, cgroup files, directories."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fresh
import pytest

from minidocker.engine.container import Container
from minidocker.engine.engine import Engine
from minidocker.errors import (
    Conflict,
    ContainerFailed,
    ContainerNotFound,
    ImageNotFound,
    InUse,
    MinidockerError,
    NameInUse,
    SpecError,
    SyscallError,
    WrongStatus,
)
from minidocker.linux import capabilities, cgroups, namespaces

FOREVER = ["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done"]


def say(engine: Engine, *command: str, **options: object) -> str:
    """What a container says before it ends and is removed."""
    output = engine.containers.run("busybox", list(command), remove=True, **options)  # type: ignore[arg-type]
    assert isinstance(output, bytes)
    return output.decode().removesuffix("\n")


def start(engine: Engine, *command: str, **options: object) -> Container:
    container = engine.containers.run("busybox", list(command or FOREVER), detach=True, **options)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def ready(container: Container) -> Container:
    """Wait until it has said something."""
    next(iter(container.follow()))
    return container


def left(engine: Engine) -> list[str]:
    """What there is of containers: files, cgroups, rows."""
    found = [str(path) for top in (engine.paths.containers, engine.paths.run_containers) if top.is_dir() for path in top.iterdir()]
    found += cgroups.open_cgroup(engine.paths.name).children()
    return found + [record.name for record in engine.store.all()]


# -- a life ------------------------------------------------------------------------------------------------------------


def test_from_create_to_remove(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["sh", "-c", "echo hello; echo bad >&2; exit 3"], name="one", labels={"a": "b"})
    assert (container.status, container.pid, container.exit_code, container.started_at) == ("created", 0, None, "")
    container.start()
    assert container.wait() == 3
    assert (container.status, container.pid, container.exit_code) == ("exited", 0, 3)
    assert container.created < container.started_at < container.finished_at
    assert (container.logs(), container.logs(stderr=False), container.logs(stdout=False)) == (b"hello\nbad\n", b"hello\n", b"bad\n")
    assert (container.name, container.image, container.labels, len(container.id)) == ("one", "busybox", {"a": "b"}, 64)
    container.start()  # it can run again, and its log goes on
    assert container.wait() == 3 and container.logs(stderr=False) == b"hello\nhello\n"
    container.remove()
    assert left(engine) == []
    for verb in (container.remove, container.start, container.reload, lambda: engine.containers.get("one")):
        with pytest.raises(ContainerNotFound):
            verb()


def test_stop_asks_and_then_kills(engine: Engine) -> None:
    polite, rude = ready(start(engine)), ready(start(engine, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000 & wait; done"))
    polite.stop()
    assert polite.exit_code == 0
    began = time.monotonic()
    rude.stop(0.2)
    assert rude.exit_code == 137 and 0.2 <= time.monotonic() - began < 10
    rude.stop()  # not running is fine
    with pytest.raises(WrongStatus):
        rude.kill()


def test_the_stop_signal_is_its_own(engine: Engine) -> None:
    container = ready(start(engine, "sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 1000 & wait; done", stop_signal="USR1"))
    container.stop()
    assert container.exit_code == 9


@pytest.mark.parametrize(("signals", "code"), [("KILL", 137), ("SIGTERM", 143), (2, 130)])
def test_kill_with_init(engine: Engine, signals: str | int, code: int) -> None:
    container = ready(start(engine, "sh", "-c", "echo ready; exec sleep 1000", init=True))
    container.kill(signals)
    assert container.wait() == code


def test_restart_is_a_new_process_with_the_old_files(engine: Engine) -> None:
    container = ready(start(engine, "sh", "-c", "echo x >> /count; cat /count; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"))
    first = container.pid
    container.restart()
    assert container.status == "running" and container.pid != first
    seen = b""
    for _, text in container.follow():  # ends with the container at the latest
        seen += text
        if seen.count(b"x") == 3:
            break
    container.stop()


def test_wait_has_a_limit(engine: Engine) -> None:
    container = start(engine)
    with pytest.raises(TimeoutError):
        container.wait(timeout=0.05)
    assert engine.containers.create("busybox", ["true"]).wait() == 0  # never started, as Docker


def test_remove_only_with_force_while_it_runs(engine: Engine) -> None:
    container = start(engine)
    with pytest.raises(WrongStatus, match="is running") as caught:
        container.remove()
    assert "-f" in caught.value.hint and container.status == "running"
    container.remove(force=True)
    assert left(engine) == []


def test_two_removals_and_two_starts_at_once(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["sleep", "1000"])
    outcomes: list[object] = []

    def attempt(verb: Callable[[], object]) -> None:
        try:
            outcomes.append(verb())
        except MinidockerError as error:
            outcomes.append(type(error))

    for verb in (container.start, lambda: Container(engine, container.record).remove(force=True)):
        outcomes.clear()
        threads = [threading.Thread(target=attempt, args=(verb,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count(None) >= 1 and set(outcomes) <= {None, ContainerNotFound}
    assert outcomes.count(None) == 1 and left(engine) == []


def test_rename(engine: Engine) -> None:
    one, two = (engine.containers.create("busybox", ["true"], name=name) for name in ("one", "two"))
    one.rename("three")
    assert engine.containers.get("three").id == one.id and one.name == "three"
    with pytest.raises(ContainerNotFound):
        engine.containers.get("one")
    with pytest.raises(NameInUse):
        two.rename("three")
    with pytest.raises(SpecError):
        two.rename("a b")
    engine.containers.get("two").remove()
    with pytest.raises(ContainerNotFound):
        two.rename("four")


def test_found_by_name_id_and_its_beginning(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["true"], name="web")
    for name in ("web", "/web", container.id, container.short_id, container.id[:5]):
        assert engine.containers.get(name).id == container.id
    for name in ("", "we", "nosuch", container.id + "0"):
        with pytest.raises(ContainerNotFound):
            engine.containers.get(name)


def test_list_and_its_filters(engine: Engine) -> None:
    running = start(engine, name="runs", labels={"a": "1", "b": ""})
    engine.containers.create("busybox", ["true"], name="new", labels={"a": "2"})
    failed = engine.containers.create("busybox", ["false"], name="failed")
    failed.start()
    failed.wait()

    def names(**filters: list[str]) -> list[str]:
        return sorted(one.name for one in engine.containers.list(all=True, filters=filters))

    assert [one.name for one in engine.containers.list()] == ["runs"]
    assert names() == ["failed", "new", "runs"] and names(status=["exited", "created"]) == ["failed", "new"]
    assert names(label=["a"]) == ["new", "runs"] and names(label=["a=1"]) == ["runs"] and names(exited=["1"]) == ["failed"]
    assert names(name=["e"]) == ["failed", "new"] and names(id=[running.short_id]) == ["runs"] and names(ancestor=["busybox"]) == names()
    with pytest.raises(MinidockerError, match="invalid filter"):
        names(colour=["red"])
    assert [one.name for one in engine.containers.prune()] and names() == ["runs"]


# -- run, its failures, and what they leave ------------------------------------------------------------------------------


def test_run_gives_the_output_or_says_how_it_failed(engine: Engine) -> None:
    assert engine.containers.run("busybox", ["cat"], stdin=b"x" * 200_000, remove=True) == b"x" * 200_000
    assert engine.containers.run("busybox", ["true"], stdin=b"nobody reads this" * 10_000, remove=True) == b""
    with pytest.raises(ContainerFailed) as caught:
        engine.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2; exit 7"], remove=True)
    assert (caught.value.exit_code, caught.value.stderr) == (7, b"err\n")
    assert left(engine) == []


FAILING: list[tuple[str, dict[str, object], type[MinidockerError]]] = [
    ("image", {"image": "nosuch"}, ImageNotFound),
    ("name", {"name": "a b"}, SpecError),
    ("command", {"command": ["nosuch"]}, SyscallError),
    ("not executable", {"command": ["/etc/passwd"]}, SyscallError),
    ("NUL", {"command": ["echo", "a\0b"]}, SpecError),
    ("long argument", {"command": ["/" + "x" * 5000]}, SyscallError),
    ("user", {"user": "nosuch"}, SpecError),
    ("workdir", {"workdir": "/etc/passwd"}, SyscallError),
    ("relative workdir", {"workdir": "etc"}, SpecError),
    ("bind source", {"mounts": ["type=bind,source=/nowhere,target=/x"]}, SpecError),
    ("tmpfs option", {"tmpfs": ["/x:nonsense=1"]}, SyscallError),
    ("donor", {"pid": "container:nosuch"}, ContainerNotFound),
    ("memory", {"memory": "1m"}, SpecError),
    ("network", {"network": "bridge"}, SpecError),
]


@pytest.mark.parametrize(("options", "kind"), [row[1:] for row in FAILING], ids=[row[0] for row in FAILING])
def test_after_a_failure_nothing_is_left(engine: Engine, options: dict[str, object], kind: type[MinidockerError]) -> None:
    wanted = {"image": "busybox", "command": ["true"], **options}
    for more in ({}, {"detach": True}, {"stdin": b"x"}):
        with pytest.raises(kind) as caught:
            engine.containers.run(**wanted, **more)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 1000
        assert left(engine) == []
    with pytest.raises(TypeError, match="no such option"):
        engine.containers.run("busybox", ["true"], colour="red")  # type: ignore[call-arg]


def test_a_taken_name_with_twenty_processes_after_it(engine_name: str) -> None:
    """On an engine that nobody has opened yet, so they also race for making its database."""
    code = """
        from minidocker.engine.engine import Engine
        from minidocker.errors import NameInUse
        say("ready"); hear()
        with Engine(sys.argv[1]) as engine:
            try: print("made", engine.containers.create("busybox", ["true"], name="one").id)
            except NameInUse as error: print("taken" if 'name "/one" is already in use by container' in str(error) else error)
        """
    children = [fresh.Child(code, engine_name) for _ in range(20)]
    for child in children:
        assert child.line() == "ready"
    for child in children:
        child.go()
    said = [child.line().split()[0] for child in children]
    for child in children:
        with child:
            pass
    assert sorted(said) == ["made"] + ["taken"] * 19
    with Engine(engine_name) as engine:
        assert len(engine.containers.list(all=True)) == 1 and len(list(engine.paths.containers.iterdir())) == 1


def test_prune_beside_creating_takes_nothing_that_exists(engine: Engine) -> None:
    stop = threading.Event()
    with Engine(engine.paths.name) as other:

        def prune() -> None:
            while not stop.is_set():
                other.prune()

        thread = threading.Thread(target=prune)
        thread.start()
        try:
            made = [engine.containers.create("busybox", ["true"]) for _ in range(60)]
        finally:
            stop.set()
            thread.join()
        assert [container.status for container in made] == ["created"] * 60
        for container in made:
            container.remove()


def test_looking_while_others_come_and_go(engine: Engine) -> None:
    stop, errors = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            try:
                for container in engine.containers.list(all=True, filters={"exited": ["0"]}):
                    assert container.status in ("created", "running", "exited", "dead")
            except BaseException as error:
                errors.append(error)
                return

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(25):
        engine.containers.run("busybox", ["true"], remove=True)
    stop.set()
    thread.join()
    assert errors == []


def test_a_container_whose_files_are_gone_is_dead(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["true"], name="gone")
    shutil.rmtree(container.home)
    assert (container.status, container.pid, container.exit_code) == ("dead", 0, None)
    assert [one.name for one in engine.containers.list(all=True, filters={"status": ["dead"]})] == ["gone"]
    with pytest.raises(ContainerNotFound):
        container.start()
    assert engine.prune()["containers"] == [container.id] and left(engine) == []


# -- detached, attached, followed --------------------------------------------------------------------------------------


def test_one_process_starts_it_and_another_finds_it(engine_name: str) -> None:
    command = "echo first; read x; echo got $x; exit 4"
    code = f"""
        from minidocker.engine.engine import Engine
        engine = Engine({engine_name!r})
        container = engine.containers.run("busybox", ["sh", "-c", {command!r}], detach=True, name="far", stdin_open=True)
        os.kill(os.getpid(), 9)
        """
    assert subprocess.run(fresh.command(code, ())).returncode == -signal.SIGKILL
    with Engine(engine_name) as engine:
        container = engine.containers.get("far")
        assert container.status == "running" and ready(container).logs() == b"first\n"
        with container.attach(stdin=True) as attachment:
            assert attachment.fd is not None
            os.write(attachment.fd, b"it\n")
            assert b"".join(data for _, data in attachment.output()) == b"got it\n"
            assert attachment.wait() == 4
        assert container.exit_code == 4
        other = start(engine)
        code = f"from minidocker.engine.engine import Engine; Engine({engine_name!r}).containers.get({other.id!r}).kill()"
        fresh.run(code)
        assert other.wait() == 137 and other.status == "exited"


def test_a_detached_rm_removes_itself(engine: Engine) -> None:
    container = start(engine, "sh", "-c", "read x; exit 5", remove=True, stdin_open=True)
    with container.attach(stdin=True) as attachment:
        attachment.close_stdin()
        if attachment.fd is None:
            container.kill()
        assert attachment.wait() == 137
    container.remove()
    other = start(engine, "true", remove=True)
    other.wait()
    engine.shutdown()  # waits for the monitor, which sees to it
    assert not other.home.exists() and engine.containers.list(all=True) == []


def test_attach_then_start_misses_nothing(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["sh", "-c", "echo a; echo b >&2; cat"], stdin_open=True)
    with container.attach(stdin=True) as attachment:
        container.start()
        attachment.feed(b"c\n")
        output = list(attachment.output())
        assert attachment.wait() == 0
    assert b"".join(data for stream, data in output if stream == "stdout") == b"a\nc\n" and ("stderr", b"b\n") in output


def test_attach_without_a_start_leaves_it_as_it_was(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["true"])
    attachment = container.attach()
    assert container.status == "created"
    with pytest.raises(InUse):
        engine.shutdown()
    attachment.close()
    container.remove()
    assert left(engine) == []


def test_following_from_several_places(engine: Engine) -> None:
    container = start(engine, "sh", "-c", "for i in 1 2 3; do echo $i; echo e$i >&2; done; read x", stdin_open=True)
    texts: list[bytes] = []

    def read() -> None:
        texts.append(b"".join(data for _, data in container.follow(stderr=False)))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready(container)
    container.kill()
    for thread in threads:
        thread.join()
    assert texts == [b"1\n2\n3\n"] * 3
    assert b"".join(data for _, data in container.follow(stdout=False, tail=2)) == b"e2\ne3\n"  # it has ended: only what is there


def test_logs_in_part(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["sh", "-c", "echo one; read x; echo two; printf three"], stdin_open=True)
    with container.attach(stdin=True) as attachment:
        container.start()
        ready(container)
        middle = time.time()
        attachment.feed(b"\n")
        attachment.wait()
    assert container.logs(since=middle) == b"two\nthree" and container.logs(until=middle) == b"one\n"
    assert container.logs(tail=1) == b"three" and container.logs(tail=0) == b"" and container.logs(tail=100) == container.logs()
    stamp, _, text = container.logs(tail=2, timestamps=True).partition(b"\n")[0].partition(b" ")
    assert text == b"two" and len(stamp) == 30 and stamp.endswith(b"Z")


# -- exec --------------------------------------------------------------------------------------------------------------


def test_exec(engine: Engine) -> None:
    container = ready(start(engine, env=["A=1"], workdir="/tmp"))
    assert container.exec_run(["sh", "-c", "echo $A $B; pwd; cat; exit 6"], env=["B=2"], stdin=b"in").output == b"1 2\n/tmp\nin"
    result = container.exec_run(["sh", "-c", "echo x >&2; id -u; pwd; exit 6"], user="1000", workdir="/")
    assert result == (6, b"1000\n/\n", b"x\n")
    assert container.exec_run(["cat"], stdin=b"y" * 300_000).output == b"y" * 300_000
    for command, number in ((["nosuch"], 2), (["/etc"], 13)):
        with pytest.raises(SyscallError) as caught:
            container.exec_run(command)
        assert caught.value.errno == number
    with pytest.raises(SyscallError) as caught:
        container.exec_run(["pwd"], workdir="/not/there")
    assert (caught.value.errno, caught.value.filename) == (2, "/not/there")
    assert container.exec_run(["ls", "/not"]).exit_code == 1  # and exec did not make it
    running = container.exec_start(["sleep", "1000"], detach=True)
    assert namespaces.compare(running.pid, container.pid)["mnt"] and running.pid in [one.pid for one in container.top()]
    container.remove(force=True)
    assert running.wait() == 137
    with pytest.raises((WrongStatus, ContainerNotFound)):
        container.exec_run(["true"])


def test_exec_privileged_has_more(engine: Engine) -> None:
    container = start(engine)
    command = ["grep", "CapEff", "/proc/self/status"]
    normal, more = (int(container.exec_run(command, privileged=value).output.split()[1], 16) for value in (False, True))
    assert normal == capabilities.mask(list(capabilities.DEFAULT)) and more & normal == normal and more > normal


# -- options -----------------------------------------------------------------------------------------------------------


def test_mounts(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    made = tmp_path / "made/for/it"
    said = say(
        engine, "sh", "-c", "cat /v/file /m/file; touch /v/new; touch /m/x 2>/dev/null || echo ro; touch /w/y; df -k /t | tail -1",
        volumes=[f"{tmp_path}:/v", f"{made}:/w"], mounts=[f"type=bind,source={tmp_path},target=/m,readonly"], tmpfs=["/t:size=1m,mode=700"],
    )  # fmt: skip
    assert said.splitlines()[0] == "texttextro" and " 1024 " in said and (tmp_path / "new").exists() and (made / "y").exists()


def test_a_read_only_root_and_what_stays_writable(engine: Engine) -> None:
    command = "touch /x 2>/dev/null || echo no; touch /t/x /dev/shm/x && echo yes"
    assert say(engine, "sh", "-c", command, read_only=True, tmpfs=["/t"]).split() == ["no", "yes"]


@pytest.mark.parametrize(
    ("user", "said"),
    [("", "0 0"), ("nobody", "65534 65534"), ("1234", "1234 0"), ("1234:99", "1234 99"), ("0:0", "0 0"), ("nobody:root", "65534 0")],
)
def test_users(engine: Engine, user: str, said: str) -> None:
    assert say(engine, "sh", "-c", "echo $(id -u) $(id -g)", user=user) == said


def test_directory_entry_point_and_environment(engine: Engine) -> None:
    assert say(engine, "pwd", workdir="/made/for/it") == "/made/for/it"
    assert say(engine, "a", "b", entrypoint=["echo", "entry"]) == "entry a b"
    assert say(engine, "sh", "-c", "echo $A $B $HOME $HOSTNAME", env=["A=1", "A=2", "B=x=y"], hostname="box") == "2 x=y /root box"
    assert "TERM" not in say(engine, "env", env=["TERM"])


def test_names_of_the_host(engine: Engine) -> None:
    container = start(engine, hostname="box.example")
    assert container.exec_run(["sh", "-c", "hostname; cat /etc/hostname; grep -c box.example /etc/hosts"]).output.split() == [
        b"box.example", b"box.example", b"1"]  # fmt: skip
    assert say(engine, "hostname", uts="host") == os.uname().nodename
    assert len(say(engine, "hostname")) == 12
    with pytest.raises(SpecError, match="conflicting"):
        engine.containers.create("busybox", ["true"], hostname="x", uts="host")


def test_namespaces_that_are_shared(engine: Engine) -> None:
    """Asked of the kernel: which of the eight are the host's, and which the other container's."""
    donor = start(engine, name="donor", ipc="shareable")

    def shared(other: int, **options: object) -> list[str]:
        container = start(engine, **options)
        same = [name for name, equal in namespaces.compare(container.pid, other).items() if equal and name != "user"]
        container.remove(force=True)
        return same

    mine = os.getpid()
    assert shared(mine) == []
    assert shared(mine, network="host") == ["net"] and shared(mine, pid="host") == ["pid"]
    assert shared(mine, ipc="host") == ["ipc"] and shared(mine, uts="host") == ["uts"]
    assert shared(donor.pid, pid="container:donor") == ["pid"] and shared(donor.pid, ipc="container:donor") == ["ipc"]
    private = start(engine, name="private")
    with pytest.raises(Conflict, match="non-shareable"):
        start(engine, ipc="container:private")
    private.remove(force=True)
    engine.containers.get("donor").remove(force=True)


def test_without_a_network_there_is_only_loopback(engine: Engine) -> None:
    assert say(engine, "ls", "/sys/class/net", network="none").split() == ["lo"]


def test_limits_before_the_first_instruction(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["true"], memory="64m", pids_limit=33, cpus=0.5)
    attachment = container.attach()  # made, and not yet begun
    group = cgroups.open_cgroup(container.cgroup)
    assert (group.read("memory.max"), group.read("pids.max"), group.read("cpu.max")) == ("67108864", "33", "50000 100000")
    container.start()
    assert attachment.wait() == 0
    attachment.close()


def test_too_much_memory_is_137(engine: Engine) -> None:
    with pytest.raises(ContainerFailed) as caught:
        engine.containers.run("busybox", ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"], memory="16m", remove=True)
    assert caught.value.exit_code in (137, 1)


def test_capabilities(engine: Engine) -> None:
    def sets(**options: object) -> dict[str, int]:
        container = start(engine, **options)
        found = capabilities.sets(container.pid)
        container.remove(force=True)
        return found

    default = capabilities.mask(list(capabilities.DEFAULT))
    assert sets() == {"inheritable": 0, "permitted": default, "effective": default, "bounding": default, "ambient": 0}
    assert sets(cap_drop=["ALL"])["bounding"] == 0
    assert sets(cap_drop=["ALL"], cap_add=["cap_net_admin"])["effective"] == 1 << 12
    assert sets(cap_add=["SYS_PTRACE"], cap_drop=["CHOWN"])["effective"] == (default | 1 << 19) & ~1
    assert sets(user="1000") == {"inheritable": 0, "permitted": 0, "effective": 0, "bounding": default, "ambient": 0}
    assert sets(privileged=True)["effective"] == capabilities.sets()["permitted"]


def test_two_engines_know_nothing_of_each_other(make_engine: Callable[[], Engine]) -> None:
    one, two = make_engine(), make_engine()
    first, second = start(one, name="same"), start(two, name="same")
    assert [c.id for c in one.containers.list()] == [first.id] and [c.id for c in two.containers.list()] == [second.id]
    with pytest.raises(ContainerNotFound):
        two.containers.get(first.id)
    one.prune()
    first.remove(force=True)
    assert second.status == "running" and left(one) == []
    second.remove(force=True)


def test_a_script_that_is_the_whole_story(engine_name: str) -> None:
    """As a user writes it, in a process of its own."""
    code = f"""
        from minidocker.engine import Engine
        with Engine({engine_name!r}) as engine:
            print(engine.containers.run("busybox", ["echo", "hello"], remove=True))
        """
    assert subprocess.run([sys.executable, "-c", fresh.command(code, ())[2]], capture_output=True, text=True).stdout == "b'hello\\n'\n"
