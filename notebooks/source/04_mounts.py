# %% [markdown]
# # 04 · Mount namespaces: how can two processes disagree about the same path?
#
# You give processes their own lists of mounts, and decide who hears of a change. 40 minutes.

# %% [markdown]
# **You will**
# - give a process a mount that no other process finds, and find it from the host all the same,
# - show one directory at two places, read-only at one of them,
# - predict, for a shared, a slave and a private mount, who sees what is mounted later.

# %% tags=["setup"]
import os
import subprocess
from pathlib import Path

from minidocker.course import check, hint, lab, predict, views
from minidocker.linux import mounts, process

lab.start("04")
desk, disk, stage, roots = (str(lab.dir / name) for name in ("desk", "disk", "stage", "roots"))
for place in (desk, disk, stage, roots):
    os.makedirs(place, exist_ok=True)

# %% [markdown]
# ## The idea
#
# To **mount** a filesystem is to attach it at a directory: from then on the path leads into it ([mount(2)](https://man7.org/linux/man-pages/man2/mount.2.html)).
# The kernel keeps a list of mounts, and every path is looked up through that list.
# A **mount namespace** is one such list; each process uses one ([mount_namespaces(7)](https://man7.org/linux/man-pages/man7/mount_namespaces.7.html)).
# **Propagation** decides whether a change in one list is repeated in another.
# Together they turn a part of the host's tree into the whole tree of a container.

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: one tree of files. A shell on the host begins at its top; two containers begin at two of its directories, and each calls that place "/".*
#
# ## 1. A list of its own
#
# Why: a container needs its own `/proc`, `/dev` and `/tmp`, at paths that the host uses too. So one path must lead to different places.
#
# `desk` is an empty directory on the host. A child takes a new mount namespace, mounts a `tmpfs` (a filesystem in memory) on it, and writes a note there.

# %% tags=["predict"]
predict(
    "Then the notebook lists the same directory. What does it find?",
    ["the note", "nothing", "an error: the path is taken"],
    answer=1,
    why="The mount is an entry in the child's list. Through the notebook's list the path still leads to the empty directory.",
)

# %% [markdown]
# Three system calls. The second keeps the list from leaking; step 4 is about it.

# %%
# %%child --keep left desk
import os
from minidocker.linux.syscalls import CLONE_NEWNS, MS_PRIVATE, MS_REC, mount, unshare

unshare(CLONE_NEWNS)
mount("", "/", "", MS_REC | MS_PRIVATE)
mount("tmpfs", desk, "tmpfs")
with open(f"{desk}/note", "w") as note:
    note.write("only in here")
print("left finds:", os.listdir(desk))

# %% [markdown]
# Each process's list is a file, `/proc/PID/mountinfo`. Compare the notebook's with the child's. Then try a door: `/proc/PID/root`.

# %%
left = lab.child("left").pid
print("notebook finds:", os.listdir(desk))
print("a line of the notebook's list:", f" {desk} " in Path("/proc/self/mountinfo").read_text())
print("a line of left's list:", f" {desk} " in Path(f"/proc/{left}/mountinfo").read_text())
print("through the door:", Path(f"/proc/{left}/root{desk}/note").read_text())

# %% [markdown]
# What happened: one path, two lists, two answers. But `/proc/PID/root` leads to where *that* process's "/" is, and from there the path is looked up through *its* list.
# A mount namespace keeps those inside from seeing out. It never keeps the host's root from looking in.
#
# ## 2. What a new namespace inherits
#
# Why: `unshare` takes no list as an argument. So what is in the new one? A child mounts a disk while it is still in the host's namespace. Then it takes its own, and writes a file to the disk.

# %% tags=["predict"]
predict(
    "The child writes to the disk from its own namespace. Does the host see the file?",
    ["no: that is what the namespace is for", "yes", "only when the child has ended"],
    answer=1,
    why="The list was copied, not the filesystems. Both lists lead to the same disk.",
)

# %% [markdown]
# Mind the order: `mount` comes before `unshare`.

# %%
# %%child --keep copy disk
import os
from minidocker.linux.syscalls import CLONE_NEWNS, MS_PRIVATE, MS_REC, mount, unshare

mount("tmpfs", disk, "tmpfs")              # in the host's namespace
with open(f"{disk}/data", "w") as data:
    data.write("from the host")
unshare(CLONE_NEWNS)                       # from here on in a new one
mount("", "/", "", MS_REC | MS_PRIVATE)
print("copy inherits:", os.listdir(disk))
with open(f"{disk}/reply", "w") as reply:
    reply.write("from copy")

