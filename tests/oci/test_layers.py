"""Unpacking layers: overlayfs' own form, exact attributes, and no way out for hostile names."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import os
import random
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import SpecError, SyscallError
from minidocker.oci.layers import unpack
from minidocker.oci.pack import TarWriter
from minidocker.oci.tar import Entry

OPAQUE = "trusted.overlay.opaque"


def tar(*entries: Entry | tuple[Entry, bytes]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    for item in entries:
        entry, content = item if isinstance(item, tuple) else (item, b"")
        entry.size = len(content)
        writer.add(entry, content)
    writer.close()
    return out.getvalue()


def file(name: str, content: str = "", **fields: object) -> tuple[Entry, bytes]:
    return Entry(name.encode(), **fields), content.encode()  # type: ignore[arg-type]


def directory(name: str, **fields: object) -> Entry:
    return Entry(name.encode(), "dir", 0o755, **fields)  # type: ignore[arg-type]


def symlink(name: str, link: str) -> Entry:
    return Entry(name.encode(), "symlink", 0o777, link=link.encode())


def hardlink(name: str, link: str) -> Entry:
    return Entry(name.encode(), "hardlink", link=link.encode())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "layer"
    path.mkdir()
    return path


def is_whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def test_attributes_of_every_kind(target: Path) -> None:
    time = 1_234_567_890_123_456_789
    raw = tar(
        Entry(b"./", "dir", 0o751, 3, 4, mtime=time),
        Entry(b"d/", "dir", 0o2770, 10, 11, mtime=time),
        (Entry(b"d/setuid", "file", 0o4755, 100_000, 65_534, mtime=time, xattrs={"user.note": b"\0\xff", "trusted.x": b"1"}), b"#!"),
        Entry(b"d/link", "symlink", 0o777, 5, 6, mtime=time - 1, link=b"/nowhere/\xff"),
        Entry(b"d/hard", "hardlink", link=b"d/setuid"),
        Entry(b"d/hardsym", "hardlink", link=b"./d/link"),
        Entry(b"d/null", "char", 0o666, major=1, minor=3, mtime=time),
        Entry(b"d/disk", "block", 0o660, 0, 6, major=259, minor=70_000),
        Entry(b"d/pipe", "fifo", 0o604, mtime=-5 * 10**9),
        (Entry(b"caf\xc3\xa9\xff"), b"odd name"),
        (Entry(b"n" * 255), b"long name"),
    )
    unpacked = unpack(io.BytesIO(raw), target)
    assert unpacked == ("sha256:" + hashlib.sha256(raw).hexdigest(), len(raw), 11)

    def seen(name: bytes) -> tuple[int, int, int, int]:
        found = os.lstat(os.fsencode(target) + b"/" + name)
        return found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns

    assert seen(b"") == (stat.S_IFDIR | 0o751, 3, 4, time)
    assert seen(b"d") == (stat.S_IFDIR | 0o2770, 10, 11, time)
    assert seen(b"d/setuid") == (stat.S_IFREG | 0o4755, 100_000, 65_534, time)
    assert seen(b"d/link") == (stat.S_IFLNK | 0o777, 5, 6, time - 1)
    assert seen(b"d/pipe") == (stat.S_IFIFO | 0o604, 0, 0, -5 * 10**9)
    assert os.getxattr(target / "d/setuid", "user.note") == b"\0\xff"
    assert os.getxattr(target / "d/setuid", "trusted.x") == b"1"
    assert os.readlink(os.fsencode(target / "d/link")) == b"/nowhere/\xff"
    assert (target / "d/hard").samefile(target / "d/setuid")
    assert (target / "d/hardsym").lstat().st_ino == (target / "d/link").lstat().st_ino
    assert (target / "d/null").lstat().st_rdev == os.makedev(1, 3)
    assert (target / "d/disk").lstat().st_rdev == os.makedev(259, 70_000)
    assert os.path.exists(os.fsencode(target) + b"/caf\xc3\xa9\xff")


def test_security_capability_survives_chown_and_chmod(target: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep
    unpack(io.BytesIO(tar((Entry(b"ping", mode=0o755, uid=7, gid=7, xattrs={"security.capability": capability}), b"x"))), target)
    assert os.getxattr(target / "ping", "security.capability") == capability


def test_the_umask_has_no_say(target: Path) -> None:
    old = os.umask(0o077)
    try:
        raw = tar(file("a/b/c", mode=0o666), directory("d/", ), Entry(b"p", "fifo", 0o666))  # fmt: skip
        unpack(io.BytesIO(raw), target)
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE((target / name).stat().st_mode) for name in ("a", "a/b", "a/b/c", "d", "p")}
    assert modes == {"a": 0o755, "a/b": 0o755, "a/b/c": 0o666, "d": 0o755, "p": 0o666}


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bytes])
def test_compression_is_detected(target: Path, compress: object) -> None:
    raw = tar(file("a", "x" * 100_000))
    assert callable(compress)
    unpacked = unpack(io.BytesIO(compress(raw)), target)
    assert unpacked.diff_id == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert (target / "a").stat().st_size == 100_000


def test_several_compressed_members_make_one_stream(target: Path) -> None:
    raw = tar(file("a", "x" * 5000), file("b", "y"))
    for number, compress in enumerate((gzip.compress, zstandard.compress)):
        (target / str(number)).mkdir()
        unpacked = unpack(io.BytesIO(compress(raw[:3000]) + compress(raw[3000:])), target / str(number))
        assert (unpacked.size, unpacked.entries) == (len(raw), 2)


def test_what_follows_the_end_mark_counts_for_the_digest(target: Path) -> None:
    raw = tar(file("a")) + bytes(10_240) + b"anything"
    assert unpack(io.BytesIO(gzip.compress(raw)), target).diff_id == "sha256:" + hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_damaged_compression_is_a_spec_error(target: Path, compress: object) -> None:
    assert callable(compress)
    whole = compress(random.Random(1).randbytes(50_000) + tar(file("a")))
    for raw in (whole[: len(whole) // 2], whole[:5], whole[:1000] + b"\0" * 100 + whole[1100:]):
        with pytest.raises(SpecError):
            unpack(io.BytesIO(raw), target)


def test_whiteouts_become_overlayfs_own(target: Path) -> None:
    raw = tar(directory("d/"), file("d/.wh.gone"), file(".wh.top"), directory("o/"), file("o/.wh..wh..opq"), file("o/new", "x"))
    unpack(io.BytesIO(raw), target)
    assert is_whiteout(target / "d/gone")
    assert is_whiteout(target / "top")
    assert os.getxattr(target / "o", OPAQUE) == b"y"
    assert sorted(os.listdir(target / "o")) == ["new"]
    assert not list(target.rglob(".wh.*"))


@pytest.mark.parametrize("whiteout_first", [True, False])
def test_a_directory_deleted_and_made_anew_is_opaque(target: Path, whiteout_first: bool) -> None:
    """Image-spec layer.md: whiteouts hide what lower layers have, never what their own layer brings, whatever the order."""
    entries = [file(".wh.d"), directory("d/"), file("d/new", "x"), file(".wh.f"), file("f", "new")]
    if not whiteout_first:
        entries = [entries[1], entries[2], entries[0], entries[4], entries[3]]
    unpack(io.BytesIO(tar(*entries)), target)
    assert os.getxattr(target / "d", OPAQUE) == b"y"
    assert (target / "d/new").read_text() == "x"
    assert (target / "f").read_text() == "new"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """An overlay of two layers, the second of which deletes, hides and replaces."""
    lower = tar(
        directory("d/"),
        file("d/gone", "1"),
        file("d/stays", "1"),
        directory("o/"),
        file("o/old", "1"),
        directory("r/"),
        file("r/old"),
        file("f"),
    )
    upper = tar(
        directory("d/"),
        file("d/.wh.gone"),
        directory("o/"),
        file("o/.wh..wh..opq"),
        file("o/new"),
        file(".wh.r"),
        directory("r/"),
        directory("f/"),
    )
    for name, raw in (("lower", lower), ("upper", upper)):
        (tmp_path / name).mkdir()
        unpack(io.BytesIO(raw), tmp_path / name)
    merged = tmp_path / "merged"
    merged.mkdir()
    subprocess.run(["mount", "-t", "overlay", "-o", f"ro,lowerdir={tmp_path}/upper:{tmp_path}/lower", "overlay", merged], check=True)
    yield merged
    subprocess.run(["umount", merged], check=True)


def test_the_kernel_agrees(mounted: Path) -> None:
    found = sorted(str(path.relative_to(mounted)) for path in mounted.rglob("*"))
    assert found == ["d", "d/stays", "f", "o", "o/new", "r"]
    assert (mounted / "f").is_dir()


def test_a_later_entry_of_a_name_replaces_the_earlier(target: Path) -> None:
    raw = tar(
        file("a", "old"), file("a", "new"), symlink("a", "x"), file("a", "newest"),
        directory("d/", uid=5), directory("d/", uid=6), file("d/f"), directory("e/"), file("e", "was a directory"),
        file("g", "1"), hardlink("h", "g"), hardlink("h", "g"), file("g", "2"),
        file("s", "file"), directory("s/"), file("s/in"),
    )  # fmt: skip
    unpack(io.BytesIO(raw), target)
    assert (target / "a").read_text() == "newest"
    assert (target / "d").stat().st_uid == 6
    assert (target / "e").read_text() == "was a directory"
    assert ((target / "g").read_text(), (target / "h").read_text()) == ("2", "1")
    assert (target / "s/in").exists()


HOSTILE = {
    "dotdot": [file("../escaped", "x")],
    "dotdot inside": [directory("a/"), file("a/../../escaped", "x")],
    "harmless dotdot": [directory("a/"), file("a/../b", "x")],
    "only dotdot": [directory("../", uid=1)],
    "dotdot hardlink": [hardlink("a", "../secret")],
    "hardlink through a symlink": [symlink("up", ".."), hardlink("a", "up/secret")],
    "hardlink to what is not there": [hardlink("a", "etc/passwd")],
    "hardlink to absolute": [hardlink("a", "/etc/hostname")],
    "hardlink to a directory": [directory("d/"), hardlink("a", "d")],
    "hardlink to the root": [hardlink("a", "/")],
    "hardlink to nothing": [hardlink("a", "")],
    "through a relative symlink": [symlink("up", ".."), file("up/escaped", "x")],
    "through an absolute symlink": [symlink("etc", "/tmp"), file("etc/minidocker-escaped", "x")],
    "through a symlink to itself": [symlink("loop", "loop"), file("loop/x")],
    "through two symlinks": [symlink("a", "b"), symlink("b", ".."), directory("a/escaped/")],
    "directory through a symlink": [symlink("up", "../outside"), directory("up/escaped/")],
    "symlink through a symlink": [symlink("up", ".."), symlink("up/escaped", "x")],
    "device through a symlink": [symlink("up", ".."), Entry(b"up/escaped", "char", major=1, minor=3)],
    "whiteout through a symlink": [symlink("up", ".."), file("up/.wh.secret")],
    "opaque through a symlink": [symlink("up", "../outside"), file("up/.wh..wh..opq")],
    "hard link to a symlink, then through it": [symlink("up", ".."), hardlink("two", "up"), file("two/escaped")],
    "through a file": [file("f", "x"), file("f/escaped", "x")],
    "through a device": [Entry(b"n", "char", major=1, minor=3), file("n/x")],
    "whiteout of the parent": [directory("a/"), file("a/.wh...")],
    "whiteout of itself": [directory("a/"), file("a/.wh..")],
    "whiteout of nothing": [file(".wh.")],
    "inside a whiteout": [file("a/.wh.b/c", "x")],
    "file for the root": [file("./", "x", kind="fifo")],
    "symlink for the root": [symlink(".", "/tmp")],
    "empty name": [Entry(b"", "symlink", link=b"x")],
    "file for a full directory": [directory("d/"), file("d/x"), file("d", "x")],
    "a name that is too long": [file("n" * 256)],
    "a path that is too long": [file("d/" * 2100 + "x")],
    "overlay redirect": [directory("d/", xattrs={"trusted.overlay.redirect": b"/x"})],
    "overlay metacopy": [file("f", "x", xattrs={"trusted.overlay.metacopy": b""})],
    "overlay opaque by hand": [directory("d/", xattrs={"user.overlay.opaque": b"y"})],
    "an owner that means leave it": [file("f", uid=2**32 - 1)],
    "an owner that is too big": [file("f", gid=2**33)],
    "a time without end": [file("f", mtime=2**100)],
    "a symlink to nothing": [symlink("s", "")],
    "a symlink that is too long": [symlink("s", "x" * 5000)],
    "an xattr without a namespace": [file("f", xattrs={"note": b"1"})],
}  # fmt: skip
FORGIVEN = {"an xattr without a namespace"}  # the kernel says "not supported", as for one that the file system lacks


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layers_are_refused_and_touch_nothing_outside(tmp_path: Path, name: str) -> None:
    target = tmp_path / "in" / "layer"
    target.mkdir(parents=True)
    (tmp_path / "in" / "secret").write_text("secret")
    (tmp_path / "in" / "outside").mkdir()
    before = everything(tmp_path, without=target)
    raw = tar(file("first", "1"), *HOSTILE[name])
    if name in FORGIVEN:
        unpack(io.BytesIO(raw), target)
    else:
        with pytest.raises(SpecError) as caught:
            unpack(io.BytesIO(raw), target)
        assert len(str(caught.value)) < 400
    assert everything(tmp_path, without=target) == before
    assert not os.path.exists("/tmp/minidocker-escaped")
    for path in target.rglob("*"):
        assert path.is_symlink() or path.stat().st_ino != (tmp_path / "in" / "secret").stat().st_ino


def everything(top: Path, *, without: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in [top, *top.rglob("*")]:
        if path == without or without in path.parents:
            continue
        info = path.lstat()
        xattrs = tuple(sorted(os.listxattr(path, follow_symlinks=False)))
        found[str(path)] = (info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_nlink, info.st_size, xattrs)
    return found


def test_absolute_names_mean_the_layers_own_root(target: Path) -> None:
    unpack(io.BytesIO(tar(file("/etc/passwd", "mine"), hardlink("/etc/copy", "/etc/passwd"), file("///.//a//./b", "x"))), target)
    assert (target / "etc/copy").read_text() == "mine"
    assert (target / "a/b").read_text() == "x"


def test_aufs_leftovers_are_passed_over(target: Path) -> None:
    unpack(io.BytesIO(tar(directory(".wh..wh.plnk/"), file(".wh..wh.plnk/1.2", "x"), file(".wh..wh.aufs"), file("a"))), target)
    assert os.listdir(target) == ["a"]


def test_deep_directories_and_many_entries(target: Path) -> None:
    deep = "/".join(["d"] * 1500)
    unpacked = unpack(io.BytesIO(tar(*(file(f"many/{number}") for number in range(2000)), file(f"{deep}/x", "deep"))), target)
    assert unpacked.entries == 2001
    assert len(os.listdir(target / "many")) == 2000
    subprocess.run(["rm", "-rf", target / "d"], check=True)


def test_no_file_descriptor_stays_open(target: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    unpack(io.BytesIO(tar(file("a/b/c"), hardlink("x", "a/b/c"), directory("d/"))), target)
    for entries in HOSTILE.values():
        with pytest.raises((SpecError, AssertionError)):
            unpack(io.BytesIO(tar(*entries)), target)
            raise AssertionError
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_not_root_is_a_clear_error(target: Path) -> None:
    target.chmod(0o777)
    raw = tar(file("f", uid=5))
    child = os.fork()
    if child == 0:
        os.chdir(target)
        os.setresuid(65_534, 65_534, 65_534)
        try:
            unpack(io.BytesIO(raw), ".")
        except SyscallError as error:
            os._exit(0 if error.errno == errno.EPERM and error.syscall == "chown" and "root" in error.hint else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_full_disk_is_a_syscall_error(target: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", target], check=True)
    try:
        with pytest.raises(SyscallError) as caught:
            unpack(io.BytesIO(tar(file("big", "x" * 200_000))), target)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.hint
    finally:
        subprocess.run(["umount", target], check=True)


ODD = ["a", "b", "..", ".", "", ".wh.a", ".wh..wh..opq", "etc", ".wh...", "secret", "c" * 255]
names = st.lists(st.sampled_from(ODD), min_size=1, max_size=5)
kinds = st.sampled_from(["file", "dir", "symlink", "hardlink", "fifo", "char"])
steps = st.builds(
    lambda name, kind, link, slash: Entry(slash + "/".join(name).encode(), kind, link=slash + "/".join(link).encode(), mtime=5),
    names, kinds, names, st.sampled_from([b"", b"/", b"./"]),
)  # fmt: skip


@given(st.lists(steps, min_size=1, max_size=12))
def test_no_sequence_of_entries_gets_out(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    top = tmp_path_factory.mktemp("confined", numbered=True)
    target = top / "in" / "layer"
    target.mkdir(parents=True)
    (top / "in" / "secret").write_text("secret")
    (top / "in" / "a").mkdir()
    before = everything(top, without=target)
    with contextlib.suppress(SpecError):
        unpack(io.BytesIO(tar(*entries)), target)
    assert everything(top, without=target) == before
