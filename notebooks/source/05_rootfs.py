# %% [markdown]
# # 05 · A root of its own: why is chroot not enough?
#
# You climb out of a chroot, then build a root that has no way out, and furnish it. 40 minutes.

# %% [markdown]
# **You will**
# - escape from a chroot with four system calls, and say why the kernel lets you,
# - close that way with pivot_root, and a second way with a PID namespace,
# - give a root its `/proc` and `/dev`, and hide from root what must not be touched.

# %% tags=["setup"]
import os
import shutil
import subprocess

from minidocker.course import check, hint, lab, predict
from minidocker.linux import mounts

lab.start("05")
rootfs, secret, notebook = f"{lab.dir}/rootfs", f"{lab.dir}/secret", os.getpid()
for name in ("bin", "dev", "etc", "proc", "tmp"):
    os.makedirs(f"{rootfs}/{name}")
shutil.copy(shutil.which("busybox"), f"{rootfs}/bin/busybox")
for command in ("cat", "ls", "mount", "ps", "sh", "umount", "wc"):
    os.symlink("busybox", f"{rootfs}/bin/{command}")
print("a file of the host, outside of rootfs", file=open(secret, "w"))

# %% [markdown]
# Now `rootfs` is a root filesystem: five directories and one program. busybox is many commands in one static file, and acts as the one by whose name it is called.
#
# ## The idea
#
# For each process the kernel keeps its **root directory**, where paths that begin with "/" begin ([path_resolution(7)](https://man7.org/linux/man-pages/man7/path_resolution.7.html)).
# **chroot** moves that one pointer of one process. **pivot_root** changes the mount namespace instead: another mount becomes the top of the tree ([pivot_root(2)](https://man7.org/linux/man-pages/man2/pivot_root.2.html)).

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: after chroot the host's tree is still there, above the process's "/". After pivot_root there is nothing above.*
#
# ## 1. chroot moves a pointer
#
# Why: it has been in Unix since 1979, it is one system call, and it looks like a container. Put a process into `rootfs`.

# %%
# %%child --keep jailed rootfs
import os

os.chroot(rootfs)
os.chdir("/")
os.system("echo its /: $(ls /)")
print("/.. is /:", os.path.samefile("/..", "/"))

# %% [markdown]
# `ls` was the busybox in `rootfs`, and ".." leads nowhere. What has changed for the kernel?

# %%
lab.observe(lab.child("jailed").pid)

# %% [markdown]
# What happened: the root directory is another one. (The mount points differ because, as in lesson 04, only those below the root are listed.) Every namespace is the host's.
#
# ## 2. Climb out
#
# Why: ".." stops at the process's own root. It stops there because the kernel compares, at each step up, "is this the root?" A process that is never *at* its root is never stopped.
#
# The process is root and may call `chroot` again.

# %% tags=["predict"]
predict(
    'It calls chroot("/door") but stays where it is, now outside of its own root. Then chdir(".."), many times. Where does it arrive?',
    ["still at rootfs: .. stops there", "at the top of the host's tree", "nowhere: chdir fails"],
    answer=1,
    why="Its root is the door, and on the way up it never passes the door. Nothing else stops it but the top of the mount namespace.",
)

# %% [markdown]
# Four system calls: mkdir, chroot, chdir, chroot.

# %%
# %%child --in jailed secret
os.makedirs("/door", exist_ok=True)
os.chroot("/door")                  # the root moves down, the working directory does not
for _ in range(64):
    os.chdir("..")
os.chroot(".")
print("secret:", open(secret).read(), end="")

# %% [markdown]
# What happened: the jailed process reads a file of the host, by the host's path.

# %%
print("its root is the host's:", os.path.samefile(f"/proc/{lab.child('jailed').pid}/root", "/"))
lab.figure("climb")

# %% [markdown]
# *Figure: three states. Root and working directory at rootfs; then the root moves below the working directory; then nothing stops the way up.*
#
# This is no bug: [chroot(2)](https://man7.org/linux/man-pages/man2/chroot.2.html) warns of it. It takes the capability `CAP_SYS_CHROOT`, which Docker leaves to a container by default. So a container needs something else.
#
# ## 3. pivot_root moves the tree
#
# Why: if nothing is above the root, there is nothing to climb to. The new root must be a mount (hence the bind to itself), in a mount namespace of its own.
# `pivot_root(".", ".")` puts the new root at the top and lays the old one over it; `umount2` takes the old one away.

