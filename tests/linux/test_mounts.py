"""Propagation, binds and read-only trees, and the kernel's list of mounts. Each in a child; the witness reads mountinfo from outside."""

from __future__ import annotations

import os
from pathlib import Path

import fresh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import SpecError, SyscallError
from minidocker.linux import mounts


def raw_targets(pid: int, below: str) -> list[str]:
    """The mount points below a directory, from the kernel's own lines: no parser of ours."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
        return [line.split(" ")[4] for line in file if line.split(" ")[4].startswith(below)]


# A parent with a shared tmpfs, and a child in a copy of its mounts, which changes the propagation and then both mount something.
PROPAGATION = """
from minidocker.linux import mounts, namespaces, syscalls
kind, base = sys.argv[1:]
namespaces.unshare("mnt")
mounts.make_private("/", recursive=True)
syscalls.mount("t", base, "tmpfs")
for name in ("up", "down"):
    os.mkdir(f"{base}/{name}")
mounts.make_shared(base)
to_child, from_child = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    namespaces.unshare("mnt")
    {"private": mounts.make_private, "slave": mounts.make_slave, "shared": mounts.make_shared}[kind](base)
    syscalls.mount("t", f"{base}/up", "tmpfs")
    os.write(from_child[1], b".")
    os.read(to_child[0], 1)
    os._exit(0)
os.read(from_child[0], 1)
syscalls.mount("t", f"{base}/down", "tmpfs")
say(pid)
hear()
os.write(to_child[1], b".")
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize(("kind", "goes_up", "comes_down"), [("private", False, False), ("slave", False, True), ("shared", True, True)])
def test_propagation(tmp_path: Path, kind: str, goes_up: bool, comes_down: bool) -> None:
    base = str(tmp_path)
    with fresh.Child(PROPAGATION, kind, base) as parent:
        inner = int(parent.line())
        assert (f"{base}/up" in raw_targets(parent.pid, base)) == goes_up
        assert (f"{base}/down" in raw_targets(inner, base)) == comes_down
        assert raw_targets(os.getpid(), base) == []  # and the machine's own mounts know nothing of it
        fields = next(mount for mount in mounts.mountinfo(inner) if mount.target == base).propagation
        assert [field.partition(":")[0] for field in fields] == {"private": [], "slave": ["master"], "shared": ["shared"]}[kind]
        parent.go()


def test_unbindable_and_recursive(tmp_path: Path) -> None:
    said = fresh.run(
        """
        from minidocker.errors import SyscallError
        from minidocker.linux import mounts, namespaces, syscalls
        base = sys.argv[1]
        namespaces.unshare("mnt"); mounts.make_private("/", recursive=True)
        syscalls.mount("t", base, "tmpfs"); os.mkdir(f"{base}/a"); syscalls.mount("t", f"{base}/a", "tmpfs"); os.mkdir(f"{base}/b")
        for make in (mounts.make_shared, mounts.make_slave, mounts.make_private, mounts.make_unbindable):
            make(base, recursive=True)
            print([[field.partition(":")[0] for field in one.propagation] for one in mounts.mountinfo() if one.target.startswith(base)])
        try:
            mounts.bind(base, f"{base}/b")
        except SyscallError as error:
            print(error.errno)
        try:
            mounts.make_private(f"{base}/b")
        except SyscallError as error:
            print(error.errno)
        """,
        str(tmp_path),
    )
    # A slave without a master is private.
    assert said.splitlines() == ["[['shared'], ['shared']]", "[[], []]", "[[], []]", "[['unbindable'], ['unbindable']]", "22", "22"]


READ_ONLY = """
from minidocker.errors import SyscallError
from minidocker.linux import mounts, namespaces, syscalls
base, way = sys.argv[1:]
if way == "fallback":
    def missing(*arguments, **named):
        raise SyscallError("mount_setattr", 38)
    syscalls.mount_setattr = missing
namespaces.unshare("mnt"); mounts.make_private("/", recursive=True)
for name in ("source", "target", "target-not"):
    os.mkdir(f"{base}/{name}")
os.symlink("target", f"{base}/link")
syscalls.mount("t", f"{base}/source", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOATIME)
os.mkdir(f"{base}/source/sub dir"); os.mkdir(f"{base}/source/other")
syscalls.mount("t", f"{base}/source/sub dir", "tmpfs", syscalls.MS_NOEXEC)
syscalls.mount("t", f"{base}/target-not", "tmpfs")
def writable(path):
    try: open(path + "/x", "w").close()
    except OSError as error: return error.errno == 30 and "ro"
    return "rw"
"""


@pytest.mark.parametrize("way", ["mount_setattr", "fallback"])
def test_a_read_only_bind_is_so_to_its_last_mount(tmp_path: Path, way: str) -> None:
    said = fresh.run(
        READ_ONLY
        + """
mounts.bind(f"{base}/source", f"{base}/link", read_only=True)
print([writable(f"{base}/{place}") for place in ("target", "target/sub dir", "source", "source/sub dir", "target-not")])
for one in mounts.mountinfo():
    if one.target.startswith(f"{base}/target/") or one.target == f"{base}/target":
        print(sorted(one.options.split(",")))
""",
        str(tmp_path),
        way,
    )
    assert said.splitlines() == ["['ro', 'ro', 'rw', 'rw', 'rw']", "['noatime', 'nodev', 'nosuid', 'ro']", "['noexec', 'relatime', 'ro']"]


