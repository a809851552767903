# %% [markdown]
# # 11 · CPU: who gets which core, and how much of it?
#
# You give containers particular cores, let two of them fight for one, and see what a limit on CPU time does to the time of an answer. 35 minutes.

# %% [markdown]
# **You will**
# - give a container particular cores, and prove where its threads ran,
# - foretell from their weights how two containers share a core, and what one gets while the other sleeps,
# - read `cpu.max` and `nr_throttled`, and say why an answer may be late below the limit.

# %% tags=["setup"]
import os
from IPython.display import display
from minidocker.course import check, hint, lab, predict
from minidocker.course.figures import lesson_11 as drawings
from minidocker.linux import cgroups
from minidocker.linux.cgroups import cpu, cpuset

lab.start("11")
cores = sorted(os.sched_getaffinity(0))
first, last = str(cores[0]), str(cores[-1])
busy = ["sh", "-c", "while :; do :; done"]  # wants all the CPU time there is

# %% [markdown]
# ## The idea
#
# The kernel's scheduler decides at each moment which thread runs on which core. A cgroup changes its decisions in three ways. A **cpuset**
# names the cores. A **weight** says whose turn it is when several want the same core. A **quota** ends a group's turn, whether or not
# somebody else is waiting. See `cgroups(7)` and `cpuset(7)`.

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: three panels. A cpuset allows core 0 of four. A weight of 300 against 100 gives B three turns of four, and all of them while A sleeps. A quota lets a group run for 25 ms of each 100, and stops it for the rest.*
#
# ## 1. Particular cores
#
# Why: caches stay warm, neighbours stay out of the way, and licences are sold by the core. The group is a directory and the list of cores a
# file, `cpuset.cpus`. On a v2 host our `write` is `echo 1 > cpuset.cpus`; on one whose controllers are still on v1, it finds the file there.

# %% tags=["predict"]
predict(
    "A group may use one core. Four processes in it want to work at the same time. All other cores are idle. What happens?",
    ["the fourth gets an error", "they take turns on the one core", "the kernel lends them an idle core"],
    answer=1,
    why="A cpuset is no request but a rule: its processes never run elsewhere, however long they wait.",
)

# %% [markdown]
# A group, `room`, and its one core:

# %%
room = cgroups.open_cgroup(f"{lab.name}/room")
room.create()
room.write("cpuset.cpus", last)
lab.host(f"cgroup mode {cgroups.mode()}; the room may use core {room.read('cpuset.cpus.effective')} of {len(cores)}")
print("cores in the room:", len(cpuset.effective_cpus(room)))
room_name, machine = room.name, os.cpu_count()

# %% [markdown]
# Field 39 of `/proc/PID/stat` is the core on which a thread last ran. Four processes note it again and again while they work, and the exit
# status of each says whether it was ever elsewhere.

# %%
# %%child room_name last machine
import os, subprocess, time
from minidocker.linux import cgroups

def left_it():
    end, found = time.monotonic() + 0.5, set()
    while time.monotonic() < end:
        with open("/proc/self/stat") as file:
            found.add(file.read().rsplit(")", 1)[1].split()[36])
    return found != {last}

cgroups.open_cgroup(room_name).join(os.getpid())
workers = [os.fork() or os._exit(left_it()) for _ in range(4)]
print("ran elsewhere:", sum(os.waitpid(pid, 0)[1] != 0 for pid in workers), "of", len(workers))
print("nproc:", subprocess.check_output(["nproc"], text=True).strip(), "- os.cpu_count() as outside:", os.cpu_count() == machine)

# %% [markdown]
# What happened: none ever left its core. `nproc` asks which cores *it* may use (`sched_getaffinity(2)`) and says 1. Whoever counts the
# machine's processors, such as Python's `os.cpu_count()`, still counts all, and starts too many threads.
#
# ## 2. Two applications, two places
#
# Why: this is the picture with which talks on containers begin. Two applications, each with cores and memory of its own. We draw it from
# what the kernel's files say about two running containers.

# %%
engine = lab.engine
web = engine.containers.run("busybox", ["sleep", "600"], detach=True, name="web", cpuset_cpus=first, memory="64m")
database = engine.containers.run("busybox", ["sleep", "600"], detach=True, name="database", cpuset_cpus=last, memory="128m")
print("web says:", web.exec_run(["nproc"]).output.decode().strip(), "core")
drawings.applications(web, database)

# %% [markdown]
# *Figure: the machine's cores, and above them two containers. "web" points to one core and has 64 MiB, "database" to another and has 128 MiB.*
#
# ## 3. One core, two claimants
#
# Why: most machines have more containers than cores. If two want the same core, their **weights** decide: `cpu.weight`, from 1 to 10,000,
# 100 at first.