# %% [markdown]
# Now the host looks, and then it unplugs the disk. The unmount succeeds. Is the filesystem gone?

# %%
print("host finds:", sorted(os.listdir(disk)))
print("umount, exit code:", subprocess.run(["umount", disk]).returncode)
views.mount_tree({"host": "self", "copy": lab.child("copy").pid}, below=disk)

# %% [markdown]
# *Figure: at the disk's directory the host has no mount left; copy still has the tmpfs.*
#
# What happened: a new mount namespace starts as a **copy of the list**. It isolates mounts, not files: what both can reach, both can change.
# And the disk is still in use, although no command on the host shows a mount. A container that was started before you unplugged it can do that. Step 4 has the cure.
#
# ## 3. One directory at two places
#
# Why: `docker run -v` shows a directory of the host inside a container. Nothing is copied: a **bind mount** is a second entry for files that are mounted already.
# In a line of `mountinfo` the fourth field says which part of a filesystem is mounted, the fifth says where.

# %%
# %%child --keep binder desk
import os
from minidocker.linux.syscalls import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, mount, unshare

unshare(CLONE_NEWNS)
mount("", "/", "", MS_REC | MS_PRIVATE)
mount("tmpfs", desk, "tmpfs")
real, window = f"{desk}/real", f"{desk}/window"
os.mkdir(real), os.mkdir(window)
mount(real, window, "", MS_BIND)
print("milk", file=open(f"{real}/list", "w"))
print("through the window:", open(f"{window}/list").read(), end="")
for line in open("/proc/self/mountinfo"):
    if desk in line:
        print(line.split()[3], "is shown at", line.split()[4].removeprefix(desk) or "the desk")

# %% [markdown]
# What happened: one file, two paths. [proc_pid_mountinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html) calls the fourth field the *root* of the mount: several virtual roots in one tree is how the kernel thinks.
#
# Docker's `-v real:window:ro` should be one flag more. Is it?

# %% tags=["predict"]
predict(
    "mount(real, window, MS_BIND | MS_RDONLY), then a write through the window. What happens?",
    ["the write fails: read-only", "the write succeeds", "mount fails: invalid argument"],
    answer=1,
    why="With MS_BIND the kernel ignores every other flag but MS_REC, and says nothing. A second call must set them.",
)

# %% [markdown]
# First one call, then the second. In that one `MS_BIND` is vital: without it you would change the whole *filesystem*, for everybody.

# %%
# %%child --in binder
mount(real, window, "", MS_BIND | MS_RDONLY)
print("after one call:", open(f"{window}/list", "a").write("bread\n"), "characters written")
mount("", window, "", MS_REMOUNT | MS_BIND | MS_RDONLY)
try:
    open(f"{window}/list", "a")
except OSError as error:
    print("after two calls:", error.strerror)
print("at the real place:", open(f"{real}/list", "a").write("eggs\n"), "characters written")

# %% [markdown]
# What happened: read-only belongs to the *mount*, not to the files. Through the window not even root can write; at the real place nothing has changed.
#
# ## 4. Who hears of a mount
#
# Why: on most machines systemd makes every mount **shared**: what is mounted in one copy appears in all the others, its **peers**. A container that mounted its `/proc` would then change the host's.
# So each copy gets a kind. The child below mounts a shared `stage` on the host. Then three forked processes take namespaces; they make their copy of `stage` shared, **slave** and **private**, and each mounts something below it.

# %%
# %%child --keep copies stage
import os, signal
from minidocker.linux.syscalls import CLONE_NEWNS, MS_PRIVATE, MS_SHARED, MS_SLAVE, mount, unshare

mount("tmpfs", stage, "tmpfs")
mount("", stage, "", MS_SHARED)
for kind, flag in (("shared", MS_SHARED), ("slave", MS_SLAVE), ("private", MS_PRIVATE)):
    os.mkdir(f"{stage}/from_{kind}")
    if not (pid := os.fork()):
        unshare(CLONE_NEWNS)
        mount("", stage, "", flag)
        mount("tmpfs", f"{stage}/from_{kind}", "tmpfs")
        os.kill(os.getpid(), signal.SIGSTOP)   # stay, with this list
    os.waitpid(pid, os.WUNTRACED)              # until it has stopped

# %% [markdown]
# Next the host mounts something at `from_host` on its stage.

# %% tags=["predict"]
predict(
    "In which of the three copies does the host's mount appear?",
    ["in none: each is in a namespace of its own", "in shared only", "in shared and slave", "in all three"],
    answer=2,
    why="A slave listens and does not talk. That is what a container wants from the host's disks.",
)

