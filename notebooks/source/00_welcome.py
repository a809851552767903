# %% [markdown]
# # 00 · Welcome: what do you need to look inside a container?
#
# Less than you think: a Linux kernel, Python, and files that the kernel keeps for you to read. You learn to use the lab, and do your first
# three experiments. 25 minutes.

# %% [markdown]
# **You will**
# - read what the kernel knows about a process, in `/proc`,
# - run code in a child of the notebook, keep a child, and see what changed for it,
# - take an exercise from the first attempt to the kept solution.

# %% tags=["setup"]
from minidocker.course import check, hint, lab, predict, views

lab.start("00")

# %% [markdown]
# ## The idea
#
# Docker starts a container with one command. In this course you do by hand what that command makes the kernel do, one piece in each
# lesson, on the machine that runs this page. Beside it you read the source of a small engine, minidocker, which does the same for real.
#
# Three words first. The **kernel** is Linux itself, the one program that all others ask (Jupyter calls the Python behind a notebook a
# "kernel" too; here the word means Linux). They ask by **system calls** (`syscalls(2)`). And **`/proc`** is where the kernel
# answers in the form of files (`proc(5)`).

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: your browser sends a cell to this notebook, a Python process with many threads. The notebook sends the code of a `%%child` cell to a fresh Python with one thread and gets its output; lab.engine starts containers. All of them make system calls to one Linux kernel, and `/proc` tells the notebook what the kernel knows.*
#
# ## 1. This notebook is a process
#
# A lesson goes in small steps. Before most of them stands a question. Answer it in your head, then click your choice: a guess that turned
# out wrong is remembered longest.

# %% tags=["predict"]
predict(
    "This notebook waits for you and computes nothing. How many threads does its Python process have at this moment?",
    ["none, it sleeps", "one", "several"],
    answer=2,
    why="Jupyter needs threads that listen for your next cell, answer heartbeats and pass output on. They will matter in a minute.",
)

# %% [markdown]
# Run the cell with Shift+Enter. `/proc/self` is the process that reads it: here the notebook.

# %%
import os
from pathlib import Path

status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
threads = int(status["Threads"])
lab.host(f"the notebook is pid {status['Pid']} and has {threads} threads")
print("/proc/self is this notebook:", int(status["Pid"]) == os.getpid())
print("one thread only:", threads == 1)

# %% [markdown]
# What happened: you read a text file and learned what the kernel knows about a process. Lines that begin with `this host:` are true on
# this machine only; yours may differ from the page as you found it. All other output must come out the same for everybody.
#
# ## 2. Files that nobody wrote
#
# `/proc` looks like a directory on a disk. `/proc/uptime` holds the seconds since the machine was started.

# %% tags=["predict"]
predict(
    "`/proc/uptime` can be read like any file. What does the kernel say is its size?",
    ["0 bytes", "about 16 bytes, the text in it", "it has no size: asking is an error"],
    answer=0,
    why="The text does not exist until somebody reads: the kernel writes it for each reader at that moment. There is nothing to measure.",
)

# %% [markdown]
# Size and content of three of these files:

# %%
for name in ("uptime", "version", "self/status"):
    path = Path("/proc", name)
    print(f"{path.name:8} size {path.stat().st_size}, but holds text: {path.read_text() != ''}")
lab.host(Path("/proc/version").read_text().split(" (")[0])

# %% [markdown]
# What happened: reading such a file runs a function in the kernel, and what it returns is always of now. Nearly everything that `ps`,
# `top` or `docker top` show comes from here. So in this course we ask `/proc` first, and tools second.
#
# ## 3. Experiments run in a child
#
# Much of this course changes how a process sees the machine. A process with several threads cannot do that to itself (you will
# see the kernel refuse it under "Break it"). So a cell that begins with **`%%child`** runs in a fresh Python, a process of its own with one
# thread. Variables named after `%%child` are handed over.

# %% tags=["predict"]
predict(
    "The child gets the notebook's variable threads, and sets it to 1. What is threads in the notebook afterwards?",
    ["1", "what it was before", "it is gone"],
    answer=1,
    why="The child is another process and has a copy. What it does to its own memory does not reach us, nor does its end.",
)

# %% [markdown]
# What a child prints appears below the cell, as usual.

# %%
# %%child threads
import os

print("handed over, more than one:", threads > 1)
threads = len(os.listdir("/proc/self/task"))
print("threads of this child:", threads)
print("root:", os.geteuid() == 0)

# %% [markdown]
# That child has ended with its cell. With `--keep NAME` another one stays, and waits. We hand it `threads` again, to see what the notebook
# has now. It also chooses the name that the kernel shows for it, by writing to a file in `/proc`.

