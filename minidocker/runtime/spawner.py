"""The spawner: a small, warm, single-threaded process that keeps one spare monitor forked ahead for its engine.

Interface: serve(run, path), in the process that runtime/hire.py starts.
Threads and fork do not mix, and Jupyter kernels and daemons have threads: so whoever wants a container connects to the
spawner's socket. The spare is waiting in accept(2) on it; the connection that it takes is its creator's from then on, and
the spawner forks the next spare. So a start never waits for a fork. Few modules are loaded here, since each monitor is a
fork of this process. It leaves when it has had no monitor for IDLE seconds.
Man pages: fork(2), unix(7), accept(2). Notebook: 20_life.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket

from minidocker.errors import SyscallError
from minidocker.linux import cgroups, process, syscalls
from minidocker.runtime import creation, lock, monitor, sync
from minidocker.runtime import exec as exec_monitor

IDLE = 10.0  # seconds
PATIENCE = 0.05  # seconds that a client has for its first word, before the next spare is forked for others


def serve(run: str, path: str) -> None:
    """The spawner's life. Called in the new process only, with the listening socket as descriptor 0."""
    os.chdir("/")
    listener = socket.socket(fileno=os.dup(0))  # dup: closed on exec from here on
    listener.setblocking(False)
    os.dup2(1, 0)
    syscalls.set_process_name("mdspawner")
    os.umask(0o022)
    # Ended children are reaped in the loop; the handler's only work is to wake the poll.
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    cgroups.layout()  # every fork inherits the answer: inside a container's own mounts it could not be found
    gc.collect()
    gc.freeze()  # monitors share these pages with us: the collector must not write to them
    gc.disable()
    Spawner(listener, wake_read, run, path).loop()


class Spawner:
    def __init__(self, listener: socket.socket, wake: int, run: str, path: str) -> None:
        self.listener, self.wake, self.run, self.path = listener, wake, run, path
        self.monitors: set[int] = set()
        self.fork_spare()

    def fork_spare(self) -> None:
        """Fork the monitor of the next container; it tells us when it has been taken."""
        self.to_spare, theirs = sync.pair()
        self.spare = os.fork()
        if self.spare == 0:
            become_spare(self.listener, theirs)
        theirs.close()

    def loop(self) -> None:
        while True:
            poller = select.poll()
            for fd in (self.wake, self.to_spare.fileno()):
                poller.register(fd, select.POLLIN)
            events = [fd for fd, _ in poller.poll(None if self.monitors else IDLE * 1000)]
            if self.to_spare.fileno() in events:
                self.hear_spare()
            if self.wake in events:  # last, since the spare may be among the dead
                self.reap()
            if not events and self.leave():
                return

    def reap(self) -> None:
        os.read(self.wake, 4096)
        for pid in list(self.monitors):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                self.monitors.discard(pid)

    def hear_spare(self) -> None:
        """The spare was taken, or asked to say that we shall leave, or was killed: in each case it is no spare any more."""
        message, _ = self.to_spare.receive()
        if message == sync.LEAVE:
            os.waitpid(self.spare, 0)
            for pid in self.monitors:  # they are on their way out: whoever asks has seen to it that no container runs
                os.waitpid(pid, 0)
            os.unlink(self.path)  # the one who asks holds the lock, so nobody is connecting
            os._exit(0)
        self.monitors.add(self.spare)
        self.to_spare.close()
        self.fork_spare()

    def leave(self) -> bool:
        """Take the socket away and dismiss the spare, unless somebody is connecting at this moment. True: this process may end."""
        try:
            held = lock.take(f"{self.run}/spawner.lock")
        except BlockingIOError:
            return False
        try:
            listening = select.poll()
            listening.register(self.listener, select.POLLIN)
            listening.register(self.to_spare.fileno(), select.POLLIN)
            if listening.poll(0):
                return False
            os.unlink(self.path)
            return True  # the lock file stays: to unlink a lock that others wait for would make two of it
        finally:
            os.close(held)


TAKEN = {"taken": True}


def become_spare(listener: socket.socket, spawner: sync.Channel) -> None:
    """In the fork: forget the spawner's descriptors, wait for a client, and be its monitor until the end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        process.close_all_except([listener.fileno(), spawner.fileno()])
        os.setsid()
        host_network = -1
        with contextlib.suppress(SyscallError):  # if it cannot be now, `creation` tries again, and the creator hears why
            host_network = creation.enter_new_network()
        client = wait_for_client(listener, spawner)
        listener.close()
        if client is not None:
            serve_client(client, spawner, host_network)
        code = 0
    finally:
        os._exit(code)


def wait_for_client(listener: socket.socket, spawner: sync.Channel) -> sync.Channel | None:
    """The connection of whoever comes; None when the spawner has gone and no one came."""
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    poller.register(spawner.fileno(), select.POLLIN)
    while True:
        events = [fd for fd, _ in poller.poll()]
        if listener.fileno() in events:
            try:
                return sync.Channel(listener.accept()[0])
            except BlockingIOError:  # the spare of a killed spawner was faster
                continue
        return None


def serve_client(client: sync.Channel, spawner: sync.Channel, host_network: int) -> None:
    asked = False

    def let_fork() -> None:
        """The spawner may fork the next spare: said when we have nothing to do ourselves, so that it does not slow this start."""
        nonlocal asked
        if not asked:
            asked = True
            with contextlib.suppress(BrokenPipeError):  # it was killed: that is no reason not to serve
                spawner.send(TAKEN)
            spawner.close()

    if not select.select([client], [], [], PATIENCE)[0]:
        let_fork()  # others need not wait for somebody who says nothing
    message, fds = client.receive()
    if message == sync.LEAVE and not asked:
        spawner.send(sync.LEAVE, [client.fileno()])
        return
    if message is None or message == sync.LEAVE:
        return
    if message["verb"] == "exec":
        let_fork()
        exec_monitor.run(message, client, fds)
    else:
        monitor.run(message, client, fds, host_network, let_fork)