# %%
# %%child --keep moved rootfs
import os
from minidocker.linux.syscalls import CLONE_NEWNS, MNT_DETACH, MS_BIND, MS_PRIVATE, MS_REC, mount, pivot_root, umount2, unshare

unshare(CLONE_NEWNS)
mount("", "/", "", MS_REC | MS_PRIVATE)
mount(rootfs, rootfs, "", MS_BIND | MS_REC)
os.chdir(rootfs)
pivot_root(".", ".")
umount2(".", MNT_DETACH)
os.chdir("/")
os.system("echo its /: $(ls /)")

# %% [markdown]
# The three states of its mount namespace, and its list now:

# %%
print("mounts in its namespace:", len(mounts.mountinfo(lab.child("moved").pid)))
lab.figure("pivot")

# %% [markdown]
# *Figure: rootfs as a mount on the old root; rootfs as the root with the old one on top; rootfs alone.*

# %% tags=["predict"]
predict(
    "The same climb again, from here. Where does it arrive?",
    ["at the host's top, as before", "at rootfs", "it is killed"],
    answer=1,
    why="The climb goes to the top of the mount namespace, and that is rootfs now. Climbing still works; there is nowhere to go.",
)

# %% [markdown]
# The very same calls:

# %%
# %%child --in moved secret
os.makedirs("/door", exist_ok=True)
os.chroot("/door")
for _ in range(64):
    os.chdir("..")
os.chroot(".")
print("arrived at:", sorted(os.listdir("/")))
print("secret there:", os.path.exists(secret))

# %% [markdown]
# What happened: the first way out is closed, by taking away the goal and not by forbidding the walk.
#
# ## 4. A door in /proc
#
# Why: without `/proc` not even `ps` works, so every container has one. But `moved` is still in the host's PID namespace: its `/proc` shows the host's processes. This notebook is one of them.

# %% tags=["predict"]
predict(
    "From inside, chroot to /proc/PID/root, with the notebook's PID. Where does it lead?",
    ["to rootfs: a process sees only its own mounts", "to the host's root", "nowhere: the link is dead inside"],
    answer=1,
    why="This link holds no path that could be looked up. The kernel jumps straight to where that process's root is.",
)

# %% [markdown]
# Mount it, and try the notebook's door.

# %%
# %%child --in moved notebook secret
mount("proc", "/proc", "proc")
os.chroot(f"/proc/{notebook}/root")
os.chdir("/")
print("secret:", open(secret).read(), end="")

# %% [markdown]
# What happened: a second escape, from a perfect root. Lesson 04 looked into a child through this door; it opens both ways. What is missing is a **PID namespace** (lesson 02): a process that has no number inside has no door.

# %%
# %%child rootfs notebook
import os
from minidocker.linux import mounts, namespaces, syscalls
from minidocker.runtime.rootfs import enter_rootfs

namespaces.unshare("mnt", "pid")
mounts.make_private("/", recursive=True)
mounts.bind(rootfs, rootfs)
if os.fork() == 0:                  # it is pid 1 of the new PID namespace
    enter_rootfs(rootfs)
    syscalls.mount("proc", "/proc", "proc")
    print("processes in /proc:", [name for name in os.listdir("/proc") if name.isdigit()])
    os._exit(0)
os.wait()

# %% [markdown]
# (`enter_rootfs` is the engine's name for the last four calls of step 3.) Namespaces lean on each other: no single one makes a container.
#
# ## 5. /dev: what is a device?
#
# Why: `rootfs/dev` is empty, and half of all shell scripts write to `/dev/null`.

# %% tags=["predict"]
predict(
    "With an empty /dev, what does `echo lost > /dev/null` do?",
    ["it fails: no such device", "it throws the text away, as always", "it makes a file called null with five bytes in it"],
    answer=2,
    why="/dev is a directory like others. Without a device of that name, > makes an ordinary file.",
)

# %% [markdown]
# First without a device, then with one: [mknod(2)](https://man7.org/linux/man-pages/man2/mknod.2.html) makes it.

