"""The spawner: a small, warm, single-threaded process that forks the monitors of one engine.

Interface: connect(run) -> Channel to it, started if needed; stop(run).
Threads and fork do not mix, and Jupyter kernels and daemons have threads: so they ask this process. It keeps few modules
loaded, since each monitor is a fork of it. It leaves when it has had neither client nor monitor for IDLE seconds.
Man pages: fork(2), unix(7). Notebook: 20_life.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys

from minidocker.errors import MinidockerError
from minidocker.linux import process, syscalls
from minidocker.runtime import exec as exec_monitor
from minidocker.runtime import lock, monitor, sync

IDLE = 10.0  # seconds


def connect(run: str) -> sync.Channel:
    """A channel to the spawner of the engine whose runtime directory is *run*; it is started if there is none.

    The lock makes sure that there is one, and that none leaves while somebody is connecting.
    """
    os.makedirs(run, mode=0o711, exist_ok=True)
    held = lock.take(f"{run}/spawner.lock", wait=True)
    try:
        path = socket_path(run)
        try:
            return sync.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            start(run, path)
            return sync.connect(path)
    finally:
        os.close(held)


def socket_path(run: str) -> str:
    """The name carries the age of the code: after an update a new spawner serves, and the old one leaves when it is idle."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    newest = max(
        entry.stat().st_mtime_ns
        for room in ("linux", "linux/cgroups", "runtime", ".")
        for entry in os.scandir(f"{package}/{room}")
        if entry.name.endswith(".py")
    )
    return f"{run}/spawner.{newest:x}.sock"


def start(run: str, path: str) -> None:
    """Start a spawner that takes over a socket we listen on: so the first client need not wait for it to be ready."""
    listener = sync.listen(path)
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # -S and -E: no site-packages, no PYTHON* variables; it needs only the standard library and us. It forks once more
    # at the very beginning, so that it is nobody's child: nobody has to wait for it, and it is never a zombie.
    code = f"import os, sys; os.fork() and os._exit(0); sys.path.insert(0, {package_parent!r})\n"
    code += "from minidocker.runtime import spawner; spawner.serve(*sys.argv[1:])"
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    with listener:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-S", "-E", "-c", code, run, path],
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            file_actions=[(os.POSIX_SPAWN_DUP2, listener.fileno(), 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)],
            setsid=True,
        )
    os.close(null)
    os.waitpid(pid, 0)


def serve(run: str, path: str) -> None:
    """The spawner's life. Called in the new process only, with the listening socket as descriptor 0."""
    os.chdir("/")
    listener = socket.socket(fileno=os.dup(0))  # dup: closed on exec from here on
    os.dup2(1, 0)
    syscalls.set_process_name("mdspawner")
    os.umask(0o022)
    # Ended children are reaped in the loop; the handler's only work is to wake the poll.
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()  # monitors share these pages with us: the collector must not write to them
    gc.disable()
    Spawner(listener, wake_read, run, path).loop()


class Spawner:
    def __init__(self, listener: socket.socket, wake: int, run: str, path: str) -> None:
        self.listener, self.wake, self.run, self.path = listener, wake, run, path
        self.clients: dict[int, sync.Channel] = {}
        self.monitors: set[int] = set()
        self.poller = select.poll()
        self.poller.register(listener, select.POLLIN)
        self.poller.register(wake, select.POLLIN)

    def loop(self) -> None:
        while True:
            idle = not self.clients and not self.monitors
            events = self.poller.poll(IDLE * 1000 if idle else None)
            if not events and self.leave():
                return
            for fd, _ in events:
                if fd == self.wake:
                    self.reap()
                elif fd == self.listener.fileno():
                    self.accept()
                elif fd in self.clients:
                    self.answer(self.clients[fd])

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        self.clients[connection.fileno()] = sync.Channel(connection)
        self.poller.register(connection, select.POLLIN)

    def reap(self) -> None:
        os.read(self.wake, 4096)
        for pid in list(self.monitors):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                self.monitors.discard(pid)

    def answer(self, client: sync.Channel) -> None:
        message, fds = client.receive()
        if message is None:
            self.poller.unregister(client.fileno())
            del self.clients[client.fileno()]
            client.close()
            return
        if message["verb"] == "leave":
            if not self.monitors and len(self.clients) == 1 and self.leave():
                os._exit(0)
            client.send({"stays": len(self.monitors)})
            return
        pid = os.fork()
        if pid == 0:
            become_monitor(message, fds)
        self.monitors.add(pid)
        for fd in fds:
            os.close(fd)

    def leave(self) -> bool:
        """Take the socket away, unless somebody is connecting at this moment. True: this process may end."""
        try:
            held = lock.take(f"{self.run}/spawner.lock")
        except BlockingIOError:
            return False
        try:
            listening = select.poll()
            listening.register(self.listener, select.POLLIN)
            if listening.poll(0):
                return False
            if os.path.exists(self.path):
                os.unlink(self.path)
            return True  # the lock file stays: to unlink a lock that others wait for would make two of it
        finally:
            os.close(held)


def become_monitor(message: sync.Message, fds: list[int]) -> None:
    """In the fork: forget the spawner's descriptors and be a monitor until the end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        process.close_all_except(fds)
        os.setsid()
        verbs = {"create": monitor.run, "exec": exec_monitor.run}
        verbs[message["verb"]](message, fds)
        code = 0
    finally:
        os._exit(code)


def stop(run: str) -> None:
    """Ask an idle spawner to leave now. MinidockerError: it still has containers. Nothing happens if none runs."""
    try:
        channel = sync.connect(socket_path(run))
    except (FileNotFoundError, ConnectionRefusedError):
        return
    with channel:
        channel.send({"verb": "leave"})
        answer, _ = channel.receive()
        if answer is not None and answer.get("stays"):
            raise MinidockerError(f"{answer['stays']} containers still run", hint="stop them first")
