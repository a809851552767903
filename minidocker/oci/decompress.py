"""Uncompressed bytes of a stream, whatever it is: gzip, zstd or plain.

    source = Decompressed(stream)
    source.read(n); source.diff_id; source.size      # the last two are of what was read so far

The hash is taken on the way, so that a layer is read once. gzip(1), zstd(1).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from typing import Any

import zstandard

from minidocker.errors import SpecError
from minidocker.oci.blobs import Readable

_CHUNK = 1 << 20
_PIECE = 2 << 10  # decompressed at a time; 4 bytes of zstd can mean 128 KiB, so this means 64 MiB at the worst


class Decompressed(io.RawIOBase):
    """Reads *stream* and gives it uncompressed, whatever it is (gzip, zstd or plain). diff_id and size are of what was read so far."""

    def __init__(self, stream: Readable) -> None:
        source = io.BufferedReader(_Raw(stream), _CHUNK)
        start = source.peek(4)[:4]
        self._stream: io.BufferedIOBase = source
        if start.startswith(b"\x1f\x8b"):
            self._stream = gzip.GzipFile(fileobj=source, mode="rb")
        elif start == b"\x28\xb5\x2f\xfd":
            self._stream = io.BufferedReader(_Zstd(source), _CHUNK)
        self._hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            chunk = self._stream.read(len(buffer))
        except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise SpecError(f"damaged compressed data: {error}") from error
        self._hash.update(chunk)
        self.size += len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)

    @property
    def diff_id(self) -> str:
        """The digest of all that was read."""
        return "sha256:" + self._hash.hexdigest()


class _Zstd(io.RawIOBase):
    """Decompresses zstd frames. zstandard's own reader takes a frame that is cut off for a whole one."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._rest = b""  # read, but of the next frame
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready:
            piece = self._rest or self._source.read(_PIECE)
            if not piece and self._frame is None:
                return 0
            if not piece:
                raise EOFError("it ends in the middle")
            frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready = memoryview(frame.decompress(piece))
            self._rest, self._frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        chunk, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Raw(io.RawIOBase):
    """Makes an io object of anything that has read()."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        filled = 0
        while filled < len(buffer) and (chunk := self._stream.read(len(buffer) - filled)):
            buffer[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return filled
