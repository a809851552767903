"""Pressure stall information: for what part of the time processes had to wait for a resource.

Interface: read(cgroup, resource) -> Pressure(scope, some, full), host(resource), parse(text).
Kept for each cgroup of the v2 tree, whichever hierarchy its controllers are on; without such a tree for the whole machine only.
Man page: Documentation/accounting/psi.rst. The same from a shell: cat /proc/pressure/memory. Notebook: 10.
"""

from __future__ import annotations

from collections import namedtuple

from minidocker.errors import MissingFeature, SpecError, SyscallError
from minidocker.linux.cgroups import formats, v2
from minidocker.linux.cgroups.layout import layout

RESOURCES = ("cpu", "io", "memory")
Line = namedtuple("Line", "avg10 avg60 avg300 total_us")
Line.__doc__ = """Per cent of the last 10, 60 and 300 seconds, and all time waited so far."""
Pressure = namedtuple("Pressure", "scope some full")
Pressure.__doc__ = """*scope*: "cgroup" or "host", whose pressure this is. *some*: at least one process waited; *full*: all did at once.
*full* is None for the machine's CPUs: they never all wait."""


def read(cgroup: v2.Cgroup, resource: str) -> Pressure:
    """The cgroup's own pressure where the kernel keeps it, else the machine's: *scope* says which. *resource*: cpu, io or memory."""
    if not layout().unified:
        return host(resource)
    return Pressure("cgroup", *_read(f"{cgroup.path}/{_known(resource)}.pressure"))


def host(resource: str) -> Pressure:
    return Pressure("host", *_read(f"/proc/pressure/{_known(resource)}"))


def parse(text: str) -> tuple[Line, Line | None]:
    """The text of a pressure file. SpecError: it is none."""
    lines = formats.nested_keyed(text)
    try:
        some, full = (_line(lines[kind]) if kind in lines else None for kind in ("some", "full"))
    except (KeyError, ValueError) as error:
        raise SpecError(f"not the text of a pressure file: {text!r}") from error
    if some is None:
        raise SpecError(f"not the text of a pressure file: {text!r}")
    return some, full


def _line(pairs: dict[str, str]) -> Line:
    return Line(float(pairs["avg10"]), float(pairs["avg60"]), float(pairs["avg300"]), formats.number(pairs["total"]))


def _known(resource: str) -> str:
    if resource not in RESOURCES:
        raise SpecError(f"there is no pressure of {resource!r}", hint=f"one of {', '.join(RESOURCES)}")
    return resource


def _read(path: str) -> tuple[Line, Line | None]:
    try:
        return parse(v2.read(path))
    except SyscallError as error:
        if error.errno not in (2, 95):  # ENOENT, EOPNOTSUPP: not in this kernel, or switched off
            raise
        raise MissingFeature("this kernel keeps no pressure stall information", hint="boot with psi=1") from error
