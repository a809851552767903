# %% [markdown]
# # 01 · What is a container: what does `docker run` start?
#
# You run a container, find its process on the host, and look at each of the four things it rests on. 30 minutes.

# %% [markdown]
# **You will**
# - find a container's process from both sides, and show that it is one process with two numbers,
# - name the four pillars of a container, and show on the live kernel what each does and does not do,
# - say what client, host and registry exchange, and what an engine such as Docker automates.

# %% tags=["setup"]
from minidocker.course import check, hint, lab, predict, views

lab.start("01")
engine = lab.engine
web = engine.containers.run("busybox", ["sleep", "1000"], detach=True, name="web", hostname="web", memory="64m")
hostnet = engine.containers.run("busybox", ["sleep", "1000"], detach=True, name="hostnet", network="host")
print(web.name, "is", web.status, "and", hostnet.name, "is", hostnet.status)

# %% [markdown]
# ## The idea
#
# In 2013 Docker made one command of what used to be a day's work: put a program, with all the files it needs, on a machine, and run it there
# apart from all others. The gain is portability (it runs wherever there is a Docker host), consistency (the same files everywhere) and efficiency (no
# second operating system).
#
# Three words carry this lesson. An **image** is the blueprint: files and how to start. A **container** is one running instance of it, isolated by means of
# the kernel (`namespaces(7)`, `cgroups(7)`). A **registry** keeps images for many hosts; Docker Hub is a public one.

# %%
lab.figure("architecture")

# %% [markdown]
# *Figure: client, host and registry, and what passes between them. The client may be on another machine.*
#
# ## 1. One run
#
# Why: before we take it apart, see it whole. The cell asks a container four questions: its process number, its host name, how many processes it sees, and which
# kernel it runs on. `sh`, `ls` and `grep` come from the image `busybox`, a complete userland in one file.

# %% tags=["predict"]
predict(
    "An image of another Linux distribution runs on this host. Which kernel do its programs talk to?",
    ["the one in the image", "the host's", "a small one that the engine starts"],
    answer=1,
    why="An image holds files only, and no kernel among them. All containers of a host share the host's kernel; that is what makes them light.",
)

# %% [markdown]
# This notebook is the client, `engine` its engine, and this machine the host.

# %%
import os

questions = "echo $$; hostname; ls /proc | grep -c '^[0-9]'; uname -r"
answers = engine.containers.run("busybox", ["sh", "-c", questions], hostname="box", remove=True)
pid, hostname, processes, kernel = answers.decode().split()
print(f"pid {pid}, host name {hostname}, {processes} processes, the host's kernel: {kernel == os.uname().release}")

# %% [markdown]
# What happened: the shell is number 1 on a machine called box with three processes: itself, `ls` and `grep`. It looks like a computer of its own.
#
# ## 2. It is a process
#
# Why: is it? The container `web` runs `sleep`. In the kernel there is no object called container; there are processes, and what they see.

# %% tags=["predict"]
predict(
    "`ps` runs on the host. Does it list the `sleep` of the container `web`?",
    ["no: it is inside", "yes, as it lists any other process", "only if Docker's own ps asks"],
    answer=1,
    why="The host sees everything. Isolation is one-way: the container does not see the host's processes, the host sees the container's.",
)

# %% [markdown]
# `/proc/PID/status` is a file that the kernel writes as you read it, see `proc(5)`. Its line `NSpid` has a number for each side. To be sure that
# it is the same process, we compare the clock tick at which it started, asked from the host and from inside.

# %%
status = dict(line.split(":\t", 1) for line in open(f"/proc/{web.pid}/status").read().splitlines())
outside, inside = status["NSpid"].split()
print(f"the host sees {status['Name']} as pid {outside}")
print(f"the container sees {status['Name']} as pid {inside}")
host_tick = open(f"/proc/{web.pid}/stat").read().split()[21]
container_tick = web.exec_run(["cut", "-d", " ", "-f", "22", "/proc/1/stat"]).output.decode().strip()
print("started at the same tick:", host_tick == container_tick)
views.process_tree(web.state["monitorPid"])

