# %% [markdown]
# # 02 · Processes and the PID namespace: how can two processes both be number 1?
#
# You make a second process number 1 on this machine, look at it from both sides, and learn what the kernel expects of it. 35 minutes.

# %% [markdown]
# **You will**
# - start a process as pid 1 of a PID namespace, with one system call and one fork,
# - read the numbers that a process has inside and outside from `/proc`,
# - show what becomes of orphans, zombies and signals when pid 1 is careless.

# %% tags=["setup"]
from minidocker.course import check, hint, lab, predict, views

lab.start("02")

# %% [markdown]
# ## The idea
#
# Linux keeps all processes in one **process tree**. Each has a parent; at the root stands number 1. A **PID namespace** numbers the
# processes of one subtree anew, beginning with 1. Nothing is copied or moved: they stay in the one tree and only get further numbers. The process that is
# number 1 in there is the namespace's **init**, and the kernel treats it unlike any other. See `pid_namespaces(7)`.

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: one tree of processes. A subtree has a PID namespace: each process in it has a number outside, on the left, and one inside, on the right.*
#
# ## 1. One tree
#
# Why: before we renumber the tree, let us see that it is one. `/proc/PID/status` names the parent of every process, as `PPid`. Start at this
# notebook and ask for the parent's parent until there is none.

# %%
import os

notebook = parent = os.getpid()
names = []
while parent != 0:
    pid = parent
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
    names.append(status["Name"])
    parent = int(status["PPid"])
lab.host(" <- ".join(names))
print("the last one is pid", pid, "and its parent is", parent)

# %% [markdown]
# What happened: you climbed to the root. Number 1 is the first program that the kernel started, and every other program descends from it. (The kernel's own
# threads hang below number 2.) Its parent is 0, which means: nobody whom you could name.
#
# ## 2. The next child is number 1
#
# Why: a container's first process believes that it is such a root. The call is `unshare(CLONE_NEWPID)`, see `unshare(2)`. For most namespaces it moves the
# caller at once. Does it here?

# %% tags=["predict"]
predict(
    "A process calls unshare(CLONE_NEWPID). What does getpid() tell it afterwards?",
    ["1: it is the first in its new namespace", "the same number as before", "0, until it forks"],
    answer=1,
    why="A process keeps its PID namespace, and so its number, for life: programs rely on it. Only children born later are in the new one.",
)

# %% [markdown]
# This runs in a child, since this notebook's own process has threads and must not unshare.

# %%
# %%child
import os
from minidocker.linux import syscalls

before = os.getpid()
syscalls.unshare(syscalls.CLONE_NEWPID)
print("my number is the same:", os.getpid() == before)
if os.fork() == 0:
    print("my child is pid", os.getpid(), "and its parent is", os.getppid())
    os._exit(0)
os.wait()

# %% [markdown]
# What happened: the caller stayed where it was, and its next child became number 1. That child has a parent, the caller, but the parent lives outside and has
# no number in here. So the kernel says 0, as it does for the machine's own pid 1.
#
# ## 3. One process, two numbers
#
# Why: if the subtree is still part of the one tree, the host must see it too. Build a small family that stays: an init, its child `shell`, and the
# shell's child `worker`. The pipe only makes the cell wait until all three are there.

# %% tags=["setup"]
# %%child --keep family
import os, signal
from minidocker.linux import syscalls

syscalls.unshare(syscalls.CLONE_NEWPID)
ready, tell = os.pipe()
if os.fork() == 0:
    for name in ("init", "shell", "worker"):
        syscalls.set_process_name(name)
        if name == "worker":
            os.write(tell, b"!")
        elif os.fork() > 0:
            break
    signal.pause()
os.read(ready, 1)

# %% [markdown]
# Now ask from out here. The line `NSpid` of `/proc/PID/status` lists **all numbers** of a process, from the asker's namespace inward.

# %%
from minidocker.linux import process

init, shell, worker = process.descendants(lab.child("family").pid)
for pid in (init, shell, worker):
    line = next(line for line in open(f"/proc/{pid}/status") if line.startswith("NSpid"))
    outside, inside = line.split()[1:]
    print(f"{process.stat(pid).comm}: pid {outside} out here, {inside} inside")
