"""Every error minidocker raises, in one tree.

MinidockerError                 .hint: one sentence on what to do, or ""
|- SyscallError (OSError)       .syscall .errno .filename .step          linux/, runtime/
|- SpecError (ValueError)       a reference, an option, a config that cannot be understood
|- DigestMismatch               content is not what its digest says
|- MissingFeature               this host lacks something the engine needs
|- ContainerFailed              the command of a `run` ended with .exit_code; .stderr is what it said
|- NotFound                     ContainerNotFound, ImageNotFound
`- Conflict                     NameInUse, InUse, WrongStatus (.status .needed)
"""

from __future__ import annotations

import os


class MinidockerError(Exception):
    """Base of all. *hint* says what the user can do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class SyscallError(MinidockerError, OSError):
    """A system call failed. Behaves as an OSError: errno, strerror and filename are set.

    *step* names what minidocker was doing ("mount /proc"), *syscall* what it asked of the kernel ("mount").
    """

    def __init__(self, syscall: str, errno: int, filename: str = "", *, step: str = "", hint: str = "") -> None:
        self.syscall, self.step = syscall, step
        where = f" {filename}" if filename else ""
        message = f"{syscall}{where}: {os.strerror(errno)}"
        MinidockerError.__init__(self, f"{step}: {message}" if step else message, hint=hint)
        self.errno, self.strerror, self.filename = errno, os.strerror(errno), filename or None

    def __reduce__(self) -> tuple[object, ...]:
        return type(self)._rebuild, (self.syscall, self.errno, self.filename or "", self.step, self.hint)

    @classmethod
    def _rebuild(cls, syscall: str, errno: int, filename: str, step: str, hint: str) -> SyscallError:
        return cls(syscall, errno, filename, step=step, hint=hint)


class SpecError(MinidockerError, ValueError):
    """An image reference, option or configuration that cannot be understood."""


class DigestMismatch(MinidockerError):
    """Content does not have the digest that was promised for it."""


class MissingFeature(MinidockerError):
    """This host lacks a kernel feature, tool or permission."""


class ContainerFailed(MinidockerError):
    """The command ran, and ended with *exit_code* other than 0; *stderr* is what it said there."""

    def __init__(self, message: str, *, exit_code: int, stderr: bytes) -> None:
        super().__init__(message)
        self.exit_code, self.stderr = exit_code, stderr


class NotFound(MinidockerError):
    """There is no such thing."""


class ContainerNotFound(NotFound):
    """No container has this name or id."""


class ImageNotFound(NotFound):
    """No image has this reference or digest."""


class Conflict(MinidockerError):
    """The thing exists but is not in a state that allows the request."""


class NameInUse(Conflict):
    """Another container has this name."""


class InUse(Conflict):
    """Something still needs it."""


class WrongStatus(Conflict):
    """The container's *status* is not the *needed* one."""

    def __init__(self, message: str, *, status: str, needed: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status, self.needed = status, needed
