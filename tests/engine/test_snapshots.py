"""Snapshots: layers unpacked once and shared, writable directories on top, and nothing left of the dead."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dying import die_at

from minidocker.engine.images import Image, Images
from minidocker.engine.snapshots import Snapshots, remove_tree
from minidocker.errors import DigestMismatch, NotFound, SpecError, SyscallError
from minidocker.oci import image as spec
from minidocker.oci.image import Descriptor
from minidocker.oci.pack import TarWriter
from minidocker.oci.tar import Entry
from minidocker.paths import Paths

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths("mdtsnap", root=tmp_path / "root", run=tmp_path / "run")


@pytest.fixture
def images(paths: Paths) -> Images:
    return Images(paths)


@pytest.fixture
def snapshots(paths: Paths, images: Images) -> Snapshots:
    return Snapshots(paths, images)


def layer(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    writer.add(Entry(b"./", "dir", 0o755, 3, 4, mtime=10**18))
    for name, content in files.items():
        if name.endswith("/"):
            writer.add(Entry(name.encode(), "dir", 0o755))
        else:
            writer.add(Entry(name.encode(), size=len(content)), content.encode())
    writer.close()
    return out.getvalue()


def build(images: Images, name: str, *layers: bytes, diff_ids: list[str] | None = None) -> Image:
    """An image of several layers, bottom first; with wrong *diff_ids* if given."""
    with images.layout.writing():
        blobs = [images.blobs.put_bytes(content) for content in layers]
        descriptors = [Descriptor(media_type=spec.LAYER, digest=blob.digest, size=blob.size) for blob in blobs]
        rootfs = spec.RootFS(diff_ids=diff_ids or [blob.digest for blob in blobs])
        config = images.blobs.put_bytes(spec.encode(spec.ImageConfig(architecture="amd64", os="linux", rootfs=rootfs)))
        described = Descriptor(media_type=spec.CONFIG, digest=config.digest, size=config.size)
        manifest = images.blobs.put_bytes(spec.encode(spec.Manifest(schema_version=2, config=described, layers=descriptors)))
        with images.layout.edit() as entries:
            names = {spec.ANNOTATION_REF_NAME: name}
            entries.append(Descriptor(media_type=spec.MANIFEST, digest=manifest.digest, size=manifest.size, annotations=names))
    return images.get(name)


@pytest.fixture
def three(images: Images) -> Image:
    return build(
        images, "three:1", layer({"a": "1", "b": "1", "d/": "", "d/x": "1"}), layer({"b": "2", "d/": "", "d/.wh.x": ""}), layer({"c": "3"})
    )


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path)) if path.is_dir() else []


def test_top_layer_first(snapshots: Snapshots, three: Image, paths: Paths) -> None:
    lower = snapshots.lower_dirs(three)
    assert lower == [str(paths.layers / chain_id[7:]) for chain_id in reversed(spec.chain_ids(three.diff_ids))]
    assert [names(Path(path)) for path in lower] == [["c"], ["b", "d"], ["a", "b", "d"]]
    assert [name for name in names(paths.layers) if name != ".lock"] == sorted(os.path.basename(path) for path in lower)
    assert paths.layers.stat().st_mode & 0o777 == 0o700  # setuid programs of an image are not for this machine's users
    assert Path(lower[0]).stat().st_mode & 0o777 == 0o755


@pytest.fixture
def mounted(snapshots: Snapshots, three: Image) -> Iterator[Path]:
    overlay = snapshots.prepare(ONE, three)
    options = f"lowerdir={':'.join(overlay.lower)},upperdir={overlay.upper},workdir={overlay.work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", overlay.target], check=True)
    yield Path(overlay.target)
    subprocess.run(["umount", overlay.target], check=True)


def test_the_kernel_mounts_it(mounted: Path, paths: Paths) -> None:
    assert names(mounted) == ["a", "b", "c", "d"]
    assert (mounted / "b").read_text() == "2"
    assert names(mounted / "d") == []
    found = mounted.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777, found.st_mtime_ns) == (3, 4, 0o755, 10**18)
    (mounted / "new").write_text("x")
    (mounted / "a").unlink()
    assert names(paths.containers / ONE / "upper") == ["a", "new"]


def test_prepare_again_keeps_what_was_written(snapshots: Snapshots, three: Image, images: Images) -> None:
    first = snapshots.prepare(ONE, three)
    (Path(first.upper) / "mine").write_text("x")
    assert snapshots.prepare(ONE, three) == first
    assert (Path(first.upper) / "mine").exists()
    other = snapshots.prepare(TWO, images.make_base())
    assert names(Path(other.upper)) == []
    assert not set(other.lower) & set(first.lower)


def test_an_image_without_layers(snapshots: Snapshots, images: Images) -> None:
    overlay = snapshots.prepare(ONE, build(images, "empty:1"))
    assert overlay.lower == []
    assert os.path.isdir(overlay.upper)


def test_remove_and_remove_again(snapshots: Snapshots, three: Image, paths: Paths) -> None:
    overlay = snapshots.prepare(ONE, three)
    snapshots.prepare(TWO, three)
    (paths.containers / ONE / "config.json").write_text("{}")
    (Path(overlay.upper) / "d").mkdir()
    for _ in range(2):
        snapshots.remove(ONE)
        assert names(paths.containers / ONE) == ["config.json"]
    assert names(paths.containers / TWO) == ["layers", "rootfs", "upper", "work"]


@pytest.mark.parametrize("container_id", ["", "..", "../" + ONE, "x", ONE + "/..", ONE[:12], ONE + "\n"])
def test_only_ids_become_paths(snapshots: Snapshots, three: Image, container_id: str) -> None:
    for operation in (lambda: snapshots.prepare(container_id, three), lambda: snapshots.remove(container_id)):
        with pytest.raises(SpecError):
            operation()


def test_layers_are_shared_and_pruned_when_nobody_needs_them(snapshots: Snapshots, images: Images, three: Image, paths: Paths) -> None:
    bottom = images.blobs.read(three.layers[0].digest)
    two = build(images, "two:1", bottom, layer({"other": "x"}))
    lower = snapshots.prepare(ONE, three).lower
    assert snapshots.lower_dirs(two)[1] == lower[2]
    assert snapshots.prune() == []
    images.remove("three:1")
    assert snapshots.prune() == []  # the container is still there
    snapshots.remove(ONE)
    assert snapshots.prune() == sorted(lower[:2])
    images.remove("two:1")
    assert len(snapshots.prune()) == 2
    assert names(paths.layers) == [".lock"]


def test_containers_of_one_image_share_the_list_of_its_layers(snapshots: Snapshots, three: Image, paths: Paths) -> None:
    """Making an inode is what costs most on ext4, a link costs little."""
    for container_id in (ONE, TWO):
        snapshots.prepare(container_id, three)
    listed = (paths.containers / ONE / "layers").read_text().split()
    assert listed == [chain_id[7:] for chain_id in spec.chain_ids(three.diff_ids)]
    assert (paths.containers / ONE / "layers").samefile(paths.containers / TWO / "layers")


def test_a_container_outlives_its_image(snapshots: Snapshots, images: Images, three: Image) -> None:
    overlay = snapshots.prepare(ONE, three)
    images.remove("three:1", force=True)
    assert snapshots.prune() == []
    assert all(os.path.isdir(path) for path in overlay.lower)


def test_a_layer_that_is_not_what_the_image_says(snapshots: Snapshots, images: Images, paths: Paths) -> None:
    good, bad = layer({"a": "1"}), layer({"b": "2"})
    image = build(images, "bad:1", good, bad, diff_ids=[spec.digest_of(good), spec.digest_of(good)])
    with pytest.raises(DigestMismatch) as caught:
        snapshots.prepare(ONE, image)
    assert "layer 2" in str(caught.value)
    assert caught.value.hint
    snapshots.prune()
    assert [name for name in names(paths.layers) if not name.startswith(".")] == [spec.digest_of(good)[7:]]


def test_hostile_missing_and_endless_layers(snapshots: Snapshots, images: Images, paths: Paths) -> None:
    with pytest.raises(SpecError) as hostile:
        snapshots.lower_dirs(build(images, "hostile:1", layer({"../../escaped": "x"})))
    assert "../../escaped" in str(hostile.value)
    image = build(images, "missing:1", layer({"m": ""}))
    images.blobs.remove(image.layers[0].digest)
    with pytest.raises(NotFound):
        snapshots.lower_dirs(image)
    with pytest.raises(SpecError) as endless:
        snapshots.lower_dirs(build(images, "endless:1", *[layer({"x": ""})] * 501))
    assert "501 layers" in str(endless.value)
    snapshots.prune()
    assert names(paths.layers) == [".lock"]


LOWER = """
from minidocker.engine.images import Images
from minidocker.engine.snapshots import Snapshots
from minidocker.paths import Paths
paths = Paths("x", root={root!r})
images = Images(paths)
{code}
"""
PREPARE = 'Snapshots(paths, images).prepare("1" * 64, images.get("three:1"))'
POINTS = [
    "after mkdir",
    "after mkdir 2",
    "after mkdir 3",
    "after utime",
    "after utime 4",
    "before rename",
    "after rename",
    "before rename 2",
]
POINTS += ["after fsync", "after unlink", "before rename 3", "after unlink 3", "after mkdir 9", "after open 20", "after chown"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point(paths: Paths, images: Images, snapshots: Snapshots, three: Image, point: str) -> None:
    """The next one finds whole layers only, finishes the work, and a prune leaves nothing but these."""
    snapshots.prepare(TWO, images.make_base())
    before = sorted(paths.layers.rglob("*"))
    die_at(point, LOWER.format(root=str(paths.root), code=PREPARE))
    for name in names(paths.layers):
        if len(name) == 64:
            assert (paths.layers / name).stat().st_uid == 3 or (paths.layers / name / "bin/busybox").exists()
    overlay = snapshots.prepare(ONE, three)
    assert [names(Path(path)) for path in overlay.lower] == [["c"], ["b", "d"], ["a", "b", "d"]]
    snapshots.prune()
    assert len([name for name in names(paths.layers) if len(name) == 64]) == 4
    snapshots.remove(ONE)
    images.remove("three:1")
    snapshots.prune()
    assert sorted(paths.layers.rglob("*")) == before


@pytest.mark.parametrize("point", ["after rmdir", "after rmdir 3", "after unlink", "after rename", "before rmdir 6"])
def test_a_prune_killed_at_any_point_is_finished_by_the_next(
    paths: Paths, images: Images, snapshots: Snapshots, three: Image, point: str
) -> None:
    snapshots.prepare(ONE, images.make_base())
    kept = names(paths.layers)
    deep = build(images, "deep:1", layer({"a/": "", "a/b/": "", "a/b/c/": "", "a/f": "1", "z/": "", "z/y/": ""}))
    snapshots.lower_dirs(deep)
    images.remove("deep:1")
    die_at(point, LOWER.format(root=str(paths.root), code="Snapshots(paths, images).prune()"))
    snapshots.prune()
    assert names(paths.layers) == kept
    assert len(snapshots.lower_dirs(three)) == 3


def test_a_half_removed_layer_is_never_used(paths: Paths, images: Images, snapshots: Snapshots) -> None:
    """A prune is killed in the middle of a layer, and then its image comes back."""
    content = layer({"a": "1", "b": "2", "c": "3"})
    snapshots.lower_dirs(build(images, "x:1", content))
    images.remove("x:1")
    die_at("after unlink 2", LOWER.format(root=str(paths.root), code="Snapshots(paths, images).prune()"))
    (lower,) = snapshots.lower_dirs(build(images, "x:1", content))
    assert names(Path(lower)) == ["a", "b", "c"]


def test_many_processes_unpack_one_image_once(paths: Paths, images: Images) -> None:
    build(images, "big:1", layer({f"{number}": "x" * 2000 for number in range(2000)}), layer({"top": "1"}))
    code = """