views.process_tree(lab.child("family").pid, names={lab.child("family").pid: "the %%child"})

# %% [markdown]
# *Figure: the tree below the child, drawn from `/proc`. Orange processes have two numbers.*
#
# What happened: nobody hides from the host. An outer namespace sees every process of the inner ones, under numbers of its own; never the other way
# round. So `kill 3` typed out here does not mean the worker.
#
# ## 4. Seeing is not reaching
#
# Why: tools such as `ps` read `/proc`. Give a process a PID namespace and nothing else, and let it look around.

# %% tags=["predict"]
predict(
    "Pid 1 of a fresh PID namespace lists the numbers in /proc. What does it find?",
    ["only itself", "all processes of the host", "nothing: /proc is empty"],
    answer=1,
    why="A proc filesystem shows the PID namespace in which it was mounted, whoever looks. This one is still the host's.",
)

# %% [markdown]
# It looks for the notebook there (its number is handed over), tries to send it a signal, mounts a `/proc` of its own and looks again. The mounts
# are made private first, so that nobody else gets this `/proc`: lesson 04.

# %%
# %%child notebook
import os
from minidocker.linux import syscalls
syscalls.unshare(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS)
syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
if os.fork() == 0:
    print("I am", os.getpid(), "and /proc shows the notebook:", os.path.exists(f"/proc/{notebook}"))
    try:
        os.kill(notebook, 0)  # signal 0 only asks whether it could be sent
    except OSError as error:
        print("but kill says:", error.strerror)
    syscalls.mount("proc", "/proc", "proc")
    print("after mounting, /proc lists", [name for name in os.listdir("/proc") if name.isdigit()])
    os._exit(0)
os.wait()

# %% [markdown]
# What happened: two different things. The *namespace* decides whom you can reach: outside numbers mean nothing to `kill`. The *mount* decides whom you
# see. A container needs both, so every engine mounts a fresh `/proc`: the old one would show it the host's command lines.
#
# ## 5. Orphans come to pid 1
#
# Why: parents die before their children. Who takes the children? Now the shell of our family is killed while its worker lives.

# %% tags=["predict"]
predict(
    "The shell (2 inside) is killed. What becomes of its child, the worker (3 inside)?",
    ["it is killed too", "its parent is now the machine's pid 1", "its parent is now pid 1 of its namespace", "it has no parent any more"],
    answer=2,
    why="Orphans go to the init of their own PID namespace: nobody can fall out of a container that way.",
)

# %% [markdown]
# `wait_for_end` uses a **pidfd**, a file descriptor that becomes readable when its process ends; see `pidfd_open(2)`.

# %%
import select, signal

def wait_for_end(pid, seconds):
    fd = os.pidfd_open(pid)
    ended = select.select([fd], [], [], seconds)[0]
    os.close(fd)
    return bool(ended)

os.kill(shell, signal.SIGKILL)
wait_for_end(shell, 5)
print("the shell is in state", process.stat(shell).state)
views.process_tree(init, names={shell: "shell (zombie)"})

# %% [markdown]
# *Figure: the worker has moved to init. The dead shell is still there.*
#
# What happened: the worker has a new parent. But the shell is in state Z, a **zombie**: dead, with nothing left but its number and its exit status,
# which the kernel keeps until the parent asks with `wait(2)`. Our init only pauses and never asks. A careful one does:

# %%
# %%child
import os
from minidocker.linux import syscalls

syscalls.unshare(syscalls.CLONE_NEWPID)
if os.fork() == 0:  # pid 1
    if os.fork() == 0:  # pid 2, which leaves an orphan and ends
        if os.fork() == 0:
            os._exit(7)  # pid 3, the orphan
        os._exit(0)
    for _ in range(2):
        pid, status = os.wait()  # wait for any child
        print("reaped pid", pid, "with exit code", os.waitstatus_to_exitcode(status))
    os._exit(0)
os.wait()