# %% [markdown]
# *Figure: the live process tree, from the kernel: `sleep` with both its numbers, below the engine's process that looks after it (lesson 20).*
#
# What happened: one process, two numbers. So no engine is needed to end a container; `kill(2)` from the host will do:

# %%
import signal

victim = engine.containers.run("busybox", ["sleep", "1000"], detach=True)
os.kill(victim.pid, signal.SIGKILL)
print("exit code", victim.wait(), "- the container is", victim.status)

# %% [markdown]
# 137 is 128 + 9, the number of SIGKILL. A container is not a box with processes in it; it is the processes, shown another world. Four things make that world.
#
# ## 3. Namespaces: what it sees
#
# Why: a **namespace** is a view of something that used to be one for the whole machine: process numbers, host name, mounts, network and so on. Each process
# is in one namespace of each of eight kinds. `web` should have its own of every kind, should it not?

# %% tags=["predict"]
predict(
    "Docker starts a container without special options. Which of these does it still share with the host?",
    ["its network", "its users: root inside is root outside", "its process numbers"],
    answer=1,
    why="The user namespace stays the host's unless you ask for another (lesson 07). So root in a container is root, with fewer capabilities.",
)

# %% [markdown]
# `lab.observe` compares the process with this notebook: the links in `/proc/PID/ns`, the root directory, the cgroup, and what it may do.

# %%
lab.observe(web.pid)

# %% [markdown]
# What happened: seven kinds are different, one is the same (two with Docker, which makes no time namespace). Root in `web` is the kernel's real root, held back by what it cannot see and by the
# capabilities that are missing. Lessons 02 to 09 take one line each.
#
# ## 4. cgroups: how much it gets
#
# Why: a **cgroup** is a group of processes that the kernel accounts for and limits together: two applications on one machine can each get certain
# CPU cores and an amount of RAM. `web` was started with `memory="64m"`.

# %% tags=["predict"]
predict(
    "A program in `web` asks how much memory the machine has (`free`, or /proc/meminfo). What is it told?",
    ["64 MiB", "what the host has"],
    answer=1,
    why="A cgroup limits; it does not change what programs see. Programs that size themselves by the machine ask for too much and get killed.",
)

# %% [markdown]
# The limit is a file in the cgroup; we read it in the words of cgroup v2, whichever version this host has.

# %%
from minidocker.linux import cgroups

print("memory.max:", cgroups.open_cgroup(web.cgroup).read("memory.max"), "bytes")
print("in the cgroup:", [open(f"/proc/{pid}/comm").read().strip() for pid in cgroups.open_cgroup(web.cgroup).pids()])
seen = web.exec_run(["grep", "MemTotal", "/proc/meminfo"]).output.decode()
print("the container sees the host's memory:", seen in open("/proc/meminfo").read())

# %% [markdown]
# What happened: the kernel will hold `web` to 67108864 bytes, and tells it about all the memory there is. Namespaces hide, cgroups limit, and neither does
# the other's work. Lessons 10 to 12.
#
# ## 5. Layers: which files it has
#
# Why: an image must travel and be shared. It is a few blobs, each named by the SHA-256 of its content: a **manifest** that lists the others, a configuration, and
# one archive per **layer**. A registry keeps them in repositories: of `debian:12`, `debian` is the repository and `12` a tag, a name for a manifest. This is
# what it sends, here read from the engine's store.

# %%
import hashlib, json


def blob(part):
    return (engine.paths.images / "blobs" / part["digest"].replace(":", "/")).read_bytes()


[entry] = json.loads((engine.paths.images / "index.json").read_text())["manifests"]
manifest = json.loads(blob(entry))
for part in (entry, manifest["config"], *manifest["layers"]):
    right = "sha256:" + hashlib.sha256(blob(part)).hexdigest() == part["digest"]
    print(part["mediaType"].removeprefix("application/vnd.oci.image."), "- is what its digest says:", right)

# %% [markdown]
# Whoever has the digest can check every byte, whoever sent it. The engine unpacks each layer once.