# %% tags=["predict"]
predict(
    "Two busy containers, left and right, have one core, and weights of 100 and 300. What part of the core does right get?",
    ["300 %", "3/4", "2/3"],
    answer=1,
    why="Its weight divided by the sum of the weights of all who want the core: 300 of 400.",
)

# %% [markdown]
# We put two on one core, with equal weights to begin with, and count their CPU time in `cpu.stat`. The plot is alive: it reads their counters ten times a second.

# %%
web.remove(force=True)
database.remove(force=True)
left, right = (engine.containers.run("busybox", busy, detach=True, name=name, cpuset_cpus=last) for name in ("left", "right"))
groups = [cgroups.open_cgroup(left.cgroup), cgroups.open_cgroup(right.cgroup)]
watch = lab.watch(left, right, show=["cpu"])
watch

# %% [markdown]
# Other programs may want the core as well. So we wait until the two together have used half a second of it, and compare.

# %%
import time

def compare(enough=500_000):
    """right's CPU time as a multiple of left's, over the next half second of CPU time of the two."""
    before, gained = [cpu.stat(group).usage_us for group in groups], [0, 0]
    while sum(gained) < enough:
        time.sleep(0.02)
        gained = [cpu.stat(group).usage_us - then for group, then in zip(groups, before, strict=False)]
    return gained[1] / gained[0]

print("equal weights, about 1:", 0.8 < compare() < 1.25)
groups[1].write("cpu.weight", "300")
print("100 and 300, about 3: ", 2.4 < compare() < 3.6)

# %% [markdown]
# What happened: nobody was stopped. The scheduler gives the next turn to the group that has had least *in relation to its weight*.
#
# Docker counts in **shares**, 1024 to begin with; only ratios matter. Drag these two and look at the plot: `update` is `docker update`. The last lines do what
# your hand would.

# %%
left_slider = lab.slider("left, times 1024 shares", 1, 8, value=1, action=lambda n: left.update(cpu_shares=1024 * n))
right_slider = lab.slider("right, times 1024 shares", 1, 8, value=3, action=lambda n: right.update(cpu_shares=1024 * n))
display(left_slider, right_slider)
right_slider.value = 1
left_slider.value = 4
print("left has four times right's weight and time:", 0.2 < compare() < 0.31)

# %% [markdown]
# ## 4. What a weight is not
#
# Why: "1024 shares" is often read as "one core". Two experiments against that.

# %% tags=["predict"]
predict(
    "left has 4/5 of the core. Now it is paused (lesson 12). How much does right get?",
    ["still 1/5", "4/5", "all that left leaves"],
    answer=2,
    why="A weight counts only among those who want to run. It limits nothing.",
)

# %% [markdown]
# For the other experiment `left` gets three busy processes more, at equal weights.

# %%
def speed(group, seconds=0.7):
    before = cpu.stat(group).usage_us
    time.sleep(seconds)
    return cpu.stat(group).usage_us - before

contested = speed(groups[1])
left.pause()
print("right is more than twice as fast without left:", speed(groups[1]) > 2 * contested)
left.unpause()
left_slider.value = right_slider.value = 1
for _ in range(3):
    left.exec_start(busy, detach=True)
print("4 processes against 1, still about 1:", 0.8 < compare() < 1.25)
watch.picture("Two containers, one core")

# %% [markdown]
# *Figure: the CPU time of "left" and "right" over time, as parts of one core. Equal, 1 to 3, 4 to 1, "right" alone, equal again. Other programs may have taken some of the core.*
#
# What happened: a weight belongs to the group, so four processes share what one would get. Starting more of them, the old trick against
# neighbours, is of no use.
#
# ## 5. A ceiling
#
# Why: paying customers, noisy neighbours, repeatable benchmarks. `cpu.max` holds two numbers, in microseconds: a **quota** of CPU time in
# each **period**. In `cpu.stat`, `nr_periods` counts periods in which the group wanted to run, and `nr_throttled` those in which it was stopped.

# %%
left.remove(force=True)
groups[1].write("cpu.max", "20000 100000")
before = now = cpu.stat(groups[1])
while now.periods < before.periods + 12:
    time.sleep(0.05)
    now = cpu.stat(groups[1])
periods, used = now.periods - before.periods, now.usage_us - before.usage_us
print("used in each period at most 20 ms, roughly:", used / periods < 23_000)
print("stopped in most periods:", now.throttled - before.throttled > periods / 2)
watch = lab.watch(right, show=["cpu", "cpu.max"])
ceiling = lab.slider("cpu.max, % of a core", 5, 100, value=20, action=lambda percent: right.update(cpus=percent / 100))
display(watch, ceiling)