# %% [markdown]
# Pid 1 got the exit code of a process that it never started. This is **reaping**, and pid 1 has to do it for every orphan of its namespace.
# One that does not collects zombies, until a limit is reached (lesson 12) and nobody can fork any more.
#
# ## 6. Signals that do nothing
#
# Why: the kernel cannot go on without the machine's pid 1, nor a namespace without its own. So it shields them: a signal for which pid 1 has installed no
# handler is dropped. Even this one:

# %%
# %%child
import os, signal
from minidocker.linux import syscalls

syscalls.unshare(syscalls.CLONE_NEWPID)
if os.fork() == 0:
    os.kill(os.getpid(), signal.SIGKILL)
    print("pid", os.getpid(), "has sent itself SIGKILL and is still here")
    os._exit(0)
os.wait()

# %% [markdown]
# SIGKILL can't have a handler, so nobody inside can ever kill pid 1. And from outside?

# %% tags=["predict"]
predict(
    "The host sends our family's init (it has no handlers) first SIGTERM, then SIGKILL. What ends it?",
    ["SIGTERM does", "only SIGKILL does, and the worker lives on", "only SIGKILL does, and the worker dies too"],
    answer=2,
    why="From outside SIGKILL and SIGSTOP get through, other signals still need a handler. And a namespace cannot live without its init.",
)

# %% [markdown]
# Take the two signals one after the other.

# %%
for number in (signal.SIGTERM, signal.SIGKILL):
    os.kill(init, number)
    print(number.name, "ended init:", wait_for_end(init, 1))
alive = [pid for pid in (init, shell, worker) if os.path.exists(f"/proc/{pid}") and process.stat(pid).state != "Z"]
print("alive in the family:", alive)

# %% [markdown]
# What happened: SIGTERM, the polite request to end, was dropped. With init the kernel killed everything in the namespace. That is how an engine
# stops a container for sure: it kills one process and needs to find no others.

# %%
lab.figure("signals")

# %% [markdown]
# *Figure: what gets through to pid 1. From outside SIGKILL and SIGSTOP always do; every other signal, from wherever, needs a handler.*
#
# ## The engine's version
#
# An ordinary program is not made to be pid 1. So `docker run --init` puts a small init before it. Here is ours: it hands signals on to the program and
# reaps until the program ends.

# %%
from minidocker.runtime import init as runtime_init

lab.source(runtime_init.reap_for_child)

# %% [markdown]
# Now real containers. To stop one, the engine sends SIGTERM, waits a while (Docker: 10 seconds; here: 2), then sends SIGKILL.

# %% tags=["predict"]
predict(
    "Two containers run `sleep 1000`, one with --init. Both are stopped. Which exit codes? (A shell counts 128 + the signal's number.)",
    ["143 and 143: SIGTERM ends both", "137 without, 143 with --init", "143 without, 137 with --init"],
    answer=1,
    why="As pid 1 sleep has no handler, so SIGTERM (15) is dropped and SIGKILL (9) follows: 137. With --init sleep is pid 2, and SIGTERM works: 143.",
)

# %% [markdown]
# `init` is the option's name in Python too.

# %%
for careful in (False, True):
    box = lab.engine.containers.run("busybox", ["sleep", "1000"], detach=True, init=careful)
    inside = [process.ns_pids(pid)[-1] for pid in [box.pid, *process.descendants(box.pid)]]
    box.stop(timeout=2)
    print(f"init={careful}: processes {inside}, exit code {box.wait()}")

# %% [markdown]
# What happened: if your `docker stop` always takes ten seconds, you know why now. Install a handler for SIGTERM, or use `--init`.
#
# ## Break it
#
# A PID namespace whose init has ended is dead. What happens to the one who still wants to fork into it?

# %% tags=["raises-exception"]
# %%child
import os
from minidocker.linux import syscalls

syscalls.unshare(syscalls.CLONE_NEWPID)
if os.fork() == 0:
    os._exit(0)  # pid 1 has come and gone
os.wait()
os.fork()

