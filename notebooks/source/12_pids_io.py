# %% [markdown]
# # 12 · Processes, disks and pause: what else could one container take from the others?
#
# You set off a fork bomb that does nothing, slow a disk down to a walk, and stop time for a process that never learns of it. 35 minutes.

# %% [markdown]
# **You will**
# - limit how many processes a group may have, and recognise the error that a program meets there,
# - limit the rate of a disk, and say why some writes seem to ignore the limit,
# - freeze a container, prove that it used no CPU time, and find the gap in its own record.

# %% tags=["setup"]
import os, shlex, subprocess, time
from IPython.display import display
from minidocker.course import check, hint, lab, predict
from minidocker.linux import cgroups
from minidocker.linux.cgroups import cpu, io, pids

def shell(line):
    return subprocess.run(shlex.split(line), capture_output=True, text=True, check=True).stdout.strip()

lab.start("12")

# %% [markdown]
# ## The idea
#
# Memory and CPU time are not all that a neighbour can use up. The kernel's table of processes has an end, and so has the patience of a
# disk. The **pids** controller counts processes, the **io** controller bytes and operations per device, and the **freezer** stops all
# that is in a group at once. Each is a file of the cgroup (`cgroups(7)`).

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: three taps. fork(2) stops at pids.max with EAGAIN. Writes to a device wait at io.max until it is their turn. cgroup.freeze holds every process where it stands.*
#
# ## 1. The twenty-first process
#
# Why: every process costs a number and kernel memory, and a program that forks by mistake can make thousands a second. `pids.max` is a
# number; threads count as well, since each has a pid of its own.

# %% tags=["predict"]
predict(
    "A group may have 20 processes. One in it forks, again and again. What does its 20th fork do?",
    ["it waits until another process ends", "it fails with EAGAIN", "the kernel kills the group"],
    answer=1,
    why="Together with the parent 19 children make 20. fork(2) returns an error, and the program goes on with what it has.",
)

# %% [markdown]
# The children wait for a pipe to close, which happens when their parent ends.

# %%
room = cgroups.open_cgroup(f"{lab.name}/room")
room.create()
room.write("pids.max", "20")
room_name, diary = room.name, str(lab.dir / "diary")
print("pids.max:", room.read("pids.max"), "- pids.current:", room.read("pids.current"))

# %% [markdown]
# Now somebody who does not know about it:

# %%
# %%child room_name
import errno, os
from minidocker.linux import cgroups

room, (wait, hold), children = cgroups.open_cgroup(room_name), os.pipe(), 0
room.join(os.getpid())
try:
    while True:
        if os.fork() == 0:
            os.close(hold)
            os._exit(len(os.read(wait, 1)))
        children += 1
except OSError as error:
    print(f"{children} children, then {errno.errorcode[error.errno]}: {error.strerror}")
print("pids.current:", room.read("pids.current"), "- refused:", room.read("pids.events"))

# %% [markdown]
# What happened: exactly 20. `EAGAIN` says "try again", which is honest: as soon as one ends there is room. Nobody was killed, and the rest of
# the machine noticed nothing.
#
# ## 2. A fork bomb
#
# Why: a **fork bomb** is a function that calls itself twice, in the background. Without a limit this line makes a machine unusable within
# a second. It is the shell's classic `:(){ :|:& };:` with a name one can read.

# %% tags=["predict"]
predict(
    "The bomb goes off in a container with --pids-limit 32. What do you notice on the host?",
    ["nothing", "new processes cannot be started for a while", "the container ends at once"],
    answer=0,
    why="The limit counts the container's processes only. Its forks fail; ours do not.",
)

# %% [markdown]
# Without `--pids-limit`, do not do this.

# %%
line = "exec 2>/dev/null; bomb() { bomb | bomb & }; bomb; exec sleep 600"
bomb = lab.engine.containers.run("busybox", ["sh", "-c", line], detach=True, name="bomb", pids_limit=32)
watch = lab.watch(bomb, show=["pids.current", "pids.max"])
watch.wait(8)
group, most = cgroups.open_cgroup(bomb.cgroup), max(count for _, count in watch.samples["pids.current"])
print("more than 20 processes, never more than 32:", 20 < most <= 32, "- forks were refused:", pids.refused(group) > 0)
print("and here:", shell("echo a new process, as always"))
drawn = watch.picture("A fork bomb")
bomb.remove(force=True)
print("processes left of the bomb:", len(group.pids()))
drawn

