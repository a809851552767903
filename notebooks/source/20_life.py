# %% [markdown]
# # 20 · A container's life: who keeps it alive, and who knows how it ended?
#
# You walk one container from its bundle to its exit code, kill the processes around it one by one, and see which of them it needs. 40 minutes.

# %% [markdown]
# **You will**
# - read a wait status, and say what exit codes 125, 126, 127 and 137 mean and what they hide,
# - drive a container through create, start, kill and delete, and name its status and its processes at each stage,
# - stop any process the way `docker stop` does, and say why some processes make you wait.

# %% tags=["setup"]
from minidocker.course import check, hint, lab, predict, views

lab.start("20")
engine, name = lab.engine, lab.name
talker = engine.containers.run("busybox", ["sh", "-c", "while true; do echo tick; sleep 1000; done"], detach=True, name="talker")
print(talker.name, "is", talker.status)

# %% [markdown]
# ## The idea
#
# Two programs share the work. A **runtime** looks after one container and knows nothing of images or names; an **engine** looks after all of them, and calls
# the runtime. Between them stands the **monitor**: a small process beside each container, its parent, which outlives whoever asked for it.
# What everybody agrees on is a written standard, the OCI runtime specification. On the kernel's side it all rests on `wait(2)`.
#
# One container, `talker`, runs already and stays for the whole lesson. It writes a line and sleeps.

# %%
lab.figure("idea")

# %% [markdown]
# *Figure: from request to exit code. Four processes, and the container's status on the right. The creator may leave at any time.*
#
# ## 1. How a process says how it ended
#
# Why: an exit code is all that most programs tell about their end. The kernel gives the parent a 16-bit **wait status** (`wait(2)`): the upper byte is the code
# that the program chose, the lower seven bits are the signal that killed it. Everything else is convention.

# %% tags=["predict"]
predict(
    "`docker ps -a` shows Exited (137). 137 is 128 + 9, and signal 9 is SIGKILL. What is certain?",
    ["the kernel's out-of-memory killer was at work", "somebody or something sent SIGKILL", "neither: a program can simply exit with 137"],
    answer=2,
    why="128 + n for signal n is a habit of shells that Docker took over. It folds two different statuses into one number.",
)

# %% [markdown]
# Six shells end in six ways. The statuses are in hexadecimal: two digits of code, two of signal.

# %%
# %%child
import os

for command in ("exit 3", "exit 256", "no-such-command", "/etc/passwd", "exit 137", "kill -9 $$"):
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exec 2>/dev/null; " + command], {})
    _, status = os.waitpid(pid, 0)
    print(f"{command:15}  wait status {status:#06x}")

# %% [markdown]
# What happened: a code has 8 bits, so `exit 256` reports success. `0x7f` is **127**, the shell's word for "no such command", and `0x7e`, **126**, for "found, but cannot
# be executed". Docker uses both, and **125** if it could not make the container. And `0x8900` and `0x0009` are different facts, which an exit code of
# 137 no longer tells apart.
#
# ## 2. Stop is a question, a pause, and a signal
#
# Why: `docker stop` sends SIGTERM, which a program may catch to put its things in order, waits ten seconds, then sends SIGKILL, which none can catch. To wait
# for a process that is not your child, open a **pidfd** (`pidfd_open(2)`): a descriptor that names this very process, even if its number is used again
# one day, and that `poll(2)` finds readable once it has ended.

# %% tags=["predict"]
predict(
    "`sleep` is pid 1 of a PID namespace and has no handler for SIGTERM. What does SIGTERM do to it?",
    ["it ends, as any sleep does", "nothing at all", "it is stopped, until it gets SIGCONT"],
    answer=1,
    why="For pid 1 of a namespace the kernel drops each signal from inside, and all but SIGKILL and SIGSTOP from outside, that it has no handler for.",
)

# %% [markdown]
# The bare calls first: a new PID namespace, a `sleep` in it, two signals through a pidfd.

# %%
# %%child
import os, select, signal
from minidocker.linux import syscalls