# %% tags=["predict"]
predict(
    "An image has 200 MB. Ten containers of it run. How much disk do they need for their files?",
    ["2,000 MB", "200 MB and what each of them writes", "200 MB, and they must not write"],
    answer=1,
    why="The layers are immutable and shared. What a container changes is copied to a directory of its own first: copy-on-write.",
)

# %% [markdown]
# Compare one file in two containers by its inode, the kernel's number for a file. Then let `web` change something.

# %%
inodes = {os.stat(f"/proc/{one.pid}/root/bin/busybox").st_ino for one in (web, hostnet)}
print("/bin/busybox of both is one file:", len(inodes) == 1)
web.exec_run(["sh", "-c", "echo hello > /etc/motd; rm /bin/vi"])
upper = web.home / "upper"
print("web's own layer:", sorted(str(path.relative_to(upper)) for path in upper.rglob("*")))
print("/bin/vi is still there for hostnet:", os.path.lexists(f"/proc/{hostnet.pid}/root/bin/vi"))

# %% [markdown]
# What happened: `web` owns what it changed and no more, even a note that says "`bin/vi` is gone". Remove the container and that goes with it. Lessons 13 and 14.
#
# ## 6. A virtual network: whom it reaches
#
# Why: with its own network namespace a container has network links, addresses and ports of its own, and so its own `localhost`. `hostnet` was started with
# `network="host"`. The notebook will listen on 127.0.0.1.

# %% tags=["predict"]
predict(
    "`web` connects to 127.0.0.1, to a port on which this notebook listens. What happens?",
    ["it gets through: it is the same machine", "connection refused"],
    answer=1,
    why="127.0.0.1 is the loopback of one's own network namespace, and nobody listens there. The most frequent puzzle of container networks.",
)

# %% [markdown]
# `nc` connects, and then runs `true` instead of talking.

# %%
import socket

with socket.create_server(("127.0.0.1", 0)) as listener:
    call = ["nc", "-w", "2", "127.0.0.1", str(listener.getsockname()[1]), "-e", "true"]
    for one in (web, hostnet):
        tried = one.exec_run(call)
        print(one.name, "gets through:", tried.exit_code == 0, tried.stderr.decode().strip())

# %% [markdown]
# Apart is safe, but somebody must be able to talk. The fourth pillar is a **virtual bridge**: a switch made of software. Each container gets one end
# of a virtual cable, the bridge the other. Three `ip` commands, in a network namespace that is gone after the cell:

# %%
# %%child
import json, subprocess
from minidocker.linux import syscalls

syscalls.unshare(syscalls.CLONE_NEWNET)
for words in ("add bridge0 type bridge", "add cable type veth peer name eth0", "set cable master bridge0"):
    subprocess.run(["ip", "link", *words.split()], check=True)
links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
print("plugged into bridge0:", [link["ifname"] for link in links if link.get("master") == "bridge0"])

# %% [markdown]
# What happened: one end is plugged into the bridge; the other, `eth0`, would be moved into a container. Lessons 09, 18 and 19.
#
# ## The engine's version
#
# None of these calls is secret or new, but there are many, their order matters, and each has its traps. That is what an engine **automates**. This is
# ours, at the very top:

# %%
lab.source(type(engine.containers).run)

# %% [markdown]
# One `run`, as its processes report it. Most steps are mounts; these seven carry the pillars.

# %%
import contextlib, io

with contextlib.redirect_stdout(io.StringIO()) as told, lab.trace():
    engine.containers.run("busybox", ["true"], remove=True, memory="64m")
steps = [line for line in told.getvalue().splitlines() if not line.startswith(" ")]
lab.host(f"{len(steps)} steps")
for words in ("write the bundle", "clone with new namespaces", "enter the cgroup", "mount overlay", "pivot_root", "capabilities", "execve"):
    who = next(line.split(":")[0] for line in steps if words in line)
    print(f"{who:8}{words}")
lab.figure("pillars")

# %% [markdown]
# *Figure: connecting the dots. Your program stands on four pillars and the host's kernel; the engine puts it together, so that you need not know how.*
#
# ## Break it
#
# A limit for real: at most three processes. The shell is one; it starts four more.

# %% tags=["raises-exception"]
from minidocker.errors import ContainerFailed