# %% [markdown]
# Both directions at once, read from all the lists; then the host takes the stage down.

# %%
os.mkdir(f"{stage}/from_host")
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", f"{stage}/from_host"])
host = [entry.target for entry in mounts.mountinfo()]
rows = []
for kind, pid in zip(("shared", "slave", "private"), process.children(lab.child("copies").pid), strict=True):
    own = [entry.target for entry in mounts.mountinfo(pid)]
    hears, tells = f"{stage}/from_host" in own, f"{stage}/from_{kind}" in host
    rows.append((kind, "yes" if hears else "no", "yes" if tells else "no"))
subprocess.run(["umount", "--recursive", stage])
lab.table(["the copy", "gets the host's mount", "the host gets its mount"], rows)

# %% [markdown]
# What happened: this table is nearly the whole theory. (A fourth kind, unbindable, is private and cannot be bound elsewhere.)
# Unmounts travel as mounts do. So with a disk that is shared on the host and a slave in `copy`, step 2 would have ended well.

# %%
lab.figure("propagation")

# %% [markdown]
# *Figure: between the host's stage and a shared copy mounts pass both ways, to a slave copy one way, to a private copy not at all.*
#
# ## 5. Several virtual roots in one tree
#
# Why: so far everybody's "/" was the same directory. It need not be: the kernel keeps with each process where its "/" is, and **chroot** moves it ([chroot(2)](https://man7.org/linux/man-pages/man2/chroot.2.html)). Two processes, two roots; neither calls `unshare`.

# %%
# %%child --keep apps roots
import os, signal

for name in ("web", "db"):
    os.makedirs(f"{roots}/{name}/etc", exist_ok=True)
    print(f"settings of {name}", file=open(f"{roots}/{name}/etc/app.conf", "w"))
    if not (pid := os.fork()):
        os.chroot(f"{roots}/{name}")
        print(name, "reads:", open("/etc/app.conf").read(), end="")
        os.kill(os.getpid(), signal.SIGSTOP)   # stay, with this root
    os.waitpid(pid, os.WUNTRACED)

# %% [markdown]
# Both opened `/etc/app.conf`. From the notebook, look at where their roots are, and at what they are shown in `mountinfo`.

# %% tags=["predict"]
predict(
    "How many mounts does /proc/PID/mountinfo list for web?",
    ["all of the host's", "one: its root", "none"],
    answer=2,
    why="The file lists only what can be reached from the process's root, and no mount begins at or below web's.",
)

# %% [markdown]
# `/proc/PID/root` is a link; `ns/mnt` names the namespace.

# %%
rows = []
for name, pid in zip(("web", "db"), process.children(lab.child("apps").pid), strict=True):
    place = os.readlink(f"/proc/{pid}/root").removeprefix(str(lab.dir))
    same = os.path.samefile(f"/proc/{pid}/ns/mnt", "/proc/self/ns/mnt")
    rows.append((name, f"...{place}", len(mounts.mountinfo(pid)), "yes" if same else "no"))
lab.table(["process", 'its "/" is', "mounts listed", "in the host's namespace"], rows)

# %% [markdown]
# What happened: the first figure come true, with one pointer in each process. And a warning: the host's mounts are not gone, only not *listed*. Lesson 05 climbs out of such a root, and builds one that holds.
#
# ## The engine's version
#
# The engine takes a new namespace, makes "/" a slave, and binds the volumes. A bind mount, with both calls of step 3:

# %%
lab.source(mounts.bind)

# %% [markdown]
# A real container with a read-only volume, its list (in part), and a search for it in the host's list:

# %% tags=["setup"]
volume = lab.dir / "volume"
volume.mkdir(exist_ok=True)
(volume / "page").write_text("hello from the host")

guest = lab.engine.containers.run("busybox", ["sleep", "300"], detach=True, volumes=[f"{volume}:/data:ro"])
for entry in mounts.mountinfo(guest.pid):
    if entry.target in ("/", "/proc", "/data"):
        kind = "the host's volume" if entry.root.endswith("/volume") else entry.fstype
        print(f"{entry.target:6} {kind}, {entry.options[:2]}")
print("in the host's list:", any(guest.id in str(entry) for entry in mounts.mountinfo()))
said = guest.exec_run(["sh", "-c", "cat /data/page; echo bye > /data/page"])
print(said.output.decode(), said.stderr.decode(), sep="\n", end="")

