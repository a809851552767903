"""The image store: which images there are, and under which names.

    images = Images(Paths())
    image = images.make_base()                       # busybox:latest, from this machine's busybox-static
    images.list(); images.get("busybox"); images.tag(image, "mine:1"); images.remove("mine:1")
    images.import_tar(stream, "mine:2")              # a root file system as an image of one layer

The store is an OCI image layout, so other tools read it as it is: ``skopeo inspect oci:DIR:busybox:latest``. A tag is an annotation of
a descriptor in its index.json; several engines and programs may work on one store at once (see oci/layout.py).
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from minidocker.errors import Conflict, DigestMismatch, ImageNotFound, InUse, MissingFeature, NotFound, SpecError
from minidocker.oci import image as spec
from minidocker.oci.blobs import Readable
from minidocker.oci.image import ContainerConfig, Descriptor, History, ImageConfig, Manifest, RootFS
from minidocker.oci.layout import Layout
from minidocker.oci.reference import Reference
from minidocker.paths import Paths

BUSYBOX = "/bin/busybox"
BASE = "busybox:latest"
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # the kernel's word: the image specification's


class Image(msgspec.Struct, frozen=True):
    """An image in the store. *id* is the digest of its configuration, *digest* that of its manifest; *size* is that of its layers."""

    id: str
    digest: str
    tags: list[str]
    config: ImageConfig
    layers: list[Descriptor]
    size: int
    created: datetime.datetime

    @property
    def short_id(self) -> str:
        """The first 12 hexadecimal digits of the id."""
        return self.id.removeprefix("sha256:")[:12]

    @property
    def diff_ids(self) -> list[str]:
        """The layers' diff_ids, bottom first."""
        return self.config.rootfs.diff_ids


class Removal(NamedTuple):
    """What Images.remove did: the tags it took away, and the id of the image if that went with the last of them."""

    untagged: list[str]
    deleted: str = ""


