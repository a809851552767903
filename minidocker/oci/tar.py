"""The tar format, read as a stream: the form in which layers travel. Its writer is in pack.py.

    for entry in TarReader(stream):        # SpecError if it is no tar, cut, or lies about itself
        entry.name, entry.kind, entry.mode, entry.uid, ...
        reader.copy_to(fd)                 # the content of the entry just given

POSIX ustar and PAX (with SCHILY.xattr), GNU long names, base-256 numbers and sparse files. Names are bytes, as in the kernel. tar(5),
pax(1). The standard tarfile is not used because it takes headers of any claimed size into memory, and a layer may come from anyone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from minidocker.errors import SpecError
from minidocker.oci.blobs import Readable
from minidocker.oci.durable import write_all

BLOCK = 512
CHUNK = 1 << 20
_LONGEST_HEADER = 1 << 20  # bytes of one extended header; the longest path is 4 KiB, all xattrs of a file are at most 64 KiB on ext4
KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"S": "file", b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block"}
KINDS |= {b"5": "dir", b"6": "fifo"}
XATTR = b"SCHILY.xattr."
SECOND = 1_000_000_000


@dataclass(slots=True)
class Entry:
    """One member of an archive. *mtime* is in nanoseconds since 1970; *link* is the target of a symlink or hardlink."""

    name: bytes
    kind: str = "file"  # file hardlink symlink char block dir fifo
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        """The name for a message: printable, and not endless."""
        text = self.name.decode("utf-8", "backslashreplace")
        return repr(text if len(text) <= 120 else text[:117] + "...")


class Segment(NamedTuple):
    """A piece of a sparse file that is stored; the rest are holes."""

    offset: int
    size: int


class TarReader:
    """Iterate over the entries of the tar in *stream*. After each, its content may be read with copy_to; if not, it is skipped."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._left = 0  # content bytes of the current entry not yet read
        self._padding = 0
        self._size = 0
        self._segments: list[Segment] | None = None
        self._globals: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        records: dict[bytes, bytes] = dict(self._globals)
        while (header := self._next_header()) is not None:
            kind = header[156:157]
            if kind in b"xgLK":
                data = self._extension(_size(header[124:136]))
                if kind == b"L":
                    records[b"path"] = data.rstrip(b"\0")
                elif kind == b"K":
                    records[b"linkpath"] = data.rstrip(b"\0")
                elif kind == b"g":
                    self._globals.update(_pax_records(data))
                    records = self._globals | records
                else:
                    records.update(_pax_records(data))
                continue
            yield self._entry(header, kind, records)
            records = dict(self._globals)
        if records != self._globals:
            raise SpecError("tar archive ends after an extended header")

    def copy_to(self, fd: int) -> None:
        """Write the current entry's content to the file *fd*, holes left as holes."""
        if self._segments is not None:
            os.ftruncate(fd, self._size)
            for segment in self._segments:
                os.lseek(fd, segment.offset, os.SEEK_SET)
                self._copy(fd, segment.size)
        else:
            self._copy(fd, self._left)

    def _copy(self, fd: int, size: int) -> None:
        while size:
            chunk = self._exact(min(size, CHUNK))
            write_all(fd, chunk)
            size -= len(chunk)
            self._left -= len(chunk)

    def _next_header(self) -> bytes | None:
        self._skip(self._left + self._padding)
        self._left = self._padding = 0
        header = self._block()
        if header is None or not any(header):
            if header is not None and any(self._block() or b""):
                raise SpecError("not a tar archive: a header is missing in the middle")
            return None
        checksum = sum(header[:148]) + sum(header[156:]) + 8 * 0x20
        if _number(header[148:156]) != checksum:
            raise SpecError("not a tar archive: header with a wrong checksum", hint="expected a tar, plain or compressed with gzip or zstd")
        return header

    def _extension(self, size: int) -> bytes:
        if size > _LONGEST_HEADER:
            raise SpecError(f"tar archive with an extended header of {size} bytes")
        data = self._exact(size)
        self._exact(-size % BLOCK)
        return data

    def _entry(self, header: bytes, kind: bytes, records: dict[bytes, bytes]) -> Entry:
        name = records.get(b"path") or _ustar_name(header)
        entry = Entry(name, KINDS.get(kind, ""), _number(header[100:108]) & 0o7777)
        if not entry.kind:
            raise SpecError(f"tar entry {entry} has the unknown type {kind!r}")
        entry.uid = _decimal(records, b"uid", _number(header[108:116]))
        entry.gid = _decimal(records, b"gid", _number(header[116:124]))
        entry.link = records.get(b"linkpath") or header[157:257].split(b"\0")[0]
        entry.mtime = _time(records[b"mtime"]) if records.get(b"mtime") else _number(header[136:148]) * SECOND
        if entry.kind in ("char", "block"):
            entry.major, entry.minor = _number(header[329:337]), _number(header[337:345])
        if entry.kind == "file" and name.endswith(b"/"):
            entry.kind = "dir"  # as tar was before it had a type for directories
        entry.xattrs = {os.fsdecode(key.removeprefix(XATTR)): value for key, value in records.items() if key.startswith(XATTR)}
        stored = _decimal(records, b"size", _size(header[124:136]))
        # A size in the header of a link or directory says nothing about content that follows: there is none.
        self._left = stored if entry.kind == "file" else 0
        self._padding = -self._left % BLOCK
        self._segments = self._sparse(header, kind, records, entry) if entry.kind == "file" else None
        entry.size = self._size = self._left if self._segments is None else self._size
        return entry

    def _sparse(self, header: bytes, kind: bytes, records: dict[bytes, bytes], entry: Entry) -> list[Segment] | None:
        """The map of a sparse file, from the place where the GNU format in use has it; None for an ordinary file."""
        if kind == b"S":
            numbers = self._old_gnu_map(header)
            self._size = _size(header[483:495])
        elif records.get(b"GNU.sparse.major") == b"1":
            numbers = self._pax_map()
            self._size = _decimal(records, b"GNU.sparse.realsize", 0)
        elif b"GNU.sparse.map" in records:
            numbers = [_digits(text) for text in records[b"GNU.sparse.map"].split(b",") if text]
            self._size = _decimal(records, b"GNU.sparse.size", 0)
        else:
            return None
        entry.name = records.get(b"GNU.sparse.name") or entry.name
        segments = [Segment(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)] if len(numbers) % 2 == 0 else []
        end = 0
        for segment in segments:
            if segment.offset < end or segment.offset + segment.size > self._size:
                raise SpecError(f"sparse tar entry {entry} with an impossible map")
            end = segment.offset + segment.size
        if sum(segment.size for segment in segments) != self._left:
            raise SpecError(f"sparse tar entry {entry} with an impossible map")
        return segments

    def _old_gnu_map(self, header: bytes) -> list[int]:
        numbers: list[int] = []
        block, start, count, more = header, 386, 4, header[482]
        while True:
            for at in range(start, start + 24 * count, 24):
                if block[at + 12 : at + 13] > b"\0":
                    numbers += [_size(block[at : at + 12]), _size(block[at + 12 : at + 24])]
            if not more:
                return numbers
            if len(numbers) * 12 > _LONGEST_HEADER:
                raise SpecError("sparse tar entry with an endless map")
            block, start, count = self._exact(BLOCK), 0, 21
            more = block[504]

    def _pax_map(self) -> list[int]:
        """The map that stands before the content, as lines of decimal numbers: how many pairs, then the pairs."""
        data = bytearray()
        while True:
            count, found, _ = bytes(data[:24]).partition(b"\n")
            if found and data.count(b"\n") > 2 * _digits(count):
                return [_digits(line) for line in bytes(data).split(b"\n")[1 : 1 + 2 * _digits(count)]]
            if self._left < BLOCK or len(data) > _LONGEST_HEADER:
                raise SpecError("sparse tar entry with an endless map")
            data += self._exact(BLOCK)
            self._left -= BLOCK

    def _block(self) -> bytes | None:
        """The next block, or None at the end of the stream."""
        data = self._stream.read(BLOCK)
        while 0 < len(data) < BLOCK:
            more = self._stream.read(BLOCK - len(data))
            if not more:
                raise SpecError("tar archive ends in the middle of a header")
            data += more
        return data or None

    def _exact(self, size: int) -> bytes:
        data = self._stream.read(size) if size else b""
        while len(data) < size:
            more = self._stream.read(size - len(data))
            if not more:
                raise SpecError("tar archive ends in the middle of an entry")
            data += more
        return data

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._exact(min(size, CHUNK)))