# %% [markdown]
# What happened: even the container's root is mounted *inside* its namespace. When its last process ends, the kernel drops the whole list, so there is nothing to tidy up.
#
# ## Break it
#
# Propagation belongs to mounts. Ask for it on a plain directory:

# %% tags=["raises-exception"]
# %%child roots
from minidocker.linux import mounts, namespaces

namespaces.unshare("mnt")
mounts.make_private(f"{roots}/web")

# %% [markdown]
# `EINVAL`, "Invalid argument": the path is right, but no mount begins there. Bind the directory to itself, and one does. Lesson 05 needs this trick.
#
# ## Same fact, other tools
#
# `unshare` makes all mounts private unless told otherwise, `findmnt` reads `mountinfo`, and `nsenter` joins a namespace.

# %%
def sh(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    print(" ".join(done.stdout.split()) or f"exit code {done.returncode}")


sh("unshare", "--mount", "sh", "-c", f"mount -t tmpfs tmpfs {desk}; findmnt -n -o FSTYPE,PROPAGATION {desk}")
sh("findmnt", desk)
sh("nsenter", "--target", str(left), "--mount", "cat", f"{desk}/note")

# %% [markdown]
# | ours | shell | docker |
# |---|---|---|
# | `unshare("mnt")` | `unshare --mount` | every `docker run` |
# | `make_slave("/", recursive=True)` | `mount --make-rslave /` | what runc does first |
# | `bind(a, b, read_only=True)` | `mount --bind -o ro a b` | `-v a:b:ro` |
# | `make_slave(b)` | `mount --make-slave b` | `-v a:b:slave` |
#
# What Docker really does: the same calls. A volume is `rprivate` unless you say otherwise, so a disk that the host mounts below it later does not appear in the container.
# One difference: Docker mounts a container's root on the *host*, where `findmnt` shows it, and must unmount it later.
#
# ## Exercises
#
# ### 1. Change: a window on one file
#
# Step 3 showed a directory. Keep a child called `right`, in a mount namespace of its own, with a `tmpfs` on `desk` that holds two *files*, `real` and `window`.
# Show `real` at `window`: read-only there, still writable at its own place.

# %% tags=["exercise"]
# your cell here: %%child --keep right desk

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
# %%child --keep right desk
from minidocker.linux.syscalls import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, mount, unshare

unshare(CLONE_NEWNS)
mount("", "/", "", MS_REC | MS_PRIVATE)
mount("tmpfs", desk, "tmpfs")
for name in ("real", "window"):
    open(f"{desk}/{name}", "w").close()
mount(f"{desk}/real", f"{desk}/window", "", MS_BIND)
mount("", f"{desk}/window", "", MS_REMOUNT | MS_BIND | MS_RDONLY)

# %% [markdown]
# ### 2. Write: `own_mounts()`
#
# It gives the calling process a mount namespace that hears what the host mounts and unmounts, everywhere, and never tells what it mounts itself. Your engine of the last lesson begins with it.

# %% tags=["exercise"]
from minidocker.linux import syscalls


def own_mounts():
    """Take a mount namespace that listens to the host and does not talk."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
from minidocker.linux import syscalls


def own_mounts():
    """Take a mount namespace that listens to the host and does not talk."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)

# %% [markdown]
# ### 3. Explore: where does `/etc/hostname` come from?
#
# The image of `guest` holds no `/etc/hostname`, yet the container has one. Which file of the host is it? Look in `/proc/PID/mountinfo` and put the path into `answer`.

# %% tags=["exercise"]
answer = None  # a path on the host

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
answer = next(entry.root for entry in mounts.mountinfo(guest.pid) if entry.target == "/etc/hostname")
# If /var is a filesystem of its own on your machine, `root` begins there: put "/var" before it.
if not os.path.exists(answer):
    answer = f"/var{answer}"

# %% [markdown]
# ## Summary
#
# A mount namespace is a list of mounts, and starts as a copy of another. Files are not copied. A bind mount is a second entry for the same files, read-only in a second call.
# Shared tells and hears, slave hears, private does neither. A process's "/" may begin anywhere in the tree.
#
# **Glossary.** *Mount*: a filesystem, attached at a directory. *Mount namespace*: one list of mounts. *Bind mount*: one directory at two places.
# *Propagation*: whether changes travel between lists. *Peer*: a mount that hears and tells.
#
# **Read more.** [mount_namespaces(7)](https://man7.org/linux/man-pages/man7/mount_namespaces.7.html), [proc_pid_mountinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html),
# the kernel's own [sharedsubtree](https://docs.kernel.org/filesystems/sharedsubtree.html). Next: a root that holds.

# %%
lab.stop()
