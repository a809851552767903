"""The container's first process, from its clone to its execve.

Interface: run(spec, channel, stdio, joined, bundle) never returns; namespace_plan(spec); become(process) for exec as well.
The order is the whole art: see the numbers in `prepare`.
Man pages: clone(2), execve(2), capabilities(7), credentials(7). Notebooks: 05_root, 20_life.
"""

from __future__ import annotations

import errno
import os
import resource
import signal

from minidocker.errors import SpecError, SyscallError
from minidocker.linux import capabilities, cgroups, namespaces, syscalls, terminal
from minidocker.linux.process import close_all_except
from minidocker.runtime import rootfs, state, sync, tracing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# The runtime-spec's words for namespaces (config-linux.md) that differ from the kernel's.
KERNEL_NAMES = {"network": "net", "mount": "mnt"}
# Init unshares its cgroup namespace itself: the namespace's root is the cgroup in which a process is at that moment.
# It is born in its network namespace, which the spare monitor has made ahead.
NOT_BY_CLONE = ("cgroup", "net")


def namespace_plan(spec: sync.Message) -> tuple[list[str], dict[str, int]]:
    """The namespaces to make new, and name -> open descriptor of those to join (given by a path in the spec)."""
    new, joined = [], {}
    for entry in spec["linux"]["namespaces"]:
        name = KERNEL_NAMES.get(entry["type"], entry["type"])
        if "path" not in entry:
            new.append(name)
            continue
        try:
            joined[name] = os.open(entry["path"], os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SyscallError("open", error.errno or 0, entry["path"], step=f"join the {name} namespace") from error
    if spec["linux"].get("timeOffsets") and "time" in new:
        new.remove("time")  # rootfs.set_clock unshares it: its offsets must be written before a process is in it
    return new, joined


def run(
    spec: sync.Message,
    channel: sync.Channel,
    stdio: tuple[int, int, int],
    joined: dict[str, int],
    entrances: list[int],
    bundle: str,
    *,
    wait: bool,
) -> NoReturn:
    """Be the container's first process. Called in the clone; every error goes to the monitor, and this process ends.

    *wait*: for the monitor's "start" before the execve, as the spec's `create` has it.
    """
    step = ["start"]
    code = 125
    tracing.renamed("init")
    try:
        # A descriptor of a directory of the host would be a way out: WORKDIR /proc/self/fd/N/../../.. (CVE-2024-21626 of runc).
        close_all_except([channel.fileno(), *stdio, *joined.values(), *entrances, *tracing.kept_fds()])
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # if the monitor is killed, so is the container
        step[0] = "enter the cgroup"
        cgroups.enter(entrances)  # first of all: whatever we do from here on is on the container's account
        cgroup = spec["linux"]["cgroupsPath"]
        syscalls.trace(f"enter the cgroup {cgroup}", f"echo $$ > /sys/fs/cgroup{cgroup}/cgroup.procs")
        program = prepare(spec, channel, stdio, joined, bundle, step)
        if wait and channel.receive()[0] is None:
            os._exit(code)  # the monitor has gone, and without it there is no container
        step[0] = "execve"
        become(spec["process"])
        if spec.get("annotations", {}).get(state.INIT_ANNOTATION):
            reap_for_child(channel)
        execute(spec["process"], program)
    except BaseException as error:  # this is a fork: nothing may go further up
        code = 127 if isinstance(error, FileNotFoundError) or getattr(error, "errno", 0) == errno.ENOENT else 126
        channel.send(sync.error_message(error, step[0]))
    finally:
        os._exit(code)


def prepare(
    spec: sync.Message, channel: sync.Channel, stdio: tuple[int, int, int], joined: dict[str, int], bundle: str, step: list[str]
) -> str:
    """Everything before "start": returns the program to execute. *step* names what is being done, for the error."""
    process = spec["process"]
    own = {entry["type"] for entry in spec["linux"]["namespaces"] if "path" not in entry}
    step[0] = "enter the namespaces"
    os.setsid()
    for name in namespaces.NAMES:  # 1. those of others, the user namespace first
        if name in joined and name != "pid":  # in that one we were born
            syscalls.setns(joined[name], namespaces.FLAGS[name])
            os.close(joined[name])
    if "cgroup" in own:  # 2. the cgroup that we are in becomes the root of the new cgroup namespace
        namespaces.unshare("cgroup")
    rootfs.set_clock(spec["linux"].get("timeOffsets"))
    step[0] = "set the host name"
    if "uts" in own and spec.get("hostname"):
        syscalls.sethostname(spec["hostname"])
        if spec.get("domainname"):
            syscalls.setdomainname(spec["domainname"])
    rootfs.build(spec, bundle, step)  # 3. our own tree of mounts, then pivot_root: from here on every name is the container's
    step[0] = "open the terminal"
    fds: list[int] = []
    if process.get("terminal"):
        stdio, fds = open_terminal(process.get("consoleSize"))
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)
    step[0] = "prepare the process"
    set_rlimits(process.get("rlimits", []))
    os.umask(0o022)
    program = prepare_process(process, make_cwd=True)  # as Docker does
    if process["user"]["uid"]:
        give_stdio(process["user"]["uid"])
    channel.send({"ready": True}, fds)
    close_all_except([channel.fileno(), *tracing.kept_fds()])
    return program


