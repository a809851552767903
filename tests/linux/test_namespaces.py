"""The eight namespaces: made, joined, compared and listed, with readlink, lsns(8) and unshare(1) as witnesses."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import fresh
import pytest

from minidocker.errors import SpecError, SyscallError
from minidocker.linux import namespaces

EIGHT = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]
FOR_CHILDREN = ("pid", "time")  # unshare moves only the children


def test_there_are_eight_and_the_kernel_knows_them() -> None:
    assert sorted(namespaces.NAMES) == EIGHT
    assert {name for name in os.listdir("/proc/self/ns") if not name.endswith("_for_children")} == set(EIGHT)
    assert namespaces.NAMES[0] == "user" and namespaces.NAMES[-1] == "mnt"


@pytest.mark.parametrize("name", EIGHT)
def test_unshare_makes_one_new_and_leaves_the_others(name: str) -> None:
    with fresh.Child(
        """
        from minidocker.linux import namespaces
        namespaces.unshare(sys.argv[1])
        pid = os.fork()
        if pid == 0:
            say("ready"); hear(); os._exit(0)
        os.waitpid(pid, 0)
        """,
        name,
    ) as child:
        child.line()
        inner = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text())
        assert [one for one in EIGHT if fresh.link(inner, one) != fresh.link(os.getpid(), one)] == [name]
        assert (fresh.link(child.pid, name) == fresh.link(os.getpid(), name)) == (name in FOR_CHILDREN)
        assert namespaces.compare(os.getpid(), inner) == {one: one != name for one in EIGHT}
        assert namespaces.inode(inner, name) == os.stat(f"/proc/{inner}/ns/{name}").st_ino
        child.go()


DONOR = """
from minidocker.linux import syscalls
pid = syscalls.clone3(sum(getattr(syscalls, "CLONE_" + name) for name in "NEWNS NEWUTS NEWIPC NEWPID NEWNET NEWCGROUP NEWTIME".split()))
if pid == 0:
    syscalls.sethostname("donor")
    hear(); os._exit(0)
