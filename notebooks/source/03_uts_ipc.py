# %% [markdown]
# # 03 · Host name and IPC: can one machine have two names?
#
# You give a process a host name of its own, then message queues and shared memory of its own, and find the doors that stay open. 30 minutes.

# %% [markdown]
# **You will**
# - run two processes with two host names on one kernel, at the same time,
# - hide a message queue and a shared memory segment from everybody outside an IPC namespace,
# - tell which kinds of communication the IPC namespace does *not* cover, and what does.

# %% tags=["setup"]
from minidocker.course import check, hint, lab, predict, views

lab.start("03")

# %% [markdown]
# ## The idea
#
# Some things on a machine are found by a global name: the machine itself has one, and programs find a queue or a piece of shared memory by a number that they have
# agreed on. Two copies of one program on one machine would meet there. A **UTS namespace** has a host name of its own; an **IPC namespace** has its own
# queues and segments of **System V IPC** and POSIX message queues. See `uts_namespaces(7)`, `ipc_namespaces(7)` and `sysvipc(7)`.

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: one kernel. The host and a child called left each have a host name and a set of queues and segments; the number 42 means something only to left.*
#
# ## 1. Two names at once
#
# Why: programs ask for the host name with `uname(2)`, and put it into logs, prompts and cluster membership. A container wants its own. The name lives in
# the kernel; UTS is short for the structure's old name, "UNIX time-sharing".

# %% tags=["predict"]
predict(
    "A process in a UTS namespace of its own calls sethostname('left'). What changes?",
    ["what uname says, for everybody", "what uname says, in its namespace", "the file /etc/hostname", "both the file and uname, in its namespace"],
    answer=1,
    why="The name is a variable of the kernel. /etc/hostname is only a file from which it is set once, at boot.",
)

# %% [markdown]
# Keep a child that does it.

# %% tags=["setup"]
# %%child --keep left
import os
from minidocker.linux import syscalls

file_before = open("/etc/hostname").read()
syscalls.unshare(syscalls.CLONE_NEWUTS)
syscalls.sethostname("left")
print("in here uname says", os.uname().nodename)
print("/etc/hostname has changed:", open("/etc/hostname").read() != file_before)

# %% [markdown]
# From outside we can't read another namespace's name: we have to go in and ask. `nsenter(1)` joins a process's namespace and runs a command there.

# %% tags=["setup"]
import os, subprocess

left = lab.child("left").pid

def inside(kind, *command):
    entered = ["nsenter", "--target", str(left), f"--{kind}", *command]
    return subprocess.run(entered, capture_output=True, text=True, check=True).stdout.strip()

print("left is called", inside("uts", "uname", "-n"))
print("the notebook is called so too:", os.uname().nodename == "left")
print("both name the same kernel release:", inside("uts", "uname", "-r") == os.uname().release)
views.namespaces(host="self", left=left, only=("uts", "ipc"))

# %% [markdown]
# *Figure: the notebook, on the left, and the child: two UTS namespaces, one IPC namespace so far.*
#
# What happened: two names at once. The rest of `uname` is shared: every container, whatever its image calls itself, answers `uname -r` with the host's
# kernel, because there is no other.
#
# ## 2. A copy at birth
#
# Why: what does a new namespace start with, and who shares it? A visitor comes to left's namespace with `setns(2)`, and then leaves for one of its own.

# %% tags=["predict"]
predict(
    "The visitor joins left's namespace and sets the name to 'renamed'. It unshares, then sets 'elsewhere'. What is left called at the end?",
    ["left", "renamed", "elsewhere"],
    answer=1,
    why="Inside one namespace there is one name, whoever set it. A new namespace gets a copy, and from then on they know nothing of each other.",
)

# %% [markdown]
# `%%child left` hands the variable `left`, the pid, over to the child.

# %%
# %%child left
import os
from minidocker.linux import namespaces, syscalls

namespaces.join(left, "uts")
syscalls.sethostname("renamed")
namespaces.unshare("uts")
print("in a new namespace, at birth:", os.uname().nodename)
syscalls.sethostname("elsewhere")
print("after sethostname:", os.uname().nodename)
namespaces.join(left, "uts")
print("back in left's namespace:", os.uname().nodename)