# %% [markdown]
# *Figure: the container's number of processes rises to the dashed line of its limit at once, and stays there.*
#
# `remove` ended all of them, however fast they fork: with `cgroup.kill`, one write for the whole group.
#
# ## 3. A disk to play with
#
# Why: a limit on a disk should not slow this machine down. A **loop device** (`loop(4)`) is a file that looks like a disk. We make one of 32
# MiB, with a filesystem, and mount it. The kernel knows disks by two numbers, major and minor.

# %% tags=["setup"]
disk, image = lab.dir / "disk", lab.dir / "disk.img"
disk.mkdir()
shell(f"truncate --size 32M {image}")
shell(f"mkfs.ext4 -q -F -E lazy_itable_init=0 {image}")
shell(f"mount -o loop {image} {disk}")
lab.at_end(lambda: shell(f"umount {disk}"))
device, number = shell(f"findmnt -n -o SOURCE,MAJ:MIN {disk}").split()
lab.host(f"{device} is {number}")
print("a block device:", os.path.exists(f"/sys/dev/block/{number}/loop"))

# %% [markdown]
# ## 4. Two megabytes a second
#
# Why: one container that writes a backup makes all others wait for the disk. `io.max` has a line for each device: `wbps` are bytes written
# per second, `rbps` bytes read, `wiops` and `riops` operations. `io.stat` counts.

# %% tags=["predict"]
predict(
    "A program in the group writes 4 MiB, in two ways: past the page cache (O_DIRECT), and as programs usually do. How long does each take?",
    ["2 s and 2 s", "2 s and no time", "no time and 2 s"],
    answer=1,
    why="An ordinary write only fills the page cache. The limit is on the device, and the data gets there later.",
)

# %% [markdown]
# A group and its limit:

# %%
slow = cgroups.open_cgroup(f"{lab.name}/slow")
slow.create()
slow.write("io.max", f"{number} wbps={2 << 20}")
slow_name, path = slow.name, str(disk / "file")
print(slow.read("io.max").replace(number, "DISK"))

# %% [markdown]
# Direct writes want aligned memory, which `mmap` gives. `fsync(2)` waits until the data is on the disk.

# %%
# %%child slow_name path
import mmap, os, time
from minidocker.linux import cgroups

cgroups.open_cgroup(slow_name).join(os.getpid())
block, took = mmap.mmap(-1, 1 << 20), {}
for way, flag in {"direct": os.O_DIRECT, "usual": 0}.items():
    fd, began = os.open(path, os.O_WRONLY | os.O_CREAT | flag), time.monotonic()
    for _ in range(4):
        os.write(fd, block)
    took[way] = time.monotonic() - began
    os.fsync(fd)
    took[way + ", with fsync"] = time.monotonic() - began
for way, seconds in took.items():
    print(f"{way:18} at least 1.5 s: {seconds > 1.5}")

# %% [markdown]
# What happened: the bill comes with `fsync`. A database pays it at each commit. A program that never asks pays nothing; the kernel writes for it
# later. On v2 that is slowed down too, since a filesystem such as ext4 remembers whose data it was. On v1 nobody remembers.
#
# ## 5. A writer on a lead
#
# Why: rates can be changed while a container works. This one writes without pause, directly. Drag the slider and watch.
# But first: what did the kernel count for the program of step 4?

# %%
print("written in step 4, by io.stat: about 8 MiB:", 8 <= io.stat(slow)[number].wbytes / 2**20 < 9)
slow.remove_with_processes()
line = "while :; do dd if=/dev/zero of=/disk/log bs=64k count=64 oflag=direct conv=notrunc 2>/dev/null; done"
writer = lab.engine.containers.run(
    "busybox", ["sh", "-c", line], detach=True, name="writer", volumes=[f"{disk}:/disk"], device_write_bps=[f"{device}:4mb"])  # fmt: skip
watch = lab.watch(writer, show=["io.write"])
rate = lab.slider("MiB a second", 1, 16, value=4, action=lambda mib: writer.update(device_write_bps=[f"{device}:{mib}mb"]))
display(watch, rate)

# %% [markdown]
# Measured by the kernel's count of bytes, at two rates:

# %%
group = cgroups.open_cgroup(writer.cgroup)
for mib in (8, 2):
    rate.value = mib
    time.sleep(0.3)
    before, began = io.stat(group)[number].wbytes, time.monotonic()
    watch.wait(20)
    measured = (io.stat(group)[number].wbytes - before) / (time.monotonic() - began) / 2**20
    print(f"{mib} MiB a second, within 20 %:", 0.8 * mib < measured < 1.2 * mib)
drawn = watch.picture("A writer on a lead")
writer.remove(force=True)
drawn

# %% [markdown]
# *Figure: MiB written per second follow the slider from 4 to 8 to 2.*
#
# What happened: each write waits in the kernel until the group's budget allows it. The process sleeps meanwhile, in the state **D**.
#
# ## 6. Stop the world
#
# Why: look at a program at one moment, save it, or give its CPU time to another for a while. Signals could stop it (SIGSTOP), but its parent
# sees that. The freezer tells nobody.

# %% tags=["predict"]
predict(
    "A process is frozen for a second, and thawed. What does it find?",
    ["a signal that tells it", "a clock that stood still", "a sleep of 10 ms that took a second, and nothing else"],
    answer=2,
    why="The clock goes on for all. The process does not: from its side one sleep was rather long.",
)

# %% [markdown]
# This process, in the group of step 1, notes the time every ten milliseconds. Nobody waits for its end: as a zombie it would still count in
# `pids.current`.

# %%
# %%child --keep clock room_name diary
import os, signal, time
from minidocker.linux import cgroups
import itertools

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork() == 0:
    cgroups.open_cgroup(room_name).join(os.getpid())
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with open(diary, "w", buffering=1) as file:
        while True:
            file.write(f"{time.monotonic()}\n")
            time.sleep(0.01)
while not (os.path.exists(diary) and os.path.getsize(diary)):
    time.sleep(0.01)

# %% [markdown]
# `cgroup.freeze` is a request. That all processes stand is said in `cgroup.events`, a file one can wait on with `poll(2)`.

# %%
room.write("cgroup.freeze", "1")
print("all stand:", room.wait_event("frozen 1", 5))
before = cpu.stat(room).usage_us
time.sleep(1)
print("microseconds of CPU time in a second:", cpu.stat(room).usage_us - before)
room.write("cgroup.freeze", "0")
time.sleep(0.3)
times = [float(line) for line in open(diary) if line.endswith("\n")]
gaps = sorted(times[n + 1] - times[n] for n in range(len(times) - 1))
print("longest gap in the diary over a second:", gaps[-1] > 1, "- all others shorter:", gaps[-2] < 1)

# %% [markdown]
# What happened: zero, not "nearly none". The process also has a handler for SIGTERM, which would end it:

# %%
import select, signal

[worker] = room.pids()
end = os.pidfd_open(worker)
room.write("cgroup.freeze", "1")
room.wait_event("frozen 1", 5)
os.kill(worker, signal.SIGTERM)
print("frozen: ended by SIGTERM", bool(select.select([end], [], [], 0.3)[0]))
room.write("cgroup.freeze", "0")
print("thawed: ended by SIGTERM", bool(select.select([end], [], [], 5)[0]))
os.close(end)

# %% [markdown]
# The handler is the process's own code, and must wait. Without it the kernel could end the process alone, and would have: as SIGKILL does, on v2 and
# wherever a v2 tree stands beside v1. With v1's own freezer even that one waits.
#
# ## The engine's version
#
# `docker pause` is a write and a wait. If one process cannot be stopped, the others must not stand for ever:

# %%
from minidocker.linux.cgroups import freezer

lab.source(freezer.freeze)

# %% [markdown]
# A busy container, paused and resumed under the eyes of a plot:

# %%
spinner = lab.engine.containers.run("busybox", ["sh", "-c", "while :; do :; done"], detach=True, name="spinner", cpus=0.5)
watch = lab.watch(spinner, show=["cpu"])
for step in (lambda: None, spinner.pause, spinner.unpause):
    step()
    print(spinner.status)
    watch.wait(8)
watch.picture("Pause and resume")

# %% [markdown]
# *Figure: the container's CPU time, about half a core, falls to zero while it is paused, and comes back.*
#
# ## Break it
#
# The limit on processes at its most puzzling: a server with a pool of threads, in a group that may have four.

# %% tags=["raises-exception"]
# %%child room_name
import os, threading
from minidocker.linux import cgroups

