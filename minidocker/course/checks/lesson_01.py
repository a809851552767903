"""Checks of lesson 01: what is a container?"""

from __future__ import annotations

import os
import signal
from typing import Any

from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.engine.container import Container
from minidocker.linux import cgroups, namespaces, process

LIMIT = 32 << 20
SPAWNED = 'mine = engine.containers.run("busybox", {})'


@exercise(
    "01",
    1,
    hints=[
        "Start from the line in the first cell that makes web.",
        "Three options matter: detach=True, hostname=..., memory=...",
    ],
    wrong=[
        (SPAWNED.format('["true"], hostname="mine", memory="32m"'), "detach=True"),
        (SPAWNED.format('["sleep", "1000"], detach=True, name="mine", memory="32m"'), "the name is only the engine's word"),
        (SPAWNED.format('["sleep", "1000"], detach=True, hostname="mine"'), "no limit"),
        (SPAWNED.format('["sleep", "1000"], detach=True, hostname="mine", memory=32_000_000'), "1024"),
        (SPAWNED.format('["true"], detach=True, hostname="mine", memory="32m"') + "\nmine.wait()", "has ended"),
    ],
)
def mine(work: Work) -> str:
    container = work.value("mine")
    if not isinstance(container, Container):
        raise Miss("mine is not a container: run waits for the end and gives the output, unless you say detach=True")
    if container.status != "running":
        raise Miss("mine has ended: give it a command that lasts, such as sleep")
    hostname = container.exec_run(["hostname"]).output.decode().strip()
    if hostname != "mine":
        raise Miss(
            f"inside, the kernel says that the host is called {hostname}: the name is only the engine's word, hostname is the kernel's"
        )
    limit = cgroups.open_cgroup(container.cgroup).read("memory.max").strip()
    if limit == "max":
        raise Miss("its cgroup has no limit of memory")
    if limit != str(LIMIT):
        raise Miss(f"its cgroup's memory.max is {limit}, and 32 MiB is 32 times 1024 times 1024 bytes: the engine understands 32m")
    return f"it is called {hostname}, and memory.max is {limit}"


# A process two PID namespaces below ours: pid 1 in the inner one, 2 in the middle one.
NESTED = """
import os, signal
from minidocker.linux import process, syscalls

ready, tell = os.pipe()
syscalls.unshare(syscalls.CLONE_NEWPID)
middle = os.fork()
if middle == 0:
    syscalls.unshare(syscalls.CLONE_NEWPID)
    if os.fork() == 0:
        os.write(tell, b"!")
        signal.pause()
    os.wait()
    os._exit(0)
os.read(ready, 1)
try:
    result = [inside_pid(os.getpid()) == os.getpid(), inside_pid(process.descendants(os.getpid())[-1])]
finally:
    os.kill(middle, signal.SIGKILL)
    os.waitpid(middle, 0)
"""
STUB = "def inside_pid(pid):\n"
NSPID = '[line for line in open(f"/proc/{pid}/status") if line.startswith("NSpid")][0].split()'


@exercise(
    "01",
    2,
    hints=[
        "The line NSpid of /proc/PID/status lists all numbers of a process.",
        "They go from the reader's namespace inward: which one is the process's own?",
        "Split the line into words and turn the last one into an int.",
    ],
    wrong=[
        (STUB + "    return 1", "second process of web"),
        (STUB + "    return pid", "the number that the host sees"),
        (STUB + f"    return {NSPID}[-1]", "an int"),
        (STUB + f"    return int(({NSPID} + [pid])[2])", "nested"),
        (STUB + f"    return int({NSPID}[2])", "did not get through"),
    ],
    keep="inside_pid",
)
def inside_pid(work: Work) -> str:
    container: Container = work.value("web")
    second = container.exec_start(["sleep", "60"])
    try:
        first_answer = work.call("inside_pid", container.pid)
        second_answer, second_wanted = work.call("inside_pid", second.pid), process.ns_pids(second.pid)[-1]
    finally:
        os.kill(second.pid, signal.SIGKILL)
        second.wait()
    if isinstance(first_answer, str):
        raise Miss(f"the answer is {first_answer!r}, a text: return an int")
    if first_answer == container.pid:
        raise Miss("for web that is the number that the host sees: inside it has another")
    if first_answer != 1:
        raise Miss(f"web's first process is number 1 inside, and you say {first_answer}")
    if second_answer != second_wanted:
        raise Miss(f"a second process of web is number {second_wanted} inside, and you say {second_answer}")
    own, nested = nested_answers(work)
    if not own:
        raise Miss("for a process of the host the answer is the number that it has here")
    if nested != 1:
        raise Miss(f"in a nested namespace, below another, the first process is number 1, and you say {nested}: take the innermost number")
    return "right for the host, for both processes of web, and for a nested namespace"


def nested_answers(work: Work) -> Any:
    """What the learner's function says of the host's process that calls it (right or not), and of one that is two namespaces deep."""
    return work.run("inside_pid", NESTED)


@exercise(
    "01",
    3,
    hints=[
        "os.readlink(f'/proc/{hostnet.pid}/ns/net') names the namespace; two processes share it if the text is the same.",
        "Compare all eight links, or let namespaces.compare(hostnet.pid, 'self') do it.",
    ],
    wrong=[
        ('shared = {"net"}', "one more"),
        ('shared = {"network", "user"}', "no namespace is called network"),
        ('shared = {"net", "user", "uts"}', "hostnet has its own uts"),
        ("shared = 2", "a set of names"),
    ],
)
def shared(work: Work) -> str:
    answer, container = work.value("shared"), work.value("hostnet")
    if not isinstance(answer, (set, list, tuple, frozenset)) or not all(isinstance(name, str) for name in answer):
        raise Miss('shared is a set of names, such as {"mnt", "pid"}')
    same = namespaces.compare(container.pid, "self")
    for name in sorted(answer):
        if name not in same:
            raise Miss(f"no namespace is called {name} in /proc/PID/ns")
        if not same[name]:
            raise Miss(f"hostnet has its own {name} namespace")
    missing = {name for name in same if same[name]} - set(answer)
    if missing:
        raise Miss(f"right so far, but it shares {'one more' if len(missing) == 1 else 'more'}: compare all eight")
    return f"{', '.join(sorted(answer))}: the network because it was asked for, the users because every container does here"