class Images:
    """The images of the engine whose *paths* these are."""

    def __init__(self, paths: Paths) -> None:
        self.layout = Layout(paths.images)
        self.blobs = self.layout.blobs
        self._known: dict[str, Image] = {}  # by manifest digest, without tags: what a digest names never changes

    def list(self) -> Sequence[Image]:
        """All images, newest first, each once with all its tags."""
        entries = [entry for entry in self.layout.index() if entry.media_type in spec.MANIFESTS]
        images = [self._image(digest, entries) for digest in dict.fromkeys(entry.digest for entry in entries)]
        return sorted(images, key=lambda image: (image.created, image.tags), reverse=True)

    def get(self, name: str) -> Image:
        """The image called *name*: a reference, an id or manifest digest, or the start of an id that no other image shares.

        ImageNotFound says how to get it; SpecError if *name* could not name an image."""
        entries = self.layout.index()
        return self._image(self._lookup(name, entries)[0], entries)

    def tag(self, image: Image, name: str) -> Image:
        """Let *name* mean *image*; an image that had the name before loses it. ImageNotFound if the image has been removed."""
        reference = _tag(name)
        with self.layout.edit() as entries:
            found = [entry for entry in entries if entry.digest == image.digest]
            if not found:
                raise ImageNotFound(f"image {image.short_id} has been removed")
            _set_tag(entries, found[0], reference)
            return self._image(image.digest, entries)

    def remove(self, name: str, *, force: bool = False, used_by: Mapping[str, Sequence[str]] | None = None) -> Removal:
        """Take the tag *name* away, and with an image's last tag the image. An id means all tags of that image.

        *used_by* maps image ids to the names of containers that need them: InUse if the image would go, unless *force*. Conflict if an
        id has several tags, unless *force*."""
        with self.layout.edit() as entries:
            digest, reference = self._lookup(name, entries)
            image_id = self._id(digest) or digest  # a damaged image must be removable, too
            mine = [entry for entry in entries if entry.digest == digest]
            going = [entry for entry in mine if reference is None or _reference(entry) == reference]
            if len(going) > 1 and not force:
                tags = ", ".join(tag.familiar() for tag in map(_reference, going) if tag)
                raise Conflict(f"image {name} has several tags: {tags}", hint="remove them by name, or force it")
            users = (used_by or {}).get(image_id, ())
            if len(going) == len(mine) and users and not force:
                raise InUse(f"image {name} is used by container {', '.join(users)}", hint="remove the container first, or force it")
            entries[:] = [entry for entry in entries if entry not in going]
        self.layout.collect()
        untagged = [tag.familiar() for tag in map(_reference, going) if tag]
        return Removal(untagged, image_id if len(going) == len(mine) else "")

    def import_tar(self, stream: Readable, name: str | None = None, *, config: ContainerConfig | None = None) -> Image:
        """Store a root file system (a tar, plain or compressed with gzip or zstd) as an image of one layer called *name*.

        The layer is kept uncompressed: its digest is its diff_id then, and unpacking is fastest. SpecError if *stream* is no tar."""
        from minidocker.oci.decompress import Decompressed  # here, because starting a container needs no decompressors
        from minidocker.oci.tar import TarReader

        reference = _tag(name) if name else None
        try:
            with self.layout.writing():
                blob = self.blobs.put(Decompressed(stream))
                with self.blobs.open(blob.digest) as content:
                    if not blob.size or any(False for _ in TarReader(content)):
                        raise SpecError("nothing to import: the archive is empty")
                now = datetime.datetime.now(datetime.UTC)
                machine = os.uname().machine
                made = ImageConfig(
                    created=now,
                    architecture=_ARCHITECTURES.get(machine, machine),
                    os="linux",
                    config=config or ContainerConfig(),
                    rootfs=RootFS(diff_ids=[blob.digest]),
                    history=[History(created=now, comment="imported from a tar")],
                )
                return self._add(made, [Descriptor(media_type=spec.LAYER, digest=blob.digest, size=blob.size)], reference)
        except SpecError:
            self.layout.collect()
            raise

    def make_base(self) -> Image:
        """Make the image busybox:latest from this machine's busybox, or find that it is there already.

        MissingFeature if there is no static busybox."""
        from minidocker.oci import base  # here, because it is needed once in a machine's life

        binary, applets = _busybox()
        layer = base.busybox_layer(binary, applets)
        descriptor = Descriptor(media_type=spec.LAYER, digest=spec.digest_of(layer), size=len(layer))
        config = base.busybox_config(binary, descriptor.digest)
        with self.layout.writing():
            self.blobs.put_bytes(layer)
            return self._add(config, [descriptor], Reference.parse(BASE))

    def prune(self) -> Sequence[str]:
        """Remove blobs that belong to no image and what killed writers left; the removed files."""
        return self.layout.collect()

    def _add(self, config: ImageConfig, layers: Sequence[Descriptor], reference: Reference | None) -> Image:
        """Store configuration and manifest, then name them. Only while writing(): until it is named it looks like garbage."""
        raw = spec.encode(config)
        stored = self.blobs.put_bytes(raw)
        described = Descriptor(media_type=spec.CONFIG, digest=stored.digest, size=stored.size)
        manifest = self.blobs.put_bytes(spec.encode(Manifest(schema_version=2, config=described, layers=[*layers])))
        entry = Descriptor(media_type=spec.MANIFEST, digest=manifest.digest, size=manifest.size)
        with self.layout.edit() as entries:
            if reference is not None:
                _set_tag(entries, entry, reference)
            elif all(entry.digest != other.digest for other in entries):
                entries.append(entry)
            return self._image(entry.digest, entries)

    def _image(self, digest: str, entries: Sequence[Descriptor]) -> Image:
        """The image with this manifest, and the tags that *entries* give it."""
        tags = sorted(tag.familiar() for tag in map(_reference, (entry for entry in entries if entry.digest == digest)) if tag)
        if digest not in self._known:
            try:
                self._known[digest] = self._load(digest)
            except (NotFound, DigestMismatch, SpecError) as error:
                name = tags[0] if tags else digest
                raise type(error)(f"image {name}: {error}", hint=f"remove it (`minidocker rmi {name}`) and get it again") from error
        return msgspec.structs.replace(self._known[digest], tags=tags)

    def _load(self, digest: str) -> Image:
        manifest = spec.decode_manifest(self.blobs.read(digest))
        config = spec.decode_config(self.blobs.read(manifest.config.digest))
        if len(manifest.layers) != len(config.rootfs.diff_ids):
            raise SpecError(f"the manifest has {len(manifest.layers)} layers, the configuration {len(config.rootfs.diff_ids)}")
        size = sum(layer.size for layer in manifest.layers)
        return Image(manifest.config.digest, digest, [], config, manifest.layers, size, config.created or _EPOCH)

    def _id(self, digest: str) -> str:
        """The id of the image with this manifest, or "" if the manifest is damaged."""
        try:
            return spec.decode_manifest(self.blobs.read(digest)).config.digest
        except (NotFound, DigestMismatch, SpecError):
            return ""

    def _lookup(self, name: str, entries: Sequence[Descriptor]) -> tuple[str, Reference | None]:
        """The manifest digest of the image called *name*, and the tag by which it was found, if it was by one."""
        digest, reference = _by_reference(name, entries)
        if digest:
            return digest, reference
        start = name.removeprefix("sha256:")
        matches = []
        if re.fullmatch("[0-9a-f]{1,64}", start):
            digests = sorted({entry.digest for entry in entries if entry.media_type in spec.MANIFESTS})
            matches = [digest for digest in digests if digest == name or self._id(digest).startswith(f"sha256:{start}")]
        if len(matches) == 1:
            return matches[0], None
        if matches:
            raise ImageNotFound(f"{name!r} is the start of {len(matches)} image ids", hint="give more digits of the id")
        raise _not_found(name)


