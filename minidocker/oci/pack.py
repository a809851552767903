"""Writing tars: of a directory tree, or entry by entry.

    pack(directory, stream)                                     # the whole tree, the same bytes every time
    writer = TarWriter(stream); writer.add(entry, content); writer.close()

Plain ustar, with PAX records (SCHILY.xattr among them) where ustar does not suffice. tar(5), pax(1).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from minidocker.errors import SpecError
from minidocker.oci.blobs import Readable
from minidocker.oci.layers import OVERLAY_XATTRS, Parts, open_directory, under
from minidocker.oci.tar import BLOCK, CHUNK, KINDS, SECOND, XATTR, Entry

_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Writable(Protocol):
    """Anything to write bytes to."""

    def write(self, content: bytes, /) -> object: ...


class TarWriter:
    """Write a tar to *stream*. The same entries give the same bytes."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream

    def add(self, entry: Entry, content: bytes | Readable = b"") -> None:
        """Append *entry*; *content* gives exactly ``entry.size`` bytes, or SpecError."""
        self._stream.write(encode_header(entry))
        left = entry.size if entry.kind == "file" else 0
        if isinstance(content, bytes):
            self._stream.write(content[:left])
            left -= min(left, len(content))
        else:
            while left and (chunk := content.read(min(left, CHUNK))):
                self._stream.write(chunk)
                left -= len(chunk)
        if left:
            raise SpecError(f"{entry} became {left} bytes shorter while it was read")
        if entry.kind == "file":
            self._stream.write(bytes(-entry.size % BLOCK))

    def close(self) -> None:
        """Write the end mark, two empty blocks. The stream stays open."""
        self._stream.write(bytes(2 * BLOCK))


def encode_header(entry: Entry) -> bytes:
    """The header blocks of *entry*: one of ustar, and before it PAX records for all that does not fit there."""
    records: dict[bytes, bytes] = {}
    second, fraction = divmod(entry.mtime, SECOND)
    if fraction or not 0 <= second < 8**11:
        records[b"mtime"] = b"%s%d.%09d" % (b"-" if entry.mtime < 0 else b"", *divmod(abs(entry.mtime), SECOND))
    for key, text in ((b"path", entry.name), (b"linkpath", entry.link)):
        if len(text) > 100 or not text.isascii():
            records[key] = text
    for key, number, digits in ((b"uid", entry.uid, 7), (b"gid", entry.gid, 7), (b"size", entry.size, 11)):
        if number >= 8**digits:
            records[key] = b"%d" % number
    for name, value in sorted(entry.xattrs.items()):
        if "=" in name:
            raise SpecError(f"{entry} has the extended attribute {name!r}, which a tar cannot hold")
        records[XATTR + os.fsencode(name)] = value
    size = entry.size if entry.kind == "file" else 0
    kind = next(letter for letter, kind in KINDS.items() if kind == entry.kind)
    header = _ustar(entry, kind, 0 if b"size" in records else size, 0 if b"mtime" in records else second)
    if not records:
        return header
    data = b"".join(_pax_record(key, value) for key, value in records.items())
    extension = Entry(b"PaxHeaders/" + entry.name.rstrip(b"/").rsplit(b"/", 1)[-1][:80])
    return _ustar(extension, b"x", len(data), 0) + data + bytes(-len(data) % BLOCK) + header


def _ustar(entry: Entry, kind: bytes, size: int, second: int) -> bytes:
    uid, gid = (number if number < 8**7 else 0 for number in (entry.uid, entry.gid))
    name, link = (bytes(byte if byte < 0x80 else 0x3F for byte in text[:100]).ljust(100, b"\0") for text in (entry.name, entry.link))
    start = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name, entry.mode, uid, gid, size, second)
    end = kind + link + b"ustar\x0000" + bytes(64) + b"%07o\0%07o\0" % (entry.major, entry.minor) + bytes(167)
    return start + b"%06o\0 " % (sum(start) + sum(end) + 8 * 0x20) + end


def _pax_record(key: bytes, value: bytes) -> bytes:
    """``LENGTH key=value\\n``, where LENGTH counts itself."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    return b"%d" % (len(body) + len(str(length))) + body


def pack(root: str | Path, stream: Writable, *, mtime: int | None = None) -> None:
    """Write the tree at *root* to *stream* as a tar: sorted, owners numeric, hard links kept, nothing followed out of the tree.

    *mtime*, in nanoseconds, replaces all times. Sockets are left out, as by every tar. SpecError: a file shrank while it was read."""
    writer = TarWriter(stream)
    links: dict[tuple[int, int], bytes] = {}
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pending: list[Parts] = [()]
        while pending:
            parts = pending.pop()
            parent = open_directory(top, parts[:-1])
            try:
                if _pack_one(writer, parent, parts, links, mtime):
                    pending += [(*parts, name) for name in sorted(_names(parent, parts[-1:]), reverse=True)]
            finally:
                os.close(parent)
    finally:
        os.close(top)
    writer.close()


def _names(parent: int, parts: Parts) -> list[bytes]:
    directory = open_directory(parent, parts)
    try:
        return [os.fsencode(name) for name in os.listdir(directory)]
    finally:
        os.close(directory)


def _pack_one(writer: TarWriter, parent: int, parts: Parts, links: dict[tuple[int, int], bytes], mtime: int | None) -> bool:
    """Write one entry; True if it is a directory."""
    name = parts[-1] if parts else b"."
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    kind = _kind(found.st_mode)
    if not kind:
        return False
    entry = Entry(b"/".join(parts), kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
    entry.mtime = found.st_mtime_ns if mtime is None else mtime
    if kind == "dir":
        entry.name = entry.name + b"/" if parts else b"./"
    elif found.st_nlink > 1:
        first = links.setdefault((found.st_dev, found.st_ino), entry.name)
        if first != entry.name:
            entry.kind, entry.link = "hardlink", first
            writer.add(entry)
            return False
    path = under(parent, name)
    names = [key for key in os.listxattr(path, follow_symlinks=False) if not key.startswith(OVERLAY_XATTRS)]
    entry.xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in names}
    if kind == "symlink":
        entry.link = os.readlink(name, dir_fd=parent)
    elif kind in ("char", "block"):
        entry.major, entry.minor = os.major(found.st_rdev), os.minor(found.st_rdev)
    if kind == "file":
        with open(os.open(name, _OLD_FILE, dir_fd=parent), "rb", buffering=0) as content:
            entry.size = os.fstat(content.fileno()).st_size
            writer.add(entry, content)
    else:
        writer.add(entry)
    return kind == "dir"


def _kind(mode: int) -> str:
    for kind, test in (("file", stat.S_ISREG), ("dir", stat.S_ISDIR), ("symlink", stat.S_ISLNK), ("fifo", stat.S_ISFIFO)):
        if test(mode):
            return kind
    return "char" if stat.S_ISCHR(mode) else "block" if stat.S_ISBLK(mode) else ""
