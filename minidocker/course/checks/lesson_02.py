"""Checks of lesson 02."""

from __future__ import annotations

import os
import time

from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.linux import process

IMPORTS = "import os, signal\nfrom minidocker.linux import syscalls\n"


@exercise(
    "02",
    1,
    hints=[
        "Step 2 makes a process with two numbers. What would that process have to do to have a child with three?",
        "In the fork: unshare(CLONE_NEWPID) once more, then fork once more. Let every fork end with signal.pause(), so that it stays.",
    ],
    wrong=[
        (
            f"%%child --keep nested\n{IMPORTS}syscalls.unshare(syscalls.CLONE_NEWPID)\nif os.fork() == 0:\n    signal.pause()",
            "has two numbers",
        ),
        (
            f"%%child --keep nested\n{IMPORTS}syscalls.unshare(syscalls.CLONE_NEWPID)\nsyscalls.unshare(syscalls.CLONE_NEWPID)",
            "fork between",
        ),
        (f"%%child --keep nested\n{IMPORTS}if os.fork() == 0:\n    signal.pause()", "still counted by the host's namespace alone"),
    ],
)
def nested(work: Work) -> str:
    numbers = deepest(work.child("nested"))
    if not numbers:
        raise Miss("no process runs below the child: two unshares need a fork between them, and the last fork must stay (signal.pause())")
    if len(numbers) == 1:
        raise Miss("the process below the child is still counted by the host's namespace alone: unshare before you fork")
    if len(numbers) == 2:
        raise Miss("the innermost process has two numbers: that very process must unshare and fork again")
    if numbers[-1] != 1:
        raise Miss(f"the innermost process is number {numbers[-1]} of its namespace: keep the first one that is born there")
    return f"one process with {len(numbers)} numbers, from outside inward: {', '.join(map(str, numbers))}"


def deepest(pid: int) -> list[int]:
    """The numbers of the process below *pid* that has most. The last fork may be a moment behind the cell's end, so look for a while."""
    found: list[int] = []
    for _ in range(50):
        found = max((process.ns_pids(below) for below in process.descendants(pid) if process.stat(below).state != "Z"), key=len, default=[])
        if len(found) > 2:
            break
        time.sleep(0.02)
    return found


# What the learner's reap() meets as pid 1: its child 2 has ended and left it the orphans 3 and 4, which have ended, and 5, which lives on.
# Then comes the program, number 6, whose end is given by `ending`. The pipe brings the outcome out of the namespace.
SCENE = """
import os, signal, time
from minidocker.linux import syscalls

def be_pid_1(tell):
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.fork() == 0:
        for orphan in (3, 4, 5):
            if os.fork() == 0:
                signal.pause() if orphan == 5 else os._exit(0)
        os._exit(0)
    for zombie in (2, 3, 4):
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    main = os.fork()
    if main == 0:
        time.sleep(0.15)
        os.kill(os.getpid(), signal.SIGTERM) if ending == "signal" else os._exit(3)
    signal.signal(signal.SIGALRM, lambda *_: (os.write(tell, b"stuck"), os._exit(1)))
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    try:
        said = repr(reap(main))
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    zombies = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # number 5 lives, so there is somebody to wait for
    os.write(tell, f"{'zombies' if zombies else 'clean'} {said}".encode())

answers, tell = os.pipe()
syscalls.unshare(syscalls.CLONE_NEWPID)
pid = os.fork()
if pid == 0:
    be_pid_1(tell)
    os._exit(0)
os.close(tell)
result = os.read(answers, 4096).decode()
os.waitpid(pid, 0)
"""

LOOP = "import os\ndef reap(main):\n    while True:\n        pid, status = os.wait()\n        if pid == main:\n            return "
UNTIL_NOBODY_IS_LEFT = """
import os
def reap(main):
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return code
        if pid == main:
            code = os.waitstatus_to_exitcode(status)
"""


@exercise(
    "02",
    2,
    hints=[
        "os.wait() waits for any child and gives (pid, status). Which of them ends your loop?",
        "status is not the exit code: os.waitstatus_to_exitcode(status) gives it, or minus the number of the signal that killed it.",
    ],
    wrong=[
        (
            "import os\ndef reap(main):\n    pid, status = os.waitpid(main, 0)\n    return os.waitstatus_to_exitcode(status)",
            "still zombies",
        ),
        (LOOP + "status", "raw wait status"),
        (LOOP + "os.waitstatus_to_exitcode(status)", "128 + 15"),
        (UNTIL_NOBODY_IS_LEFT, "never came back"),
        ("def reap(main):\n    return zombies", "raised NameError"),
    ],
    keep="reap",
)
def reap(work: Work) -> str:
    for ending, wanted in (("exit", "3"), ("signal", "143")):
        state, _, said = work.run("reap", SCENE, ending=ending).partition(" ")
        if state == "stuck":
            raise Miss("reap() never came back: another child lives on after main has ended, and nobody should wait for that one")
        if ": " in said:
            raise Miss(f"reap() raised {said}")
        if state != "clean":
            raise Miss("main has ended, but there are still zombies: adopted children that ended before it must be collected too")
        if said == str(3 << 8):
            raise Miss("main exited with 3, and reap() gave 768, the raw wait status: take the exit code out of it")
        if said != wanted:
            ended = "exited with 3" if ending == "exit" else "was killed by SIGTERM, so 128 + 15 is wanted"
            raise Miss(f"main {ended}; reap() gave {said}")
    return "as pid 1 it reaped three ended children and gave main's exit codes: 3, and 143 after SIGTERM"


@exercise(
    "02",
    3,
    hints=[
        "ls -l /proc/self/ns shows ours; lab.child('family').pid is the other process. os.readlink() reads a link.",
        "There are ten links for eight namespaces. The two extra ones are about processes that do not exist yet.",
    ],
    wrong=[("link = 'pid'", "is the same for both"), ("link = 'pids'", "no link of that name")],
)
def changed_link(work: Work) -> str:
    answer, pid = str(work.value("link")), work.child("family")
    ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    if answer not in ours:
        raise Miss(f"/proc/self/ns has no link of that name: {answer!r}")
    if os.readlink(f"/proc/{pid}/ns/{answer}") == ours[answer]:
        raise Miss(f"the link {answer!r} is the same for both: compare them all with os.readlink()")
    return f"{answer}: unshare chose the namespace of the children, and left the caller's own alone"
