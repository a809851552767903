"""Checks of lesson 00."""

from __future__ import annotations

import os
from pathlib import Path

from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.course.lab import lab
from minidocker.linux import process

KEEP = "%%child --keep second\nimport os\n"


@exercise(
    "00",
    1,
    hints=[
        "Two files of a process are asked: /proc/PID/comm and the link /proc/PID/cwd.",
        "Copy the cell that made guest. Change its name in two places, and add a line with os.chdir.",
    ],
    wrong=[
        (KEEP + "print('I stay')", "/proc/self/comm"),
        (KEEP + "open('/proc/self/comm', 'w').write('second')", "os.chdir"),
        (KEEP + "open('/proc/self/comm', 'w').write('guest')\nos.chdir('/proc')", "called 'guest'"),
    ],
)
def second(work: Work) -> str:
    pid = work.child("second")
    name, directory = Path(f"/proc/{pid}/comm").read_text().strip(), os.readlink(f"/proc/{pid}/cwd")
    if name != "second":
        raise Miss(f"to the kernel the child is called {name!r}: let it write to /proc/self/comm")
    if directory != "/proc":
        raise Miss(f"the name is right, but the child works in {directory}: os.chdir is the call")
    return "the kernel shows a process second that works in /proc"


# Four processes: this one, one with a name made to confuse, one that has ended and was not asked, and one that is quite gone.
ALIVE = """
import os
import signal

def tried(pid):
    try:
        return bool(alive(pid))
    except Exception as error:
        return type(error).__name__

ready, done = os.pipe()
odd = os.fork()
if odd == 0:
    with open("/proc/self/comm", "w") as file:
        file.write("a) Z (b")
    os.write(done, b"x")
    signal.pause()
os.read(ready, 1)
result = {"itself": tried(os.getpid()), "odd": tried(odd)}
os.kill(odd, signal.SIGKILL)
os.waitid(os.P_PID, odd, os.WEXITED | os.WNOWAIT)
result["zombie"] = tried(odd)
os.waitpid(odd, 0)
result["gone"] = tried(odd)
"""
STUB = "import os\ndef alive(pid):\n"


@exercise(
    "00",
    2,
    hints=[
        "What can be read about a process that does not exist? Try it with a number that nobody has.",
        "/proc/PID/status has a line that begins with State: and tells a zombie by its letter.",
    ],
    wrong=[
        (STUB + "    return True\n", "is gone"),
        (STUB + "    return False\n", "the process that asks"),
        (STUB + "    return os.path.exists(f'/proc/{pid}')\n", "zombie"),
        (STUB + "    return 'Z' not in open(f'/proc/{pid}/status').read().split('State:')[1].split()[0]\n", "FileNotFoundError"),
        (
            STUB + "    if not os.path.exists(f'/proc/{pid}'):\n        return False\n"
            "    return open(f'/proc/{pid}/stat').read().split()[2] not in 'ZX'\n",
            "brackets and spaces",
        ),
    ],
    keep="alive",
)
def alive(work: Work) -> str:
    said = work.run("alive", ALIVE)
    if said["itself"] is not True:
        raise Miss(f"for the process that asks, which surely lives, the answer was {said['itself']}")
    if isinstance(said["gone"], str):
        raise Miss(f"for a process that is gone alive() raised {said['gone']}: that there is nothing to read is an answer, too")
    if said["gone"]:
        raise Miss("the answer was True for a process that is gone")
    if said["zombie"] is not False:
        raise Miss("a zombie still has its directory in /proc, but it has ended: look at its state")
    if said["odd"] is not True:
        raise Miss("a living process was called dead because of its name: a name may hold brackets and spaces, here 'a) Z (b'")
    return "right for the living, a zombie, the gone, and a process with an odd name"


@exercise(
    "00",
    3,
    hints=[
        "Go through process.descendants(lab.child('somebody').pid) and look at process.cmdline(pid) of each.",
        "The command as a list is ['sleep', '4242'].",
    ],
    wrong=[
        ("found = 1", "executes something else"),
        ("import os\nfound = os.getpid()", "this notebook"),
        ("found = lab.child('somebody').pid", "its child"),
        ("found = 'sleep 4242'", "a number"),
        ("found = 999999999", "no process"),
    ],
)
def somebody(work: Work) -> str:
    found = work.value("found")
    if not isinstance(found, int):
        raise Miss("the answer is a number: the name of a directory in /proc")
    starter = lab.child("somebody").pid
    if found == os.getpid():
        raise Miss("that is this notebook")
    if found == starter:
        raise Miss("close: that process started it. You look for its child")
    if found not in process.pids():
        raise Miss(f"no process has the number {found} now")
    if found not in process.children(starter):
        raise Miss(f"process {found} executes something else: {' '.join(process.cmdline(found))[:60] or 'a kernel thread'}")
    return "the kernel shows sleep 4242 under that number"
