# %% [markdown]
# # 10 · Memory: what happens when a container wants too much?
#
# A limit on memory is one number in one file. What the kernel does when it is reached is a story: you watch it live, find out who is
# killed and why, and move the limit of a running container. 40 minutes.

# %% [markdown]
# **You will**
# - limit a cgroup's memory, and tell what is charged to it from what is only promised,
# - watch an OOM kill as it happens, and prove afterwards who was killed, and when,
# - change the limit of a running container, and predict when the engine has to refuse.

# %% tags=["setup"]
from minidocker.course import check, hint, lab, predict, views
from minidocker.errors import MissingFeature
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory, pressure

lab.start("10")
MIB = 1 << 20
room_name, wide_name, narrow_name, cage_name = (f"{lab.name}/{name}" for name in ("room", "wide", "narrow", "cage"))
file_name = str(lab.dir / "big")

# %% [markdown]
# ## The idea
#
# Every page of memory that a process touches is **charged** to its cgroup (`cgroups(7)`; the long text is the kernel's `cgroup-v2.rst`).
# If that would exceed the limit, the kernel first **reclaims**: it takes back what can be had again, such as the cache of files. If there
# is nothing, the **OOM killer** (out of memory) ends a process.

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: a process touches a new page; the kernel charges it to the cgroup. Within the limit the process goes on; over it the kernel reclaims cache or swaps out and tries again; if nothing is left, the OOM killer ends the largest process, and there is room again.*
#
# ## 1. A promise costs nothing
#
# Programs ask for memory long before they use it. What counts for a limit?

# %% tags=["predict"]
predict(
    "A process in a cgroup that is limited to 48 MiB maps 64 MiB of memory. What happens?",
    ["it is killed", "mmap fails with ENOMEM", "it succeeds, and nothing is charged"],
    answer=2,
    why="A mapping is a promise. The kernel charges a page when it is touched for the first time.",
)

# %% [markdown]
# A cgroup is a directory, and its limit a file in it. On v2 it is `memory.max`; where the controllers are still on v1 it is
# `memory.limit_in_bytes`. We write it by hand once. From then on our module `memory` does; it speaks v2's language on both.

# %%
from pathlib import Path

room = cgroups.open_cgroup(room_name)
room.create()
v2 = cgroups.mode() == "v2"
file = Path(room.path, "memory.max") if v2 else Path(room.directory("memory"), "memory.limit_in_bytes")
file.write_text(str(48 * MIB))
lab.host(f"echo {48 * MIB} > {file}")
print(f"memory.max: {memory.get_max(room) // MIB} MiB, memory.current: {memory.current(room) // MIB} MiB")

# %% [markdown]
# A process joins it, maps 64 MiB, touches half of them, one byte in each page, and gives all of it back.

# %%
# %%child room_name
import mmap, os
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory

room = cgroups.open_cgroup(room_name)
room.join(os.getpid())
before, mib = memory.current(room), 1 << 20
promise = mmap.mmap(-1, 64 * mib)
promise.madvise(mmap.MADV_NOHUGEPAGE)  # pages of 4 KiB only, so that we can count
print("64 MiB promised, charged:", round((memory.current(room) - before) / mib))
promise[: 32 * mib : mmap.PAGESIZE] = bytes(32 * mib // mmap.PAGESIZE)
print("32 MiB touched,  charged:", round((memory.current(room) - before) / mib))
promise.close()
print("all given back,  charged:", round((memory.current(room) - before) / mib), "- memory.peak:", memory.peak(room) // mib)

# %% [markdown]
# What happened: the limit is about use, not about promises. Therefore `malloc` nearly always succeeds in a container, and the trouble
# comes later, at some harmless assignment. `memory.peak` remembers the highest use.
#
# ## 2. Reclaim: the limit that nobody feels, or nearly
#
# Pages of files that were read stay in memory as a cache, charged to whoever read them first. We write a file of 64 MiB, and have it read
# three times in two cgroups: `narrow` has 32 MiB, `wide` has no limit.

# %% tags=["predict"]
predict(
    "A process in narrow (32 MiB) reads a file of 64 MiB. What happens?",
    ["it is killed halfway", "it reads all of it, the cache makes room", "read fails with ENOMEM"],
    answer=1,
    why="A clean page of a file can be had again from the disk. The kernel drops old ones instead of killing anybody.",
)

# %% [markdown]
# One reader for each, one after the other. `posix_fadvise` empties the cache, so that each begins cold.

# %%
# %%child wide_name narrow_name file_name
import os
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory
file = os.open(file_name, os.O_CREAT | os.O_RDWR)
os.write(file, bytes(64 << 20))
for cgroup, limit in (cgroups.open_cgroup(wide_name), None), (cgroups.open_cgroup(narrow_name), 32 << 20):
    cgroup.create()
    memory.set_max(cgroup, limit)
    os.fsync(file), os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    if os.fork() == 0:
        cgroup.join(os.getpid())
        print("MiB read:", sum(len(os.pread(file, 1 << 20, mib << 20)) for mib in [*range(64)] * 3) >> 20)
        os._exit(0)
    os.wait()

# %% [markdown]
# What did it cost? `memory.events` counts: `max` how often the limit held something back, `oom_kill` how often it killed. In
# `memory.stat`, a refault is a page that was dropped and had to be read again. And `memory.pressure` tells for how long processes
# stood waiting for memory (**PSI**, pressure stall information; the kernel's `psi.rst`).

# %%
from contextlib import suppress

for cgroup in cgroups.open_cgroup(wide_name), cgroups.open_cgroup(narrow_name):
    events, pages = memory.events(cgroup), memory.stat(cgroup)["workingset_refault_file"]
    print(f"{cgroup.name.rpartition('/')[2]:7} held back: {events.max > 0}, much read again: {pages > 8000}, killed: {events.oom_kill}")
    with suppress(MissingFeature):  # a kernel without PSI
        lab.host(f"{pages} refaults, peak {memory.peak(cgroup) // MIB} MiB, waited {pressure.read(cgroup, 'memory').some.total_us / 1000:.1f} ms")
    cgroup.remove()
room.remove()
cage = cgroups.open_cgroup(cage_name)  # for step 3
cage.create()
memory.set_max(cage, 96 * MIB)
memory.set_swap_max(cage, 0)

# %% [markdown]
# What happened: a container at its limit can look healthy and be slow: it reads the same pages again and again. `memory.current` near
# `memory.max` is no alarm, the cache fills whatever it gets. Pressure is the alarm, and hybrid hosts have it for each cgroup, too.
#
# ## 3. Who is killed?
#
# Memory that a program wrote to is in no file. It can go to **swap** (`swapon(8)`), where there is some and `memory.swap.max` allows
# it. Else it has to stay. In `cage` (96 MiB, no swap) an elephant holds 80 MiB and sleeps. Then a mouse takes 24, page by page.

# %% tags=["predict"]
predict(
    "The mouse's next page does not fit any more. Who is killed?",
    ["the mouse: it asks", "the elephant: it is the largest", "nobody: the mouse has to wait"],
    answer=1,
    why="The OOM killer wants room with one kill, so it takes the process that uses most. It may well be the innocent one.",
)

# %% [markdown]
# The director of this play stays outside of the cage. It hangs up a bell first: `OomWatch` waits for the kernel's notice of a kill.

# %%
# %%child --keep director cage_name
import mmap, os, signal, time
from minidocker.linux import cgroups, syscalls
from minidocker.linux.cgroups import memory, oom
cage = cgroups.open_cgroup(cage_name)
def animal(name, mib, then):
    if pid := os.fork():
        return pid
    syscalls.set_process_name(name)
    cage.join(os.getpid())
    hoard = mmap.mmap(-1, mib << 20)
    hoard.madvise(mmap.MADV_NOHUGEPAGE)
    hoard[:: mmap.PAGESIZE] = bytes(len(hoard) // mmap.PAGESIZE)  # touch each page
    os._exit(then() or 0)

# %% [markdown]
# Who was killed? Their parent learns it from the wait status. Else the name stands only in the kernel's log (`/dev/kmsg`), with the time.

# %%
# %%child --in director
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # all on one core
bell, (full, filled) = oom.OomWatch(cage), os.pipe()
elephant = animal("elephant", 80, lambda: (os.write(filled, b"x") and signal.alarm(60)) or signal.pause())
os.read(full, 1)
os.nice(19)  # a patient mouse: it lets the dying go first
mouse = animal("mouse", 24, lambda: None)
ended = dict((os.wait(), os.wait()))
print("the elephant was ended by", signal.Signals(ended[elephant]).name)
print("this host: the mouse was ended by", signal.Signals(ended[mouse]).name if ended[mouse] else "nobody")
print("the bell has rung:", bell.kills() > 0)
for victim in bell.victims():
    print(f"this host: the kernel's log says {victim.comm}, pid {victim.pid}, {time.time() - victim.time:.2f} s ago")
bell.close()

# %% [markdown]
# What happened: the mouse got its memory because a sleeper died for it. (A mouse in a hurry, that asks again while the elephant is still
# dying, may be taken as well.) Size decides, corrected by `/proc/PID/oom_score_adj`: from -1000 (never) to 1000 (first). Anybody may
# raise it; lowering it needs `CAP_SYS_RESOURCE`.
#
# ## 4. A brake before the wall
#
# Beside the wall v2 has a brake, `memory.high`: above it processes reclaim and are put to sleep at each step, but not killed. Somebody
# gets time to act. v1 has nothing like it: on a hybrid host, where `lab.start` said so, the same process runs without a brake. It grows to
# 17 MiB, 1 MiB over the brake, and measures the last one by the clock.

# %%
# %%child cage_name
import os, time
from contextlib import suppress
from minidocker.errors import MissingFeature
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory
cage = cgroups.open_cgroup(cage_name)
cage.join(os.getpid())
with suppress(MissingFeature):
    memory.set_high(cage, 16 << 20)
hoard = [(time.monotonic(), b"x" * (1 << 20)) for _ in range(17)]
print(f"this host: the last MiB took {(time.monotonic() - hoard[-1][0]) * 1000:.1f} ms, high was passed {memory.events(cage).high} times")
print("MiB reached:", len(hoard))
with suppress(MissingFeature):
    memory.set_high(cage, None)

# %% [markdown]
# What happened: nobody died. Without the brake the last MiB takes a millisecond; with it the process naps at every step, the longer the
# more it is over. Two more files protect instead of limiting: below `memory.low` nothing is reclaimed here while others have something to
# give, below v2's `memory.min` nothing at all.
#
# ## 5. A container at the wall, live
#
# Now containers. `hungry(mib)` is a program that takes 1 MiB after the other and then sleeps. `eater` wants 64 MiB and may have 32; its
# neighbour wants 12 and may have 48. By Docker's rule `--memory 32m` alone allows 32 MiB of swap on top, so we set `memory_swap`, the sum
# of both. `lab.watch` samples the two ten times a second while the notebook goes on. (`attic` waits for exercise 3.)

# %% tags=["setup"]
def hungry(mib):
    step = 'hoard[n++] = sprintf("%1048576s", ""); system("usleep 40000")'
    return ["awk", f'BEGIN {{ while (n < {mib}) {{ {step} }} print "full"; fflush(); system("sleep 1000") }}']

def start(name, command, limit, **options):
    for old in lab.engine.containers.list(all=True):
        if old.name == name:
            old.remove(force=True)
    return lab.engine.containers.run("busybox", command, detach=True, name=name, memory=limit, memory_swap=limit, **options)

attic = start("attic", ["sh", "-c", "head -c 25165824 /dev/zero > /dev/shm/boxes; exec sleep 1000"], "64m")
eater, neighbour = start("eater", hungry(64), "32m"), start("neighbour", hungry(12), "48m")
plot = lab.watch(eater, neighbour)
plot

# %% [markdown]
# The plot moves by itself. This cell waits for the end and asks everybody who knows something: the exit code, the engine, its log of
# events.

# %%
print("exit code:", eater.wait(timeout=60), "- OOMKilled:", eater.oom_killed)
print("neighbour:", neighbour.status, "- OOMKilled:", neighbour.oom_killed)
past = lab.engine.events(since=0, follow=False, filters={"container": ["eater"]})
print("events of eater:", *dict.fromkeys(event.action for event in past))
plot.wait(3)
plot.picture("The eater at its limit")

# %% [markdown]
# *Figure: the memory of the eater rises in a straight line up to its dashed limit of 32 MiB, where red marks say "OOM kill" and "eater ended". The neighbour's line rises to 12 MiB and goes on.*
#
# What happened: the kill stayed inside of one cgroup, and the neighbour never noticed. That is what limits are
# for: without them the whole machine would have run out, and the kernel would have chosen among everybody.
#
# ## 6. Move the limit while it runs
#
# `box` takes 24 MiB and may have 64. The slider calls `box.update(...)`, as `docker update` does, with each value. Drag it, and look at the
# dashed line of the plot.

# %%
from IPython.display import display

box = start("box", hungry(24), "64m")

def set_limit(mib):
    box.update(memory=f"{mib}m", memory_swap=f"{mib}m")

follow = lab.watch(box)
display(follow)
slider = lab.slider("memory.max, MiB", 8, 64, value=64, action=set_limit)
slider

# %% [markdown]
# Before you drag it very low, a question.

# %% tags=["predict"]
predict(
    "box holds 24 MiB and cannot give them back. You move the slider to 16. What does update do?",
    ["it sets 16, and the container is killed", "it refuses, and 32 stays", "it sets 16 as soon as memory is freed"],
    answer=1,
    why="The engine has the kernel reclaim first. If that is not enough, nothing is changed: a killed container was not asked for.",
)

# %% [markdown]
# We move it from here, as your hand would: to 32, to 16, to 40.

# %%
next(box.follow())  # it says "full"
for mib in (32, 16, 40):
    slider.value = mib
    print(f"asked for {mib}: memory.max is {box.stats().memory_max // MIB} MiB" + (", refused" if slider.said else ""))
    if slider.said:
        lab.host(slider.said)
    follow.wait(5)
print("box:", box.status)
follow.picture("The limit moves, the container goes on")

# %% [markdown]
# *Figure: the memory of box rises to 24 MiB and stays. The dashed limit drops from 64 to 32 MiB and later rises to 40; the refused 16 is not to be seen.*
#
# What would the bare kernel say? In `cage` again, the director has a sleeper hold 20 MiB, and then writes 8 MiB straight into the limit.

# %%
# %%child --in director
full, filled = os.pipe()
sleeper = animal("sleeper", 20, lambda: (os.write(filled, b"x") and signal.alarm(60)) or signal.pause())
os.read(full, 1)
try:
    memory.set_max(cage, 8 << 20)
    status = os.waitpid(sleeper, 0)[1]
    print("this host: the limit was set, and the sleeper ended by", signal.Signals(status).name)
except OSError as error:
    print("this host: refused,", error)
    os.kill(sleeper, signal.SIGTERM)
    os.wait()
print("the sleeper holds 20 MiB, and may have 8:", memory.get_max(cage) == 8 << 20 and status == 0)

# %% [markdown]
# What happened: v2 takes the new limit and makes room by killing; v1 answers `EBUSY`. `update` reclaims first and refuses on both.
#
# ## The engine's version
#
# Several limits change together or not at all: this is what `update` calls.

# %%
from minidocker.linux.cgroups import limits

lab.source(limits.apply)

# %% [markdown]
# Two applications on one machine, each with cores and memory of its own: this picture stands at the beginning of many talks on
# containers. Here it is drawn from the files of two cgroups (the cores are lesson 11's).

# %%
import os

last = os.cpu_count() - 1
shop = start("shop", hungry(20), "64m", cpuset_cpus="0")
mail = start("mail", hungry(8), "32m", cpuset_cpus=f"{last}")
for container in (shop, mail):
    next(container.follow())
views.cgroup_shares({"shop": shop.cgroup, "mail": mail.cgroup})

# %% [markdown]
# *Figure: shop uses 20 of its 64 MiB, mail 8 of its 32. A line joins each of them to the one core of the machine that it may run on: shop to the first, mail to the last.*
#
# ## Break it
#
# A careful program catches `MemoryError`. It moves into `cage` and asks for too much.

# %% tags=["raises-exception"]
# %%child cage_name
import os
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory

cage = cgroups.open_cgroup(cage_name)
memory.set_max(cage, 32 << 20)
cage.join(os.getpid())
try:
    hoard = b"x" * (64 << 20)
except MemoryError:
    print("never printed: I would have saved my work")
finally:
    print("nor is this")

# %% [markdown]
# No errno, no exception, no last words: the allocation had succeeded long before. `MemoryError` comes when a *promise* is refused, as
# by `ulimit -v` (`setrlimit(2)`). So save your work before, not when memory is short.
#
# ## Same fact, other tools
#
# | | here | shell, on v2 | Docker |
# |---|---|---|---|
# | limit | `memory.set_max(cgroup, ...)` | `echo 32M > memory.max` | `--memory 32m` |
# | use | `box.stats()` | `cat memory.current` | `docker stats` |
# | kills | `memory.events(cgroup).oom_kill` | `grep oom_kill memory.events` | `docker inspect`, `docker events` |
# | change | `box.update(memory=...)` | `echo 40M > memory.max` | `docker update --memory` |
# | brake | `memory.set_high(cgroup, ...)` | `echo 16M > memory.high` | none |

# %%
import subprocess

kills = file.parent.with_name("cage") / ("memory.events" if v2 else "memory.oom_control")
found = subprocess.run(["grep", "--word-regexp", "oom_kill", kills], capture_output=True, text=True, check=True).stdout
lab.host(f"grep oom_kill {kills}: {found.strip()}")
print("two kills at least:", int(found.split()[1]) >= 2, "- as we read it:", int(found.split()[1]) == memory.events(cage).oom_kill)
cage.remove_with_processes()

# %% [markdown]
# **What Docker really does here.** The same files, written by runc. But `docker update` leaves it to the kernel: on v2 a value below what is
# used kills. `--memory-reservation` is `memory.low`; for `memory.high` there is no flag (Kubernetes can set it). `docker stats` shows use
# without the older part of the file cache. `--oom-kill-disable` works on v1 only.
#
# ## Exercises
#
# ### 1. Change: a limit that fits
#
# This program is killed: 24 MiB are too few. Start it again as `fitted`, with a limit that lets it say `full`, and at most 8 MiB more
# than its peak. `memory.peak(cgroups.open_cgroup(fitted.cgroup))` tells.

# %% tags=["exercise"]
fitted = None  # start("fitted", hungry(28), "24m"), but with a limit that fits

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
fitted = start("fitted", hungry(28), "36m")

# %% [markdown]
# ### 2. Write: `limit_memory(name, limit)`
#
# The cgroup called `name` exists. Let its processes use at most `limit` bytes, and no swap. A kernel that does not count swap raises
# `MissingFeature` for it: that must not stop you. The last lesson builds an engine with this function.

# %% tags=["exercise"]
from contextlib import suppress
from minidocker.errors import MissingFeature
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory


def limit_memory(name, limit):
    """Let the cgroup *name* use at most *limit* bytes of memory, and no swap."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
from contextlib import suppress
from minidocker.errors import MissingFeature
from minidocker.linux import cgroups
from minidocker.linux.cgroups import memory


def limit_memory(name, limit):
    """Let the cgroup *name* use at most *limit* bytes of memory, and no swap."""
    cgroup = cgroups.open_cgroup(name)
    memory.set_max(cgroup, limit)
    with suppress(MissingFeature):  # then there is nothing to limit
        memory.set_swap_max(cgroup, 0)

# %% [markdown]
# ### 3. Explore: memory without a process
#
# All that runs in the container `attic`, which step 5 started, is a `sleep`. Yet more than 24 MiB are charged to it.
#
# Which counter of `memory.stat` is it: `"anon"`, `"file"`, `"shmem"` or `"kernel"`? Choose the narrowest that holds it. And which file in the
# container? Look with `memory.stat(...)` and `attic.exec_run([...]).output`.

# %% tags=["exercise"]
kind = None  # "anon", "file", "shmem" or "kernel"
place = None  # the path of a file in the container

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
kind = "shmem"
place = "/dev/shm/boxes"

# %% [markdown]
# ## Summary
#
# Touching is charged, promising is not. At the limit cache is reclaimed first, which costs time and shows as pressure; then the largest
# process of the cgroup is killed, without a word, and its neighbours live on. A limit may be moved at any time, but not below what is used.
#
# **Glossary.** *charge*: to count a page as a cgroup's. *reclaim*: to take back pages that can be had again. *OOM killer*: ends a process when
# nothing can be reclaimed. *swap*: a place on disk for pages that are in no file. *PSI*: time spent waiting for a resource.
#
# **Read more**: `cgroups(7)`, `proc_pid_oom_score_adj(5)`, the kernel's `cgroup-v2.rst` and `psi.rst`.

# %%
lab.stop()
