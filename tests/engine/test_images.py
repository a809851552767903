"""The image store: names, ids, removal, import, the base image; and skopeo reads all of it."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard
from dying import die_at

from minidocker.engine import images as module
from minidocker.engine.images import Image, Images
from minidocker.errors import Conflict, DigestMismatch, ImageNotFound, InUse, MissingFeature, NotFound, SpecError
from minidocker.oci import image as spec
from minidocker.oci.image import ContainerConfig
from minidocker.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths("mdtimages", root=tmp_path / "root", run=tmp_path / "run")


@pytest.fixture
def images(paths: Paths) -> Images:
    return Images(paths)


def root_tar(text: str = "hello") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("etc/greeting")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def skopeo(images: Images, name: str, *options: str) -> Any:
    done = subprocess.run(["skopeo", "inspect", *options, f"oci:{images.layout.root}:{name}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tags(images: Images) -> list[list[str]]:
    return sorted(image.tags for image in images.list())


def test_the_base_image(images: Images) -> None:
    image = images.make_base()
    assert image.tags == ["busybox:latest"]
    assert image.id == "sha256:" + image.short_id + image.id[-52:]
    assert image.config.config.cmd == ["sh"]
    assert image.diff_ids == [layer.digest for layer in image.layers]  # the layer is uncompressed
    assert image.size == images.blobs.path(image.layers[0].digest).stat().st_size
    assert images.get("busybox") == image == images.list()[0]
    seen = skopeo(images, "busybox:latest")
    assert (seen["Digest"], seen["Layers"]) == (image.digest, [layer.digest for layer in image.layers])
    config = skopeo(images, "busybox:latest", "--config")
    assert config["config"]["Cmd"] == ["sh"]
    assert config["architecture"] == seen["Architecture"]


def test_the_base_image_is_made_once_and_fast(images: Images) -> None:
    image = images.make_base()
    before = {path: path.stat().st_ino for path in images.layout.root.rglob("*") if path.is_file()}
    start = time.monotonic()
    assert images.make_base() == image
    assert time.monotonic() - start < 1
    assert {path: path.stat().st_ino for path in images.layout.root.rglob("*") if path.is_file()} == before


def test_the_base_image_is_the_same_everywhere(images: Images, tmp_path: Path) -> None:
    other = Images(Paths("other", root=tmp_path / "other"))
    old = os.umask(0o077)
    try:
        assert other.make_base().digest == images.make_base().digest
    finally:
        os.umask(old)


def test_no_busybox_is_a_missing_feature(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in (tmp_path / "absent", Path("/bin/ls"), tmp_path / "script"):
        (tmp_path / "script").write_text("#!/bin/sh\n")
        monkeypatch.setattr(module, "BUSYBOX", str(program))
        with pytest.raises(MissingFeature) as caught:
            images.make_base()
        assert caught.value.hint == "apt-get install busybox-static"
    assert images.list() == []


def test_every_way_to_name_an_image(images: Images) -> None:
    image = images.make_base()
    other = images.import_tar(io.BytesIO(root_tar()), "localhost:5000/team/app:v1")
    by_digest = [image.digest, f"busybox@{image.digest}", f"busybox:latest@{image.digest}"]
    by_id = [image.id, image.id[7:], image.short_id, image.id[:20]]
    for name in ["busybox", "busybox:latest", "library/busybox", "docker.io/library/busybox:latest", *by_digest, *by_id]:
        assert images.get(name) == image, name
    assert images.get("localhost:5000/team/app:v1") == other
    assert other.tags == ["localhost:5000/team/app:v1"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("busybox", "minidocker system setup"),
        ("busybox:latest", "minidocker system setup"),
        ("busybox:1.99", "minidocker import"),
        ("debian", "minidocker import"),
        ("0" * 64, "minidocker import"),
        ("sha256:" + "0" * 64, "minidocker import"),
        ("abc", "minidocker import"),
        ("busybox@sha256:" + "0" * 64, "minidocker import"),
    ],
)
def test_an_unknown_image_says_how_to_get_it(images: Images, name: str, hint: str) -> None:
    images.import_tar(io.BytesIO(root_tar()), "other")
    with pytest.raises(ImageNotFound) as caught:
        images.get(name)
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["", "BusyBox", "a b", "x" * 5000, "a\0b", "sha256:", "a:b:c"])
def test_an_impossible_name_is_a_spec_error(images: Images, name: str) -> None:
    images.make_base()
    for operation in (images.get, images.remove):
        with pytest.raises((SpecError, ImageNotFound)) as caught:
            operation(name)
        assert caught.value.hint
    with pytest.raises(SpecError):
        images.import_tar(io.BytesIO(root_tar()), name or " ")  # no name at all would be fine
    with pytest.raises(SpecError):
        images.tag(images.get("busybox"), name)
    assert len(images.list()) == 1


def test_the_start_of_an_id_must_be_unambiguous(images: Images) -> None:
    made = [images.import_tar(io.BytesIO(root_tar(str(number)))) for number in range(20)]
    ids = [image.id[7:] for image in made]
    shared = next(start for start in "0123456789abcdef" if sum(one.startswith(start) for one in ids) > 1)
    with pytest.raises(ImageNotFound) as caught:
        images.get(shared)
    assert "more digits" in caught.value.hint
    assert images.get(ids[3][:16]).id == made[3].id


def test_a_tag_goes_before_the_start_of_an_id(images: Images) -> None:
    first = images.import_tar(io.BytesIO(root_tar("1")))
    second = images.import_tar(io.BytesIO(root_tar("2")), first.id[7:10])
    assert images.get(first.id[7:10]) == second


def test_newest_first(images: Images) -> None:
    images.make_base()  # dated 1970
    for number in range(3):
        images.import_tar(io.BytesIO(root_tar(str(number))), f"n:{number}")
    assert [image.tags for image in images.list()] == [["n:2"], ["n:1"], ["n:0"], ["busybox:latest"]]


def test_tags_come_and_go(images: Images) -> None:
    image = images.make_base()
    assert images.tag(image, "mine").tags == ["busybox:latest", "mine:latest"]
    assert images.tag(image, "mine").tags == ["busybox:latest", "mine:latest"]
    assert len(images.list()) == 1
    assert skopeo(images, "mine:latest")["Digest"] == image.digest
    removal = images.remove("busybox")
    assert (removal.untagged, removal.deleted) == (["busybox:latest"], "")
    assert images.get("mine").id == image.id
    removal = images.remove("mine:latest")
    assert (removal.untagged, removal.deleted) == (["mine:latest"], image.id)
    assert images.list() == []
    assert list(images.blobs.digests()) == []
    with pytest.raises(ImageNotFound):
        images.tag(image, "again")


def test_a_tag_that_moves_leaves_its_image_dangling(images: Images) -> None:
    old = images.import_tar(io.BytesIO(root_tar("old")), "app")
    new = images.import_tar(io.BytesIO(root_tar("new")), "app")
    assert images.get("app").id == new.id
    assert tags(images) == [[], ["app:latest"]]
    assert images.get(old.short_id).tags == []
    images.tag(images.get(old.id), "app")
    assert images.get("app").id == old.id
    assert tags(images) == [[], ["app:latest"]]
    images.tag(images.get(new.id), "other")
    assert tags(images) == [["app:latest"], ["other:latest"]]


def test_remove_by_id_and_what_is_in_use(images: Images) -> None:
    image = images.make_base()
    images.tag(image, "two")
    with pytest.raises(Conflict) as several:
        images.remove(image.short_id)
    assert "busybox:latest, two:latest" in str(several.value)
    used_by = {image.id: ["web", "db"]}
    assert images.remove("two", used_by=used_by).deleted == ""  # another tag still holds the image
    for name in ("busybox", image.id, image.digest):
        with pytest.raises(InUse) as used:
            images.remove(name, used_by=used_by)
        assert "web, db" in str(used.value)
    assert images.get("busybox").id == image.id
    images.tag(image, "two")
    removal = images.remove(image.id, force=True, used_by=used_by)
    assert (sorted(removal.untagged), removal.deleted) == (["busybox:latest", "two:latest"], image.id)
    with pytest.raises(ImageNotFound):
        images.remove("busybox")


def test_shared_layers_stay_as_long_as_an_image_needs_them(images: Images) -> None:
    one = images.import_tar(io.BytesIO(root_tar()), "one")
    two = images.import_tar(io.BytesIO(root_tar()), "two", config=ContainerConfig(cmd=["x"]))
    assert one.id != two.id
    assert one.layers == two.layers
    images.remove("one")
    assert images.blobs.verify(two.layers[0].digest)
    images.remove("two")
    assert list(images.blobs.digests()) == []


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_import(images: Images, compress: Any) -> None:
    raw = root_tar()
    config = ContainerConfig(cmd=["cat", "/etc/greeting"], env=["A=b"], labels={"k": "v"})
    image = images.import_tar(io.BytesIO(compress(raw)), "mine:1", config=config)
    assert image.diff_ids == [spec.digest_of(raw)] == [image.layers[0].digest]
    assert image.config.config == config
    assert image.config.history[0].comment
    assert abs(image.created.timestamp() - time.time()) < 60
    seen = skopeo(images, "mine:1", "--config")
    assert seen["config"]["Cmd"] == ["cat", "/etc/greeting"]
    assert seen["rootfs"]["diff_ids"] == image.diff_ids


def test_import_without_a_name(images: Images) -> None:
    image = images.import_tar(io.BytesIO(root_tar()))
    assert image.tags == []
    assert images.get(image.short_id) == image
    assert images.remove(image.short_id).deleted == image.id


@pytest.mark.parametrize(
    "raw", [b"", b"not a tar" * 200, root_tar()[:300], root_tar()[:600], gzip.compress(root_tar())[:-20]], ids=range(5)
)
def test_what_is_no_tar_is_not_imported(images: Images, raw: bytes) -> None:
    with pytest.raises(SpecError):
        images.import_tar(io.BytesIO(raw), "bad")
    assert images.list() == []
    assert list(images.blobs.digests()) == []


def test_an_empty_archive_is_an_empty_image_as_in_docker(images: Images) -> None:
    out = io.BytesIO()
    tarfile.open(fileobj=out, mode="w").close()
    assert images.import_tar(io.BytesIO(out.getvalue()), "scratch-like").size == len(out.getvalue())


def test_skopeo_copies_in_both_directions(images: Images, tmp_path: Path) -> None:
    image = images.make_base()
    where = images.layout.root
    for source, destination in (
        (f"oci:{where}:busybox:latest", f"dir:{tmp_path}/dir"),
        (f"dir:{tmp_path}/dir", f"oci:{where}:copied:1"),  # into a store of ours, by a program that knows nothing of our locks
    ):
        subprocess.run(["skopeo", "--insecure-policy", "copy", source, destination], check=True, capture_output=True)
    copied = images.get("copied:1")
    assert copied.digest == image.digest
    assert copied.tags == ["busybox:latest", "copied:1"]
    assert images.remove("copied:1").untagged == ["copied:1"]
    assert images.get("busybox").id == image.id
    for layer in image.layers:
        images.blobs.verify(layer.digest)


def damaged(images: Images) -> tuple[Image, Image]:
    whole, broken = images.import_tar(io.BytesIO(root_tar()), "whole"), images.import_tar(io.BytesIO(root_tar("x")), "broken")
    return whole, broken


@pytest.mark.parametrize("how", ["manifest missing", "manifest changed", "config missing"])
def test_a_damaged_image_is_named_and_can_be_removed(paths: Paths, images: Images, how: str) -> None:
    whole, broken = damaged(images)
    path = images.blobs.path(broken.digest if "manifest" in how else broken.id)
    path.unlink() if "missing" in how else path.write_bytes(b"{}")
    images = Images(paths)  # one that has not read it before
    for operation in (images.list, lambda: images.get("broken")):
        with pytest.raises((NotFound, DigestMismatch)) as caught:
            operation()
        assert "broken:latest" in str(caught.value)
        assert "minidocker rmi broken:latest" in caught.value.hint
    assert images.get("whole") == whole
    assert images.get(whole.short_id) == whole
    assert images.remove("broken").untagged == ["broken:latest"]
    assert [image.id for image in images.list()] == [whole.id]


def test_a_manifest_that_lies_about_its_layers(images: Images) -> None:
    image = images.make_base()
    config = spec.encode(image.config)
    blob = images.blobs.put_bytes(config)
    described = spec.Descriptor(media_type=spec.CONFIG, digest=blob.digest, size=blob.size)
    manifest = images.blobs.put_bytes(spec.encode(spec.Manifest(schema_version=2, config=described, layers=image.layers * 2)))
    with images.layout.edit() as entries:
        names = {spec.ANNOTATION_REF_NAME: "liar:1"}
        entries.append(spec.Descriptor(media_type=spec.MANIFEST, digest=manifest.digest, size=manifest.size, annotations=names))
    with pytest.raises(SpecError) as caught:
        images.get("liar:1")
    assert "2 layers" in str(caught.value)


IMPORT = """
import io, sys
from minidocker.engine.images import Images
from minidocker.paths import Paths
Images(Paths("x", root={root!r})).import_tar(open({tar!r}, "rb"), "app")
"""
POINTS = [f"{when} {call} {number}" for call in ("fsync", "rename") for number in (1, 2, 3, 4) for when in ("before", "after")]


@pytest.mark.parametrize("point", [*POINTS, "after open 3", "after write", "after close"])
def test_an_import_killed_at_any_point(paths: Paths, images: Images, tmp_path: Path, point: str) -> None:
    """Afterwards the image is there, whole, or it is not; what is left of it is pruned; another image is untouched."""
    kept = images.make_base()
    (tmp_path / "root.tar").write_bytes(root_tar() + bytes(3 << 20))
    die_at(point, IMPORT.format(root=str(paths.root), tar=str(tmp_path / "root.tar")))
    there = [image for image in images.list() if "app:latest" in image.tags]
    for image in there:
        assert [images.blobs.verify(layer.digest) for layer in image.layers] == [layer.size for layer in image.layers]
    images.prune()
    needed = images.layout.reachable(images.layout.index())
    assert set(images.blobs.digests()) == needed
    allowed = {"index.json", "oci-layout", ".lock", ".writers"} | {digest[7:] for digest in needed}
    assert {path.name for path in images.layout.root.rglob("*") if path.is_file()} <= allowed
    assert images.get("busybox") == kept
    assert images.import_tar(io.BytesIO(root_tar()), "app").tags == ["app:latest"]


def test_many_processes_on_one_store(paths: Paths, images: Images) -> None:
    """Importers and removers side by side: nothing that was named loses a blob."""
    code = f"""
import io, sys, tarfile
from minidocker.engine.images import Images
from minidocker.paths import Paths
images = Images(Paths("x", root={str(paths.root)!r}))
images.make_base()
for number in range(15):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("shared" + str(number)))  # the same layers in every process
    images.import_tar(io.BytesIO(out.getvalue()), f"app{{sys.argv[1]}}:{{number}}")
    if number % 2:
        images.remove(f"app{{sys.argv[1]}}:{{number}}")
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(4)]
    assert [process.wait(100) for process in processes] == [0] * 4
    found = images.list()
    assert len(found) == 4 * 8 + 1
    for image in found:
        for layer in image.layers:
            assert images.blobs.verify(layer.digest) == layer.size
    images.prune()
    assert set(images.blobs.digests()) == images.layout.reachable(images.layout.index())
