# %% [markdown]
# # 06 · Time and cgroup namespaces: how old is the machine, and where in it am I?
#
# Two small namespaces change the answers to these two questions, and nothing else. You give a process a false age of the machine and a
# false address in it, and find out what still tells the truth. 30 minutes.

# %% [markdown]
# **You will**
# - shift the uptime that a process sees, and name the clocks that follow and those that do not,
# - create a cgroup, put a process into it, and read its place from inside and from outside,
# - say what these namespaces do not hide, and which of the two Docker uses.

# %% tags=["setup"]
from minidocker.course import check, hint, lab, predict
from minidocker.linux import cgroups

lab.start("06")
tree = f"{cgroups.layout().unified}/{lab.name}"  # this lesson's own corner among the cgroups: step 4

# %% [markdown]
# ## The idea
#
# The kernel keeps one clock since boot and one tree of groups of processes. Neither is copied for a container. A **time namespace** adds
# an **offset** to what a process reads from the clock (`time_namespaces(7)`). A **cgroup namespace** cuts off the upper part of what it
# reads about its place in the tree (`cgroup_namespaces(7)`). Both change what is *said*; neither changes what is *so*.

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: on the left one clock is read through two offsets, 0 on the host and 10 days in a container. On the right a tree of cgroups, "/" above "lesson" above "room": for the process in "room" the host reads "/lesson/room", the process itself reads "/".*
#
# ## 1. A clock for the next generation
#
# Why would anyone want this? Programs measure durations with `CLOCK_MONOTONIC`, which never goes back. Freeze such a program, wake it on
# another machine, and its clock is suddenly years younger. So Linux 5.6 got time namespaces: tools like CRIU wake a frozen container with
# an offset that lets the clock go on where it stopped.
#
# Every process shows two links for time: the namespace it is in, and the one its children will be in.

# %%
# %%child --keep elder
import os
import signal
from minidocker.linux import syscalls

def inode(name):
    return os.stat(f"/proc/self/ns/{name}").st_ino

before = inode("time")
syscalls.unshare(syscalls.CLONE_NEWTIME)
print("I moved:            ", inode("time") != before)
print("my children will be:", inode("time_for_children") != before)

# %% [markdown]
# What happened: as with PID namespaces, the caller stays where it is and only prepares a home for its children. Here this has a reason of
# its own. The offsets must be chosen while nobody lives in the namespace, because a monotonic clock that somebody has read must not jump.
#
# ## 2. Two uptimes
#
# The new namespace is still empty. Its offsets are two lines in `/proc/PID/timens_offsets`: a clock's name, seconds, nanoseconds. We add
# ten days, 864,000 seconds, and then make the first child.

# %% tags=["predict"]
predict(
    "The offsets are monotonic +10 days and boottime +10 days. What does `date` say in the child?",
    ["today", "ten days from now", "ten days ago"],
    answer=0,
    why="The date is CLOCK_REALTIME. Time namespaces leave it alone: all containers of a machine share one date.",
)

# %% [markdown]
# The parent reads four clocks and forks; the child reads them again, and stays.

# %%
# %%child --in elder
import time

def clocks():
    return {name: time.clock_gettime(getattr(time, f"CLOCK_{name}")) for name in ("REALTIME", "TAI", "MONOTONIC", "BOOTTIME")}

with open("/proc/self/timens_offsets", "w") as file:
    file.write("monotonic 864000 0\nboottime 864000 0\n")
before, (ready, done) = clocks(), os.pipe()
if os.fork() == 0:
    for name, value in clocks().items():
        print(f"{name:9} {(value - before[name]) / 86400:+.0f} days")
    os.write(done, b"x")
    signal.pause()
os.read(ready, 1)

# %% [markdown]
# What happened: the clocks that count since boot are shifted, those that tell the date are not (TAI is the date without leap seconds).
# Programs still read them without a system call, from pages that the kernel maps into each process (`vdso(7)`): in a time namespace one
# of these pages holds the offsets.
#
# ## 3. When did this machine boot?
#
# `/proc/stat` has a line `btime`: the date of the boot. It is the date of now minus the uptime. So it has to take a side.

# %% tags=["predict"]
predict(
    "The uptime inside is ten days too long, the date is right. When does the child believe that the machine was booted?",
    ["at the true moment", "ten days before it", "ten days after it"],
    answer=1,
    why="Same now, longer uptime: the beginning moves back by the offset. The kernel keeps the three consistent.",
)

# %% [markdown]
# We look from here: `nsenter --time` runs one command in the child's time namespace. `/proc/uptime` is `CLOCK_BOOTTIME` in a file, worked
# out anew for each reader. `boot_id` is a random number that the kernel draws once per boot.

