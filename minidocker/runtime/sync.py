"""How the four processes of a start talk: one packet, one JSON message, file descriptors beside it.

Interface: Channel(socket): send(message, fds), receive() -> (message, fds); pair(); error_message(error), raise_error(message).

  creator -> monitor   {"verb": "create", "id", "bundle", "run", "stdin", "start", "owned", "removes", "events"}, [trace]
                       by the spawner's socket
  monitor -> creator   {"created": pid}, or {"started": pid} if "start" was true, or {"error": {...}}
  creator -> monitor   {"start": true}                                      (any later client may say it instead)
  init    -> monitor   {"ready": true}, [pty master]     or {"error": {...}}; the end of the channel is a successful execve
  monitor -> init      {"start": true}
  monitor -> clients   {"started": pid}   b"." the log has grown   {"exited": code}

SOCK_SEQPACKET keeps the limits of messages, and a peer's death is seen as the end of the channel.
Man pages: unix(7), cmsg(3) (SCM_RIGHTS). Notebook: 20_life.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import termios

from minidocker.errors import Conflict, MinidockerError, MissingFeature, SpecError, SyscallError, WrongStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]

MAX_MESSAGE = 1 << 16
MAX_FDS = 16
DOORBELL = b"."
RING: Message = {"ring": True}
LEAVE: Message = {"verb": "leave"}  # to the spawner: end now


class Channel:
    """One end of a SOCK_SEQPACKET connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: Message, fds: list[int] | tuple[int, ...] = ()) -> None:
        """Send one message, with copies of *fds*. BrokenPipeError or ConnectionResetError: the peer is gone."""
        socket.send_fds(self.socket, [json.dumps(message).encode()], list(fds), socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[Message | None, list[int]]:
        """The next message, and descriptors that came with it (closed on exec). (None, []): the peer is gone. Doorbells are passed over."""
        while True:
            message, fds = self.receive_any()
            if message is not RING:
                return message, fds

    def receive_any(self) -> tuple[Message | None, list[int]]:
        """As `receive`, but a doorbell counts too: it is the message RING."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, MAX_MESSAGE, MAX_FDS, socket.MSG_CMSG_CLOEXEC)
            except ConnectionResetError:
                continue  # the peer went without reading all of ours; what it had sent before comes after this word
            break
        if not data:
            return None, []
        return (RING if data == DOORBELL else json.loads(data)), fds

    def ring(self) -> None:
        """Say that the log has grown. One ring that waits to be heard is enough: so there is always room for what matters more."""
        if any(fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4)):  # SIOCOUTQ: bytes that the peer has not read yet
            return
        with contextlib.suppress(OSError):  # it is gone
            self.socket.send(DOORBELL, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pair() -> tuple[Channel, Channel]:
    """Two connected ends. See socketpair(2)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)


def connect(path: str) -> Channel:
    """Connect to a listening socket, whose path may be longer than the 107 bytes that an address holds. OSError: nobody listens."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(directory)
    return Channel(connection)


def listen(path: str) -> socket.socket:
    """A listening socket at *path* (0600); one that a dead process left there is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.path.lexists(path):
            os.unlink(path)
        listener.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        os.chmod(path, 0o600)
        listener.listen(128)
    finally:
        os.close(directory)
    return listener


def error_message(error: BaseException, step: str) -> Message:
    """An exception as a message: for a system call {step, syscall, errno, path}, for ours the class and words."""
    if isinstance(error, OSError):
        words = {"step": getattr(error, "step", "") or step, "syscall": getattr(error, "syscall", ""), "hint": getattr(error, "hint", "")}
        return {"error": {**words, "errno": error.errno or 0, "path": shortened(error.filename)}}
    kind = type(error).__name__
    words = {"step": step, "kind": kind, "message": shortened(str(error) or kind), "hint": getattr(error, "hint", "")}
    if isinstance(error, WrongStatus):
        words |= {"status": error.status, "needed": error.needed}
    return {"error": words}


def shortened(text: object, limit: int = 300) -> str:
    """At most *limit* characters: an error must fit into one packet whatever the user typed."""
    words = "" if text is None else str(text)
    return words if len(words) <= limit else words[:limit] + "..."


def raise_error(message: Message) -> None:
    """Raise here what went wrong there, if *message* says so."""
    error = message.get("error")
    if error is None:
        return
    if "errno" in error:
        raise SyscallError(error["syscall"] or "system call", error["errno"], error["path"], step=error["step"], hint=error["hint"])
    if error["kind"] == "WrongStatus":
        raise WrongStatus(error["message"], status=error["status"], needed=error["needed"], hint=error["hint"])
    kinds = {kind.__name__: kind for kind in (SpecError, MissingFeature, Conflict)}
    text = error["message"] if error["kind"] in kinds else f"{error['step']}: {error['message']}"
    raise kinds.get(error["kind"], MinidockerError)(text, hint=error["hint"])