syscalls.unshare(syscalls.CLONE_NEWPID)
pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
pidfd = os.pidfd_open(pid)
end = select.poll()
end.register(pidfd, select.POLLIN)
for number in (signal.SIGTERM, signal.SIGKILL):
    signal.pidfd_send_signal(pidfd, number)
    print(f"ended within 0.3 s of {number.name}:", bool(end.poll(300)))

# %% [markdown]
# What happened: the most common reason for a slow `docker stop` is a program that is not prepared to be pid 1. Ten seconds pass before the KILL.
#
# ## 3. Only the parent learns how
#
# Why: a pidfd tells anybody *that* a process has ended. *How* it ended, the kernel tells its parent, once (`waitpid(2)`). A container should outlive the command
# that started it; so who is its parent then?

# %% tags=["predict"]
predict(
    "A process starts a child and ends at once. What becomes of the child?",
    ["it ends too", "it goes on without a parent", "it goes on with another parent"],
    answer=2,
    why="The kernel gives an orphan to its nearest ancestor that has asked for orphans, a subreaper, or else to pid 1.",
)

# %% [markdown]
# The child process of this cell asks for orphans: `PR_SET_CHILD_SUBREAPER`, see `prctl(2)`. Then its own child starts a shell and leaves.

# %%
# %%child
import os
from minidocker.linux import process, syscalls

syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
out, into = os.pipe()
if os.fork() == 0:
    orphan = os.posix_spawn("/bin/sh", ["sh", "-c", "read line; exit 42"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, out, 0)])
    os._exit(0)
os.wait()
[orphan] = process.children(os.getpid())
print("we adopted a grandchild:", process.stat(orphan).comm)
os.write(into, b"go\n")
print("and learn how it ended:", os.waitstatus_to_exitcode(os.wait()[1]))

# %% [markdown]
# What happened: the middle process was gone, and its child became ours, exit code and all. Docker works like this: `runc` starts the container and exits; the
# **shim**, a subreaper, adopts it. Our monitor takes a shorter way: it is the parent from the beginning.
#
# ## 4. create, start, kill, delete
#
# Why: the specification has four verbs and calls their input a **bundle**: a directory with a root filesystem and `config.json`. We make one by hand; busybox
# under the name `sh` is root filesystem enough.

# %%
import json, shutil
from minidocker.oci import spec

bundle = lab.dir / "bundle"
(bundle / "rootfs/bin").mkdir(parents=True)
shutil.copy("/bin/busybox", bundle / "rootfs/bin/sh")
script = "trap 'exit 3' TERM; echo hello; sleep 1000 & wait"
command = spec.process(["sh", "-c", script], env=[spec.DEFAULT_PATH], cwd="/", user="", terminal=False, capabilities=[])
config = spec.runtime_spec(
    process=command, hostname="life", mounts=spec.default_mounts(), namespaces=spec.namespaces({}, set()),
    cgroup=f"{lab.name}/life", unified={}, read_only=False, annotations={}, poststop=[])  # fmt: skip
(bundle / "config.json").write_text(json.dumps(config))
print("config.json says:", ", ".join(config))

# %% [markdown]
# The specification's words for the command, the namespaces and the cgroup: all that you could say with `docker run` flags, as one file.

# %% tags=["predict"]
predict(
    "The runtime has done `create`, and nobody has said `start`. What is there?",
    ["only files and a cgroup", "a process in its namespaces, waiting to become the command", "the command, stopped by a signal"],
    answer=1,
    why="Everything that can fail is done by create. start only has to let the process go on to execve.",
)

# %% [markdown]
# `create`, then a look at the process from outside.

# %%
import os
from minidocker.linux import process
from minidocker.runtime.container import Runtime

runtime, life = Runtime(f"/run/{lab.name}"), ("life", str(bundle))
handle = runtime.create(*life)
state = runtime.state(*life)
init, monitor = state["pid"], state["monitorPid"]
same = os.readlink(f"/proc/{init}/exe") == os.readlink(f"/proc/{monitor}/exe")
print("status:", state["status"])
print("init still runs the monitor's program:", same)
print("and its root holds:", sorted(os.listdir(f"/proc/{init}/root")))
print("the monitor's parent:", process.stat(process.stat(monitor).ppid).comm)
views.process_tree(monitor, names={init: "init"})