# %%
import subprocess
from minidocker.linux import process

def look(*prefix):
    files = "/proc/uptime", "/proc/stat", "/proc/sys/kernel/random/boot_id"
    words = subprocess.run([*prefix, "cat", *files], capture_output=True, text=True, check=True).stdout.split()
    return float(words[0]), int(words[words.index("btime") + 1]), words[-1]

guest = process.children(lab.child("elder").pid)[0]
up, booted, boot_id = look()
up_inside, booted_inside, boot_id_inside = look("nsenter", "--time", "--target", str(guest))
lab.host(f"up {up / 3600:.1f} hours outside, {up_inside / 3600:.1f} hours inside")
print(f"inside: uptime {(up_inside - up) / 86400:+.0f} days, boot {(booted_inside - booted) / 86400:+.0f} days")
print("same boot_id:", boot_id_inside == boot_id)
lab.figure("clocks")

# %% [markdown]
# *Figure: a line of dates. "Now" is the same for all. Outside, the boot is a short uptime before now; inside, the offset of 10 days moves the boot back, and the uptime inside reaches from there to now.*
#
# What happened: date, uptime and time of boot fit together inside, at the price of a boot that never took place. The `boot_id` gives it
# away. A namespace is a set of answers that somebody chose to adapt, not a wall.
#
# ## 4. A cgroup: created, joined, seen
#
# A **cgroup** is a group of processes, in a tree of groups; limits on memory or CPU hang on its nodes (lessons 10 to 12). The tree is a
# filesystem: a group is a directory, and joining is writing a pid into a file (`cgroups(7)`). We use the v2 tree. Hosts whose controllers
# still sit on v1 have one too, beside the old ones.

# %% tags=["predict"]
predict(
    "A process joins the cgroup `room` and then forks. Where is its child?",
    ["in the root of the tree", "in room", "nowhere, until somebody puts it somewhere"],
    answer=1,
    why="A child is born in its parent's cgroup. That is what makes a limit hold for whatever a container starts.",
)

# %% [markdown]
# Two neighbours, `room` and `attic`, made with plain `mkdir`: the kernel fills each new directory with its files. One `write` joins.

# %%
# %%child --keep tenant tree
import os
import signal

for name in ("room", "attic"):
    os.makedirs(f"{tree}/{name}")