# %% [markdown]
# What happened: nobody competed for the core, and yet `right` stood still for four fifths of the time. It had no part in that decision, and
# inside nothing tells of it but this file: `nproc` does not change.
#
# `--cpus 0.2` is Docker's word for the quota that we wrote. Drag the slider, which calls `update(cpus=...)`; the next cell moves it twice and draws
# what the kernel counted.

# %%
for percent in (40, 10):
    ceiling.value = percent
    watch.wait(10)
print("cpu.max:", groups[1].read("cpu.max"))
drawn, path = watch.picture("A ceiling that moves"), str(lab.dir / "answers.json")  # a file for step 6
right.remove(force=True)
drawn

# %% [markdown]
# *Figure: the CPU time of "right" follows the dashed line of its ceiling, from 20 to 40 to 10 per cent of a core.*
#
# ## 6. Late, though below the limit
#
# Why: dashboards show averages. The kernel counts in periods of 100 ms.

# %% tags=["predict"]
predict(
    "A server needs 20 % of a core on average, its quota is 25 %. Six requests arrive at once, then none for a while. What does the quota do to them?",
    ["nothing: 20 is less than 25", "some answers wait for the next period", "some requests are refused"],
    answer=1,
    why="Six requests of 10 ms each need 60 ms now; the period has 25. Unused quota of the quiet time before is gone.",
)

# %% [markdown]
# The room is the server's. Five bursts without a quota, five with; each answer costs 10 ms of CPU time.

# %%
# %%child --keep server room_name path
import json, os, time
from minidocker.linux import cgroups
from minidocker.linux.cgroups import cpu

def burst():
    """Serve six requests that arrive now: after how many milliseconds each has its answer."""
    arrived, waits = time.monotonic(), []
    for _ in range(6):
        end = time.thread_time() + 0.010
        while time.thread_time() < end:
            pass
        waits.append(1000 * (time.monotonic() - arrived))
    return waits

# %% [markdown]
# Between two bursts the server sleeps for 240 ms: 60 of 300 ms are work, 20 %.

# %%
# %%child --in server
room, runs = cgroups.open_cgroup(room_name), {}
room.join(os.getpid())
for quota in ("max", "25000"):
    room.write("cpu.max", f"{quota} 100000")
    before, began, runs[quota] = cpu.stat(room), time.monotonic(), []
    for _ in range(5):
        runs[quota] += burst()
        time.sleep(0.24)
    now = cpu.stat(room)
    share = (now.usage_us - before.usage_us) / (time.monotonic() - began) / 1e6
    print(f"quota {quota}: below 25 % on average {share < 0.25}, stopped {now.throttled > before.throttled}")
with open(path, "w") as file:
    json.dump(runs, file)

# %% [markdown]
# The file that the child left, drawn:

# %%
import json

with open(path) as file:
    late = [wait > 100 for wait in json.load(file)["25000"][5::6]]
print("with the quota, last answers of a burst after more than 100 ms:", sum(late), "of", len(late))
drawings.answers(path)

# %% [markdown]
# *Figure: 30 answers without a quota, each after some tens of milliseconds on an idle machine, and 30 with the quota, where the last ones of every burst take more than 100 ms.*
#
# What happened: on average the server stayed below its limit, and no burst was done in time. So look at `nr_throttled`, not at the
# average. Remedies: a higher quota, none at all and weights instead, or `cpu.max.burst`, which lets unused quota be saved for the next period.
#
# ## The engine's version
#
# What do Docker's three flags become? One small function knows:

# %%
from minidocker.engine import unified

lab.source(unified._cpu_files)

# %% [markdown]
# It runs before anything is made. The monitor writes the files before the container's first instruction. We ask the kernel afterwards.

# %% tags=["setup"]
calm = {"image": "busybox", "command": ["sleep", "600"], "detach": True, "cpuset_cpus": first}
box = lab.engine.containers.run(**calm, name="box", cpus=0.5, cpu_shares=512)
rival = lab.engine.containers.run(**calm, name="rival", cpu_shares=2048)  # for exercise 3
group = cgroups.open_cgroup(box.cgroup)
flags = {"--cpus 0.5": "cpu.max", "--cpu-shares 512": "cpu.weight", f"--cpuset-cpus {first}": "cpuset.cpus"}
lab.table(["Docker's flag", "file", "the kernel says"], [(flag, file, group.read(file)) for flag, file in flags.items()])

# %% [markdown]
# ## Break it
#
# A quota of half a millisecond is less than the kernel accepts. We ask for it together with another core, which would be fine.

# %% tags=["raises-exception"]
from minidocker.linux.cgroups import limits