@pytest.mark.parametrize("way", ["mount_setattr", "fallback"])
def test_read_only_without_what_is_below(tmp_path: Path, way: str) -> None:
    said = fresh.run(
        READ_ONLY
        + """
mounts.bind(f"{base}/source", f"{base}/target")
mounts.make_read_only(f"{base}/target", recursive=False)
print([writable(f"{base}/{place}") for place in ("target", "target/sub dir")])
mounts.bind(f"{base}/source", f"{base}/target-not", recursive=False)
print(os.listdir(f"{base}/target-not/sub dir"))
""",
        str(tmp_path),
        way,
    )
    assert said.splitlines() == ["['ro', 'rw']", "[]"]


@pytest.mark.parametrize("way", ["mount_setattr", "fallback"])
def test_read_only_where_nothing_is_mounted_is_an_error(tmp_path: Path, way: str) -> None:
    said = fresh.run(
        READ_ONLY
        + """
try: mounts.make_read_only(f"{base}/target")
except SyscallError as error: print(error.errno)
""",
        str(tmp_path),
        way,
    )
    assert said == "22"


ODD = ["two words", "tab\there", "new\nline", "back\\slash", "hash#", "\\040", "ü", "a\\", " ", "comma,colon:", "\x01", "\udcff"]


@pytest.mark.parametrize("name", ODD, ids=[repr(name) for name in ODD])
def test_mountinfo_with_odd_names(tmp_path: Path, name: str) -> None:
    """Source, root and target all carry the name; the child says what is there, we read its list from outside."""
    base = str(tmp_path)
    with fresh.Child(
        """
        from minidocker.linux import mounts, namespaces, syscalls
        base, name = sys.argv[1:]
        namespaces.unshare("mnt"); mounts.make_private("/", recursive=True)
        os.mkdir(f"{base}/{name}")
        syscalls.mount(name, f"{base}/{name}", "tmpfs")
        os.makedirs(f"{base}/{name}/{name}"); os.mkdir(f"{base}/{name}/b")
        mounts.bind(f"{base}/{name}/{name}", f"{base}/{name}/b")
        say("ready"); hear()
        """,
        base,
        name,
    ) as child:
        child.line()
        first, second = [mount for mount in mounts.mountinfo(child.pid) if mount.target.startswith(base)]
        assert (first.target, first.source, first.fstype, first.root) == (f"{base}/{name}", name, "tmpfs", "/")
        assert (second.target, second.source, second.root, second.parent) == (f"{base}/{name}/b", name, f"/{name}", first.id)
        assert first.device == second.device == "{}:{}".format(*device(child.pid, first.target))
        child.go()


def device(pid: int, path: str) -> tuple[int, int]:
    number = os.stat(f"/proc/{pid}/root{path}").st_dev
    return os.major(number), os.minor(number)


def mangle(text: str) -> str:
    """The kernel's way (seq_escape with " \\t\\n\\\\#"), written down once more."""
    return "".join(f"\\{ord(letter):03o}" if letter in " \t\n\\#" else letter for letter in text)


@given(st.text())
def test_unescape_undoes_the_kernels_mangling(text: str) -> None:
    assert mounts.unescape(mangle(text)) == text


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(names, names, names, st.lists(st.sampled_from(["shared:1", "master:22", "propagate_from:3", "unbindable"]), unique=True))
def test_parse_takes_apart_what_the_kernel_puts_together(root: str, target: str, source: str, fields: list[str]) -> None:
    optional = "".join(f"{field} " for field in fields)
    line = f"36 35 98:0 /{mangle(root)} /{mangle(target)} rw,noatime {optional}- ext3 {mangle(source)} rw,errors=continue\n"
    assert mounts.parse(line) == mounts.Mount(
        36, 35, "98:0", f"/{root}", f"/{target}", "rw,noatime", tuple(fields), "ext3", source, "rw,errors=continue"
    )


def test_parse_an_empty_source_and_a_dash_among_the_names() -> None:
    assert mounts.parse("1 2 0:3 / - rw - tmpfs  rw").source == ""
    found = mounts.parse("1 2 0:3 - - - shared:1 - tmpfs - rw")
    assert (found.root, found.target, found.options, found.propagation, found.source) == ("-", "-", "-", ("shared:1",), "-")


BROKEN = ["", "\n", "1 2 3", "x 2 0:3 / / rw - tmpfs t rw", "1 2 0:3 / / rw tmpfs t rw", "1 2 0:3 / / rw -", "1 2 0:3 / / rw - t"]


@pytest.mark.parametrize("line", BROKEN)
def test_what_is_no_line_of_mountinfo_is_refused(line: str) -> None:
    with pytest.raises(SpecError, match="not a line of mountinfo"):
        mounts.parse(line)


def test_mountinfo_of_nobody() -> None:
    with pytest.raises(SyscallError):
        mounts.mountinfo(2**22)
    assert mounts.mountinfo() == mounts.mountinfo(os.getpid()) and any(mount.target == "/" for mount in mounts.mountinfo())
