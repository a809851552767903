"""The way to a fresh monitor: connect to the engine's spawner, and start one if there is none.

Interface: connect(run) -> Channel to a fresh monitor; stop(run).
Apart from spawner.py, because a client needs none of the modules that make a container.
Man pages: unix(7), posix_spawn(3). Notebook: 20_life.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys

from minidocker.runtime import lock, sync

STARTS = 3


def connect(run: str) -> sync.Channel:
    """A connection to a monitor of the engine whose runtime directory is *run*; the spawner is started if there is none.

    The lock makes sure that there is one spawner, and that it does not leave while somebody is connecting.
    """
    os.makedirs(run, mode=0o711, exist_ok=True)
    held = lock.take(f"{run}/spawner.lock", wait=True)
    try:
        path = socket_path(run)
        for _ in range(STARTS):
            try:
                return sync.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                start(run, path)  # again, if the one before was killed before it could serve
        return sync.connect(path)
    finally:
        os.close(held)


@functools.cache
def socket_path(run: str) -> str:
    """The name carries the age of the code: after an update a new spawner serves, and the old one leaves when it is idle."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    rooms = [f"{package}/{room}" for room in ("linux", "linux/cgroups", "runtime", ".")]
    newest = max(entry.stat().st_mtime_ns for room in rooms for entry in os.scandir(room) if entry.name.endswith(".py"))
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
            setsigmask=[],  # what its creator blocks or ignores (a job in the background ignores SIGINT) is no affair of containers
            setsigdef=sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
        )
    os.close(null)
    with contextlib.suppress(ChildProcessError):  # our caller ignores SIGCHLD: then the kernel has waited
        os.waitpid(pid, 0)


def stop(run: str) -> None:
    """Let the spawner leave now, after its last monitor. Only when no container runs. Nothing happens if there is no spawner."""
    if not os.path.isdir(run):
        return
    held = lock.take(f"{run}/spawner.lock", wait=True)
    try:
        while True:  # it does not hear us if its spare took us for a client that keeps silent
            with sync.connect(socket_path(run)) as channel:
                channel.send(sync.LEAVE)
                channel.receive()  # the spawner keeps the other end open until it is gone
    except (FileNotFoundError, ConnectionRefusedError):
        return
    finally:
        os.close(held)