def open_terminal(size: sync.Message | None, *, console: bool = True) -> tuple[tuple[int, int, int], list[int]]:
    """A terminal in the container's own devpts; *console*: shown as /dev/console too. Returns stdio and [master]."""
    master, name = terminal.open_pty("/dev/pts/ptmx")
    if size:
        terminal.set_window_size(master, size["height"], size["width"])
    slave = os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    if console:
        if not os.path.exists("/dev/console"):
            os.close(os.open("/dev/console", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY, 0o600))
        syscalls.mount(name, "/dev/console", "", syscalls.MS_BIND)
    terminal.make_controlling(slave)
    return (slave, slave, slave), [master]


def give_stdio(uid: int) -> None:
    """Make the pipes or the terminal the user's, who could not open /dev/stdout else. They are ours alone; /dev/null is not."""
    for fd in (0, 1, 2):
        found = os.fstat(fd)
        if found.st_rdev != os.makedev(1, 3):
            os.fchown(fd, uid, found.st_gid)


def set_rlimits(limits: list[sync.Message]) -> None:
    """See setrlimit(2). SyscallError EPERM: above the hard limit, without CAP_SYS_RESOURCE."""
    for limit in limits:
        soft, hard = ((limit[kind] + (1 << 63)) % (1 << 64) - (1 << 63) for kind in ("soft", "hard"))  # the largest number is -1: no limit
        number = limit_number(limit["type"])
        try:
            resource.setrlimit(number, (soft, hard))
        except (ValueError, OSError) as error:
            raise SyscallError("setrlimit", getattr(error, "errno", None) or errno.EPERM, limit["type"]) from error
        syscalls.trace(f"limit {limit['type']} to {soft}:{hard}", f"prlimit --{limit['type'][7:].lower()}={soft}:{hard}")


def limit_number(name: str) -> int:
    """The number of "RLIMIT_NOFILE". SpecError: there is no such limit."""
    number = 10 if name == "RLIMIT_LOCKS" else getattr(resource, name, None)  # that one Python does not know
    if number is None:
        raise SpecError(f"no such limit: {name}")
    return int(number)


def prepare_process(process: sync.Message, *, make_cwd: bool = False) -> str:
    """Resolve the user and the command inside the container, and enter the working directory. Returns the program's path."""
    resolve_user(process["user"])
    directory = rootfs.inside(process["cwd"])
    try:
        if make_cwd and not os.path.exists(directory):
            os.makedirs(directory)
        os.chdir(directory)
        os.getcwd()  # fails when we are outside of our root, however we may have come there
    except OSError as error:
        raise SyscallError("chdir", error.errno or 0, process["cwd"], step="enter the working directory") from error
    return find_program(process["args"][0], environment(process).get("PATH", ""))