# %% [markdown]
# *Figure: the live tree, from the kernel: the monitor, and below it the container's first process, which is pid 1 inside.*
#
# The root is pivoted, the mounts are made, and the process is still a copy of its monitor, waiting for one word. The spawner above exists because a notebook has
# threads, and threads and `fork(2)` do not mix: it has none, and forks each monitor in advance.
#
# Now `start` and, once it has written something, `kill`. In the specification `kill` only sends a signal.

# %%
import signal

handle.start()
while not (bundle / "container.log").exists():
    handle.wait_for_output()
print("status:", runtime.state(*life)["status"], "- the process is now:", process.stat(init).comm)
runtime.kill(*life, signal.SIGTERM)
print("exit code:", handle.wait())
print("status:", runtime.state(*life)["status"], "- in the bundle:", sorted(os.listdir(bundle)))
runtime.delete(*life, f"{lab.name}/life")
handle.close()
made = engine.containers.create("busybox", ["true"])
print("the engine's create: status", made.status, "- is there a process:", made.pid != 0)

# %% [markdown]
# What happened: one process was `init` and then `sh`; `execve(2)` changes the program and keeps the pid. The output is in `container.log`, the end in
# `exit.json`, and the monitor is gone. Docker's verbs differ, as the last line shows: its `create` makes no process at all, and `docker start` is
# the runtime's create and start in one.
#
# ## 5. Who may die?
#
# Why: terminals close, notebooks crash, daemons are updated. Which of these deaths can a container survive? This cell starts `orphan` from a process that
# then kills itself, in the hardest way.

# %%
# %%child name
import os, signal
from minidocker.engine.engine import Engine

if os.fork() == 0:
    Engine(name).containers.run("busybox", ["sh", "-c", "while sleep 0.1; do echo alive; done"], detach=True, name="orphan")
    os.kill(os.getpid(), signal.SIGKILL)
print(f"the creator has ended: wait status {os.wait()[1]:#06x}")

# %% [markdown]
# `0x0009`: killed, without a chance to tell anybody. The engine is asked what became of its container; then the spawner dies, and then the monitor.

# %% tags=["predict"]
predict(
    "Three processes had a part in it: the creator, the spawner, the monitor. Whose death does the container not survive?",
    ["the creator's", "the spawner's", "the monitor's"],
    answer=2,
    why="Init asked for it: PR_SET_PDEATHSIG sends it SIGKILL when its parent dies. A container whose end nobody can report should not go on.",
)

# %% [markdown]
# All three get the signal that nobody can catch, and the pidfd tells when it is done.

# %%
import select

orphan = engine.containers.get("orphan")
monitor = orphan.state["monitorPid"]
print("its creator is dead, and it goes on writing:", next(orphan.follow(tail=0)))
rows = [("the creator", orphan.status)]
for who, pid in (("the spawner", process.stat(monitor).ppid), ("the monitor", monitor)):
    dead = select.poll()
    dead.register(os.pidfd_open(pid), select.POLLIN)
    os.kill(pid, signal.SIGKILL)
    dead.poll(5000)
    rows.append((who, orphan.status))
print("exit code", orphan.exit_code, "-", orphan.error)
lab.table(["killed", "the container is"], rows)

# %% [markdown]
# What happened: the status is never read from a file alone. The monitor holds a lock as long as it lives, and the kernel takes a dead process's locks
# away (`fcntl(2)`), so the question "does it run?" goes to the kernel. Whoever asks first after a monitor's death writes down the end and tidies.
#
# ## 6. Two more ways in: exec and terminals
#
# Why: `docker exec` does not ask the container to start something. A new process is put into the container's namespaces (`setns(2)`) and its cgroup from outside.
# Its parent, and its stdin, stdout and stderr, belong to the caller.

