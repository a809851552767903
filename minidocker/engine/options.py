"""From what the user asked for, and what the image says, to a container's record. Checked whole before anything is made.

Interface: make_record(image, ...) -> ContainerRecord; parse_volume, parse_mount, parse_tmpfs, parse_signal, check_name.
What limits it: resources.py.
The grammar of each option is Docker's; every refusal says what would be right.
"""

from __future__ import annotations

import os
import re
import signal
import time

from minidocker.engine import resources
from minidocker.engine.images import Image
from minidocker.engine.names import made_up_name
from minidocker.engine.record import ContainerOptions, ContainerRecord, MountPoint
from minidocker.engine.resources import parse_size
from minidocker.errors import SpecError
from minidocker.linux import capabilities
from minidocker.oci.spec import DEFAULT_PATH
from minidocker.runtime.log import timestamp

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")
PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


def make_record(image: Image, reference: str, command: list[str] | str | None, options: ContainerOptions) -> ContainerRecord:
    """The record of a new container. SpecError for whatever cannot be; TypeError for an option that does not exist."""
    unknown = set(options) - set(ContainerOptions.__annotations__)
    if unknown:
        raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
    container_id = os.urandom(32).hex()
    config = image.config.config
    name = check_name(options.get("name") or made_up_name())
    network = check_mode("network", options.get("network", "none"), ("none", "host"))
    entrypoint, arguments = what_runs(config.entrypoint or [], config.cmd or [], options.get("entrypoint"), command)
    added, dropped = options.get("cap_add", []), options.get("cap_drop", [])
    record = ContainerRecord(
        id=container_id,
        name=name,
        created=timestamp(time.time_ns()),
        image=reference,
        image_id=image.id,
        entrypoint=entrypoint,
        command=arguments,
        user=without_nul("user", options.get("user", config.user or "")),
        workdir=check_workdir(options.get("workdir") or config.working_dir or "/"),
        labels={**(config.labels or {}), **options.get("labels", {})},
        mounts=parse_all_mounts(options),
        read_only=options.get("read_only", False),
        init=options.get("init", False),
        tty=options.get("tty", False),
        stdin_open=options.get("stdin_open", False),
        stop_signal=parse_signal(options.get("stop_signal") or config.stop_signal or "TERM"),
        stop_timeout=check_timeout(options.get("stop_timeout", 10)),
        network=network,
        pid_mode=check_mode("pid", options.get("pid") or "", ("", "host"), container=True),
        ipc_mode=check_mode("ipc", options.get("ipc") or "private", ("private", "shareable", "host", "none"), container=True),
        uts_mode=check_mode("uts", options.get("uts") or "", ("", "host")),
        auto_remove=options.get("remove", False),
        cap_add=added,
        cap_drop=dropped,
        privileged=options.get("privileged", False),
        capabilities=allowed_capabilities(added, dropped, privileged=options.get("privileged", False)),
        ulimits=dict(resources.parse_ulimit(text) for text in options.get("ulimits", [])),
        **resources.parse(options),
    )
    resources.check(record)
    resources.check_ulimits(record.ulimits)
    record.hostname = default_hostname(record, options.get("hostname", ""))
    record.env = make_environment(record, list(config.env or []), options.get("env", []))
    return record


def what_runs(
    image_entrypoint: list[str], image_command: list[str], entrypoint: list[str] | str | None, command: list[str] | str | None
) -> tuple[list[str], list[str]]:
    """Docker's rule: a given entry point also forgets the image's command; a given command replaces the image's."""
    own = [command] if isinstance(command, str) else command
    if entrypoint is not None:
        image_entrypoint, image_command = [entrypoint] if isinstance(entrypoint, str) else entrypoint, []
    arguments = list(own if own else image_command)
    if not image_entrypoint and not arguments:
        raise SpecError("no command specified", hint="the image names no command: give one after the image")
    for argument in [*image_entrypoint, *arguments]:
        without_nul("argument", argument)
    return list(image_entrypoint), arguments


def without_nul(what: str, text: str) -> str:
    if "\0" in text:
        raise SpecError(f"invalid {what}: it contains a NUL byte", hint="the kernel ends every string at a NUL")
    return text