# %% [markdown]
# What happened: the new namespace began with a copy of the name. Joined processes share; unshared ones do not. `docker exec` is such a visitor.
#
# ## 3. A queue that only left can find
#
# Why: System V message queues, semaphores and segments are found by a key, a number. On one machine key 42 is one queue for everybody. Now left gets an
# IPC namespace, makes queue 42 and sends a message to it. Python has no functions for these calls, so `ctypes` asks the C library.

# %%
# %%child --in left
import ctypes, struct

syscalls.unshare(syscalls.CLONE_NEWIPC)
libc = ctypes.CDLL(None, use_errno=True)
CREATE = 0o1000  # IPC_CREAT in <sys/ipc.h>
queue = libc.msgget(42, CREATE | 0o600)
libc.msgsnd(queue, struct.pack("l5s", 1, b"hello"), 5, 0)
header, row = (line.split() for line in open("/proc/sysvipc/msg"))
print(dict(zip(header[:5], row[:5], strict=True)))

# %% [markdown]
# `/proc/sysvipc/msg` lists the queues of whoever reads it: one message (`qnum`) of five bytes waits. Out here we ask the kernel for key 42.

# %% tags=["predict"]
predict(
    "The notebook, root on the host, asks for the queue with key 42. What does it get?",
    ["left's queue: root may open everything", "the error EACCES, permission denied", "the error ENOENT, no such queue"],
    answer=2,
    why="No permission is asked: the number 42 is looked up in the caller's own namespace, and means nothing there.",
)

# %% [markdown]
# Without `IPC_CREAT` the call only looks, so it is harmless on the host.

# %%
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
found = libc.msgget(42, 0)
print("msgget gives", found, "because:", os.strerror(ctypes.get_errno()))
print("queues that left sees:", len(inside("ipc", "cat", "/proc/sysvipc/msg").splitlines()) - 1)

# %% [markdown]
# What happened: isolation by naming. Nobody is refused; there is just no such queue. Root on the host can still *enter* the namespace, as the second line
# does. Unlike the host name, nothing is copied: a new IPC namespace is born empty.
#
# ## 4. Memory that outlives its process
#
# Why: a **shared memory segment** is meant to be found by others, so it does not belong to the process that made it. In left, a helper makes one, writes and ends.

# %% tags=["predict"]
predict(
    "The helper has ended without removing its segment. Is the memory still there?",
    ["no: the kernel frees all memory of a process that ends", "yes, until somebody removes it or its IPC namespace ends", "yes, until the next boot"],
    answer=1,
    why="A segment belongs to the namespace. When nothing holds an IPC namespace any more, the kernel destroys every object in it.",
)

# %% [markdown]
# Left forks the helper, waits for its end, and looks for the segment by its key.

# %%
# %%child --in left
libc.shmat.restype = ctypes.c_void_p

if os.fork() == 0:
    segment = libc.shmget(42, 4096, CREATE | 0o600)
    ctypes.memmove(libc.shmat(segment, None, 0), b"remember me", 11)
    os._exit(0)
os.wait()
segment = libc.shmget(42, 0, 0)
print("the helper has ended, the segment says:", ctypes.string_at(libc.shmat(segment, None, 0), 11).decode())

# %% [markdown]
# What happened: it is still there. In the host's own namespace such leftovers of crashed programs stay until the next boot or `ipcrm`. A container takes
# its IPC namespace with it, and all that was forgotten in it.
#
# ## 5. Two doors to one queue
#
# Why: **POSIX message queues** have names instead of keys; see `mq_overview(7)`. And they have a second door: mounted as a filesystem, usually at `/dev/mqueue`, they are
# files. Left mounts it, where only left sees it, sends a message and looks at the file.

# %%
# %%child --in left
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
syscalls.mount("mqueue", "/mnt", "mqueue")

orders = libc.mq_open(b"/orders", os.O_CREAT | os.O_RDWR, 0o600, None)
libc.mq_send(orders, b"two coffees", 11, 0)
print(os.listdir("/mnt"), open("/mnt/orders").read().split()[0])

# %% [markdown]
# Now a thief: a child of left that gets an IPC namespace of its own but keeps the mounts.