# %% tags=["predict"]
predict(
    "A command run with `docker exec` prints a line. Does `docker logs` show it?",
    ["yes: it runs in that container", "no"],
    answer=1,
    why="The log is what comes out of the first process's stdout and stderr, through pipes that the monitor made. An exec has the caller's own.",
)

# %% [markdown]
# We run a shell beside `talker`'s and ask for its parent's number.

# %%
said = talker.exec_run(["sh", "-c", "echo from exec, my parent is $PPID"])
print(said.output.decode(), end="")
record = json.loads(talker.log_path.read_text())
print("the whole log is one record:", record["stream"], repr(record["log"]), "and its time")

# %% [markdown]
# What happened: the parent is 0, somebody outside whom this PID namespace cannot name. The log holds JSON, a record per line, as Docker's `json-file` does.
#
# The other way in is a terminal, `docker run -t`. It is no pipe: a **pseudo-terminal** (`pty(7)`) is a pair of devices with a piece of kernel between them, the line
# discipline, which treats some bytes as commands. So it is not the docker client that turns ctrl-C into SIGINT: it passes byte 3 on, like any other key.
#
# We are the client now: `attach` hands us the master end. `follow` waits for the first output, so that the trap is set.

# %%
script = "trap 'echo caught; exit 9' INT; echo ready; while true; do sleep 0.1; done"
shell = engine.containers.run("busybox", ["sh", "-c", script], tty=True, stdin_open=True, detach=True)
next(shell.follow())
with shell.attach(stdin=True) as attached:
    os.write(attached.fd, b"\x03")
    print("exit code", attached.wait())
print(shell.logs())

# %% [markdown]
# What happened: one byte went in and a signal came out. The terminal also echoed `^C`, and wrote each newline as `\r\n`. With a terminal there is
# one stream: stdout and stderr cannot be told apart any more, in `docker logs` neither.
#
# ## The engine's version
#
# Two functions hold most of this lesson. This is the whole of `docker stop`. The handle is a connection to the monitor, so waiting costs nothing, and its
# answer comes when the container's cgroup is gone too.

# %%
lab.source(type(talker).stop)

# %% [markdown]
# Call it for a container that is not prepared to be pid 1, with one second of patience; then the other function, for three wait statuses of step 1.

# %%
import time
from minidocker.runtime.state import exit_code

rude = engine.containers.run("busybox", ["sleep", "1000"], detach=True)
began = time.monotonic()
rude.stop(timeout=1)
print("exit code", rude.exit_code, "- took the whole second:", time.monotonic() - began >= 1)
print([exit_code(status) for status in (0x0300, 0x8900, 0x0009)])
lab.source(exit_code)

# %% [markdown]
# ## Break it
#
# This notebook is not the parent of `talker`. It tries to be told how `talker` ends.

# %% tags=["raises-exception"]
os.waitpid(talker.pid, 0)

# %% [markdown]
# `ECHILD`: no child of yours. Not even root may ask. That is why an engine without a monitor cannot tell an exit code after its daemon was restarted.
# (From Linux 6.15 on, the ioctl `PIDFD_GET_INFO` tells the exit status to holders of a pidfd, too.)
#
# ## Same fact, other tools
#
# `timeout` is the shell's `docker stop`: TERM after 0.2 seconds, KILL half a second later. `nsenter` is its `docker exec`.

# %%
import subprocess

stubborn = subprocess.run(["timeout", "-k", "0.5", "0.2", "sh", "-c", "trap '' TERM; sleep 5"])
print("the one that ignores TERM ended by signal", -stubborn.returncode)
enter = ["nsenter", "--target", str(talker.pid), "--pid", "--uts", "sh", "-c", "echo parent $PPID; hostname"]
parent, hostname = subprocess.run(enter, capture_output=True, text=True).stdout.split("\n")[:2]
print(parent, "- the host name is the container's:", hostname == talker.short_id)
lab.figure("parents")