def _ustar_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0")[0]
    # Only POSIX archives have a prefix; GNU's ("ustar" and a space) keep other things at this place.
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _number(text: bytes) -> int:
    """A number of a header: octal digits, or binary if the first bit is set."""
    if text[0] & 0x80:
        value = int.from_bytes(text, "big", signed=text[0] == 0xFF)
        return value if value < 0 else value - (0x80 << 8 * (len(text) - 1))
    text = text.strip(b" \0")
    if text.strip(b"01234567"):
        raise SpecError(f"tar header with the malformed number {text!r}")
    return int(text or b"0", 8)


def _size(text: bytes) -> int:
    size = _number(text)
    if size < 0:
        raise SpecError(f"tar header with the negative size {size}")
    return size


def _digits(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise SpecError(f"tar header with the malformed number {text[:40]!r}")
    return int(text)


def _decimal(records: dict[bytes, bytes], key: bytes, default: int) -> int:
    return _digits(records[key]) if records.get(key) else default


def _time(text: bytes) -> int:
    """Nanoseconds from a PAX time such as ``-12.5``."""
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    value = _digits(whole) * SECOND + (_digits(fraction[:9].ljust(9, b"0")) if fraction else 0)
    return -value if text.startswith(b"-") else value


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []  # format 0.0 repeats two keys instead of giving one map
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 12].partition(b" ")
        end = at + _digits(length) if space else 0
        record = data[at + len(length) + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if not at < end <= len(data) or not equals or not record.endswith(b"\n"):
            raise SpecError(f"tar archive with a malformed extended header: {data[at : at + 40]!r}")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse.append(value)
        records[key] = value
        at = end
    if sparse:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records
