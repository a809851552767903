"""Checks of lesson 20: a container's life."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.engine.container import Container
from minidocker.errors import SyscallError
from minidocker.linux import process

SPAWNED = 'polite = engine.containers.run("busybox", {}, detach=True)'


@exercise(
    "20",
    1,
    hints=[
        "pid 1 needs somebody who reacts to SIGTERM: itself with a handler, or a small init in front of it.",
        "A shell runs its trap only when the command that it waits for has ended; `wait` it can interrupt.",
        "One way is the option init=True, another the script: trap 'exit 0' TERM; sleep 1000 & wait",
    ],
    wrong=[
        (SPAWNED.format('["sleep", "1000"]'), "has no handler for it"),
        (SPAWNED.format("""["sh", "-c", "trap 'exit 0' TERM; sleep 1000"]"""), "waits for the command"),
        (SPAWNED.format('["true"]') + "\npolite.wait()", "has ended already"),
        ("polite = 'sleep'", "is not a container"),
    ],
)
def polite(work: Work) -> str:
    container = work.value("polite")
    if not isinstance(container, Container):
        raise Miss("polite is not a container: keep what engine.containers.run(..., detach=True) returns")
    if container.status != "running":
        raise Miss("polite has ended already: it should go on until somebody stops it")
    catches = reacts_to(container.pid, signal.SIGTERM)
    began = time.monotonic()
    container.stop(timeout=1)
    took, code = time.monotonic() - began, container.exit_code
    container.start()  # as it was, so that the check can be run again
    if took >= 1 and catches:
        raise Miss("the shell has caught SIGTERM, but it waits for the command that it runs before it obeys its trap: SIGKILL came first")
    if took >= 1:
        raise Miss("SIGTERM did nothing, and SIGKILL had to end it: pid 1 has no handler for it, so the kernel drops it")
    return f"SIGTERM was enough, and the exit code is {code}"


def reacts_to(pid: int, number: int) -> bool:
    """Does the process catch the signal, or take it with sigwait? It gets half a second: the kernel tells nobody when it has got so far."""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        masks = re.findall(r"^Sig(?:Cgt|Blk):\s*(\w+)$", status, re.MULTILINE)
        if any(int(mask, 16) >> (number - 1) & 1 for mask in masks):
            return True
        time.sleep(0.01)
    return False


# The process to stop is a child of this code, and stop() runs in another child of it: as in an engine, it is not its parent.
TRIAL = """
import json, os, select, signal, time

