"""A content-addressed store: every blob lies under the name of its own digest.

    store = BlobStore("/var/lib/minidocker/images")
    blob = store.put(stream, digest=expected, size=expected)     # DigestMismatch if it is something else
    with store.open(blob.digest) as stream: ...

This is the ``blobs/sha256/`` of an OCI image layout (image-spec image-layout.md). A blob is written to a temporary name, fsynced,
verified and only then renamed to its digest: under its final name a blob is whole, whenever the writer or the machine dies. A writer
holds a lock (flock(2)) on its temporary file, so what a killed writer left can be told from what a living one still writes.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from minidocker.errors import DigestMismatch, NotFound, SpecError
from minidocker.oci.durable import make_directory, sync_directory, write_all

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_CHUNK = 1 << 20


class Readable(Protocol):
    """Anything to read bytes from: a file, a pipe, an HTTP response."""

    def read(self, size: int, /) -> bytes: ...


class Blob(NamedTuple):
    """A stored blob."""

    digest: str
    size: int


class BlobStore:
    """The blobs of the image layout at *root*. Safe for any number of processes at once."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._blobs = self.root / "blobs" / "sha256"
        self._temporaries = self.root / "blobs" / "incoming"

    def path(self, digest: str) -> Path:
        """Where the blob lies, or would lie. SpecError if *digest* is none: no text becomes part of a path unchecked."""
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise SpecError(f"invalid digest {digest[:100]!r}", hint="a digest is 'sha256:' and 64 lower-case hexadecimal digits")
        return self._blobs / match[1]

    def has(self, digest: str) -> bool:
        """Is the blob there?"""
        return self.path(digest).is_file()

    def open(self, digest: str) -> BinaryIO:
        """Open the blob for reading. NotFound if it is not there."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not in the store", hint="the image is incomplete; remove it and get it again") from None

    def read(self, digest: str) -> bytes:
        """The whole blob in memory, for small ones such as manifests, and checked: DigestMismatch if it has changed on the disk."""
        with self.open(digest) as stream:
            content = stream.read()
        if "sha256:" + hashlib.sha256(content).hexdigest() != digest:
            raise DigestMismatch(f"blob {digest} is damaged", hint="remove the image and get it again")
        return content

    def put(self, stream: Readable, *, digest: str = "", size: int = -1) -> Blob:
        """Store what *stream* gives until its end, and say what it was.

        With *digest* or *size*, anything else is refused (DigestMismatch) as soon as it shows, and nothing stays behind. SyscallError
        ENOSPC: the disk is full."""
        if digest:
            self.path(digest)
        fd, temporary = self._temporary()
        try:
            stored = _copy(stream, fd, size)
            if digest and stored.digest != digest:
                raise DigestMismatch(f"expected {digest}, got {stored.digest}", hint="the content was damaged or exchanged on its way")
            self._keep(fd, temporary, self.path(stored.digest))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return stored

    def put_bytes(self, content: bytes) -> Blob:
        """Store *content*. Costs nothing but the hash if it is there already."""
        blob = Blob("sha256:" + hashlib.sha256(content).hexdigest(), len(content))
        try:
            if self.path(blob.digest).stat().st_size == blob.size:
                return blob
        except FileNotFoundError:
            pass
        return self.put(io.BytesIO(content), digest=blob.digest)

    def verify(self, digest: str) -> int:
        """Read the blob and compare it with its name; its size. DigestMismatch if it is damaged."""
        hasher, size = hashlib.sha256(), 0
        with self.open(digest) as stream:
            while chunk := stream.read(_CHUNK):
                hasher.update(chunk)
                size += len(chunk)
        if "sha256:" + hasher.hexdigest() != digest:
            raise DigestMismatch(f"blob {digest} is damaged", hint="remove the image and get it again")
        return size

    def remove(self, digest: str) -> None:
        """Delete the blob; one that is not there is fine."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Every blob in the store, sorted."""
        if self._blobs.is_dir():
            yield from sorted(f"sha256:{name}" for name in os.listdir(self._blobs) if _DIGEST.fullmatch(f"sha256:{name}"))

    def prune_temporaries(self) -> list[str]:
        """Remove what killed writers left; the removed files. What a living writer still holds stays."""
        removed = []
        for path in sorted(self._temporaries.iterdir()) if self._temporaries.is_dir() else []:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue  # its writer has just finished
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
                removed.append(str(path))
            except BlockingIOError:
                pass
            finally:
                os.close(fd)
        return removed

    def _temporary(self) -> tuple[int, Path]:
        """A new locked file under a name that nobody else has."""
        make_directory(self._temporaries)
        make_directory(self._blobs)
        while True:
            path = self._temporaries / os.urandom(8).hex()
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:  # else a prune came between open and flock and took it for a leftover
                return fd, path
            os.close(fd)

    def _keep(self, fd: int, temporary: Path, final: Path) -> None:
        os.fsync(fd)  # the content first, then its name: after a power cut a name never stands for less
        os.rename(temporary, final)
        sync_directory(final.parent)


def _copy(stream: Readable, fd: int, expected_size: int) -> Blob:
    hasher, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        if 0 <= expected_size < size:
            break  # do not fill the disk with what will be refused anyway
        hasher.update(chunk)
        write_all(fd, chunk)
    if expected_size >= 0 and size != expected_size:
        more = "more than that" if size > expected_size else f"{size}"
        raise DigestMismatch(f"expected {expected_size} bytes, got {more}", hint="the content was cut or exchanged on its way")
    return Blob("sha256:" + hasher.hexdigest(), size)