# %%
# %%child --keep guest threads
with open("/proc/self/comm", "w") as file:
    file.write("guest")
print("handed over again, more than one:", threads > 1)

# %% [markdown]
# ## 4. Looking at it from outside
#
# `lab.child("guest").pid` is its number, so `/proc/PID` is its directory. Docker would now list something like this as *running*.

# %% tags=["predict"]
predict(
    "The guest waits for more code. In which state does the kernel have it?",
    ["R, running", "S, sleeping", "Z, ended"],
    answer=1,
    why="A process that waits uses no CPU: it sleeps until something arrives. Nearly every process of a machine does, nearly always.",
)

# %% [markdown]
# We ask the kernel, and draw what it says about parents and children.

# %%
guest = lab.child("guest").pid
status = dict(line.split(":\t") for line in Path(f"/proc/{guest}/status").read_text().splitlines())
print("name:", status["Name"])
print("state:", status["State"])
print("its parent is this notebook:", int(status["PPid"]) == os.getpid())
views.process_tree(os.getpid(), names={os.getpid(): "this notebook"})

# %% [markdown]
# *Figure: the process tree below this notebook, with one child, `guest`. Drawn from `/proc` at this moment.*
#
# What happened: every process has a parent, and all processes are one tree. A container will turn out to be a branch of it.
#
# ## 5. Before and after
#
# `%%child --in guest` runs more code in the same process. We let it leave one thing that it shares with us, its host name (lesson 03), and
# compare.

# %% tags=["predict"]
predict(
    "lab.observe compares eight namespaces, root, mounts, cgroup, network and capabilities of guest with ours. How many will differ?",
    ["none, nothing was renamed yet", "one", "all: it is a container now"],
    answer=1,
    why="Each part of isolation is a switch of its own. A container is a process for which most of them were thrown.",
)

# %% [markdown]
# `unshare` is the system call; `namespaces.unshare` calls it by name.

# %%
# %%child --in guest
from minidocker.linux import namespaces

namespaces.unshare("uts")

# %% [markdown]
# "different" means: the kernel holds another object for the guest than for this notebook.

# %%
lab.observe(guest)

# %% [markdown]
# ## 6. What can this host do?
#
# The first line of each lesson says whether the basics are there. For all the rest there is a doctor. It tries each thing for real instead
# of believing a version number.

# %% tags=["predict"]
predict(
    "Docker is not needed for this course. How much of what isolates a container is part of Docker?",
    ["all of it", "about half; the kernel does the rest", "nothing: the kernel does all of it"],
    answer=2,
    why="Namespaces, cgroups, overlay mounts and bridges are the kernel's. Docker asks for them in the right order, and does it well.",
)

# %% [markdown]
# In a terminal, `minidocker doctor` prints the whole list.

# %%
import sys
from minidocker.engine import doctor
from minidocker.linux import cgroups
from minidocker.paths import Paths

findings = doctor.examine(Paths(lab.name))
print("the engine can run here:", doctor.can_run(findings))
print("required and missing:", [finding.name for finding in findings if finding.required and not finding.ok])
lab.host(f"{findings[0].detail}; cgroup mode {cgroups.mode()}; {os.cpu_count()} CPUs; Python {sys.version.split()[0]}")
for finding in findings:
    if not finding.ok:
        lab.host(f"not here: {finding.name}; lost is {finding.lost}")

# %% [markdown]
# The *cgroup mode* says where the kernel's limits live: `v2` on a current Debian or Ubuntu, `hybrid` where older programs still want v1.
# Lessons use the names of v2, and the engine translates.
#
# ## The engine's version
#
# No magic is behind the table of step 5. This is where its first eight rows come from:

# %%
from minidocker.linux import namespaces

lab.source(namespaces.compare)

# %% [markdown]
# `lab.source` shows what the file on this machine holds, so it never disagrees with what runs. And `lab.engine` is a whole engine of this
# lesson's own. Its first container reads the name of the container's first process, in its own `/proc`:

# %%
print(namespaces.compare(guest, "self"))
said = lab.engine.containers.run("busybox", ["cat", "/proc/1/comm"], remove=True)
print("process 1 in the container is called:", said.decode().strip())

# %% [markdown]
# `cat` asked who process 1 is, and found itself. How that comes about is lesson 02.
#
# ## Break it
#
# Each lesson breaks something on purpose, to see what the kernel says. A process starts a second thread and then wants a new user
# namespace:

