"""Checks of lesson 03."""

from __future__ import annotations

from minidocker.course import child
from minidocker.course.checks.registry import Miss, Work, exercise
from minidocker.linux import namespaces

IMPORTS = "from minidocker.linux import namespaces, syscalls\n"


@exercise(
    "03",
    1,
    hints=[
        "To share a name for good two processes must be in one UTS namespace. The visitor of step 2 knew how to get into left's.",
        "%%child --keep twin left hands the pid over. Then two calls of linux.namespaces: join() for one kind, unshare() for the other.",
    ],
    wrong=[
        (f'%%child --keep twin\n{IMPORTS}namespaces.unshare("uts", "ipc")\nsyscalls.sethostname("left")', "equal today"),
        (f'%%child --keep twin left\n{IMPORTS}namespaces.join(left, "uts")', "is not its own"),
        (f'%%child --keep twin left\n{IMPORTS}namespaces.join(left, "uts", "ipc")', "is not its own"),
        (f'%%child --keep twin\n{IMPORTS}namespaces.unshare("ipc")', "the host's UTS namespace"),
    ],
)
def twin(work: Work) -> str:
    own, left = work.child("twin"), work.child("left")
    if namespaces.inode(own, "uts") == namespaces.inode("self", "uts"):
        raise Miss("the twin is still in the host's UTS namespace: it has to join left's")
    if namespaces.inode(own, "uts") != namespaces.inode(left, "uts"):
        raise Miss("twin and left are in two UTS namespaces: the names may be equal today, but renaming one would not rename the other")
    if namespaces.inode(own, "ipc") in (namespaces.inode("self", "ipc"), namespaces.inode(left, "ipc")):
        raise Miss("the twin's IPC namespace is not its own: it shares it with left or with the host")
    return "twin and left share one UTS namespace, and the twin's IPC namespace is its own"


# The learner's function runs in namespaces that stand for the host's, so that a mistake harms nobody.
# The process that stays behind tells whether it was renamed.
SCENE = """
import json, os
from minidocker.linux import namespaces as kernel, syscalls as calls

kernel.unshare("uts", "ipc")
calls.sethostname("outside")
outside = {kind: kernel.inode("self", kind) for kind in ("uts", "ipc")}
answers, tell = os.pipe()
pid = os.fork()
if pid == 0:
    try:
        isolate_name_and_ipc("inside")
        said = {"name": os.uname().nodename, "own": [kind for kind in outside if kernel.inode("self", kind) != outside[kind]]}
    except BaseException as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    os.write(tell, json.dumps(said).encode())
    os._exit(0)
os.close(tell)
result = json.loads(os.read(answers, 4096) or b'{"error": "its process ended"}')
os.waitpid(pid, 0)
result["renamed"] = os.uname().nodename != "outside"
"""


def attempt(body: str) -> str:
    return f"from minidocker.linux import syscalls\ndef isolate_name_and_ipc(hostname):\n    {body}"


@exercise(
    "03",
    2,
    hints=[
        "Two system calls: unshare(2) for both kinds at once, then sethostname(2).",
        "The flags CLONE_NEWUTS and CLONE_NEWIPC are combined with |. Which of the two calls must come first?",
    ],
    wrong=[
        (attempt("syscalls.sethostname(hostname)"), "outside was renamed"),
        (
            attempt("syscalls.sethostname(hostname); syscalls.unshare(syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC)"),
            "outside was renamed",
        ),
        (attempt("syscalls.unshare(syscalls.CLONE_NEWUTS); syscalls.sethostname(hostname)"), "shares its IPC namespace"),
        (attempt("syscalls.unshare(syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC)"), "is called 'outside'"),
        (attempt("syscalls.unshare(hostname)"), "raised"),
    ],
    keep="isolate_name_and_ipc",
)
def isolate_name_and_ipc(work: Work) -> str:
    found = work.run("isolate_name_and_ipc", SCENE)
    if "error" in found:
        raise Miss(f"isolate_name_and_ipc() raised {found['error']}")
    if found["renamed"]:
        raise Miss("everybody outside was renamed too: first unshare, then set the name (this was a rehearsal, your host keeps its name)")
    if "uts" not in found["own"] or found["name"] != "inside":
        raise Miss(f"after isolate_name_and_ipc('inside') the process is called {found['name']!r}")
    if "ipc" not in found["own"]:
        raise Miss("the name is its own, but the process still shares its IPC namespace")
    return "the process has its own name, queues and segments, and nobody else was renamed"


EXPERIMENT = """
import os
from minidocker.linux import namespaces

namespaces.unshare("ipc")
with open("/proc/sys/kernel/msgmax", "w") as file:
    file.write("12345")
namespaces.unshare("ipc")
with open("/proc/sys/kernel/msgmax") as file:
    result = int(file.read())
"""


@exercise(
    "03",
    3,
    hints=[
        "A %%child with namespaces.unshare('ipc') twice, between them open('/proc/sys/kernel/msgmax', 'w').write('12345'); then read.",
        "Unshare before you write: otherwise you change the host's own setting.",
    ],
    wrong=[("inner_msgmax = 12345", "the first one's"), ("inner_msgmax = 0", "try it")],
)
def inner_msgmax(work: Work) -> str:
    answer, found = work.value("inner_msgmax"), child.run(EXPERIMENT)
    if answer == found:
        return f"{found}: a new IPC namespace begins with the kernel's defaults, not with a copy"
    if answer == 12345:
        raise Miss("12345 is the first one's: read again after the second unshare, in the same process")
    raise Miss(f"the second namespace does not begin with {answer!r}: try it in a %%child")
