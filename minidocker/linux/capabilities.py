"""Capabilities: what root is made of, and how a process gives it up.

Interface: NAMES, DEFAULT, mask(names), names(mask), sets(pid), limit_to(names, ...).
Man page: capabilities(7). The same from a shell: capsh --print, getpcaps(8), setpriv(1). Notebook: 08 (later).
"""

from __future__ import annotations

from minidocker.errors import SpecError, SyscallError
from minidocker.linux import syscalls

# <linux/capability.h>: the position is the bit.
NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST "
    "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM "
    "BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()

# What is left to root in a container. Docker's set (docs.docker.com, "Runtime privilege and Linux capabilities") has MKNOD too, and
# confines it by device rules of the cgroup: as long as we write no such rules, a device node would be a door to the host's disks.
DEFAULT = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split()


def bit(name: str) -> int:
    """The number of a capability, "CAP_" or not, in any case. SpecError: there is none of that name."""
    plain = name.upper().removeprefix("CAP_")
    if plain not in NAMES:
        raise SpecError(f"no capability is called {name!r}", hint="see capabilities(7), for example NET_ADMIN")
    return NAMES.index(plain)


def mask(names: list[str]) -> int:
    """A bit mask of capabilities."""
    return sum({1 << bit(name) for name in names})


def names(mask: int) -> list[str]:
    """The names in a bit mask, in the kernel's order; a bit we do not know is named by its number."""
    return [NAMES[number] if number < len(NAMES) else f"CAP_{number}" for number in range(64) if mask >> number & 1]


def sets(pid: int | str = "self") -> dict[str, int]:
    """The five sets of a process: inheritable permitted effective bounding ambient. See proc_pid_status(5)."""
    keys = {"CapInh": "inheritable", "CapPrm": "permitted", "CapEff": "effective", "CapBnd": "bounding", "CapAmb": "ambient"}
    path = f"/proc/{pid}/status"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split(":", 1) for line in file]
    except OSError as error:
        raise SyscallError("open", error.errno or 0, path) from error
    return {keys[key]: int(value, 16) for key, value in lines if key in keys}


def last() -> int:
    """The highest capability that this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as file:
        return int(file.read())


def drop_bounding(keep: int) -> None:
    """Take every capability not in *keep* out of the bounding set: no exec, not even of a setuid file, brings it back."""
    for number in range(last() + 1):
        if not keep >> number & 1:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)


def set_to(permitted: int) -> None:
    """Make *permitted* the effective and permitted set, and leave nothing inheritable, so nothing ambient."""
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.capset(permitted, permitted, 0)
    if syscalls.tracing():
        syscalls.trace(f"keep {permitted.bit_count()} capabilities", f"capsh --drop=... (left: {', '.join(names(permitted))})")
