"""One more process in a running container: join its namespaces and its cgroup, then execve.

Interface: run(message, fds), called by the spawner in a fresh fork; the process's stdio are the caller's own descriptors.
  creator -> spawner   {"verb": "exec", "pid", "start_time", "cgroup", "process", "events"}, [trace,] and
                       stdin stdout stderr if no terminal
  monitor -> creator   {"created": pid}, [pty master]   or {"error": {...}}   ... {"exited": code}
Man pages: setns(2), nsenter(1). Notebook: 20_life.
"""

from __future__ import annotations

import errno
import os

from minidocker.errors import SyscallError, WrongStatus
from minidocker.linux import cgroups, namespaces, process, syscalls
from minidocker.runtime import events, init, state, sync, tracing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def run(message: sync.Message, creator: sync.Channel, fds: list[int]) -> None:
    """Start the process, answer its *creator*, wait for its end and answer again."""
    syscalls.set_process_name("mdexec")
    tracing.trace_to(fds[0] if message["traced"] else -1, "exec")
    stdio = fds[1:] if message["traced"] else fds
    try:
        pid, ours = clone_into(message, stdio)
        for fd in stdio:
            os.close(fd)
        answer, terminal = ours.receive()  # the end of the channel is a successful execve
        if answer is not None and "master" in answer:
            rest, _ = ours.receive()
            answer = rest
        if answer is not None:
            os.waitpid(pid, 0)
            creator.send(answer if process.is_same(message["pid"], message["start_time"]) else ended())
            return
        tell(message, f"exec_start: {(message['events'] or {}).get('command')}")
        creator.send({"created": pid}, terminal)
        for fd in terminal:
            os.close(fd)  # only the client's copy counts: when it is closed the terminal hangs up
    except OSError as error:
        creator.send(sync.error_message(error, "exec") if process.is_same(message["pid"], message["start_time"]) else ended())
        return
    _, status = os.waitpid(pid, 0)
    tell(message, "exec_die", exitCode=str(state.exit_code(status)))
    try:
        creator.send({"exited": state.exit_code(status)})
    except OSError:
        return  # the client has gone; the process ran to its end all the same


def tell(message: sync.Message, action: str, **more: str) -> None:
    """Write an event, if the engine wants any."""
    if told := message["events"]:
        events.write(told["run"], action, told["id"], {**told["attributes"], **more})


def ended() -> sync.Message:
    """What went wrong, went wrong since the container has just ended: that, and not some missing file, is the news."""
    return sync.error_message(WrongStatus("the container is not running", status="stopped", needed="running"), "exec")


def clone_into(message: sync.Message, stdio: list[int]) -> tuple[int, sync.Channel]:
    """Clone a child into the container's PID namespace and cgroup."""
    target = message["pid"]
    # setns with a pidfd and all bits at once would need one kind for all; we open each, so that each is a visible step.
    opened = {name: namespaces.open_namespace(target, name) for name in namespaces.NAMES}
    if not process.is_same(target, message["start_time"]):  # asked after the opening, so what was opened is the container's
        raise SyscallError("open", errno.ESRCH, f"/proc/{target}/ns")
    mine = {name: namespaces.inode("self", name) for name in namespaces.NAMES}
    opened = {name: fd for name, fd in opened.items() if os.fstat(fd).st_ino != mine[name]}
    ours, theirs = sync.pair()
    if "pid" in opened:
        syscalls.setns(opened["pid"], syscalls.CLONE_NEWPID)  # our next child is born there; we stay where we are
    cgroup = cgroups.open_cgroup(message["cgroup"].lstrip("/"))
    birthplace, entrances = cgroup.birthplace(), cgroup.entrances()
    pid = syscalls.clone3(0, cgroup_fd=birthplace)
    if pid == 0:
        join_and_execute(message["process"], theirs, opened, entrances, stdio)
    theirs.close()
    for fd in {*entrances, birthplace} - {-1}:
        os.close(fd)
    for fd in opened.values():
        os.close(fd)
    return pid, ours


def join_and_execute(spec: sync.Message, channel: sync.Channel, opened: dict[str, int], entrances: list[int], stdio: list[int]) -> NoReturn:
    """In the child: enter the rest of the namespaces and become the command. Errors go to the monitor."""
    code = 126
    try:
        process.close_all_except([channel.fileno(), *opened.values(), *entrances, *stdio, *tracing.kept_fds()])  # see init.run
        cgroups.enter(entrances)  # before any code of the user
        syscalls.trace("enter the container's cgroup", "echo $$ > .../cgroup.procs")
        os.setsid()
        for name in namespaces.NAMES:  # the user namespace first, the mount namespace last
            if name in opened and name != "pid":
                syscalls.setns(opened[name], namespaces.FLAGS[name])
                syscalls.trace(f"join the container's {name} namespace", f"nsenter --target ... {namespaces.shell_options([name])}")
        os.chdir("/")
        if spec.get("terminal"):
            fds, master = init.open_terminal(spec.get("consoleSize"), console=False)
            channel.send({"master": True}, master)
            stdio = list(fds)
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        init.set_rlimits(spec.get("rlimits", []))
        os.umask(0o022)
        program = init.prepare_process(spec)
        process.close_all_except([channel.fileno(), *tracing.kept_fds()])
        init.become(spec)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)  # it belongs to the container, not to this monitor
        init.execute(spec, program)
    except BaseException as error:  # this is a fork: nothing may go further up
        missing = isinstance(error, SyscallError) and error.errno == 2
        code = 127 if missing else 126
        channel.send(sync.error_message(error, "exec"))
    finally:
        os._exit(code)
