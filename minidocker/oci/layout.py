"""An OCI image layout on disk: index.json, and the blobs it reaches.

    layout = Layout(directory)
    layout.index()                          # the descriptors in index.json; [] if there is no layout yet
    with layout.writing():                  # while blobs are stored that nothing names yet
        layout.blobs.put(...)
        with layout.edit() as entries: ...  # change the index
    layout.collect()                        # remove what nothing reaches

Image-spec image-layout.md. index.json is replaced as a whole (rename(2)) under a lock (flock(2)), so readers need no lock and any number
of processes may share a layout. Garbage is removed only by one who has the layout to itself: nobody loses a blob between storing it
and naming it. The locks are hidden files, which other tools pass over.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from minidocker.errors import SpecError
from minidocker.oci import image as spec
from minidocker.oci.blobs import BlobStore
from minidocker.oci.durable import TEMPORARY, locked, replace
from minidocker.oci.image import Descriptor

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_MARK = b'{"imageLayoutVersion":"1.0.0"}'


class Layout:
    """The image layout in the directory *root*, made when something is first stored."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.blobs = BlobStore(self.root)

    def index(self) -> list[Descriptor]:
        """The entries of index.json. SpecError if it is damaged."""
        try:
            raw = (self.root / "index.json").read_bytes()
        except FileNotFoundError:
            return []
        try:
            return spec.decode_index(raw).manifests
        except SpecError as error:
            raise SpecError(f"{self.root}/index.json: {error}", hint="restore the file, or remove the image store") from error

    @contextlib.contextmanager
    def edit(self) -> Iterator[list[Descriptor]]:
        """The entries to be changed in place; written back if the block ends well. One editor at a time."""
        with locked(self.root / ".lock", fcntl.LOCK_EX):
            entries = self.index()
            before = list(entries)
            yield entries
            if not (self.root / "oci-layout").exists():
                replace(self.root / "oci-layout", _MARK)
            if entries != before or not (self.root / "index.json").exists():
                replace(self.root / "index.json", spec.encode(spec.Index(manifests=entries)))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """While this is held nothing is collected. Any number of writers at a time; take it before edit(), never inside."""
        with locked(self.root / ".writers", fcntl.LOCK_SH):
            yield

    def collect(self) -> list[str]:
        """Remove blobs that no entry reaches and what killed writers left; their paths. Does nothing while somebody is writing."""
        if not self.root.is_dir():
            return []
        try:
            with locked(self.root / ".writers", fcntl.LOCK_EX | fcntl.LOCK_NB), locked(self.root / ".lock", fcntl.LOCK_EX):
                garbage = sorted(set(self.blobs.digests()) - self.reachable(self.index()))
                for digest in garbage:
                    self.blobs.remove(digest)
                leftovers = [path for path in self.root.glob(f"{TEMPORARY}*") if path.is_file()]
                for path in leftovers:
                    path.unlink()
        except BlockingIOError:
            return []
        removed = [str(self.blobs.path(digest)) for digest in garbage]
        return removed + [str(path) for path in leftovers] + self.blobs.prune_temporaries()

    def reachable(self, entries: Iterable[Descriptor]) -> set[str]:
        """The digests of all blobs that *entries* stand for, through indexes and manifests.

        Every digest in their text counts, so that the image of a newer tool, or a damaged one, loses nothing."""
        pending = [(entry.digest, entry.media_type) for entry in entries]
        found = {digest for digest, _ in pending}
        while pending:
            digest, media_type = pending.pop()
            if media_type not in spec.INDEXES | spec.MANIFESTS or not self.blobs.has(digest):
                continue
            with self.blobs.open(digest) as stream:
                new = {match.decode() for match in _DIGEST.findall(stream.read())} - found
            found |= new
            if media_type in spec.INDEXES:
                pending += [(digest, spec.MANIFEST) for digest in new]
        return found
