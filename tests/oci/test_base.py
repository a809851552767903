"""The base image: a complete small system, and the same digest every time."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
from pathlib import Path

import pytest

from minidocker.errors import MissingFeature, SpecError
from minidocker.oci.base import PATH, architecture, busybox_config, busybox_layer
from minidocker.oci.layers import unpack
from minidocker.oci.tar import TarReader

BUSYBOX = Path("/bin/busybox")
APPLETS = ["bin/sh", "bin/ls", "sbin/ip", "usr/bin/awk", "usr/sbin/arping", "usr/bin/[", "linuxrc"]


def elf(machine: int = 62, *, wide: bool = True, order: str = "<", segments: tuple[int, ...] = (1,)) -> bytes:
    """The headers of an ELF program with program headers of the types *segments*. elf(5)."""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2]) + bytes(10)
    size = 56 if wide else 32
    start = 64 if wide else 52
    fields = struct.pack(order + ("HHIQQQIHHH" if wide else "HHIIIIIHHH"), 2, machine, 1, 0, start, 0, 0, start, size, len(segments))
    header = (ident + fields).ljust(start, b"\0")
    return header + b"".join(struct.pack(order + "I", kind).ljust(size, b"\0") for kind in segments)


def test_the_system_works_on_its_own(tmp_path: Path) -> None:
    listing = subprocess.run([BUSYBOX, "--list-full"], capture_output=True, text=True, check=True).stdout.split()
    unpack(io.BytesIO(busybox_layer(BUSYBOX.read_bytes(), listing)), tmp_path)
    script = "id nobody; whoami; ls -ld /tmp /root | cut -c1-10; awk 'BEGIN { print 6*7 }'; ls -d /proc /sys /dev /run /home /var/log"
    done = subprocess.run(["chroot", tmp_path, "/bin/sh", "-c", script], capture_output=True, text=True, env={"PATH": PATH}, check=True)
    assert done.stdout.splitlines() == [
        "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)",
        "root",
        "drwx------",
        "drwxrwxrwt",
        "42",
        "/dev",
        "/home",
        "/proc",
        "/run",
        "/sys",
        "/var/log",
    ]
    links = [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert len(links) == len(listing) - 2  # busybox itself is the program, and linuxrc is left out
    assert all(link.resolve() == tmp_path / "bin/busybox" and not os.readlink(link).startswith("/") for link in links)
    assert len(list(tmp_path.rglob("busybox"))) == 1


def test_same_program_same_bytes() -> None:
    """Whatever the order of the applets, the time, the time zone, the umask or the machine: the digest is written down here."""
    program = elf()
    layer = busybox_layer(program, APPLETS)
    assert layer == busybox_layer(program, reversed(APPLETS))
    assert hashlib.sha256(layer).hexdigest() == "05c00b38a37454a10dbde86391e6a6eb5cfba18b99322941555f00fb0736ec89"
    assert {(entry.mtime, entry.uid, entry.gid) for entry in TarReader(io.BytesIO(layer))} == {(0, 0, 0)}


def test_config() -> None:
    config = busybox_config(elf(183), "sha256:" + "0" * 64)
    assert (config.architecture, config.os, config.config.cmd, config.config.env) == ("arm64", "linux", ["sh"], [f"PATH={PATH}"])
    assert config == busybox_config(elf(183), "sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("program", "expected"),
    [(elf(62), "amd64"), (elf(183), "arm64"), (elf(40, wide=False), "arm"), (elf(22, order=">"), "s390x"), (elf(3, wide=False), "386")],
)
def test_architecture_is_read_from_the_program(program: bytes, expected: str) -> None:
    assert architecture(program) == expected


def test_architecture_of_this_machine() -> None:
    assert architecture(BUSYBOX.read_bytes()) == {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (b"", "no ELF"),
        (b"#!/bin/sh\n", "no ELF"),
        (b"\x7fELF", "no ELF"),
        (elf()[:60], "no ELF"),
        (elf(segments=(6, 3, 1)), "dynamically linked"),
        (elf(9999), "unknown processor"),
        (Path("/bin/sh").read_bytes(), "dynamically linked"),
    ],
    ids=["empty", "script", "magic only", "cut", "interpreter", "machine", "dash"],
)
def test_what_would_not_run_is_refused_with_a_hint(program: bytes, word: str) -> None:
    with pytest.raises(MissingFeature) as caught:
        busybox_layer(program, APPLETS)
    assert word in str(caught.value)
    assert caught.value.hint == "apt-get install busybox-static"


@pytest.mark.parametrize("applet", ["/bin/sh", "../sh", "bin/../../sh", "opt/x/sh", "bin/", "sh"])
def test_an_odd_listing_is_refused(applet: str) -> None:
    with pytest.raises(SpecError):
        busybox_layer(elf(), ["bin/ls", applet])
