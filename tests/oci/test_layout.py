"""The image layout: index.json is always whole, and only garbage is collected."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dying import die_at

from minidocker.errors import SpecError
from minidocker.oci import image as spec
from minidocker.oci.image import Descriptor
from minidocker.oci.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def add(layout: Layout, name: str, *layers: bytes) -> Descriptor:
    """Store a manifest called *name* over *layers*."""
    with layout.writing():
        stored = [layout.blobs.put_bytes(content) for content in (name.encode(), *layers)]
        config, *rest = [Descriptor(media_type=spec.LAYER, digest=blob.digest, size=blob.size) for blob in stored]
        blob = layout.blobs.put_bytes(spec.encode(spec.Manifest(schema_version=2, config=config, layers=rest)))
        entry = Descriptor(media_type=spec.MANIFEST, digest=blob.digest, size=blob.size, annotations={spec.ANNOTATION_REF_NAME: name})
        with layout.edit() as entries:
            entries.append(entry)
    return entry


def test_nothing_there_is_an_empty_layout_and_reading_makes_nothing(layout: Layout) -> None:
    assert layout.index() == []
    assert layout.collect() == []
    assert not layout.root.exists()


def test_files_are_those_of_the_specification(layout: Layout) -> None:
    entry = add(layout, "x", b"layer")
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout.root / "index.json").read_bytes())
    assert (index["schemaVersion"], index["manifests"][0]["digest"]) == (2, entry.digest)
    assert layout.root.stat().st_mode & 0o777 == 0o700
    raw = subprocess.run(["skopeo", "inspect", "--raw", f"oci:{layout.root}:x"], capture_output=True, check=True).stdout
    assert spec.digest_of(raw) == entry.digest


def test_a_block_that_fails_changes_nothing(layout: Layout) -> None:
    entry = add(layout, "x")
    with pytest.raises(RuntimeError), layout.edit() as entries:
        entries.clear()
        raise RuntimeError
    assert layout.index() == [entry]


def test_collect_keeps_what_is_reached_and_shared(layout: Layout) -> None:
    one, two = add(layout, "one", b"shared", b"own"), add(layout, "two", b"shared")
    garbage = layout.blobs.put_bytes(b"garbage")
    assert layout.collect() == [str(layout.blobs.path(garbage.digest))]
    with layout.edit() as entries:
        entries.remove(one)
    assert len(layout.collect()) == 3  # its manifest, its config and its own layer
    assert set(layout.blobs.digests()) == layout.reachable([two])
    assert layout.blobs.has(spec.digest_of(b"shared"))


def test_an_index_in_the_index_is_followed(layout: Layout) -> None:
    entry = add(layout, "arm", b"layer")
    inner = layout.blobs.put_bytes(spec.encode(spec.Index(manifests=[entry])))
    with layout.edit() as entries:
        entries[:] = [Descriptor(media_type=spec.INDEX, digest=inner.digest, size=inner.size)]
    assert layout.collect() == []
    assert layout.blobs.has(spec.digest_of(b"layer"))


def test_a_missing_manifest_does_not_stand_in_the_way(layout: Layout) -> None:
    broken, whole = add(layout, "broken", b"a"), add(layout, "whole", b"b")
    layout.blobs.remove(broken.digest)
    layout.collect()
    assert set(layout.blobs.digests()) == layout.reachable([whole])


def test_a_manifest_that_nobody_here_understands_keeps_its_blobs(layout: Layout) -> None:
    blob = layout.blobs.put_bytes(b"future")
    strange = layout.blobs.put_bytes(json.dumps({"schemaVersion": 9, "things": [{"digest": blob.digest}]}).encode())
    with layout.edit() as entries:
        entries.append(Descriptor(media_type=spec.MANIFEST, digest=strange.digest, size=strange.size))
    assert layout.collect() == []


def test_nothing_is_collected_while_somebody_writes(layout: Layout) -> None:
    add(layout, "x")
    with layout.writing():
        blob = layout.blobs.put_bytes(b"not named yet")
        assert layout.collect() == []
    assert layout.collect() == [str(layout.blobs.path(blob.digest))]


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b'{"schemaVersion":1}', b'{"manifests": [{"digest": "x"}]}'])
def test_a_damaged_index_is_named(layout: Layout, raw: bytes) -> None:
    add(layout, "x")
    (layout.root / "index.json").write_bytes(raw)
    with pytest.raises(SpecError) as caught:
        layout.index()
    assert str(layout.root / "index.json") in str(caught.value)
    assert caught.value.hint


EDIT = """
from minidocker.oci import image as spec
from minidocker.oci.image import Descriptor
from minidocker.oci.layout import Layout
with Layout({root!r}).edit() as entries:
    entries.append(Descriptor(media_type=spec.LAYER, digest="sha256:" + "1" * 64, size=1))
"""


@pytest.mark.parametrize(
    "point", ["after open", "before write", "after write", "before fsync", "before rename", "after rename", "after fsync 2"]
)
def test_an_editor_killed_at_any_point_leaves_the_old_index_or_the_new(layout: Layout, point: str) -> None:
    add(layout, "x", b"layer")
    before = layout.index()
    die_at(point, EDIT.format(root=str(layout.root)))
    after = layout.index()
    assert after in (before, [*before, Descriptor(media_type=spec.LAYER, digest="sha256:" + "1" * 64, size=1)])
    assert (len(after) == 2) == (point in ("after rename", "after fsync 2"))
    layout.collect()
    add(layout, "y")  # the lock is free
    assert not list(layout.root.glob(".new-*"))


def test_many_editors_at_once_lose_nothing(layout: Layout) -> None:
    code = f"""
import sys
from minidocker.oci import image as spec
from minidocker.oci.image import Descriptor
from minidocker.oci.layout import Layout
for number in range(40):
    with Layout({str(layout.root)!r}).edit() as entries:
        entries.append(Descriptor(media_type=spec.LAYER, digest=spec.digest_of(sys.argv[1].encode() + bytes([number])), size=1))
"""
    editors = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(4)]
    done = threading.Event()
    seen: list[int] = []

    def watch() -> None:
        while not done.is_set():
            seen.append(len(layout.index()))  # never half an index

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert [editor.wait(60) for editor in editors] == [0] * 4
    done.set()
    watcher.join()
    assert len({entry.digest for entry in layout.index()}) == 160
    assert seen == sorted(seen)