# %%
# %%child --keep room rootfs
import os, stat
from minidocker.linux import mounts, namespaces, syscalls
from minidocker.runtime.rootfs import enter_rootfs

namespaces.unshare("mnt")
mounts.make_private("/", recursive=True)
mounts.bind(rootfs, rootfs)
enter_rootfs(rootfs)
os.system("echo lost > /dev/null; wc -c /dev/null")
syscalls.mount("tmpfs", "/dev", "tmpfs", syscalls.MS_NOSUID)
os.mknod("/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
os.system("echo lost > /dev/null; wc -c /dev/null")

# %% [markdown]
# What happened: a device is a kind (character or block) and two numbers that choose the kernel's driver. 1:3 throws everything away; the name is only a name. It lives on a `tmpfs`, so nothing of it gets into the image.
#
# ## 6. Hide from root what root must not touch
#
# Why: much of `/proc` is about the whole machine, in every namespace. `/proc/sys/kernel/panic` sets when the host reboots; `/proc/interrupts` counts the keys that are pressed at it.
# File permissions do not help against root. Mounts do: one **masked** by `/dev/null`, one bound to itself read-only.

# %% tags=["predict"]
predict(
    "Then root inside simply unmounts the mask again. What happens?",
    ["the kernel refuses: it is a mask", "the file is back", "nothing: the mount is in use"],
    answer=1,
    why="A mask is a mount like any other, and this root may unmount. It lacks no capability yet.",
)

# %% [markdown]
# Before, after, and after the unmount:

# %%
# %%child --in room
def look(when):
    size = len(open("/proc/interrupts").read())
    print(f"{when}: interrupts {'shown' if size else 'empty'}, panic writable {os.access('/proc/sys/kernel/panic', os.W_OK)}")


syscalls.mount("proc", "/proc", "proc")
look("before")
syscalls.mount("/dev/null", "/proc/interrupts", "", syscalls.MS_BIND)
mounts.bind("/proc/sys", "/proc/sys", read_only=True)
look("masked")
syscalls.umount2("/proc/interrupts")
look("unmasked")

# %% [markdown]
# What happened: masks hold only against a root that may not mount. So the engine, like Docker, takes `CAP_SYS_ADMIN` away before the program starts (lesson 08 shows how).
#
# ## The engine's version
#
# The calls of step 3, but for the bind: the container's root is an overlay, and so a mount already.

# %%
from minidocker.runtime.rootfs import enter_rootfs as of_the_engine

lab.source(of_the_engine)

# %% [markdown]
# What a real container's first process does about its root (a selection), and its root's attempt to unmask:

# %% tags=["setup"]
with lab.trace("pivot", "unmount", "mount proc", "interrupts", "/proc/sys"):
    guest = lab.engine.containers.run("busybox", ["sleep", "300"], detach=True)
print(guest.exec_run(["umount", "/proc/interrupts"]).stderr.decode(), end="")

# %% [markdown]
# What happened: the same steps in the same order. This time "Operation not permitted": the capability is gone.
#
# ## Break it
#
# Leave the bind out. The new root is a plain directory then, here on a `tmpfs` of the child's own:

# %% tags=["raises-exception"]
# %%child rootfs
import os
from minidocker.linux import mounts, namespaces, syscalls
from minidocker.runtime.rootfs import enter_rootfs

namespaces.unshare("mnt")
mounts.make_private("/", recursive=True)
syscalls.mount("tmpfs", f"{rootfs}/tmp", "tmpfs")
os.mkdir(f"{rootfs}/tmp/plain")
enter_rootfs(f"{rootfs}/tmp/plain")

# %% [markdown]
# `EINVAL` has several reasons here. This one: the new root is no mount point. With a directory on the host's root filesystem itself you get `EBUSY` instead; the cure is the same bind.
# On a machine with systemd, `EINVAL` may also mean that you forgot `make_private`: a shared root may not be swapped, or the swap would spread to the host.
#
# ## Same fact, other tools
#
# A container's root with nothing but shell commands. After `pivot_root` each command comes from the new root.

# %%
script = f"""mount --bind {rootfs} {rootfs}; cd {rootfs}; mkdir -p tmp/old; pivot_root . tmp/old; cd /
umount -l /tmp/old; mount -t proc proc /proc; echo mounts: $(cat /proc/mounts | wc -l); ps -o comm"""
path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
print(subprocess.run(["unshare", "--mount", "--pid", "--fork", "sh", "-c", script], env=path, capture_output=True, text=True).stdout, end="")

# %% [markdown]
# | ours | shell | docker |
# |---|---|---|
# | `os.chroot(d)` | `chroot d`, `unshare --root=d` | never by itself |
# | `enter_rootfs(d)` | `pivot_root . old; umount -l old` | every `docker run` |
# | `mask("/proc/keys")` | `mount --bind /dev/null /proc/keys` | by default; not with `--privileged` |
# | remount "/" read-only | `mount -o remount,bind,ro /` | `--read-only` |
#
# What Docker really does: runc calls `pivot_root(".", ".")` as here, and makes the old root a slave first, so that unmounting it cannot reach the host. Where the host's root is a RAM disk, pivot_root is
# impossible, and it moves the mount and uses chroot (`--no-pivot`). One difference: Docker lets root inside make devices (`CAP_MKNOD`), and has a device cgroup refuse to open any but the harmless ones: else it could make the host's disk, and read it. This engine has no such rules yet, so it takes `CAP_MKNOD` away.
#
# ## Exercises
#
# ### 1. Change: a full disk
#
# Step 5 made one device. Keep a child called `right` in a root of its own, with a `tmpfs` on `/dev` that holds `null` and `full`. `/dev/full` is character device 1:7: whoever writes to it hears that the disk is full.

# %% tags=["exercise"]
# your cell here: %%child --keep right rootfs

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
# %%child --keep right rootfs
import os, stat
from minidocker.linux import mounts, namespaces, syscalls
from minidocker.runtime.rootfs import enter_rootfs

namespaces.unshare("mnt")
mounts.make_private("/", recursive=True)
mounts.bind(rootfs, rootfs)
enter_rootfs(rootfs)
syscalls.mount("tmpfs", "/dev", "tmpfs", syscalls.MS_NOSUID)
os.mknod("/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
os.mknod("/dev/full", stat.S_IFCHR | 0o666, os.makedev(1, 7))

# %% [markdown]
# ### 2. Write: `enter_rootfs(rootfs)`
#
# `rootfs` is any directory. The calling process has a mount namespace of its own already, with private mounts, and may stand anywhere. Afterwards `rootfs` is its root, it stands in it, and nothing of the old root can be reached.
# The check climbs as you did. Your engine of the last lesson stands on this function.

# %% tags=["exercise"]
import os

from minidocker.linux import syscalls


def enter_rootfs(rootfs):
    """Make the directory rootfs the root of this mount namespace and drop the old one."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
import os

from minidocker.linux import syscalls


def enter_rootfs(rootfs):
    """Make the directory rootfs the root of this mount namespace and drop the old one."""
    syscalls.mount(rootfs, rootfs, "", syscalls.MS_BIND | syscalls.MS_REC)
    os.chdir(rootfs)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")

# %% [markdown]
# ### 3. Explore: what is hidden from `guest`?
#
# Which files and directories below `/proc` are masked in the container `guest` on this machine? Ask the kernel, not a configuration. Put their paths into the list `masked`.

# %% tags=["exercise"]
masked = None  # a list of paths, as the container sees them

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
masked = [
    entry.target
    for entry in mounts.mountinfo(guest.pid)
    if entry.target.startswith("/proc/") and entry.fstype == "tmpfs"  # /dev/null (root "/null") lies on a tmpfs too
]

# %% [markdown]
# ## Summary
#
# chroot moves a pointer, and whoever stands above it walks out. pivot_root moves the tree's top, and nothing is left to walk to. `/proc/PID/root` is another door, which a PID namespace closes.
# Devices are numbers, masks are mounts, and both need a root with fewer capabilities.
#
# **Glossary.** *Root directory*: where a process's "/" is. *chroot*: moves it. *pivot_root*: swaps the top mount of a namespace. *Device node*: a kind and two numbers. *Masked path*: hidden under another mount.
#
# **Read more.** [pivot_root(2)](https://man7.org/linux/man-pages/man2/pivot_root.2.html), [chroot(2)](https://man7.org/linux/man-pages/man2/chroot.2.html),
# the OCI runtime specification's [masked paths](https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#masked-paths). Next: time and cgroups.

# %%
lab.stop()