# %% [markdown]
# *Figure: who is whose parent, here and under Docker.*
#
# | here | shell | docker |
# |---|---|---|
# | `runtime.create`, `start` | `unshare` and much more | `docker start` |
# | `container.stop(5)` | `timeout -k 5 ...` | `docker stop -t 5` |
# | `container.exec_run` | `nsenter --all --target PID` | `docker exec` |
# | `container.wait()` | `wait $!`, for your own children | `docker wait` |
# | `container.log` | `... >log 2>&1` | `docker logs` |
#
# What Docker really does here: `dockerd` asks `containerd`, which starts a shim, which calls `runc create` and `runc start`; after that no `runc` is left. The shim is
# our monitor. One difference: under Docker it is `dockerd` that reads the pipes and writes the log, so while it is away output waits in the pipe, and a
# talkative container stalls. Podman's `conmon` writes the log itself, as our monitor does.
#
# ## Exercises
#
# ### 1. Change: end politely
#
# `rude` needed SIGKILL. Change its cell: run a container in the background, `polite`, that goes on until it is stopped and then ends
# by itself on SIGTERM. There is more than one way. Leave it running: the check stops it.

# %% tags=["exercise"]
polite = None  # engine.containers.run("busybox", ..., detach=True)

# %% tags=["check"]
check(1)  # stuck? hint(1)

# %% tags=["solution"]
polite = engine.containers.run("busybox", ["sleep", "1000"], detach=True, init=True)
# or without an init: ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]

# %% [markdown]
# ### 2. Write: `stop(pid, timeout)`
#
# Ask the process `pid`, which need not be your child, to end; give it at most `timeout` seconds; then kill it. Return only when it has ended: True if it
# needed no SIGKILL. If there is no such process, that is fine too. Your engine in the last lesson will use it.

# %% tags=["exercise"]
import os, select, signal


def stop(pid, timeout):
    """SIGTERM, at most timeout seconds, SIGKILL. True if the first was enough."""
    ...

# %% tags=["check"]
check(2)  # stuck? hint(2)

# %% tags=["solution"]
import os, select, signal


def stop(pid, timeout):
    """SIGTERM, at most timeout seconds, SIGKILL. True if the first was enough."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        end = select.poll()
        end.register(pidfd, select.POLLIN)
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if end.poll(timeout * 1000):
            return True
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        end.poll()
        return False
    except ProcessLookupError:
        return True
    finally:
        os.close(pidfd)

# %% [markdown]
# ### 3. Explore: who holds the pipe?
#
# `talker` writes into a pipe. Find every process on this machine that has either end of it open, and give their names as `/proc/PID/comm` has them. Start from
# `os.readlink(f"/proc/{talker.pid}/fd/1")`.

# %% tags=["exercise"]
holders = None  # {"...", ...}

# %% tags=["check"]
check(3)  # stuck? hint(3)

# %% tags=["solution"]
import os
from minidocker.linux import process

pipe, holders = os.readlink(f"/proc/{talker.pid}/fd/1"), set()
for pid in process.pids():
    try:
        if pipe in [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]:
            holders.add(process.stat(pid).comm)
    except OSError:
        pass  # it ended while we looked

# %% [markdown]
# ## Summary
#
# A container is a process with a parent that waits for it. The runtime makes it ready (create), lets it go (start), signals it (kill) and tidies (delete); the
# engine adds names, images and logs. The monitor keeps the log and learns the exit code, so everybody else may die. Stop is
# TERM, patience, KILL, and pid 1 must be prepared for it.
#
# **Glossary.** *Bundle*: root filesystem and `config.json` of one container. *Monitor, shim*: the process that is its parent. *Wait status*: what `wait(2)` tells of
# an end. *pidfd*: a descriptor for a process. *Subreaper*: who adopts orphans. *Line discipline*: the part of a terminal that acts on keys.
#
# **Read more.** `wait(2)`, `pidfd_open(2)`, `prctl(2)`, `pty(7)`; the OCI runtime specification, `runtime.md`; `minidocker/runtime/monitor.py`.

# %%
lab.stop()
