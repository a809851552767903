"""The blob store: what has a digest's name is what the digest says, whoever dies when."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dying import die_at
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import DigestMismatch, NotFound, SpecError, SyscallError
from minidocker.oci.blobs import BlobStore

CONTENT = b"layer" * 500_000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
PUT = """
import io
from minidocker.oci.blobs import BlobStore
BlobStore({root!r}).put(io.BytesIO(b"layer" * 500_000))
"""


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "images")


def files(store: BlobStore) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


class Trickle:
    """A stream that gives what it has in odd pieces, and then fails if told so."""

    def __init__(self, content: bytes, error: Exception | None = None) -> None:
        self._content, self._error = io.BytesIO(content), error

    def read(self, size: int, /) -> bytes:
        chunk = self._content.read(min(size, 70_001))
        if not chunk and self._error:
            raise self._error
        return chunk


def test_put_and_read_back(store: BlobStore) -> None:
    blob = store.put(Trickle(CONTENT), digest=DIGEST, size=len(CONTENT))
    assert blob == (DIGEST, len(CONTENT))
    outside = subprocess.run(["sha256sum", store.path(DIGEST)], capture_output=True, text=True, check=True).stdout
    assert outside.split()[0] == DIGEST.removeprefix("sha256:")
    with store.open(DIGEST) as stream:
        assert stream.read() == CONTENT
    assert store.read(DIGEST) == CONTENT
    assert store.has(DIGEST)
    assert list(store.digests()) == [DIGEST]
    assert store.verify(DIGEST) == len(CONTENT)
    store.remove(DIGEST)
    store.remove(DIGEST)
    assert files(store) == []


def test_put_bytes_twice_writes_once(store: BlobStore) -> None:
    first = store.put_bytes(b"x")
    inode = store.path(first.digest).stat().st_ino
    assert store.put_bytes(b"x") == first
    assert store.path(first.digest).stat().st_ino == inode


def test_a_truncated_blob_is_replaced(store: BlobStore) -> None:
    digest = store.put_bytes(b"hello").digest
    store.path(digest).write_bytes(b"hell")
    assert store.put_bytes(b"hello").digest == digest
    assert store.read(digest) == b"hello"


@given(st.binary(max_size=5000))
def test_any_content(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    store = BlobStore(tmp_path_factory.getbasetemp() / "any")
    assert store.read(store.put(io.BytesIO(content)).digest) == content


def test_something_else_is_refused_and_nothing_stays(store: BlobStore) -> None:
    other = "sha256:" + "0" * 64
    for arguments in ({"digest": other}, {"size": 3}, {"size": len(CONTENT) + 1}, {"digest": other, "size": len(CONTENT)}):
        with pytest.raises(DigestMismatch) as caught:
            store.put(io.BytesIO(CONTENT), **arguments)  # type: ignore[arg-type]
        assert caught.value.hint
    assert files(store) == []


def test_an_endless_stream_is_left_at_once(store: BlobStore) -> None:
    read = 0

    class Endless:
        def read(self, size: int, /) -> bytes:
            nonlocal read
            read += size
            return bytes(size)

    with pytest.raises(DigestMismatch):
        store.put(Endless(), size=10)
    assert read <= 2 << 20


def test_a_failing_source_leaves_nothing(store: BlobStore) -> None:
    with pytest.raises(ConnectionResetError):
        store.put(Trickle(CONTENT, ConnectionResetError()))
    assert files(store) == []


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "../x", "sha256:../../etc/passwd", DIGEST + "\n", DIGEST[:-1], DIGEST.upper(), "md5:" + "0" * 32]
)
def test_a_malformed_digest_never_becomes_a_path(store: BlobStore, digest: str) -> None:
    for operation in (store.path, store.open, store.read, store.remove, store.verify, store.has):
        with pytest.raises(SpecError):
            operation(digest)
    if digest:
        with pytest.raises(SpecError):
            store.put(io.BytesIO(b""), digest=digest)


def test_missing_and_damaged_blobs(store: BlobStore) -> None:
    with pytest.raises(NotFound) as missing:
        store.open(DIGEST)
    assert missing.value.hint
    digest = store.put_bytes(b"hello").digest
    store.path(digest).write_bytes(b"jello")
    for operation in (store.read, store.verify):
        with pytest.raises(DigestMismatch):
            operation(digest)


@pytest.mark.parametrize("point", ["after open", "before write", "after write 2", "before fsync", "after fsync", "before rename"])
def test_a_writer_killed_before_the_name_leaves_only_a_temporary(store: BlobStore, point: str) -> None:
    die_at(point, PUT.format(root=str(store.root)))
    assert list(store.digests()) == []
    (leftover,) = files(store)
    assert store.prune_temporaries() == [str(store.root / leftover)]
    assert files(store) == []
    assert store.put(io.BytesIO(CONTENT)).digest == DIGEST


@pytest.mark.parametrize("point", ["after rename", "before fsync 2"])
def test_a_writer_killed_after_the_name_has_stored_a_whole_blob(store: BlobStore, point: str) -> None:
    die_at(point, PUT.format(root=str(store.root)))
    assert store.verify(DIGEST) == len(CONTENT)
    assert store.prune_temporaries() == []
    assert len(files(store)) == 1


def test_prune_spares_a_living_writer(store: BlobStore) -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Slow:
        def __init__(self) -> None:
            self.parts = iter([CONTENT, b""])

        def read(self, size: int, /) -> bytes:
            reading.set()
            assert go_on.wait(30)
            return next(self.parts)

    stored = []
    writer = threading.Thread(target=lambda: stored.append(store.put(Slow())))
    writer.start()
    assert reading.wait(30)
    assert store.prune_temporaries() == []
    go_on.set()
    writer.join()
    assert stored[0].digest == DIGEST
    assert files(store) == [str(store.path(DIGEST).relative_to(store.root))]


def test_pruning_all_the_time_disturbs_no_writer(store: BlobStore) -> None:
    """The writers take their lock a moment after they made the file: a prune that comes between must not cost them the blob."""
    code = f"""
import io, os
from minidocker.oci.blobs import BlobStore
store = BlobStore({str(store.root)!r})
for number in range(300):
    content = b"%d %d" % (os.getpid(), number)
    digest = store.put(io.BytesIO(content)).digest
    assert store.read(digest) == content
"""
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    while any(writer.poll() is None for writer in writers):
        store.prune_temporaries()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(list(store.digests())) == 600


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(small_disk: Path) -> None:
    store = BlobStore(small_disk / "images")
    kept = store.put_bytes(b"kept").digest
    with pytest.raises(SyscallError) as caught:
        store.put(io.BytesIO(CONTENT))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.hint
    assert [os.path.basename(path) for path in files(store)] == [kept.removeprefix("sha256:")]
    assert store.read(kept) == b"kept"
    assert store.put(io.BytesIO(b"small")).size == 5
