"""images, import, tag, rmi and image inspect, through the real command."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from cli.driver import Cli


def root_tar(**files: str) -> bytes:
    """A root file system with busybox as /bin/sh and *files* at its top."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add("/bin/busybox", "bin/sh")
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_images(cli: Cli) -> None:
    head, busybox = cli.text("images").splitlines()
    assert head == "REPOSITORY   TAG       IMAGE ID       CREATED   SIZE"
    assert re.fullmatch(r"busybox      latest    [0-9a-f]{12}   N/A       [\d.]+MB", busybox)
    short, full = cli.text("images", "-q"), cli.text("image", "ls", "-q", "--no-trunc")
    assert re.fullmatch("sha256:[0-9a-f]{64}", full)
    assert full.startswith(f"sha256:{short}")
    assert "DIGEST" in cli.text("images", "--digests")
    assert cli.text("images", "busybox:latest", "--format", "{{.Repository}}:{{.Tag}}") == "busybox:latest"
    assert cli.text("images", "nosuch", "-q") == ""
    assert json.loads(cli.text("images", "--format", "json"))["ID"] == short


def test_tag_and_rmi(cli: Cli) -> None:
    cli("tag", "busybox", "mine:1")
    cli("image", "tag", "mine:1", "me.example:5000/box")
    assert cli.text("images", "--format", "{{.Repository}} {{.Tag}}").splitlines() == [
        "busybox latest",
        "me.example:5000/box latest",
        "mine 1",
    ]
    assert cli.text("images", "mine", "--format", "{{.Tag}}") == "1"
    assert len(set(cli.text("images", "-q").splitlines())) == 1
    assert cli.text("rmi", "mine:1") == "Untagged: mine:1"
    said = cli("rmi", "mine:1", "busybox", code=1)
    assert said.stdout == b"Untagged: busybox:latest\n"
    assert b"minidocker: no image 'mine:1'" in said.stderr
    assert re.fullmatch(
        "Untagged: me.example:5000/box:latest\nDeleted: sha256:[0-9a-f]{64}", cli.text("image", "rm", "me.example:5000/box")
    )
    assert cli.text("images", "-q") == ""
    cli("rmi", "-f", "nosuch")


def test_an_image_that_is_used_stays(cli: Cli) -> None:
    cli("create", "--name", "user", "busybox")
    said = cli.fails("rmi", "busybox", code=1)
    assert "user" in said
    assert "hint: " in said
    assert cli.text("images", "-q") != ""


def test_import_from_a_file_and_from_stdin(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "root.tar"
    file.write_bytes(root_tar(hello="file"))
    image_id = cli.text("import", str(file), "mine:1")
    assert cli.field("mine:1", "{{.Id}}") == image_id
    assert cli.text("run", "--rm", "mine:1", "/bin/sh", "-c", "cat /hello") == "file"
    cli(
        "import", "-c", 'CMD ["/bin/sh", "-c", "cat /hello; echo $A"]', "--change", "ENV A=1", "-", "mine:2", stdin=root_tar(hello="stdin ")
    )
    assert cli.text("run", "--rm", "mine:2") == "stdin 1"
    assert cli.text("image", "inspect", "-f", "{{json .Config.Cmd}}", "mine:2") == '["/bin/sh","-c","cat /hello; echo $A"]'
    unnamed = cli.text("import", "-", stdin=root_tar(hello="unnamed"))
    assert "<none>       <none>" in cli.text("images")
    assert cli.text("images", "-q", "--no-trunc", "-f", "dangling=true") == unnamed


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["/no/such.tar"], b"", "open /no/such.tar: No such file or directory"),
        (["-", "mine"], b"", "empty"),
        (["-", "mine"], b"this is no tar at all" * 100, "minidocker: "),
        (["-", "Mine"], b"", "minidocker: "),
        (["-c", "RUN true", "-", "mine"], b"", "RUN is not a valid change command"),
        (["https://example.org/root.tar"], b"", "only files can be imported"),
        (["/etc"], b"", "/etc"),
    ],
)
def test_what_cannot_be_imported(cli: Cli, arguments: list[str], stdin: bytes, message: str) -> None:
    before = cli.text("images")
    assert message in cli.fails("import", *arguments, stdin=stdin, code=1)
    assert cli.text("images") == before


def test_what_cannot_be_tagged_or_found(cli: Cli) -> None:
    for arguments in (["tag", "nosuch", "mine"], ["tag", "busybox", "Mine"], ["image", "inspect", "nosuch"], ["rmi", "nosuch"]):
        done = cli(*arguments, code=1)
        assert b"minidocker: " in done.stderr
        assert b"hint: " in done.stderr


def test_run_by_id(cli: Cli) -> None:
    short = cli.text("images", "-q")
    assert cli.text("run", "--rm", short, "echo", "hi") == "hi"
    assert cli.text("run", "--rm", f"sha256:{short}", "echo", "hi") == "hi"
