"""The base image, made of one program: a root file system around a static busybox, the same bytes on every machine.

    layer = busybox_layer(binary, applets)     # an uncompressed tar
    config = busybox_config(binary, diff_id)   # its image configuration

*binary* is the content of the busybox program, *applets* what ``busybox --list-full`` prints. Nothing else goes in: no time, no owner
but root, no order of a directory. The layer stays uncompressed, since compressors give other bytes from version to version and the
layer's digest would follow them; it is 2 MB in all. elf(5), hier(7), reproducible-builds.org.
"""

from __future__ import annotations

import datetime
import io
import posixpath
import struct
from collections.abc import Iterable

from minidocker.errors import MissingFeature, SpecError
from minidocker.oci.image import ContainerConfig, History, ImageConfig, RootFS
from minidocker.oci.pack import TarWriter
from minidocker.oci.tar import Entry

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
_HINT = "apt-get install busybox-static"

_DIRECTORIES = (
    *("bin", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"),
    *("usr/bin", "usr/lib", "usr/local", "usr/local/bin", "usr/local/sbin", "usr/sbin"),
    *("var/cache", "var/lib", "var/log", "var/spool", "var/tmp", "var/www"),
)
_MODES = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
_FILES = {
    "etc/passwd": """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
""",
    "etc/group": """root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
wheel:x:10:root
mail:x:8:
www-data:x:33:
operator:x:37:
users:x:100:
nogroup:x:65534:
""",
    "etc/profile": f"export PATH={PATH}\nexport PS1='\\u@\\h:\\w\\$ '\n",
    # Empty: the engine mounts each container's own over them, and need not make the places to do it.
    **dict.fromkeys(("etc/hostname", "etc/hosts", "etc/resolv.conf"), ""),
}
# e_machine of the ELF header, and what Go and hence the image specification call it.
_ARCHITECTURES = {3: "386", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}
_PT_INTERP = 3


def busybox_layer(binary: bytes, applets: Iterable[str]) -> bytes:
    """The layer as a tar: busybox at /bin/busybox, a symlink to it for each of *applets* ("bin/sh"), /etc and the usual directories.

    MissingFeature if *binary* is not a static program: its libraries would be missing in the image."""
    architecture(binary)
    entries = {"": (Entry(b"./", "dir", 0o755), b"")}
    for path in _DIRECTORIES:
        entries[path] = Entry(path.encode() + b"/", "dir", _MODES.get(path, 0o755)), b""
    for path, text in _FILES.items():
        entries[path] = Entry(path.encode(), size=len(text.encode())), text.encode()
    for path in applets:
        if path == "linuxrc":
            continue  # only an initial ramdisk runs this, from its root directory
        directory = posixpath.dirname(path)
        if not directory or directory not in entries or ".." in path or path.endswith("/"):
            raise SpecError(f"busybox wants a link at the odd place {path[:100]!r}")
        entries[path] = Entry(path.encode(), "symlink", 0o777, link=posixpath.relpath("bin/busybox", directory).encode()), b""
    entries["bin/busybox"] = Entry(b"bin/busybox", mode=0o755, size=len(binary)), binary
    out = io.BytesIO()
    writer = TarWriter(out)
    for _, (entry, content) in sorted(entries.items()):
        writer.add(entry, content)
    writer.close()
    return out.getvalue()


def busybox_config(binary: bytes, diff_id: str) -> ImageConfig:
    """The configuration of the image whose only layer is *diff_id*. Dated 1970, as reproducible images are."""
    return ImageConfig(
        created=_EPOCH,
        architecture=architecture(binary),
        os="linux",
        config=ContainerConfig(env=[f"PATH={PATH}"], cmd=["sh"]),
        rootfs=RootFS(diff_ids=[diff_id]),
        history=[History(created=_EPOCH, created_by="minidocker base image: busybox-static")],
    )


def architecture(binary: bytes) -> str:
    """For which processor the static ELF program *binary* was built. MissingFeature if it is no ELF program, or not static."""
    try:
        return _ARCHITECTURES[_static_machine(binary)]
    except (struct.error, IndexError) as error:
        raise MissingFeature("busybox is no ELF program", hint=_HINT) from error
    except KeyError as error:
        raise MissingFeature(f"busybox is built for an unknown processor (ELF machine {error})", hint=_HINT) from error


def _static_machine(binary: bytes) -> int:
    if binary[:4] != b"\x7fELF":
        raise MissingFeature("busybox is no ELF program", hint=_HINT)
    wide, order = binary[4] == 2, "<" if binary[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", binary, 18)
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), binary, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", binary, 54 if wide else 42)
    for number in range(count):
        (kind,) = struct.unpack_from(order + "I", binary, table + number * size)
        if kind == _PT_INTERP:  # it asks for a dynamic linker
            raise MissingFeature("busybox is dynamically linked: it would not run in an image of its own", hint=_HINT)
    return int(machine)