say(pid)
os.waitpid(pid, 0)
"""
WITH_USER = DONOR.replace("NEWNS ", "NEWNS NEWUSER ")


@pytest.mark.parametrize("names", [[name] for name in EIGHT if name != "user"] + [[name for name in EIGHT if name != "user"]], ids="-".join)
def test_join_enters_exactly_those_and_a_fork_completes_it(names: list[str]) -> None:
    with fresh.Child(DONOR) as donor:
        inner = int(donor.line())
        said = fresh.run(
            """
            from minidocker.linux import namespaces
            links = lambda: {name: os.readlink(f"/proc/self/ns/{name}") for name in namespaces.NAMES}
            theirs = {name: os.readlink(f"/proc/{sys.argv[1]}/ns/{name}") for name in namespaces.NAMES}
            proc = os.open("/proc", os.O_RDONLY)
            namespaces.join(int(sys.argv[1]), *reversed(sys.argv[2:]))
            before = os.readlink("self/ns/pid", dir_fd=proc)
            def child():
                mine = {name: os.readlink(f"self/ns/{name}", dir_fd=proc) for name in namespaces.NAMES}
                print(sorted(name for name in mine if mine[name] == theirs[name] and name != "user"), os.uname().nodename == "donor")
            fork(child)
            print(before != theirs["pid"])
            """,
            str(inner),
            *names,
        )
        assert said == f"{sorted(names)} {'uts' in names}\nTrue"
        donor.go()


def test_the_user_namespace_comes_first() -> None:
    """What the new user namespace owns can be entered only with its powers: in the wrong order the kernel refuses."""
    with fresh.Child(WITH_USER) as donor:
        inner = int(donor.line())
        order = fresh.run(
            """
            from minidocker.linux import namespaces, syscalls
            order, original = [], syscalls.setns
            def setns(fd, kind=0):
                order.append(next(name for name, flag in namespaces.FLAGS.items() if flag == kind)); original(fd, kind)
            syscalls.setns = setns
            namespaces.join(int(sys.argv[1]), *sorted(namespaces.NAMES))
            fork(lambda: print(order, os.getpid() > 1, os.uname().nodename))
            """,
            str(inner),
        )
        assert order == "['user', 'cgroup', 'ipc', 'uts', 'net', 'pid', 'time', 'mnt'] True donor"
        donor.go()


def test_joining_what_is_shared_already_is_no_error() -> None:
    assert fresh.run("from minidocker.linux import namespaces; namespaces.join(os.getppid(), *namespaces.NAMES); print('fine')") == "fine"


def test_join_compares_with_the_caller_even_if_its_number_is_another_here() -> None:
    """In a new PID namespace, under the old /proc, process 1 is somebody else."""
    said = fresh.run(
        """
        from minidocker.linux import namespaces
        outside = os.getpid()
        namespaces.unshare("pid")
        def child():
            namespaces.unshare("uts")
            namespaces.join(outside, "uts")
            print(os.getpid(), os.readlink("/proc/self/ns/uts") == os.readlink(f"/proc/{outside}/ns/uts"))
        fork(child)
        """
    )
    assert said == "1 True"


def test_errors_name_what_is_wrong() -> None:
    for call in (lambda: namespaces.unshare("mount"), lambda: namespaces.join(1, "nothing")):
        with pytest.raises(SpecError, match="no namespace is called") as wrong:
            call()
        assert "mnt" in wrong.value.hint
    asking = [lambda: namespaces.join(2**22, "uts"), lambda: namespaces.inode(2**22, "uts"), lambda: namespaces.compare("self", 2**22)]
    for call in asking:
        with pytest.raises(SyscallError) as gone:
            call()
        assert gone.value.errno in (2, 3) and "4194304" in str(gone.value.filename)


def test_a_failed_join_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SyscallError):
        namespaces.join(2**22, *namespaces.NAMES)
    assert os.listdir("/proc/self/fd") == before


def test_the_list_is_what_lsns_says() -> None:
    with fresh.Child(DONOR) as donor:
        inner = int(donor.line())
        listed = {(one.name, one.inode): one.pids for one in namespaces.list_namespaces()}
        witness = json.loads(subprocess.run(["lsns", "--json", "-o", "NS,TYPE,PID,NPROCS"], capture_output=True, check=True).stdout)
        mine = {(row["type"], int(row["ns"])): row for row in witness["namespaces"] if int(row["pid"]) == inner}
        assert {kind for kind, _ in mine} == set(EIGHT) - {"user"}
        for key in mine:
            assert listed[key] == [inner]
        for name in EIGHT:
            assert os.getpid() in listed[name, namespaces.inode("self", name)]
        assert {one.name for one in namespaces.list_namespaces("uts")} == {"uts"}
        for pids in listed.values():
            assert pids == sorted(set(pids))
        donor.go()


def test_the_shell_command_in_the_trace_is_one_that_works() -> None:
    options = namespaces.shell_options(["mnt", "uts", "pid", "time", "cgroup", "ipc", "net", "user"]).split()
    inside = subprocess.run(["unshare", "--fork", *options, "true"], capture_output=True, text=True)
    assert inside.returncode == 0, inside.stderr


def test_steps_are_told_with_the_names() -> None:
    said = fresh.run(
        """
        from minidocker.linux import namespaces, syscalls
        syscalls.traced(lambda step, shell: print(step, "|", shell))
        namespaces.unshare("uts", "mnt")
        namespaces.join(os.getppid(), "uts")
        """
    )
    assert said.splitlines()[0] == "unshare the uts, mnt namespaces | unshare --uts --mount"
    assert said.splitlines()[1].startswith(f"join the uts namespace of process {os.getpid()} | nsenter --target {os.getpid()} --uts")


def test_a_new_network_namespace_answers_to_itself_once_lo_is_up() -> None:
    """ip(8) as the witness of the link, a connection to 127.0.0.1 as that of the traffic."""
    said = fresh.run(
        """
        import json, socket, subprocess
        from minidocker.linux import namespaces
        namespaces.unshare("net")
        def connects():
            with socket.socket() as server, socket.socket() as client:
                try:
                    server.bind(("127.0.0.1", 0)); server.listen(); client.connect(server.getsockname())
                except OSError as error:
                    return error.errno
                return "connected"
        def state():
            shown = json.loads(subprocess.run(["ip", "-json", "link", "show", "lo"], capture_output=True, check=True).stdout)
            return "UP" in shown[0]["flags"]
        say(state(), connects())
        namespaces.loopback_up()
        say(state(), connects())
        """
    )
    assert said.split("\n") == [f"False {errno.ENETUNREACH}", "True connected"]