def trial(script, timeout):
    readable, writable = os.pipe()
    victim = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ, setsid=True, file_actions=[(os.POSIX_SPAWN_DUP2, writable, 1)])
    os.read(readable, 1)
    answers, report = os.pipe()
    caller = os.fork()
    if caller == 0:
        signal.alarm(8)
        began = time.monotonic()
        try:
            said = {"answer": stop(victim, timeout)}
        except BaseException as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        os.write(report, json.dumps({**said, "took": time.monotonic() - began}, default=str).encode())
        os._exit(0)
    os.close(report)
    _, called = os.waitpid(caller, 0)
    ended, status = os.waitpid(victim, os.WNOHANG)
    if not ended:
        end = select.poll()
        end.register(os.pidfd_open(victim), select.POLLIN)
        if end.poll(500):  # on its way already, by the signal that stop() sent
            status = os.waitpid(victim, 0)[1]
        else:
            os.killpg(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
    said = os.read(answers, 4096) or b'{"answer": null, "took": 8}'
    return {**json.loads(said), "hung": called != 0, "ended": ended != 0, "status": status}
"""
OBEDIENT = "echo; exec sleep 60"
TIDY = "trap 'sleep 0.3; exit 7' TERM; echo; while true; do sleep 0.05; done"
DEAF = "trap '' TERM; echo; exec sleep 60"
STUB = "import os, select, signal, time\ndef stop(pid, timeout):\n"
ASK, KILL = "    os.kill(pid, signal.SIGTERM)\n", "    os.kill(pid, signal.SIGKILL)\n"
POLL = "    end = select.poll()\n    end.register(os.pidfd_open(pid), select.POLLIN)\n"


@exercise(
    "20",
    2,
    hints=[
        "Open a pidfd first: it stays valid whatever becomes of the number.",
        "select.poll() with the pidfd registered for POLLIN: poll(milliseconds) gives an empty list if the time was up.",
        "Four outcomes: there is no such process, it ends in time, it has to be killed, and after the kill you wait once more.",
    ],
    wrong=[
        (STUB + KILL + "    return True", "without a word"),
        (STUB + ASK + "    return True", "before the process had ended"),
        (STUB + ASK + "    time.sleep(timeout)\n" + KILL + "    return True", "full timeout"),
        (STUB + ASK + "    os.waitpid(pid, 0)\n    return True", "ChildProcessError"),
        (
            STUB + POLL + ASK + "    if end.poll(timeout):\n        return True\n" + KILL + "    end.poll()\n    return False",
            "milliseconds",
        ),
        (STUB + POLL + ASK + "    return bool(end.poll(timeout * 1000))", "ignores SIGTERM"),
        (STUB + POLL + ASK + "    if not end.poll(timeout * 1000):\n    " + KILL + "        end.poll()\n    return True", "return True if"),
    ],
    keep="stop",
)
def stop(work: Work) -> str:
    obedient = attempt(work, OBEDIENT, 5)
    if os.WTERMSIG(obedient["status"]) == signal.SIGKILL and obedient["took"] < 1:
        raise Miss("a process that obeys SIGTERM was killed without a word: ask first")
    if not obedient["ended"]:
        raise Miss("stop() returned before the process had ended")
    if obedient["took"] > 4:
        raise Miss("a process that ended at once cost the full timeout: a pidfd tells its end; kill(pid, 0) finds zombies too")
    tidy = attempt(work, TIDY, 5)
    if not tidy["ended"]:
        raise Miss("stop() returned before the process had ended: this one takes 0.3 s to put its things in order")
    if tidy["status"] != 7 << 8:
        raise Miss("a process that needs 0.3 s of its 5 s was killed: does poll() get milliseconds?")
    deaf = attempt(work, DEAF, 0.4)
    if not deaf["ended"]:
        raise Miss("a process that ignores SIGTERM still runs after stop()")
    if deaf["took"] < 0.4:
        raise Miss("a process that ignores SIGTERM was killed before its time was up")
    if obedient["answer"] is not True or tidy["answer"] is not True or deaf["answer"] is not False:
        raise Miss("the process ends as it should; now return True if SIGTERM was enough, and False if it was not")
    gone = work.run("stop", "import os\npid = os.fork()\nif pid == 0:\n    os._exit(0)\nos.waitpid(pid, 0)\nstop(pid, 1)\nresult = True")
    return "asked, waited and killed as needed; a process that is gone is no error" if gone else ""


def attempt(work: Work, script: str, timeout: float) -> dict[str, Any]:
    """Let the learner's stop() end a shell that runs *script*. Miss: it raised, or never came back."""
    found: dict[str, Any] = work.run("stop", f"{TRIAL}\nresult = trial(script, timeout)", script=script, timeout=timeout)
    if "error" in found:
        raise Miss(f"stop() raised {found['error']}")
    if found["hung"]:
        raise Miss("stop() did not come back within 8 seconds")
    return found


@exercise(
    "20",
    3,
    hints=[
        "Each entry of /proc/PID/fd is a link; two ends of one pipe have the same text, pipe:[number].",
        "Look at all of /proc, not only at the container: somebody must read what it writes.",
    ],
    wrong=[
        ('holders = {"sh", "sleep"}', "who reads"),
        ('holders = {"mdmonitor"}', "have it open for writing"),
        ('holders = {"sh", "sleep", "mdmonitor", "mdspawner"}', "mdspawner has it not"),
        ("holders = 3", "a set of names"),
    ],
)
def holders(work: Work) -> str:
    answer, container = work.value("holders"), work.value("talker")
    if not isinstance(answer, (set, list, tuple, frozenset)) or not all(isinstance(name, str) for name in answer):
        raise Miss('holders is a set of names, such as {"bash", "cat"}')
    inside = {process.stat(one.pid).comm for one in container.top()}
    true = holders_of(os.readlink(f"/proc/{container.pid}/fd/1"))
    if wrong := sorted(set(answer) - true):
        raise Miss(f"{wrong[0]} has it not: look for the very same pipe:[number]")
    missing = true - set(answer)
    if missing & inside:
        raise Miss("processes in the container have it open for writing, and not only the first")
    if missing:
        raise Miss("and who reads from it? That process is not in the container")
    return f"{', '.join(sorted(true))}: no engine among them, so none has to live"


def holders_of(pipe: str) -> set[str]:
    """The names of all processes that have *pipe* open."""
    found = set()
    for pid in process.pids():
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") == pipe for fd in os.listdir(f"/proc/{pid}/fd")):
                found.add(process.stat(pid).comm)
        except (OSError, SyscallError):
            continue  # it ended while we looked
    return found