try:
    engine.containers.run("busybox", ["sh", "-c", "for i in 1 2 3 4; do sleep 1 & done; wait"], pids_limit=3)
except ContainerFailed as failed:
    print(failed.stderr.decode(), end="")
    raise

# %% [markdown]
# The kernel refused `fork(2)` with `EAGAIN`, and the shell gave up. Nobody watches the container: the limit is checked in the system call itself.
#
# ## Same fact, other tools
#
# Docker is one implementation of several: Podman, containerd, CRI-O under Kubernetes, LXC, systemd-nspawn; FreeBSD's jails are older than all of them. Even
# the shell can do it. The questions of step 1, put to `unshare(1)`, with the image's unpacked layer as root:

# %%
import subprocess

[layer] = engine.snapshots.lower_dirs(engine.images.get("busybox"))
kinds = ["--pid", "--uts", "--ipc", "--net", "--cgroup"]
command = ["unshare", "--fork", *kinds, "--mount-proc", "--root", layer, "sh", "-c", "hostname box; " + questions]
answers = subprocess.run(command, capture_output=True, text=True, check=True).stdout
pid, hostname, processes, kernel = answers.split()
print(f"pid {pid}, host name {hostname}, {processes} processes, the host's kernel: {kernel == os.uname().release}")

# %% [markdown]
# | here | shell | docker |
# |---|---|---|
# | `engine.containers.run` | `unshare`, `mount`, `ip`, ... | `docker run` |
# | `web.pid` | `ps`, `lsns` | `docker inspect`, `docker top` |
# | `web.exec_run` | `nsenter --all --target PID` | `docker exec web` |
# | `memory="64m"` | `echo 64M > memory.max` | `--memory 64m` |
#
# What Docker really does here: the client sends the request as HTTP to `dockerd`, which pulls a missing image over HTTPS and has `containerd` and `runc` start the
# process (lesson 20). Here the client is this notebook, the engine a Python package that it imports, and the image was made on this machine; a daemon and
# registries come in lessons 15 and 22. Docker also joins each container to a bridge; ours has `none` and `host` so far.
#
# ## Exercises
#
# ### 1. Change: your own options
#
# Change the line that starts `web`: keep a container in `mine` that runs in the background, has the host name `mine`, and may use 32 MiB of memory.

# %% tags=["exercise"]
mine = None  # engine.containers.run("busybox", ...)

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
mine = engine.containers.run("busybox", ["sleep", "1000"], detach=True, hostname="mine", memory="32m")

# %% [markdown]
# ### 2. Write: `inside_pid(pid)`
#
# Given a process's number on the host, return the number it has in its own PID namespace, as an `int`. For a process of the host that is the same number.
# Namespaces can be nested, and a process then has more than two. Your engine in the last lesson will use it.

# %% tags=["exercise"]
def inside_pid(pid):
    """The number that process pid has in its own PID namespace."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
def inside_pid(pid):
    """The number that process pid has in its own PID namespace."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("NSpid:"):
            return int(line.split()[-1])

# %% [markdown]
# ### 3. Explore: what does `network="host"` share?
#
# Which namespaces does `hostnet` share with this notebook? Give their names as they stand in `/proc/PID/ns`.

# %% tags=["exercise"]
shared = None  # {"...", ...}

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
from minidocker.linux import namespaces

shared = {name for name, same in namespaces.compare(hostnet.pid, "self").items() if same}

# %% [markdown]
# ## Summary
#
# A container is processes on the host's kernel. Namespaces decide what they see, a cgroup how much they get, layers which files they have, a bridge whom they
# reach. The client asks, the host runs, the registry keeps images. Docker is one implementation: it automates what the kernel offers to all.
#
# **Glossary.** *Image*: files and how to start, in layers. *Registry*: keeps images, by name and digest. *Host*: the Linux machine with the engine. *Namespace*: a view.
# *cgroup*: a group with limits. *Bridge*: a switch made of software.
#
# **Read more.** `namespaces(7)`, `cgroups(7)`, `unshare(1)`; the OCI image and runtime specifications; `minidocker/engine/containers.py`.

# %%
lab.stop()
