"""The tar reader and writer, with GNU tar and Python's tarfile as strangers on the other side."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import SpecError
from minidocker.oci.pack import TarWriter, encode_header
from minidocker.oci.tar import Entry, TarReader


def write(*entries: tuple[Entry, bytes]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, content in entries:
        writer.add(entry, content)
    writer.close()
    return out.getvalue()


def read(raw: bytes, directory: Path) -> list[tuple[Entry, bytes]]:
    found = []
    reader = TarReader(io.BytesIO(raw))
    for entry in reader:
        content = b""
        if entry.kind == "file":
            fd = os.open(directory / "content", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            reader.copy_to(fd)
            os.close(fd)
            content = (directory / "content").read_bytes()
        found.append((entry, content))
    return found


name = st.binary(min_size=1, max_size=300).map(lambda raw: raw.replace(b"\0", b"-")).filter(lambda raw: not raw.endswith(b"/"))
entries = st.builds(
    Entry,
    name,
    kind=st.sampled_from(["file", "hardlink", "symlink", "char", "block", "dir", "fifo"]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**40),
    gid=st.integers(0, 2**40),
    mtime=st.integers(-(2**60), 2**62),
    major=st.integers(0, 4095),
    minor=st.integers(0, 2**20 - 1),
    xattrs=st.dictionaries(st.sampled_from(["user.a", "user.ü", "security.capability"]), st.binary(max_size=100).filter(bool), max_size=2),
)


@st.composite
def members(draw: st.DrawFn) -> tuple[Entry, bytes]:
    entry = draw(entries)
    if entry.kind in ("symlink", "hardlink"):
        entry.link = draw(name)
    if entry.kind not in ("char", "block"):
        entry.major = entry.minor = 0
    content = draw(st.binary(max_size=1500)) if entry.kind == "file" else b""
    entry.size = len(content)
    return entry, content


@given(st.lists(members(), max_size=4))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, archive: list[tuple[Entry, bytes]]) -> None:
    assert read(write(*archive), tmp_path_factory.getbasetemp()) == archive


@given(st.lists(members(), max_size=4))
def test_tarfile_understands_what_is_written(archive: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(write(*archive)), errors="surrogateescape") as stranger:
        for (entry, content), member in zip(archive, stranger, strict=True):
            assert os.fsencode(member.name) == entry.name.rstrip(b"/")
            assert (member.mode, member.uid, member.gid) == (entry.mode, entry.uid, entry.gid)
            assert abs(float(member.mtime) * 1e9 - entry.mtime) <= max(1, abs(entry.mtime) * 1e-15)
            assert os.fsencode(member.linkname) == entry.link
            if member.isreg():
                extracted = stranger.extractfile(member)
                assert extracted is not None
                assert extracted.read() == content


@given(st.binary(max_size=3000))
def test_any_bytes_are_a_tar_or_a_spec_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    with contextlib.suppress(SpecError):
        read(raw, tmp_path_factory.getbasetemp())


@given(st.lists(members(), min_size=1, max_size=2), st.data())
def test_a_damaged_archive_is_read_or_a_spec_error(
    tmp_path_factory: pytest.TempPathFactory, archive: list[tuple[Entry, bytes]], data: st.DataObject
) -> None:
    """Headers are made valid again after the damage, so that not the checksum alone finds it."""
    raw = bytearray(write(*archive))
    for _ in range(3):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    header = raw[:512]
    raw[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
    with contextlib.suppress(SpecError):
        for _ in TarReader(io.BytesIO(bytes(raw))):
            pass


def gnu_tar(directory: Path, *options: str) -> bytes:
    return subprocess.run(["tar", "-C", directory, *options, "-cf", "-", "."], capture_output=True, check=True).stdout


@pytest.mark.parametrize("style", ["gnu", "posix", "ustar", "v7", "oldgnu"])
def test_all_formats_of_gnu_tar(tmp_path: Path, style: str) -> None:
    tree = tmp_path / "tree"
    deep = tree / ("d" * 80) / ("e" * 15)
    deep.mkdir(parents=True)
    (tree / "file").write_bytes(b"content")
    os.utime(tree / "file", ns=(0, 1_700_000_000_123_456_789))
    os.link(tree / "file", tree / "zlink")
    (tree / "symlink").symlink_to("/etc/passwd")
    if style not in ("v7",):
        os.mkfifo(tree / "fifo")
    if style in ("gnu", "posix"):
        (deep / ("f" * 200)).write_bytes(b"deep")
        (tree / "long").symlink_to("t" * 300)
    found = {entry.name: (entry, content) for entry, content in read(gnu_tar(tree, f"--format={style}", "--sort=name"), tmp_path)}
    entry, content = found[b"./file"]
    assert content == b"content"
    assert entry.mtime == (1_700_000_000_123_456_789 if style == "posix" else 1_700_000_000_000_000_000)
    assert (found[b"./zlink"][0].kind, found[b"./zlink"][0].link) == ("hardlink", b"./file")
    assert found[b"./symlink"][0].link == b"/etc/passwd"
    assert found[b"./" + b"d" * 80 + b"/" + b"e" * 15 + b"/"][0].kind == "dir"
    if style in ("gnu", "posix"):
        assert found[b"./long"][0].link == b"t" * 300
        assert found[b"./" + b"d" * 80 + b"/" + b"e" * 15 + b"/" + b"f" * 200][1] == b"deep"


@pytest.mark.parametrize("style", ["gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"])
@pytest.mark.parametrize("pieces", [1, 3, 60])
def test_sparse_files_of_all_formats(tmp_path: Path, style: str, pieces: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with open(tree / "sparse", "wb") as file:
        for number in range(pieces):
            file.seek(number * 200_000 + 100_000)
            file.write(b"%d" % number * 3000)
        file.truncate(pieces * 200_000 + 777_777)
    raw = gnu_tar(tree, "--sparse", *f"--format={style}".split())
    found = {entry.name: (entry, content) for entry, content in read(raw, tmp_path)}
    entry, content = found[b"./sparse"]
    assert entry.kind == "file"
    assert content == (tree / "sparse").read_bytes()
    assert entry.size == len(content)
    assert os.stat(tmp_path / "content").st_blocks <= os.stat(tree / "sparse").st_blocks + 16


def test_a_sparse_map_that_lies_is_refused(tmp_path: Path) -> None:
    content = bytes(1024)
    for text in (b"0,1024,0,1024", b"0,2048", b"1000000,1024", b"0,1000,500,24", b"5", b"x,y", b"0,512,100,512"):
        header = pax(GNU_sparse_map=text, GNU_sparse_size=b"2048") + encode_header(Entry(b"f", size=1024)) + content + bytes(1024)
        with pytest.raises(SpecError):
            read(header, tmp_path)


def pax(kind: bytes = b"x", **records: bytes) -> bytes:
    """An extended header with *records*, underscores for dots, and whatever is in them."""
    data = b""
    for key, value in records.items():
        body = b" " + key.replace("_", ".").encode() + b"=" + value + b"\n"
        length = len(body) + 2
        data += b"%02d" % length + body if length < 100 else b"%03d" % (length + 1) + body
    return special(kind, data)


def special(kind: bytes, data: bytes, size: int | None = None) -> bytes:
    header = bytearray(encode_header(Entry(b"special", size=len(data) if size is None else size)))
    header[156:157] = kind
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
    return bytes(header) + data + bytes(-len(data) % 512)


def test_global_headers_last_and_local_ones_do_not(tmp_path: Path) -> None:
    one, two = encode_header(Entry(b"one")), encode_header(Entry(b"two"))
    found = read(pax(b"g", uid=b"7", gid=b"8") + pax(uid=b"9") + one + two + bytes(1024), tmp_path)
    assert [(entry.uid, entry.gid) for entry, _ in found] == [(9, 8), (7, 8)]


def test_extended_headers_of_any_claimed_size_are_not_read_into_memory() -> None:
    for kind in (b"x", b"g", b"L", b"K"):
        with pytest.raises(SpecError) as caught:
            list(TarReader(io.BytesIO(special(kind, b"", size=8**11 - 1) + bytes(10_000))))
        assert "extended header" in str(caught.value)


@pytest.mark.parametrize(
    "records",
    [
        b"",
        b"x",
        b"5",
        b"99 a=b\n",
        b"6 a=b",
        b"0 a=b\n",
        b"-1 a=b\n",
        b"8 a=b\n\n",
        b"5 ab\n",
        b"999999999999999999999999 a=b\n",
        b"06 a=b\n10 a",
        b"6  =b\n",
    ],
    ids=repr,
)
def test_malformed_extended_headers(records: bytes) -> None:
    raw = special(b"x", records) + encode_header(Entry(b"f")) + bytes(1024)
    if records in (b"", b"6  =b\n"):  # nothing in it, or a key that nobody knows
        assert [entry.name for entry in TarReader(io.BytesIO(raw))] == [b"f"]
        return
    with pytest.raises(SpecError):
        list(TarReader(io.BytesIO(raw)))


@pytest.mark.parametrize("key", ["uid", "gid", "size", "mtime"])
@pytest.mark.parametrize("value", [b"x", b"1e9", b"0x10", b" 1", b"1_000", b"9" * 50])
def test_malformed_numbers_in_extended_headers(key: str, value: bytes) -> None:
    raw = pax(**{key: value}) + encode_header(Entry(b"f")) + bytes(1024)
    with pytest.raises(SpecError):
        list(TarReader(io.BytesIO(raw)))


def test_binary_numbers(tmp_path: Path) -> None:
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as stranger:
            info = tarfile.TarInfo("f")
            info.uid, info.gid, info.mtime = 2**31 + 5, 2**21, -86_400
            stranger.addfile(info)
        ((entry, _),) = read(out.getvalue(), tmp_path)
    assert (entry.uid, entry.gid, entry.mtime) == (2**31 + 5, 2**21, -86_400 * 10**9)


def test_a_negative_or_endless_size_is_refused() -> None:
    for size in (b"\xff" * 12, b"\x80" + b"\xff" * 11, b"7" * 11 + b"\0"):
        header = bytearray(encode_header(Entry(b"f")))
        header[124:136] = size
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
        with pytest.raises(SpecError):
            list(TarReader(io.BytesIO(bytes(header) + bytes(5000))))


def test_cut_archives() -> None:
    whole = write((Entry(b"a" * 150, size=600), bytes(600)))
    list(TarReader(io.BytesIO(whole[:-1024])))  # a missing end mark is forgiven, as by every tar
    for length in (1, 511, 513, 600, 1024, 1536, 1600, 2100):
        with pytest.raises(SpecError):
            list(TarReader(io.BytesIO(whole[:length])))


def test_unknown_types_are_refused() -> None:
    for kind in b"MDVN9AZ\xff":
        with pytest.raises(SpecError) as caught:
            list(TarReader(io.BytesIO(special(bytes([kind]), b"") + bytes(1024))))
        assert "type" in str(caught.value)


def test_a_directory_of_before_there_was_a_type_for_it(tmp_path: Path) -> None:
    ((entry, _),) = read(encode_header(Entry(b"olddir/")) + bytes(1024), tmp_path)
    assert entry.kind == "dir"


def test_the_writer_wants_all_content() -> None:
    with pytest.raises(SpecError):
        write((Entry(b"f", size=10), b"short"))
    with pytest.raises(SpecError):
        write((Entry(b"f", xattrs={"user.a=b": b"x"}), b""))