lower = Snapshots(paths, images).lower_dirs(images.get("big:1"))
import os, sys
print(*[(path, os.stat(path).st_ino, len(os.listdir(path))) for path in lower])
"""
    command = [sys.executable, "-c", LOWER.format(root=str(paths.root), code=code)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate(timeout=100)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(answers) == 1
    assert "2000" in answers.pop()
    assert len(names(paths.layers)) == 3


def test_a_waiting_process_takes_over_from_a_killed_one(paths: Paths, images: Images, snapshots: Snapshots, three: Image) -> None:
    stuck = "import os, time\nreal = os.rename\nos.rename = lambda *a: (print('here', flush=True), time.sleep(100))\n" + PREPARE
    first = subprocess.Popen([sys.executable, "-c", LOWER.format(root=str(paths.root), code=stuck)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "here\n"
    second = subprocess.Popen([sys.executable, "-c", LOWER.format(root=str(paths.root), code=PREPARE)])
    assert snapshots.prune() == []  # somebody is unpacking
    time.sleep(0.3)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    assert second.wait(30) == 0
    assert len([path for path in snapshots.prune() if ".tmp-" in path]) == 1
    assert len(snapshots.lower_dirs(three)) == 3


def test_preparing_and_pruning_side_by_side(paths: Paths, images: Images) -> None:
    """Whoever has prepared a container has its layers, though no image needs them and somebody prunes all the time."""
    build(images, "two:1", layer({"a": "1"}), layer({"b": "2"}))
    code = """