with open(f"{tree}/room/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
if os.fork() == 0:
    signal.pause()

# %% [markdown]
# Which group is a process in? `/proc/PID/cgroup` has one line for each hierarchy. The one that begins with `0::` is v2's.

# %%
def place(pid, *prefix):
    lines = subprocess.run([*prefix, "cat", f"/proc/{pid}/cgroup"], capture_output=True, text=True, check=True).stdout
    return lines.splitlines()[-1].replace(lab.name, "lesson")

tenant = lab.child("tenant").pid
lab.host(f"cgroup mode {cgroups.mode()}, {len(open('/proc/self/cgroup').readlines())} lines in /proc/self/cgroup")
print("the tenant:", place(tenant))
print("its child: ", *map(place, process.children(tenant)))

# %% [markdown]
# What happened: both are in `/lesson/room` (we print `lesson` for this lesson's own directory). The path counts from the root of the
# whole machine. So a process can read how its host is organised; on older Docker hosts it held the container's id, and programs
# looked there to find out that they run in a container.
#
# ## 5. The same file, two readers
#
# A container should not see the house it is in. `unshare(CLONE_NEWCGROUP)` makes the group in which the caller is *at this moment* the
# root of a new cgroup namespace. Unlike time, it moves the caller itself.

# %% tags=["predict"]
predict(
    "The tenant unshares. Then /proc/PID/cgroup of the tenant is read twice: by us, and from inside. What do the two get?",
    ["both /", "both /lesson/room", "we get /lesson/room, inside gets /"],
    answer=2,
    why="The path is written for the reader, counted from the root of the reader's own cgroup namespace.",
)

# %% [markdown]
# A cgroup filesystem that is mounted in the namespace begins at the same root. The tenant mounts one where only it sees it (lesson 04), and
# makes a group `shelf` in it.

# %%
# %%child --in tenant
from minidocker.linux import mounts, syscalls

syscalls.unshare(syscalls.CLONE_NEWCGROUP)
syscalls.unshare(syscalls.CLONE_NEWNS)
mounts.make_private("/", recursive=True)
syscalls.mount("cgroup", "/mnt", "cgroup2")
os.mkdir("/mnt/shelf")
print("groups that the tenant sees:", [entry.name for entry in os.scandir("/mnt") if entry.is_dir()])

# %% [markdown]
# We read the file as ourselves, and again through `nsenter --cgroup`, as a member of the tenant's cgroup namespace.

# %%
from pathlib import Path

inside = ("nsenter", "--cgroup", "--target", str(tenant))
print("outside:", place(tenant))
print("inside: ", place(tenant, *inside))
print("groups in room, from outside:", [entry.name for entry in Path(tree, "room").iterdir() if entry.is_dir()])

# %% [markdown]
# What happened: one process, one file, two texts. And one tree: `shelf`, made at the top of what the tenant sees, hangs below `room`.
# A container's `/sys/fs/cgroup` is such a mount.
#
# ## 6. Moved while you were out
#
# The root of a cgroup namespace is chosen once. The process need not stay there: whoever may write to `cgroup.procs` can move it.

# %% tags=["predict"]
predict(
    "We move the tenant from room to its neighbour attic. What is read from inside now?",
    ["/", "/attic", "/../attic"],
    answer=2,
    why="The namespace's root is still room. From there attic is one up and one down.",
)

# %% [markdown]
# One write from the host:

# %%
Path(tree, "attic", "cgroup.procs").write_text(str(tenant))
print("outside:", place(tenant))
print("inside: ", place(tenant, *inside))
lab.figure("views")

# %% [markdown]
# *Figure: a tree, "/" above "lesson" above "room" and "attic". "room" stays the namespace's root for good; the process was moved to "attic", for which the host reads "/lesson/attic" and the process "/../attic".*
#
# What happened: a path with `/..` means a root that was left behind. We moved the process *from outside*. May it move itself? That is up
# to the mount: systemd mounts the v2 tree with `nsdelegate`, and then the kernel refuses (`ENOENT`) to move anything across the
# namespace's root from inside. Without that option the namespace is a view and no fence.
#
# A cgroup is removed with `rmdir`. The kernel's files in it are no obstacle. Processes are.

# %%
import errno

try:
    Path(tree, "attic").rmdir()
except OSError as error:
    print("rmdir says", errno.errorcode[error.errno])
Path(tree, "room", "shelf").rmdir()
for name in ("room", "attic"):
    cgroups.Cgroup(f"{lab.name}/{name}").remove_with_processes()
print("groups left:", [entry.name for entry in Path(tree).iterdir() if entry.is_dir()])

# %% [markdown]
# `remove_with_processes` wrote to `cgroup.kill`, which ends all processes of a group at once, waited until `cgroup.events` said that it
# is empty, and removed it.
#
# ## The engine's version
#
# The engine puts a container's first process into its cgroup and only then lets it unshare the cgroup namespace: the order of step 5.
# The clock is set next, if the container's specification has `timeOffsets`:

# %%
from minidocker.runtime import rootfs

lab.source(rootfs.set_clock)

# %% [markdown]
# Look at the end: `setns` into its own `time_for_children`. Other than `unshare`, that moves the caller, so no fork is needed.

# %%
# %%child
import time
from minidocker.runtime import rootfs

before = time.clock_gettime(time.CLOCK_BOOTTIME)
rootfs.set_clock({"monotonic": {"secs": 864000}, "boottime": {"secs": 864000}})
print(f"{(time.clock_gettime(time.CLOCK_BOOTTIME) - before) / 86400:+.0f} days, without a fork")

# %% [markdown]
# Now a real container, with both namespaces, and a limit of 64 MiB of memory on its cgroup.

# %% tags=["predict"]
predict(
    "A container was started a moment ago. What does `uptime` say in it?",
    ["0 minutes", "the same as on the host", "it has no uptime"],
    answer=1,
    why="A new time namespace has the offset 0, and nobody asked for another. Containers do not boot.",
)

# %% [markdown]
# We read the two files in it, and compare it with this notebook.

# %% tags=["setup"]
import time
from minidocker.linux import namespaces

box = lab.engine.containers.run("busybox", ["sleep", "600"], detach=True, memory="64m")

def ask(path):
    return box.exec_run(["cat", path]).output.decode()

age = float(ask("/proc/uptime").split()[0])
print("same uptime as the host:", abs(age - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5)
print("its place, read inside:", ask("/proc/self/cgroup").splitlines()[-1])
shared = namespaces.compare(box.pid, "self")
print("shares with us: cgroup namespace", shared["cgroup"], "| time namespace", shared["time"])

# %% [markdown]
# ## Break it
#
# Three attempts on a new time namespace: an offset for the date, an uptime below zero, and an offset after somebody has lived there, if
# only for a moment.

# %% tags=["raises-exception"]
# %%child
import os
from minidocker.linux import syscalls

def set_offset(line):
    os.write(os.open("/proc/self/timens_offsets", os.O_WRONLY), line.encode())

syscalls.unshare(syscalls.CLONE_NEWTIME)
for line in ("realtime 864000 0", "boottime -999999999 0"):
    try:
        set_offset(line)
    except OSError as error:
        print(f"{line}: {error.strerror}")
os.waitpid(os.fork() or os._exit(0), 0)  # a child enters and leaves
set_offset("boottime 864000 0")

# %% [markdown]
# `EINVAL`: the date has no offset. `ERANGE`: a clock since boot cannot be negative. And `EACCES`, even for root: the first process that
# enters freezes the offsets, so no clock ever jumps under a program.
#
# ## Same fact, other tools
#
# | | here | shell | Docker |
# |---|---|---|---|
# | own clock | `rootfs.set_clock(...)` | `unshare --time --boottime 864000 --fork` | no option |
# | own cgroup | `open_cgroup(name).create()` | `mkdir /sys/fs/cgroup/name` | always; `--cgroup-parent` says where |
# | own view of it | `namespaces.unshare("cgroup")` | `unshare --cgroup` | `--cgroupns private` or `host` |
# | a limit on it | `.write("memory.max", ...)` | `echo 64M > memory.max` | `--memory 64m` |

# %%
shifted = look("unshare", "--time", "--boottime", "864000", "--fork")
print(f"unshare --time:   {(shifted[0] - look()[0]) / 86400:+.0f} days")
print("unshare --cgroup:", place("self", "unshare", "--cgroup"))

# %% [markdown]
# **What Docker really does here.** It makes no time namespace: `uptime` in its containers is the host's, as in ours (LXC's tool LXCFS fakes
# the file instead). The OCI runtime below it, runc, has known `timeOffsets` since 1.2. On v2 hosts Docker makes a private cgroup namespace;
# on v1 hosts its default is `host`, and there a container reads the full path with its id. Our engine makes both namespaces on every host.

# %% [markdown]
# ## Exercises
#
# ### 1. Change: a machine that has just booted
#
# Keep a child called `newborn` whose own children see an uptime of about zero, on both clocks. Start from steps 1 and 2.

# %% tags=["exercise"]
# your %%child cell here: its first line is %%child --keep newborn

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
# %%child --keep newborn
import time
from minidocker.linux import syscalls

syscalls.unshare(syscalls.CLONE_NEWTIME)
with open("/proc/self/timens_offsets", "w") as file:
    file.write(f"monotonic {-int(time.clock_gettime(time.CLOCK_MONOTONIC))} 0\n")
    file.write(f"boottime {-int(time.clock_gettime(time.CLOCK_BOOTTIME))} 0\n")

# %% [markdown]
# ### 2. Write: `enter_cgroup(name)`
#
# The cgroup called `name` exists. Your function puts the calling process into it and makes it the root of the cgroup namespace.
# `cgroups.open_cgroup(name).join(pid)` speaks to v1 and v2 hosts. The last lesson builds an engine with this function.

# %% tags=["exercise"]
import os
from minidocker.linux import cgroups, syscalls


def enter_cgroup(name):
    """Put this process into the cgroup *name*, and let it look like the root of the tree."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
import os
from minidocker.linux import cgroups, syscalls


def enter_cgroup(name):
    """Put this process into the cgroup *name*, and let it look like the root of the tree."""
    cgroups.open_cgroup(name).join(os.getpid())
    syscalls.unshare(syscalls.CLONE_NEWCGROUP)

# %% [markdown]
# ### 3. Explore: what is the container's own?
#
# `box` is a container with 64 MiB of memory. Of these six, which say something else in the container than on the host: `"boot id"`,
# `"cgroup path"`, `"host name"`, `"load average"`, `"total memory"`, `"uptime"`? Look with `box.exec_run([...]).output` in
# `/proc/sys/kernel`, `/proc/loadavg`, `/proc/meminfo` and so on.

# %% tags=["exercise"]
own = None  # your answer, a set such as {"uptime", "boot id"}

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
own = {"cgroup path", "host name"}

# %% [markdown]
# ## Summary
#
# A time namespace adds an offset to the clocks that count since boot, fixed before the first process enters. A cgroup is a directory; its
# namespace makes one of them look like the root. Both adapt answers: the date, the boot id, memory and load stay the machine's.
#
# **Glossary.** *time namespace*: offsets for monotonic and boottime. *offset*: what is added when a clock is read. *cgroup*: a node of the
# tree of process groups. *cgroup namespace*: the node that looks like its root.
#
# **Read more**: `time_namespaces(7)`, `cgroup_namespaces(7)`, `cgroups(7)`, the kernel's `cgroup-v2.rst`.

# %%
lab.stop()