room = cgroups.open_cgroup(room_name)
room.write("pids.max", "4")
room.join(os.getpid())
done = threading.Event()
for number in range(1, 9):
    threading.Thread(target=done.wait, daemon=True).start()
    print("threads started:", number)

# %% [markdown]
# "can't start new thread": not a word of a limit. It is `EAGAIN` once more. Java says "unable to create native thread" and suspects memory.
# Look at `pids.events` before you buy some.
#
# ## Same fact, other tools
#
# | | here | shell | Docker |
# |---|---|---|---|
# | processes | `write("pids.max", "32")` | `ulimit -u 32` (for a whole user) | `--pids-limit 32` |
# | disk | `write("io.max", "7:0 wbps=...")` | `systemd-run -p IOWriteBandwidthMax=` | `--device-write-bps /dev/sda:1mb` |
# | pause | `freezer.freeze(cgroup)` | `echo 1 > cgroup.freeze` | `docker pause` |
# | counted | `pids.current`, `io.stat` | `cat`, `systemd-cgtop` | `docker stats` |

# %%
room.remove_with_processes()
spinner.remove(force=True)
print("lsblk knows it as a", shell(f"lsblk -n -o TYPE {device}"), "- findmnt as", shell(f"findmnt -n -o FSTYPE {disk}"))

# %% [markdown]
# **What Docker really does here.** The same files. But it sets no limit on processes unless asked: a fork bomb in a container started without
# flags meets only the host's own limits (under systemd, those of the daemon's unit). And on v1 its `--device-write-bps` holds for direct writes only, as
# ours does there.

# %% [markdown]
# ## Exercises
#
# ### 1. Change: a modest backup
#
# Run a container called `backup` (`["sleep", "600"]` will do), with at most 16 processes, that may read from our `device` at 2 MiB a second
# and write at 1 MiB a second. Step 5 has half of it; `device_read_bps` is the other option's name.

# %% tags=["exercise"]
# your code: lab.engine.containers.run("busybox", ["sleep", "600"], detach=True, name="backup", ...)

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
lab.engine.containers.run(
    "busybox", ["sleep", "600"], detach=True, name="backup", pids_limit=16,
    device_read_bps=[f"{device}:2mb"], device_write_bps=[f"{device}:1mb"])  # fmt: skip

# %% [markdown]
# ### 2. Write: `freeze(name)`
#
# Freeze the cgroup called `name`, and return when the kernel says that all its processes stand, not before. The check has a process in it
# that waits for the disk, and cannot stop at once. The last lesson builds an engine with this function.

# %% tags=["exercise"]
from minidocker.linux import cgroups


def freeze(name):
    """Freeze the cgroup *name*; return when all its processes stand."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
from minidocker.linux import cgroups


def freeze(name):
    """Freeze the cgroup *name*; return when all its processes stand."""
    cgroup = cgroups.open_cgroup(name)
    cgroup.write("cgroup.freeze", "1")
    if not cgroup.wait_event("frozen 1", 10):
        raise TimeoutError(f"{name} does not stand still")

# %% [markdown]
# ### 3. Explore: three patients
#
# Three containers do not get on. One is at its limit of processes, one waits for the disk, one is frozen.

# %% tags=["setup"]
from minidocker.course.figures.lesson_12 import patients

ant, bee, cat = patients(lab.engine, device, disk)

# %% [markdown]
# Which is which? Everything is in the files of `cgroups.open_cgroup(ant.cgroup)` and so on: `pids.events`, `io.max`, `cgroup.events`.

# %% tags=["exercise"]
diagnosis = None  # your answer, such as {"ant": "pids", "bee": "io", "cat": "frozen"}

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
diagnosis = {"ant": "io", "bee": "frozen", "cat": "pids"}

# %% [markdown]
# ## Summary
#
# `pids.max` makes fork fail in the group that forks too much, and nowhere else. `io.max` makes reads and writes of a device wait; what stays in the
# page cache is free. The freezer stops a group for as long as you like, at no CPU time, and leaves it nothing to notice but the clock.
#
# **Glossary.** *fork bomb*: processes that start processes. *EAGAIN*: no room now. *loop device*: a file as a disk. *direct write*: past the
# page cache. *state D*: waits in the kernel. *freezer*: stops a group, unnoticed.
#
# **Read more**: `cgroups(7)`, `fork(2)`, `loop(4)`, `open(2)` on O_DIRECT, the kernel's `cgroup-v2.rst`.

# %%
lab.stop()