def _by_reference(name: str, entries: Sequence[Descriptor]) -> tuple[str, Reference | None]:
    """The manifest digest of the image with the tag or digest in *name*, or ""."""
    if re.fullmatch("(sha256:)?[0-9a-f]{64}|sha256:[0-9a-f]+", name):
        return "", None  # an id, which is no reference
    wanted = Reference.parse(name)
    for entry in entries:
        tag = _reference(entry)
        if tag is None or tag.name != wanted.name or (wanted.tag and tag.tag != wanted.tag):
            continue
        if not wanted.digest or wanted.digest == entry.digest:
            return entry.digest, tag
    return "", None


def _reference(entry: Descriptor) -> Reference | None:
    """The tag that *entry* gives its image, written by us or by another tool."""
    text = entry.annotations.get(spec.ANNOTATION_IMAGE_NAME) or entry.annotations.get(spec.ANNOTATION_REF_NAME)
    if not text:
        return None
    try:
        return Reference.parse(text)
    except SpecError:
        return None  # other tools allow names that are no references; such an image has only its id here


def _tag(name: str) -> Reference:
    reference = Reference.parse(name)
    if reference.digest:
        raise SpecError(f"{name!r} has a digest, which cannot be chosen", hint="use a name and a tag only")
    return reference


def _set_tag(entries: list[Descriptor], entry: Descriptor, reference: Reference) -> None:
    """Let *reference* mean *entry*. Who had the name before stays as an entry without a tag, unless it has another."""
    holders = [other for other in entries if _reference(other) == reference]
    if [holder.digest for holder in holders] == [entry.digest]:
        return
    names = {spec.ANNOTATION_REF_NAME: reference.familiar(), spec.ANNOTATION_IMAGE_NAME: str(reference)}
    digests = {other.digest for other in entries if other not in holders}
    entries[:] = [other for other in entries if other not in holders and (other.digest != entry.digest or _reference(other))]
    for holder in holders:
        if holder.digest not in digests | {entry.digest}:
            entries.append(Descriptor(media_type=holder.media_type, digest=holder.digest, size=holder.size))
    entries.append(Descriptor(media_type=entry.media_type, digest=entry.digest, size=entry.size, annotations=names))


def _not_found(name: str) -> ImageNotFound:
    if name in ("busybox", BASE):
        return ImageNotFound(f"no image {BASE} here", hint="run `minidocker system setup`, which makes it")
    return ImageNotFound(f"no image {name!r} here", hint="images cannot be pulled yet; import a root file system with `minidocker import`")


def _busybox() -> tuple[bytes, Sequence[str]]:
    """The busybox program of this machine, and the paths of its applets."""
    import subprocess

    hint = "apt-get install busybox-static"
    try:
        binary = Path(BUSYBOX).read_bytes()
        listing = subprocess.run([BUSYBOX, "--list-full"], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise MissingFeature(f"there is no {BUSYBOX} to make the base image from", hint=hint) from error
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingFeature(f"{BUSYBOX} does not run: {error}", hint=hint) from error
    return binary, listing.split()