# %% tags=["predict"]
predict(
    "The thief calls mq_open('/orders'), and then opens the file /mnt/orders and receives from that. What does it get?",
    ["ENOENT both times", "ENOENT from mq_open, the message through the file", "the message both times"],
    answer=1,
    why="mq_open looks in the caller's namespace. The mounted directory shows the namespace in which it was mounted, whoever looks: like /proc.",
)

# %% [markdown]
# On Linux a queue is a file descriptor, however it was opened.

# %%
# %%child --in left
if os.fork() == 0:
    syscalls.unshare(syscalls.CLONE_NEWIPC)
    libc.mq_open(b"/orders", os.O_RDWR)
    print("mq_open says:", os.strerror(ctypes.get_errno()))
    stolen, text = os.open("/mnt/orders", os.O_RDONLY), ctypes.create_string_buffer(8192)
    libc.mq_receive(stolen, text, 8192, None)
    print("through the file:", text.value.decode())
    os._exit(0)
os.wait()

# %% [markdown]
# So much for a new IPC namespace with an old mount.

# %%
lab.figure("doors")

# %% [markdown]
# *Figure: the name leads into the caller's own IPC namespace, where there is no such queue. The mounted file leads to left's queue.*
#
# What happened: as with `/proc` in lesson 02, the namespace decides what a *name* means, and a mount is a door that somebody left open. A container
# engine therefore mounts a fresh `/dev/mqueue` in each container.
#
# ## 6. What the IPC namespace does not cover
#
# Why: most programs of today use neither kind of queue. They use POSIX shared memory, `shm_open(3)`, and that is a file in `/dev/shm`.

# %% tags=["predict"]
predict(
    "A process in a new IPC namespace writes POSIX shared memory, that is, a file in /dev/shm. Can the host read it?",
    ["no: it is IPC, so it is isolated", "yes: it is a file, so mounts decide"],
    answer=1,
    why="The name of a namespace says little. /dev/shm is a tmpfs: only a mount namespace with another tmpfs there keeps it apart.",
)

# %% [markdown]
# `unshare --ipc` runs a shell in a new IPC namespace; the notebook stays on the host.

# %%
path = f"/dev/shm/{lab.name}"
subprocess.run(["unshare", "--ipc", "sh", "-c", f"echo written in another IPC namespace > {path}"], check=True)
print(open(path).read(), end="")
os.unlink(path)

# %% [markdown]
# What happened: no isolation at all. Who is responsible for what:
#
# | means | found by | kept apart by |
# |---|---|---|
# | host name | `uname(2)` | UTS namespace |
# | System V queues, segments, semaphores | a key | IPC namespace |
# | POSIX message queues | a name, or a mounted file | IPC namespace, and a fresh mount |
# | POSIX shared memory and semaphores | a file in `/dev/shm` | mount namespace |
# | Unix sockets, named pipes | a path | mount namespace |
# | abstract Unix sockets | a name | network namespace |
# | pipes, `memfd_create(2)` | an inherited or passed descriptor | nothing: who has it has it |
#
# ## The engine's version
#
# So a container needs the two namespaces *and* two mounts. Start one, trace the steps of this lesson, each with its shell command, and see
# the list that the mounts come from.

# %%
from minidocker.oci import spec

with lab.trace("set host name", "/dev/shm", "/dev/mqueue"):
    lab.engine.containers.run("busybox", ["true"], hostname="shop")
lab.source(spec.default_mounts)

# %% [markdown]
# Containers that belong together may share these things; then the engine joins and binds instead. The first one below offers its own (`shareable`), the others look into `/dev/shm`.

# %%
donor = lab.engine.containers.run("busybox", ["sleep", "1000"], detach=True, ipc="shareable")
donor.exec_run(["sh", "-c", "echo fresh bread > /dev/shm/note"])
for ipc in ("private", f"container:{donor.name}"):
    seen = lab.engine.containers.run("busybox", ["ls", "/dev/shm"], ipc=ipc).decode().split()
    print(f"--ipc {ipc.split(':')[0]}: sees {seen}")
print("the donor is called by its short id:", donor.exec_run(["hostname"]).output.decode().strip() == donor.short_id)

# %% [markdown]
# What happened: sharing is per kind of namespace, so two containers can have one `/dev/shm` and two names. Without `--hostname` the name is the first
# 12 digits of the id, as in Docker.
#
# ## Break it
#
# Your own namespace, so your own rules? A process takes a UTS namespace, names it, gives up root and wants to name it again.

