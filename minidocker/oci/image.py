"""What an image is made of: descriptors, manifests, indexes and the image configuration, as typed records.

    manifest = decode_manifest(raw)        # SpecError says what was wrong and where
    config = decode_config(raw)
    chain_ids(config.rootfs.diff_ids)      # names of the stacks of layers, bottom first
    encode(manifest)                       # bytes, the same every time

A blob's *digest* is the hash of its bytes as stored; a layer's *diff_id* is the hash of the uncompressed tar; a *chain_id* names a layer
on top of all those below it. Image-spec: descriptor.md, manifest.md, image-index.md, config.md. Fields that we do not know are ignored,
as the specification asks; Docker's older media types mean the same as OCI's.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from minidocker.errors import SpecError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({INDEX, DOCKER_INDEX})
CONFIGS = frozenset({CONFIG, DOCKER_CONFIG})

ANNOTATION_REF_NAME = "org.opencontainers.image.ref.name"  # the tag by which skopeo and umoci find an image in a layout
ANNOTATION_IMAGE_NAME = "io.containerd.image.name"  # the canonical reference

Digest = Annotated[str, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0)]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of all: JSON names in camelCase, what is not set is not written."""


class Platform(Record, frozen=True, kw_only=True):
    """Where an image can run."""

    architecture: str
    os: str
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] = msgspec.field(default_factory=list, name="os.features")
    variant: str = ""


class Descriptor(Record, frozen=True, kw_only=True):
    """A pointer to a blob: what it is, its digest and its size."""

    media_type: str
    digest: Digest
    size: Size
    urls: list[str] = []
    annotations: dict[str, str] = {}
    data: str = ""
    artifact_type: str = ""
    platform: Platform | None = None


class Manifest(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One image for one platform: its configuration and its layers, bottom first."""

    schema_version: int
    media_type: str = MANIFEST
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] = {}


class Index(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A list of manifests: the platforms of an image, or everything in an image layout."""

    schema_version: int = 2
    media_type: str = INDEX
    manifests: list[Descriptor] = []
    annotations: dict[str, str] = {}


class ContainerConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """How a container of this image runs unless told otherwise."""

    user: str = ""
    exposed_ports: dict[str, dict[str, Any]] = {}
    env: list[str] = []
    entrypoint: list[str] = []
    cmd: list[str] = []
    volumes: dict[str, dict[str, Any]] = {}
    working_dir: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""


class RootFS(Record, frozen=True, kw_only=True, omit_defaults=False, rename=None):
    """The layers' diff_ids, bottom first."""

    type: str = "layers"
    diff_ids: list[Digest] = []


class History(Record, frozen=True, kw_only=True, rename=None):
    """How one layer came to be."""

    created: datetime.datetime | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(Record, frozen=True, kw_only=True, rename=None):
    """The image configuration. Its digest is the image's id."""

    created: datetime.datetime | None = None
    author: str = ""
    architecture: str
    os: str
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] = msgspec.field(default_factory=list, name="os.features")
    variant: str = ""
    config: ContainerConfig = ContainerConfig()
    rootfs: RootFS
    history: list[History] = []


_T = TypeVar("_T", bound=msgspec.Struct)


def decode_manifest(raw: bytes) -> Manifest:
    """Read an OCI image manifest or a Docker schema 2 one. SpecError for anything else, schema 1 named as such."""
    value = _json(raw, "manifest")
    if isinstance(value, dict) and value.get("schemaVersion") == 1:
        raise SpecError("manifest of schema version 1", hint="given up in 2017; push the image again with a current tool")
    manifest = _typed(value, Manifest, "manifest")
    if manifest.schema_version != 2 or manifest.media_type not in MANIFESTS:
        raise SpecError(f"not an image manifest: schema version {manifest.schema_version}, media type {manifest.media_type[:100]!r}")
    return manifest


def decode_index(raw: bytes) -> Index:
    """Read an OCI image index or a Docker manifest list."""
    index = _typed(_json(raw, "index"), Index, "index")
    if index.schema_version != 2 or index.media_type not in INDEXES:
        raise SpecError(f"not an image index: schema version {index.schema_version}, media type {index.media_type[:100]!r}")
    return index


def decode_config(raw: bytes) -> ImageConfig:
    """Read an image configuration."""
    config = _typed(_json(raw, "image config"), ImageConfig, "image config")
    if config.rootfs.type != "layers":
        raise SpecError(f"image config: rootfs of type {config.rootfs.type[:100]!r}, only 'layers' exists")
    return config


def encode(record: msgspec.Struct) -> bytes:
    """JSON for *record*: the same bytes for the same content, on every machine."""
    return msgspec.json.encode(record, order="deterministic")


def digest_of(content: bytes) -> str:
    """The sha256 digest of *content*, in the form ``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The chain id of each layer, bottom first. Image-spec config.md, "Layer ChainID".

    Two images share an unpacked layer exactly when the layer and everything below it are the same."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def _json(raw: bytes, what: str) -> Any:
    try:
        return _without_nulls(msgspec.json.decode(raw))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise SpecError(f"{what} is no valid JSON: {error}") from error


def _typed(value: Any, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SpecError(f"{what} is malformed: {error}") from error


def _without_nulls(value: Any) -> Any:
    """null means "not set": most images are written by Go programs, for which the two are the same."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
