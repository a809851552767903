"""Docker's grammar of options: what is accepted, what it becomes, and what is said when it cannot be."""

from __future__ import annotations

import os
import signal

import pytest

from minidocker.engine import options
from minidocker.engine.record import MountPoint
from minidocker.errors import SpecError
from minidocker.linux import capabilities


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "term", "15", 15, "sigterm", signal.SIGTERM.value])
def test_signals(text: str | int) -> None:
    assert options.parse_signal(text) == 15
    assert options.parse_signal("RTMIN") == signal.SIGRTMIN


@pytest.mark.parametrize("text", ["", "NOSUCH", "0", "65", "-1", "SIG", "SIG_DFL", "SIG_IGN", "_DFL", "1.5", "Signals"])
def test_no_signals(text: str) -> None:
    with pytest.raises(SpecError, match="Invalid signal") as caught:
        options.parse_signal(text)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["ab", "web_1.x-y", "/web", "0a", "a" * 128])
def test_names(name: str) -> None:
    assert options.check_name(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "/", "-a", "_a", ".a", "a b", "a/b", "ä1", "a\n", "a\0b", "a" * 129, "a" * 5000, "//ab"])
def test_no_names(name: str) -> None:
    with pytest.raises(SpecError, match="Invalid container name") as caught:
        options.check_name(name)
    assert caught.value.hint and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "source", "target", "words"),
    [
        ("/a:/b", "/a", "/b", []),
        ("/a:/b:ro", "/a", "/b", ["ro"]),
        ("/a:/b:rw", "/a", "/b", []),
        ("/a:/b:ro,rslave", "/a", "/b", ["ro", "rslave"]),
        ("/a/../c:/b//d/", "/c", "/b/d", []),
        (".:/b", os.getcwd(), "/b", []),
        ("/a b:/c d", "/a b", "/c d", []),
    ],
)
def test_volumes(text: str, source: str, target: str, words: list[str]) -> None:
    assert options.parse_volume(text) == MountPoint(kind="bind", source=source, target=target, options=words, create_source=True)


@pytest.mark.parametrize("text", ["", ":", "/a", "/a:", "/a:b", "/a:/", "/a:/b:x", "/a:/b:ro:x", "name:/b", "/a\0:/b", "/a:/b\0", "/a:/.."])
def test_no_volumes(text: str) -> None:
    with pytest.raises(SpecError):
        options.parse_volume(text)


def test_mounts() -> None:
    safe = ["nosuid", "nodev", "noexec"]
    private = MountPoint(kind="bind", source="/a", target="/b", options=["ro", "rprivate"])
    assert options.parse_mount("type=bind,src=/a,dst=/b,ro") == private
    assert options.parse_mount("type=bind,source=/a,target=/b,readonly=false,bind-propagation=rshared").options == ["rshared"]
    assert options.parse_mount("type=tmpfs,destination=/b,tmpfs-size=1m,tmpfs-mode=1770") == MountPoint(
        kind="tmpfs", target="/b", options=[*safe, "size=1048576", "mode=1770"]
    )
    assert options.parse_tmpfs("/b").options == safe
    assert options.parse_tmpfs("/b:exec,size=1m") == MountPoint(kind="tmpfs", target="/b", options=["nosuid", "nodev", "size=1m"])


@pytest.mark.parametrize(
    "text",
    ["", "type=bind", "type=bind,source=/a", "type=bind,source=a,target=/b", "type=volume,target=/b", "source=/a,target=/b",
     "type=bind,source=/a,target=b", "type=bind,source=/a,target=/b,colour=red", "type=tmpfs,target=/b,tmpfs-mode=9",
     "type=bind,source=/a,target=/b,bind-propagation=up", "type=tmpfs,target=/"],
)  # fmt: skip
def test_no_mounts(text: str) -> None:
    with pytest.raises(SpecError):
        options.parse_mount(text)


def test_mounts_are_made_from_the_outside_in_and_each_place_once() -> None:
    found = options.parse_all_mounts({"volumes": ["/a:/x/y/z"], "mounts": ["type=bind,source=/a,target=/x"], "tmpfs": ["/x/y"]})
    assert [point.target for point in found] == ["/x", "/x/y", "/x/y/z"]
    with pytest.raises(SpecError, match="Duplicate mount point: /x"):
        options.parse_all_mounts({"volumes": ["/a:/x"], "tmpfs": ["/x/"]})


@pytest.mark.parametrize(
    ("image", "entrypoint", "command", "wanted"),
    [
        ((["e"], ["c"]), None, None, ["e", "c"]),
        ((["e"], ["c"]), None, ["x", "y"], ["e", "x", "y"]),
        ((["e"], ["c"]), ["n"], None, ["n"]),
        ((["e"], ["c"]), "n", ["x"], ["n", "x"]),
        (([], ["c"]), None, None, ["c"]),
        ((["e"], ["c"]), [], ["x"], ["x"]),
        (([], ["c"]), None, "one", ["one"]),
    ],
)
def test_what_runs(
    image: tuple[list[str], list[str]], entrypoint: list[str] | str | None, command: list[str] | str | None, wanted: list[str]
) -> None:
    first, rest = options.what_runs(*image, entrypoint, command)
    assert first + rest == wanted


def test_nothing_to_run() -> None:
    for given_entrypoint in (None, []):
        with pytest.raises(SpecError, match="no command specified"):
            options.what_runs([], [], given_entrypoint, None)


ALL = capabilities.NAMES[: capabilities.last() + 1]


@pytest.mark.parametrize(
    ("added", "dropped", "wanted"),
    [
        ([], [], set(capabilities.DEFAULT)),
        (["ALL"], [], set(ALL)),
        ([], ["all"], set()),
        (["NET_ADMIN"], ["ALL"], {"NET_ADMIN"}),
        (["ALL"], ["CAP_SYS_ADMIN"], set(ALL) - {"SYS_ADMIN"}),
        (["cap_chown"], ["CHOWN"], set(capabilities.DEFAULT)),
        (["ALL"], ["ALL"], set()),
    ],
)
def test_capabilities(added: list[str], dropped: list[str], wanted: set[str]) -> None:
    assert set(options.allowed_capabilities(added, dropped, privileged=False)) == wanted
    assert options.allowed_capabilities(added, dropped, privileged=True) == ALL


def test_checks_that_refuse() -> None:
    for call in (
        lambda: options.check_timeout(-2),
        lambda: options.check_workdir("a"),
        lambda: options.check_workdir("/a\0"),
        lambda: options.check_mode("network", "bridge", ("none", "host")),
        lambda: options.check_mode("pid", "container:", ("host",), container=True),
        lambda: options.allowed_capabilities(["NOSUCH"], [], privileged=False),
        lambda: options.check_octal("8"),
    ):
        with pytest.raises(SpecError):
            call()
    assert options.check_timeout(-1) == -1