def resolve_user(user: sync.Message) -> None:
    """Turn `username` ("name", "1000", "name:group", "1000:1000") into uid, gid and additionalGids, by the container's own files.

    As Docker: an unknown number is taken as it is with group 0, an unknown name is an error (SpecError).
    """
    name = user.pop("username", "")
    if not name:
        return
    login, _, group = name.partition(":")
    accounts = {fields[0]: fields for fields in read_table("/etc/passwd", 4)}
    entry = accounts.get(login) or next((fields for fields in accounts.values() if fields[2] == login), None)
    if entry is None and not login.isdecimal():
        hint = "give a numeric uid, or a user of the image"
        raise SpecError(f"unable to find user {login}: no matching entries in passwd file", hint=hint)
    user["uid"] = int(entry[2]) if entry else int(login)
    user["gid"] = int(entry[3]) if entry else 0
    groups = read_table("/etc/group", 4)
    if group:
        found = next((fields[2] for fields in groups if group in (fields[0], fields[2])), group)
        if not found.isdecimal():
            raise SpecError(f"unable to find group {group}: no matching entries in group file")
        user["gid"] = int(found)
    elif entry:
        user["additionalGids"] = [int(fields[2]) for fields in groups if entry[0] in fields[3].split(",")]
    user["home"] = entry[5] if entry and len(entry) > 5 else "/"


def read_table(path: str, least: int) -> list[list[str]]:
    """The lines of passwd(5) or group(5) as fields; those with too few, or without a number, are passed over."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return []
    with open(fd, "rb", buffering=0) as file:
        rows = [line.split(":") for line in file.read().decode("utf-8", "surrogateescape").split("\n")]
    return [row for row in rows if len(row) >= least and row[2].isdecimal()]


def environment(process: sync.Message) -> dict[str, str]:
    """The process's variables; HOME is the user's unless given, as Docker does."""
    variables = dict(entry.partition("=")[::2] for entry in process.get("env", []))
    variables.setdefault("HOME", process["user"].get("home") or ("/root" if process["user"]["uid"] == 0 else "/"))
    return variables


def find_program(name: str, path: str) -> str:
    """Where execve will find *name*. SyscallError ENOENT: nowhere; EACCES: a directory, or not executable."""
    if not name:
        raise SyscallError("execve", errno.ENOENT, name, step="find the command", hint="the command is empty")
    candidates = [name] if "/" in name else [f"{directory or '.'}/{name}" for directory in path.split(":")]
    denied = False
    for candidate in candidates:
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
        denied = denied or os.path.exists(candidate)
    raise SyscallError("execve", errno.EACCES if denied else errno.ENOENT, name, step="find the command")


def execute(process: sync.Message, program: str) -> NoReturn:
    """Hand this process over to the program. See execve(2)."""
    if syscalls.tracing():
        syscalls.trace(f"execve {program}", f"exec {' '.join(process['args'])}")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; a program expects the default
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(program, process["args"], environment(process))
    except OSError as error:
        raise SyscallError("execve", error.errno or 0, program) from error


def become(process: sync.Message) -> None:
    """Change to the user, keeping just the capabilities of the spec. See "Effect of user ID changes" in capabilities(7)."""
    user = process["user"]
    wanted = process.get("capabilities", {})
    if "bounding" in wanted:  # while we still may: dropping needs CAP_SETPCAP
        capabilities.drop_bounding(capabilities.mask(wanted["bounding"]))
    os.setgroups(user.get("additionalGids", []))
    os.setresgid(user["gid"], user["gid"], user["gid"])
    os.setresuid(user["uid"], user["uid"], user["uid"])  # to another than 0: the kernel clears effective and permitted
    if user["uid"] == 0 and "permitted" in wanted:
        capabilities.set_to(capabilities.mask(wanted["permitted"]) & syscalls.capget()[1])
    if process.get("noNewPrivileges"):
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user has cleared it


def reap_for_child(channel: sync.Channel) -> None:
    """`--init`: stay pid 1, start the command as a child, pass signals on and reap orphans. Returns only in the child."""
    signals = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.setpgid(0, 0)
        if os.isatty(0):
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        return
    channel.close()  # the child's execve is what closes the last copy
    while True:
        number = signal.sigwait(signals)
        if number != signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