def check_name(name: str) -> str:
    """*name*, if it may be a container's. SpecError otherwise."""
    plain = name.removeprefix("/")
    if not _NAME.fullmatch(plain) or len(plain) > 128:
        shown = plain if len(plain) <= 40 else plain[:40] + "..."
        hint = "at least two characters (128 at most): letters, digits, '_', '.', '-', the first a letter or digit"
        raise SpecError(f"Invalid container name ({shown!r}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", hint=hint)
    return plain


def check_mode(kind: str, mode: str, known: tuple[str, ...], *, container: bool = False) -> str:
    if mode in known or (container and mode.startswith("container:") and mode != "container:"):
        return mode
    choices = [choice for choice in known if choice] + (["container:NAME"] if container else [])
    later = "; bridges and other networks come with a later version" if kind == "network" else ""
    raise SpecError(f"{kind}: invalid mode {mode!r}", hint=f"this version knows {', '.join(choices)}{later}")


def check_workdir(path: str) -> str:
    if not path.startswith("/"):
        raise SpecError(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return without_nul("working directory", path)


def check_timeout(seconds: int) -> int:
    if seconds < -1:
        raise SpecError(f"invalid stop timeout: {seconds}", hint="seconds, or -1 to wait for ever")
    return seconds


def default_hostname(record: ContainerRecord, wanted: str) -> str:
    """The given host name; else the short id, or the host's own name when the container shares its network or UTS namespace."""
    if not wanted:
        return os.uname().nodename if "host" in (record.network, record.uts_mode) else record.id[:12]
    if record.uts_mode == "host":
        raise SpecError("conflicting options: hostname and the UTS mode", hint="with --uts host the name is the host's")
    if not _HOSTNAME.fullmatch(wanted):
        raise SpecError(f"invalid hostname {wanted[:80]!r}", hint="at most 64 letters, digits, '-' and '.'")
    return wanted


def make_environment(record: ContainerRecord, image: list[str], own: list[str] | dict[str, str]) -> list[str]:
    """PATH, HOSTNAME and TERM as Docker sets them, then the image's variables, then the user's: the last of a name wins."""
    entries = [f"{key}={value}" for key, value in own.items()] if isinstance(own, dict) else own
    first = [DEFAULT_PATH, f"HOSTNAME={record.hostname}"] + (["TERM=xterm"] if record.tty else [])
    variables = {}
    for entry in [*first, *image, *entries]:
        key, equals, value = without_nul("environment variable", entry).partition("=")
        if not key:
            raise SpecError(f"invalid environment variable: {entry!r}", hint="write NAME=VALUE")
        if equals:
            variables[key] = value
        else:
            variables.pop(key, None)  # a bare NAME takes it away, as in Docker
    return [f"{key}={value}" for key, value in variables.items()]


def allowed_capabilities(added: list[str], dropped: list[str], *, privileged: bool) -> list[str]:
    """Docker's default set with the wishes applied; ALL stands for every capability this kernel knows."""
    everything = capabilities.NAMES[: capabilities.last() + 1]
    if privileged:
        return everything
    normal = [[name.upper().removeprefix("CAP_") for name in names] for names in (added, dropped)]
    for name in [*normal[0], *normal[1]]:
        if name != "ALL":
            capabilities.bit(name)
    keep = set(everything) if "ALL" in normal[0] else set(capabilities.DEFAULT)
    keep = set() if "ALL" in normal[1] else keep - set(normal[1])
    keep |= {name for name in normal[0] if name != "ALL"}
    return [name for name in everything if name in keep]


def parse_signal(text: str | int) -> int:
    """A signal's number from "TERM", "SIGTERM", "15" or 15. SpecError: there is none."""
    name = str(text).upper()
    if name.isdecimal():
        number = int(name)
    else:
        member = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
        number = int(member) if isinstance(member, signal.Signals) else 0
    if number not in signal.valid_signals():
        raise SpecError(f"Invalid signal: {text}", hint="a name such as TERM or a number; see signal(7)")
    return number


def parse_all_mounts(options: ContainerOptions) -> list[MountPoint]:
    """Every -v, --mount and --tmpfs, parents before what lies below them. SpecError: two want one place."""
    points = [parse_volume(text) for text in options.get("volumes", [])]
    points += [parse_mount(text) for text in options.get("mounts", [])]
    points += [parse_tmpfs(text) for text in options.get("tmpfs", [])]
    targets = [point.target for point in points]
    for target in targets:
        if targets.count(target) > 1:
            raise SpecError(f"Duplicate mount point: {target}")
    return sorted(points, key=lambda point: point.target.count("/"))


def check_target(target: str) -> str:
    """An absolute directory of the container, in plain form. SpecError otherwise."""
    if not target.startswith("/"):
        raise SpecError(f"invalid mount target {target!r}: mount path must be absolute", hint="a place in the container, such as /data")
    plain = os.path.normpath(without_nul("mount target", target).replace("//", "/"))
    if plain == "/":
        raise SpecError(f"invalid mount target {target!r}: destination can't be '/'")
    return plain


def parse_volume(text: str) -> MountPoint:
    """`-v SOURCE:TARGET[:OPTIONS]` with a path as source, which is made if it does not exist, as Docker does."""
    parts = text.split(":")
    if len(parts) == 1 or not parts[0].startswith(("/", ".", "~")):
        hint = "SOURCE:TARGET[:ro] with a path as source; named volumes come later"
        raise SpecError(f"invalid volume specification: {text!r}", hint=hint)
    if len(parts) > 3 or not parts[1]:
        raise SpecError(f"invalid volume specification: {text!r}", hint="SOURCE:TARGET[:ro]")
    source = os.path.abspath(os.path.expanduser(without_nul("mount source", parts[0])))
    words = parts[2].split(",") if len(parts) == 3 else []
    for word in words:
        if word not in ("ro", "rw", "z", "Z", "cached", "delegated", "consistent", *PROPAGATIONS):
            hint = "ro, rw, or a propagation such as rslave"
            raise SpecError(f"invalid volume specification: {text!r}: unknown option {word!r}", hint=hint)
    options = [word for word in words if word in ("ro", *PROPAGATIONS)]
    return MountPoint(kind="bind", source=source, target=check_target(parts[1]), options=options, create_source=True)


def parse_mount(text: str) -> MountPoint:
    """`--mount type=bind|tmpfs,source=...,target=...[,readonly]`. SpecError: a missing or unknown key."""
    fields: dict[str, str] = {}
    aliases = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
    known = ("type", "source", "target", "readonly", "bind-propagation", "tmpfs-size", "tmpfs-mode")
    for part in text.split(","):
        key, _, value = part.partition("=")
        key = aliases.get(key.strip().lower(), key.strip().lower())
        if key not in known:
            raise SpecError(f"invalid argument {text!r} for --mount: unexpected key '{key}'", hint=f"keys are {', '.join(known)}")
        fields[key] = value
    kind = fields.get("type", "volume")
    if kind not in ("bind", "tmpfs"):
        raise SpecError(f"--mount type {kind!r} is not known", hint="bind or tmpfs; volumes come later")
    target = check_target(fields.get("target", ""))
    options = ["ro"] if fields.get("readonly", "false").lower() in ("", "1", "true") else []
    if kind == "tmpfs":
        options += [f"size={parse_size(fields['tmpfs-size'])}"] if "tmpfs-size" in fields else []
        options += [f"mode={check_octal(fields['tmpfs-mode'])}"] if "tmpfs-mode" in fields else []
        return MountPoint(kind="tmpfs", target=target, options=["nosuid", "nodev", "noexec", *options])
    propagation = fields.get("bind-propagation", "rprivate")
    if propagation not in PROPAGATIONS:
        raise SpecError(f"invalid propagation {propagation!r}", hint=", ".join(PROPAGATIONS))
    source = without_nul("mount source", fields.get("source", ""))
    if not os.path.isabs(source):
        raise SpecError(f"invalid mount source {source!r}: must be an absolute path")
    return MountPoint(kind="bind", source=source, target=target, options=[*options, propagation])


def check_octal(mode: str) -> str:
    if not re.fullmatch(r"[0-7]{1,4}", mode):
        raise SpecError(f"invalid mode {mode!r}", hint="an octal number such as 1777")
    return mode


def parse_tmpfs(text: str) -> MountPoint:
    """`--tmpfs DIR[:OPTIONS]`, with options of mount(8) for tmpfs."""
    target, _, words = text.partition(":")
    options = [word for word in words.split(",") if word and word not in ("rw", "exec", "suid", "dev")]
    defaults = {"nosuid": "suid", "nodev": "dev", "noexec": "exec"}
    kept = [safe for safe, opposite in defaults.items() if opposite not in words.split(",") and safe not in options]
    return MountPoint(kind="tmpfs", target=check_target(target), options=[*kept, *options])
