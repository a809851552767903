"""Packing trees: the same bytes every time, and strangers read them."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import SpecError
from minidocker.oci.layers import unpack
from minidocker.oci.pack import TarWriter, pack
from minidocker.oci.tar import Entry

Tree = dict[tuple[str, ...], tuple[str, bytes, int, int]]  # path: kind, content, mode, owner
kinds_of_files = st.sampled_from(["file", "dir", "symlink", "fifo", "char", "hardlink"])
paths = st.lists(st.sampled_from(["a", "b", "ü", "x y", "n" * 200, "\udcff"]), min_size=1, max_size=4).map(tuple)
trees = st.dictionaries(
    paths, st.tuples(kinds_of_files, st.binary(max_size=700), st.integers(0, 0o7777), st.integers(0, 70_000)), max_size=8
)


def plant(top: Path, tree: Tree) -> None:
    """Make *tree* below *top*; paths that go through something else than a directory are left out."""
    first = None
    for parts, (kind, content, mode, owner) in sorted(tree.items()):
        path = top.joinpath(*parts)
        if os.path.lexists(path):
            continue
        above = [top.joinpath(*parts[:length]) for length in range(1, len(parts))]
        if any(os.path.lexists(parent) and not stat.S_ISDIR(parent.lstat().st_mode) for parent in above):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "dir":
            path.mkdir()
        elif kind == "symlink":
            path.symlink_to(os.fsdecode(content.replace(b"\0", b".")[:200] or b"."))
        elif kind in ("fifo", "char"):
            os.mknod(path, stat.S_IFIFO if kind == "fifo" else stat.S_IFCHR, os.makedev(1, mode))
        elif kind == "hardlink" and first:
            os.link(first, path, follow_symlinks=False)
        else:
            path.write_bytes(content)
            os.setxattr(path, "user.x", content[:50] + b"!")
        os.chown(path, owner, owner // 2, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(mode)
        os.utime(path, ns=(0, owner * 10**14 + 1), follow_symlinks=False)
        first = first or (None if path.is_dir() else path)


@given(trees)
def test_a_packed_tree_unpacks_to_the_same(tmp_path_factory: pytest.TempPathFactory, tree: Tree) -> None:
    top = tmp_path_factory.mktemp("tree", numbered=True)
    (top / "source").mkdir()
    (top / "copy").mkdir()
    plant(top / "source", tree)
    out = io.BytesIO()
    pack(top / "source", out)
    unpack(io.BytesIO(out.getvalue()), top / "copy")
    assert all_that_shows(top / "copy") == all_that_shows(top / "source")
    again = io.BytesIO()
    pack(top / "copy", again)
    assert again.getvalue() == out.getvalue()
    subprocess.run(["rm", "-rf", top], check=True)


def all_that_shows(top: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a tree, but for the numbers of its inodes: a hard link is told by its first name."""
    first: dict[int, str] = {}
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([top, *top.rglob("*")]):
        info, name, content = path.lstat(), str(path.relative_to(top)), b""
        if path.is_symlink():
            content = os.fsencode(os.readlink(path))
        elif path.is_file():
            content = path.read_bytes()
        xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)}
        where = first.setdefault(info.st_ino, name)
        found[name] = (info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_rdev, content, xattrs, where)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    plant(
        top,
        {
            ("d",): ("dir", b"", 0o2775, 40_000),
            ("d", "setuid"): ("file", b"program", 0o4755, 0),
            ("d", "zlink"): ("hardlink", b"", 0o4755, 0),
            ("link",): ("symlink", b"/etc/passwd", 0, 7),
            ("pipe",): ("fifo", b"", 0o600, 8),
            ("null",): ("char", b"", 3, 9),
            ("n" * 255, "m" * 255): ("file", b"deep", 0o644, 65_534),
            ("caf\u00e9 \udcff",): ("file", b"", 0o600, 0),
        },
    )
    return top


def test_gnu_tar_finds_no_difference(tree: Path, tmp_path: Path) -> None:
    with open(tmp_path / "out.tar", "wb") as out:
        pack(tree, out)
    compared = subprocess.run(["tar", "--compare", "-f", tmp_path / "out.tar", "-C", tree], capture_output=True, text=True)
    assert (compared.returncode, compared.stdout, compared.stderr) == (0, "", "")
    (tmp_path / "copy").mkdir()
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", tmp_path / "out.tar", "-C", tmp_path / "copy"], check=True)
    assert all_that_shows(tmp_path / "copy") == all_that_shows(tree)


def test_names_are_sorted_and_times_can_be_set(tree: Path) -> None:
    out = io.BytesIO()
    pack(tree, out, mtime=86_400 * 10**9)
    listing = subprocess.run(["tar", "-tvf", "-", "--numeric-owner", "--utc"], input=out.getvalue(), capture_output=True, check=True).stdout
    lines = listing.decode(errors="surrogateescape").splitlines()
    assert all("1970-01-02 00:00" in line for line in lines)
    assert lines[0].endswith(" ./")
    names = [line.split("00:00 ")[1] for line in lines[1:]]
    assert names == sorted(names)
    os.utime(tree / "d", ns=(0, 0))
    again = io.BytesIO()
    pack(tree, again, mtime=86_400 * 10**9)
    assert again.getvalue() == out.getvalue()


def test_nothing_is_followed_out_of_the_tree_and_sockets_are_left_out(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    top.mkdir()
    (top / "out").symlink_to("/etc")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "socket"))
        out = io.BytesIO()
        pack(top, out)
    assert subprocess.run(["tar", "-t"], input=out.getvalue(), capture_output=True, check=True).stdout.split() == [b"./", b"out"]


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    class Shrinking(io.BytesIO):
        def write(self, content: bytes, /) -> int:  # type: ignore[override]
            if b"file" in content:  # its header, with the size it had
                os.truncate(tmp_path / "tree" / "file", 5)
            return super().write(content)

    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x" * 100)
    with pytest.raises(SpecError):
        pack(tmp_path / "tree", Shrinking())


def test_overlayfs_bookkeeping_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", "trusted.overlay.opaque", b"y")
    os.setxattr(tmp_path / "d", "user.kept", b"y")
    out = io.BytesIO()
    pack(tmp_path, out)
    assert b"trusted.overlay" not in out.getvalue()
    assert b"user.kept" in out.getvalue()


def test_sizes_beyond_octal(tmp_path: Path) -> None:
    """A file of 9 GiB (of holes) does not fit into the 11 octal digits of ustar."""

    class Counter:
        start, size = b"", 0

        def write(self, content: bytes, /) -> None:
            self.start = (self.start + content)[:4096] if self.size < 4096 else self.start
            self.size += len(content)

    class Zeros:
        def read(self, size: int, /) -> bytes:
            return bytes(size)

    out = Counter()
    TarWriter(out).add(Entry(b"big", size=9 << 30), Zeros())
    assert out.size == (9 << 30) + 3 * 512
    listing = subprocess.run(["tar", "-tv"], input=out.start, capture_output=True).stdout.decode()
    assert listing.split()[2] == str(9 << 30)