# %% [markdown]
# ENOMEM, "Cannot allocate memory": there is plenty. The kernel cannot give out *numbers* in a namespace without init, and has no better errno
# for it. You meet this as `unshare --pid sh` without `--fork`: the first command works, the second does not.
#
# ## Same fact, other tools
#
# | | start as pid 1 | join | know the numbers |
# |---|---|---|---|
# | ours | `syscalls.clone3(CLONE_NEWPID)` | `namespaces.join(pid, "pid")`, then fork | `process.ns_pids(pid)` |
# | shell | `unshare --pid --fork --mount-proc sh` | `nsenter --target PID --pid --mount sh` | `lsns --type pid`, `grep NSpid /proc/PID/status` |
# | docker | `docker run busybox sh` | `docker exec NAME sh`, `--pid container:NAME` | `docker inspect -f '{{.State.Pid}}' NAME`, `docker top NAME` |

# %%
import subprocess

box = lab.engine.containers.run("busybox", ["sleep", "1000"], detach=True)
for line in (
    "unshare --pid --fork --mount-proc ps -o pid=,ppid=,comm=",
    f"nsenter --target {box.pid} --pid --mount pidof sleep",
    f"lsns --task {box.pid} --type pid --noheadings --output TYPE,NPROCS,COMMAND",
):
    answer = subprocess.run(line.split(), capture_output=True, text=True).stdout
    print(line.split()[0], "says:", *answer.split())

# %% [markdown]
# What Docker really does here: runc clones the first process and leaves, so the container's pid 1 would be an orphan on the host. It goes to
# `containerd-shim`, which has declared itself a *subreaper* (`PR_SET_CHILD_SUBREAPER` in `prctl(2)`). Our monitor clones pid 1 itself and stays, so it is the parent.
# Docker's `--init` is `tini`, a small C program that it binds into the container; ours is a Python process and needs more memory.

# %% [markdown]
# ## Exercises
#
# ### 1. Change: a namespace in a namespace
#
# PID namespaces nest. Change the cell of step 2 so that a process has **three** numbers, the last of them 1. Keep it as `nested`.

# %% tags=["exercise"]
# your %%child --keep nested cell here

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
# %%child --keep nested
import os, signal
from minidocker.linux import syscalls

syscalls.unshare(syscalls.CLONE_NEWPID)
if os.fork() == 0:  # number 1, one level down
    syscalls.unshare(syscalls.CLONE_NEWPID)
    if os.fork() == 0:  # number 1, two levels down
        signal.pause()
    signal.pause()

# %% [markdown]
# ### 2. Write: `reap(main)`
#
# You are pid 1 and have started the program `main` (its pid). Collect **every** child that ends, yours or adopted. When `main` ends, return its
# exit code as a shell counts it (128 + number for a signal), even if other children live on.

# %% tags=["exercise"]
import os


def reap(main):
    """As pid 1: collect every child that ends until main does; give main's exit code as a shell counts it."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
import os


def reap(main):
    """As pid 1: collect every child that ends until main does; give main's exit code as a shell counts it."""
    while True:
        pid, status = os.wait()
        if pid == main:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code

# %% [markdown]
# ### 3. Explore: what did `unshare` change?
#
# `/proc/PID/ns` holds a link for each namespace of a process. The child `family` (not its init) has called `unshare` but kept its number. Still, exactly one of
# its links differs from this notebook's. Which?

# %% tags=["exercise"]
link = None  # the name of the link, such as "uts"

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
import os

ours, theirs = "/proc/self/ns", f"/proc/{lab.child('family').pid}/ns"
link = next(name for name in os.listdir(ours) if os.readlink(f"{ours}/{name}") != os.readlink(f"{theirs}/{name}"))

# %% [markdown]
# ## Summary
#
# A PID namespace numbers a subtree anew; outer ones still see it. Its first process is pid 1: it adopts orphans and must reap them, it ignores
# signals without a handler, and everything dies with it. What is *seen* depends on the mounted `/proc`.
#
# **Glossary.** *init*: pid 1 of a PID namespace. *Orphan*: a process whose parent has ended. *Zombie*: ended, but not waited for. *Reap*: wait for it.
# *Subreaper*: a process that adopts orphans though it is not pid 1.
#
# **Read more.** `pid_namespaces(7)`, `proc_pid_status(5)`, `wait(2)`, `signal(7)`.

# %%
lab.stop()