import os, sys
snapshots, image = Snapshots(paths, images), images.get("two:1")
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    container_id = sys.argv[1] * 60 + f"{number:04x}"
    overlay = snapshots.prepare(container_id, image)
    assert [sorted(os.listdir(path)) for path in overlay.lower] == [["b"], ["a"]], overlay
    snapshots.remove(container_id)
"""
    prune = """
for number in range(100):
    Snapshots(paths, images).prune()
"""
    command = [sys.executable, "-c", LOWER.format(root=str(paths.root), code=code)]
    workers = [subprocess.Popen([*command, letter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for letter in "abc"]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    with images.layout.edit() as entries:
        entries.clear()  # no image needs the layers any more; its blobs are still there
    pruner = subprocess.Popen([sys.executable, "-c", LOWER.format(root=str(paths.root), code=prune)])
    for worker in workers:
        worker.communicate("\n", timeout=100)
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert pruner.wait(100) == 0
    Snapshots(paths, images).prune()
    assert names(paths.layers) == [".lock"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_the_store_as_it_was(small_disk: Path) -> None:
    paths = Paths("mdtfull", root=small_disk)
    images = Images(paths)
    snapshots = Snapshots(paths, images)
    small = build(images, "small:1", layer({"s": "1"}))
    snapshots.prepare(ONE, small)
    big = build(images, "big:1", layer({"a": "x" * 800_000, "b": "y" * 800_000}))  # stored it fits, unpacked it does not
    for _ in range(2):
        with pytest.raises(SyscallError) as caught:
            snapshots.prepare(TWO, big)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.hint
    snapshots.prune()
    assert len([name for name in names(paths.layers) if len(name) >= 64 and not name.endswith(".chain")]) == 1
    assert snapshots.lower_dirs(small)
    images.blobs.verify(big.layers[0].digest)
    images.remove("big:1")
    assert snapshots.prepare(TWO, small)


def test_remove_tree_of_any_depth(tmp_path: Path) -> None:
    """Deeper than Python's recursion limit, than PATH_MAX and than the number of open files allows."""
    top = tmp_path / "deep"
    top.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("x")
    fd = os.open(top, os.O_RDONLY)
    for number in range(5000):
        os.mkdir("d" * 50, dir_fd=fd)
        if number % 1000 == 0:
            os.symlink(tmp_path / "outside", "link", dir_fd=fd)
            os.mknod("w", 0o020000, os.makedev(0, 0), dir_fd=fd)
            os.mkdir("closed", 0, dir_fd=fd)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises((RecursionError, OSError)):
        shutil.rmtree(top)
    remove_tree(top)
    assert not top.exists()
    assert (tmp_path / "outside" / "kept").exists()
    remove_tree(top)


def test_remove_tree_follows_no_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "kept").write_text("x")
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(SyscallError):
        remove_tree(tmp_path / "link")
    assert (tmp_path / "real" / "kept").exists()


def test_remove_tree_says_what_is_in_the_way(tmp_path: Path) -> None:
    busy = tmp_path / "tree" / "a" / "busy"
    busy.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", busy], check=True)
    try:
        with pytest.raises(SyscallError) as caught:
            remove_tree(tmp_path / "tree")
        assert caught.value.errno in (errno.EBUSY, errno.EXDEV)
        assert "busy" in str(caught.value)
    finally:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(tmp_path) in line]
        subprocess.run(["umount", *mounts], check=True)
    remove_tree(tmp_path / "tree")
