"""version, info, doctor, system setup, completion, and a start that stays short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli.driver import BINARY, Cli

from minidocker.cli.program import VERSION

HEAVY = (
    "minidocker.engine",
    "minidocker.runtime",
    "minidocker.linux",
    "minidocker.oci",
    "msgspec",
    "sqlite3",
    "rich",
    "asyncio",
    "subprocess",
)


def test_version_is_the_projects(cli: Cli) -> None:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
    assert cli.text("--version") == f"minidocker version {VERSION}"
    assert cli.text("version", "--format", "{{.Server.Version}}") == VERSION
    assert json.loads(cli.text("version", "-f", "json"))["Client"]["KernelVersion"] == os.uname().release
    assert f"Version:         {VERSION}" in cli.text("version")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [(["--version"], HEAVY), (["--help"], HEAVY), (["run", "--help"], HEAVY), (["run", "--rm", "busybox", "true"], ("rich", "asyncio"))],
)
def test_only_what_is_needed_is_imported(cli: Cli, arguments: list[str], heavy: tuple[str, ...]) -> None:
    script = (
        f"import sys; from minidocker.cli.main import main; main(sys.argv[1:]); print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--engine", cli.name, *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_info(cli: Cli) -> None:
    cli("create", "busybox")
    assert cli.text("info", "-f", "{{.Containers}} {{.ContainersRunning}} {{.Images}} {{.ID}}") == f"1 0 1 {cli.name}"
    text = cli.text("system", "info")
    assert "Containers: 1\n Running: 0\n" in text
    assert f"Root Dir: /var/lib/{cli.name}\n" in text
    assert json.loads(cli.text("info", "--format", "json"))["KernelVersion"] == os.uname().release


def test_doctor(cli: Cli) -> None:
    assert "The engine can run on this host." in cli.text("doctor")
    findings = json.loads(cli.text("doctor", "--json"))
    assert {"name", "ok", "required", "lost", "fix"} <= set(findings[0])
    assert all(finding["ok"] for finding in findings if finding["required"])


def test_setup_makes_the_base_image_once(cli: Cli) -> None:
    first = cli.text("system", "setup")
    assert first.startswith("busybox:latest  sha256:")
    assert cli.text("system", "setup") == first
    cli("rmi", "busybox")
    assert cli.text("system", "setup") == first, "made again it is the same"


def test_the_engine_is_chosen_by_option_or_environment(cli: Cli, tmp_path: Path) -> None:
    cli("create", "--name", "here", "busybox")
    line = [BINARY, "ps", "-a", "--format", "{{.Names}}"]
    done = subprocess.run(line, env={**os.environ, "MINIDOCKER_ENGINE": cli.name}, capture_output=True, check=True, timeout=30)
    assert done.stdout == b"here\n"
    assert cli.text("--root", str(tmp_path), "ps", "-aq") == ""
    assert "invalid engine name" in cli.fails("--engine", "Not/A/Name", "ps", code=1)
    assert "invalid engine name" in cli.fails("--name", "x" * 20, "run", "busybox", code=125)


def complete(cli: Cli, *words: str) -> list[str]:
    """What bash would offer for the last of *words*."""
    line = " ".join(["minidocker", "--engine", cli.name, *words])
    environment = {**os.environ, "_MINIDOCKER_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run([BINARY], env=environment, capture_output=True, text=True, check=True, timeout=30)
    return [entry.partition(",")[2] for entry in done.stdout.split()]


def test_completion(cli: Cli) -> None:
    cli("create", "--name", "web", "busybox")
    cli("create", "--name", "worker", "busybox")
    cli("tag", "busybox", "box:1")
    assert complete(cli, "re") == ["rename", "restart"]
    assert complete(cli, "container", "ru") == ["run"]
    assert "--detach" in complete(cli, "run", "--det")
    assert complete(cli, "stop", "w") == ["worker", "web"]
    assert complete(cli, "stop", "web", "wo") == ["worker"]
    assert complete(cli, "run", "b") == ["box:1", "busybox:latest"]
    assert complete(cli, "rmi", "bo") == ["box:1"]
    assert complete(cli, "--engine", "Not/A/Name", "stop", "") == []


@pytest.mark.parametrize(("shell", "mark"), [("bash", "complete "), ("zsh", "#compdef minidocker"), ("fish", "complete --no-files")])
def test_completion_scripts(cli: Cli, shell: str, mark: str) -> None:
    script = cli.text("completion", shell)
    assert mark in script
    assert "_MINIDOCKER_COMPLETE" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script.encode(), check=True)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors(cli: Cli, redirection: str) -> None:
    for arguments in ("ps", "run --rm -i busybox cat", "run --rm busybox echo hi"):
        line = f"exec {BINARY} --engine {cli.name} {arguments} {redirection}"
        done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, b"")
        assert ">" in redirection or done.stdout == (b"hi\n" if "echo" in arguments else done.stdout)
    assert cli.containers() == []


def test_a_bug_is_no_traceback(cli: Cli) -> None:
    script = (
        "import sys, minidocker.cli.program as p; from minidocker.cli.main import main\n"
        "p.Door.engine = lambda self: 1 / 0\n"
        "sys.exit(main(['ps']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("minidocker: internal error: ZeroDivisionError: division by zero\nhint: ")