try:
    limits.apply(group, {"cpuset.cpus": last, "cpu.max": "500 100000"})
finally:
    print("still on its old core:", group.read("cpuset.cpus") == first, "| still its old quota:", group.read("cpu.max"))

# %% [markdown]
# `EINVAL`: switching that often would cost more than the work between. The core had been written by then; `apply` put it back. All or
# nothing.
#
# ## Same fact, other tools
#
# | | here | shell | Docker |
# |---|---|---|---|
# | cores | `write("cpuset.cpus", "0")` | `taskset -c 0 COMMAND` | `--cpuset-cpus 0` |
# | weight | `write("cpu.weight", "50")` | `nice` (in one group) | `--cpu-shares 512` |
# | ceiling | `write("cpu.max", "50000 100000")` | `systemd-run -p CPUQuota=50%` | `--cpus 0.5` |
# | counted | `cpu.stat(group)` | `cat cpu.stat` | `docker stats` |

# %%
import subprocess

said = subprocess.run(["taskset", "-cp", str(box.pid)], capture_output=True, text=True, check=True).stdout
print("taskset agrees:", said.split(":")[1].strip() == first)
room.remove_with_processes()

# %% [markdown]
# **What Docker really does here.** `--cpus` and `--cpuset-cpus` become the same files. Shares are a word of cgroup v1, and on v2 somebody
# must translate. Before runc 1.3.2, 1024 shares became a weight of 39, though both are defaults; since then 100, on a curve on which 3072
# become 240, not 300. Our engine keeps the ratio. If you depend on exact ratios, measure, as you did here.

# %% [markdown]
# ## Exercises
#
# ### 1. Change: four to one
#
# Start two `busy` containers, `gold` and `silver`, as in step 3. On the core `last`, `gold` is to get four times as much as `silver`. While
# `silver` sleeps, `gold` may have it all, and the other way round.

# %% tags=["exercise"]
# your code: lab.engine.containers.run("busybox", busy, detach=True, name="gold", ...), and silver

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
for name, shares in {"gold": 4096, "silver": 1024}.items():
    lab.engine.containers.run("busybox", busy, detach=True, name=name, cpuset_cpus=last, cpu_shares=shares)

# %% [markdown]
# ### 2. Write: `share_cpu(name, cpus, shares, cores)`
#
# The cgroup called `name` exists. Your function gives it at most `cpus` CPUs (such as 0.5), Docker's number of `shares`, and the `cores` (such
# as `"0"`), with `cgroups.open_cgroup(name).write(file, text)`. `None` leaves a file alone. The last lesson builds an engine with it.

# %% tags=["exercise"]
from minidocker.linux import cgroups


def share_cpu(name, cpus=None, shares=None, cores=None):
    """Limit the CPUs of the cgroup *name*: how much at most, which part among others, where."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
from minidocker.linux import cgroups


def share_cpu(name, cpus=None, shares=None, cores=None):
    """Limit the CPUs of the cgroup *name*: how much at most, which part among others, where."""
    cgroup = cgroups.open_cgroup(name)
    if cores is not None:
        cgroup.write("cpuset.cpus", cores)
    if cpus is not None:
        cgroup.write("cpu.max", f"{round(cpus * 100_000)} 100000")
    if shares is not None:
        cgroup.write("cpu.weight", str(round(shares * 100 / 1024)))

# %% [markdown]
# ### 3. Explore: how much, at best and at worst?
#
# `box` shares its core with `rival`, which has no ceiling, and 2048 shares.
# If both want all they can get, which part of the core does `box` get, in percent? And which while `rival` sleeps? Read
# the files of `cgroups.open_cgroup(box.cgroup)`, or start `box.exec_start(busy, detach=True)`, and measure.

# %% tags=["exercise"]
together = None  # your answer: percent of one core, while both are busy
alone = None  # and while rival sleeps

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
together = 20  # weights 50 and 200: a fifth, which is below the ceiling
alone = 50  # the ceiling, though the rest of the core is idle

# %% [markdown]
# ## Summary
#
# A cpuset says where, a weight whose turn, a quota when it is over. Weights cost nobody anything while the core is idle; a quota does, and delays
# bursts that are far below it on average. `cpu.stat` tells what was used and how often the kernel said stop.
#
# **Glossary.** *cpuset*: cores a group may use. *weight*: its part among those who compete. *shares*: Docker's and v1's word for it.
# *quota, period*: at most so much in so long. *throttled*: stopped until the next period.
#
# **Read more**: `cgroups(7)`, `cpuset(7)`, `sched(7)`, the kernel's `cgroup-v2.rst` and `sched-bwc.rst`.

# %%
lab.stop()