# %% tags=["raises-exception"]
# %%child
import threading
from minidocker.linux import namespaces

threading.Thread(target=threading.Event().wait, daemon=True).start()
namespaces.unshare("user")

# %% [markdown]
# `Invalid argument` is `EINVAL`, one of the fixed answers of a system call (`errno(3)`); `unshare(2)` lists the reasons, among them
# "more than one thread". That is why this notebook, with its threads, leaves such calls to a child.
#
# ## Same fact, other tools
#
# | | here | shell | Docker |
# |---|---|---|---|
# | what runs | `process.pids()` | `ps -e` | `docker ps`, `docker top` |
# | one process | `/proc/PID/status` | `ps -p PID` | `docker inspect` |
# | what is shared | `lab.observe(pid)` | `lsns -p PID` | no command |
# | what the host can do | `doctor.examine(...)` | `minidocker doctor` | `docker info` |

# %%
import subprocess

print(subprocess.run(["ps", "-o", "stat=,comm=", "-p", str(guest)], capture_output=True, text=True).stdout.strip())

# %% [markdown]
# `ps` read the same file (the small `s` means: first process of a session).
#
# **What Docker really does here.** The kernel has no object called "container", only processes and what they share. `docker ps` therefore
# cannot ask the kernel: it asks Docker's daemon, which remembers what it started. Our engine remembers too, in files under
# `/var/lib`, and needs no daemon.
#
# ## Exercises
#
# This is how each lesson ends. An exercise is an empty cell, and a cell with `check(n)`. `check` looks at the *kernel*, not at your text, and
# says one of three things: `not attempted`, `hint:` with a sentence for the very mistake that it found, or `ok:`. If you are stuck, run
# `hint(n)` in a new cell, more than once for more. The solution is folded below.

# %%
lab.figure("lesson")

# %% [markdown]
# *Figure: predict, run, look, and again, four to six times; then three exercises, each with its check, its hints, and last its solution.*
#
# ### 1. Change: a second guest
#
# Keep a child called `second`. The kernel should show it under the name `second`, and as working in the directory `/proc`. Start from
# the cell that made `guest`; `os.chdir` changes the directory.

# %% tags=["exercise"]
# your %%child cell here: its first line is %%child --keep second

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
# %%child --keep second
import os

with open("/proc/self/comm", "w") as file:
    file.write("second")
os.chdir("/proc")

# %% [markdown]
# ### 2. Write: `alive(pid)`
#
# Each lesson has you write one small function. A right one is *kept*, in `notebooks/kept`, and in the last lesson yours together are an
# engine. An engine must know whether a container still lives: `alive(pid)` is True for a process, and False for one that is gone. A zombie
# (state `Z`: it has ended, and its parent has not asked how) is not alive.

# %% tags=["exercise"]
def alive(pid):
    """Does this process exist, and has it not ended yet?"""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
def alive(pid):
    """Does this process exist, and has it not ended yet?"""
    try:
        with open(f"/proc/{pid}/status") as file:
            state = next(line for line in file if line.startswith("State:"))
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[1] not in ("Z", "X")

# %% [markdown]
# ### 3. Explore: who is it?
#
# The next cell starts a process and does not tell you its number.

# %% tags=["setup"]
# %%child --keep somebody
import os

ready, done = os.pipe()
if os.fork() == 0:
    os.execvp("sleep", ["sleep", "4242"])
os.close(done)
os.read(ready, 1)  # returns when the other end is closed, which execvp has done

# %% [markdown]
# Somewhere below `lab.child("somebody").pid` in the tree of processes somebody executes `sleep 4242`. Which pid is it? Each
# `/proc/PID/cmdline` holds a command with a zero byte after each word; `process.descendants(pid)` and `process.cmdline(pid)` in
# `minidocker.linux` may help.

# %% tags=["exercise"]
found = None  # your answer, a number

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
from minidocker.linux import process

below = process.descendants(lab.child("somebody").pid)
[found] = [pid for pid in below if process.cmdline(pid) == ["sleep", "4242"]]

# %% [markdown]
# ## Summary
#
# The kernel knows everything about a process and writes it down on request, in `/proc`. Experiments run in a child, `lab.observe` shows
# what changed, `check` asks the kernel. Begin again at any time: restart the notebook and run it from the top; `lab.start` removes what
# was left.
#
# **Glossary.** *kernel*: the program all others ask. *system call*: one such question. */proc*: its answers as files. *child*: a process
# started by another. *state*: running, sleeping, ended.
#
# **Read more**: `proc(5)`, `proc_pid_status(5)`, `intro(2)`.

# %%
lab.stop()