# %% tags=["raises-exception"]
# %%child
import os
from minidocker.linux import namespaces, syscalls

namespaces.unshare("uts")
syscalls.sethostname("mine")
os.setuid(65534)  # nobody
syscalls.sethostname("still-mine")

# %% [markdown]
# EPERM: a namespace says *which* name you would change, not *whether* you may. That is a matter of capabilities (lesson 08), here CAP_SYS_ADMIN. Root
# in a container lacks it too: `docker run busybox hostname x` fails the same way.
#
# ## Same fact, other tools
#
# | | a name of its own | queues and segments |
# |---|---|---|
# | ours | `namespaces.unshare("uts")`, `syscalls.sethostname(name)` | `/proc/sysvipc/*`, `namespaces.join(pid, "ipc")` |
# | shell | `unshare --uts sh -c 'hostname left; exec sh'` | `ipcs`, `ipcrm`, `lsns --type ipc`, `nsenter --target PID --ipc ipcs` |
# | docker | `docker run --hostname left`, `--uts host` | `docker run --ipc private`, `shareable`, `container:NAME`, `host`; `--shm-size` |

# %%
for line in ("nsenter --target {} --uts uname -n", "nsenter --target {} --ipc ipcs --queues", "lsns --task {} --type ipc --noheadings --output TYPE,NPROCS"):
    answer = subprocess.run(line.format(left).split(), capture_output=True, text=True).stdout
    print(line.replace(" --target {}", "").replace(" --task {}", ""), "->", *answer.split()[-6:])

# %% [markdown]
# What Docker really does here: much the same calls, made by runc. A difference is where a `shareable` container keeps its `/dev/shm`: Docker mounts the tmpfs on the *host*, below
# `/var/lib/docker/containers`, and binds it into every container that shares it. Ours is mounted inside only, and a sharer takes it from the donor's mount
# namespace, so the host's list of mounts never shows it.
#
# ## Exercises
#
# ### 1. Change: a twin
#
# Keep a child `twin` that shares left's host name for good, so that renaming left renames twin too, but has an IPC namespace of its own. Start from the cell of step 2; the
# pid of left is in `left`.

# %% tags=["exercise"]
# your %%child --keep twin left cell here

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
# %%child --keep twin left
from minidocker.linux import namespaces

namespaces.join(left, "uts")
namespaces.unshare("ipc")

# %% [markdown]
# ### 2. Write: `isolate_name_and_ipc(hostname)`
#
# It gives the calling process a UTS and an IPC namespace and the host name `hostname`, without renaming anybody else.

# %% tags=["exercise"]
from minidocker.linux import syscalls


def isolate_name_and_ipc(hostname):
    """Give this process its own host name, queues and segments."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
from minidocker.linux import syscalls


def isolate_name_and_ipc(hostname):
    """Give this process its own host name, queues and segments."""
    syscalls.unshare(syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC)
    syscalls.sethostname(hostname)

# %% [markdown]
# ### 3. Explore: are settings copied?
#
# A new UTS namespace copies the name; a new IPC namespace copies no queues. What about its settings? `/proc/sys/kernel/msgmax` is the size of the largest
# message. In a `%%child`: unshare IPC, write 12345 there, unshare IPC again, read. Which value does the second namespace begin with?

# %% tags=["exercise"]
inner_msgmax = None  # a number

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
script = 'echo 12345 > /proc/sys/kernel/msgmax; unshare --ipc cat /proc/sys/kernel/msgmax'
inner_msgmax = int(subprocess.run(["unshare", "--ipc", "sh", "-c", script], capture_output=True, text=True).stdout)

# %% [markdown]
# ## Summary
#
# A UTS namespace holds a host name, copied at birth. An IPC namespace holds System V objects and POSIX queues, begins empty and takes them with it when it
# ends. Both decide what a name means; mounts are other doors; capabilities decide who may change what.
#
# **Glossary.** *UTS*: the structure behind `uname`. *Key*: the number by which System V objects are found. *Segment*: memory that several processes
# attach. *Queue*: messages that wait in the kernel.
#
# **Read more.** `uts_namespaces(7)`, `ipc_namespaces(7)`, `sysvipc(7)`, `mq_overview(7)`, `shm_overview(7)`.

# %%
lab.stop()
