"""The verb ``doctor``: what it prints, and the exit code that a script can go by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MINIDOCKER = Path(sys.executable).with_name("minidocker")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MINIDOCKER, *arguments], capture_output=True, text=True, env={**os.environ, **environment})


def test_json_has_every_finding() -> None:
    ran = run("doctor", "--json")
    findings = json.loads(ran.stdout)
    assert ran.returncode == 0 and ran.stderr == ""
    assert {"name", "ok", "required", "needed_by", "detail", "lost", "fix"} == set(findings[0])
    assert all(finding["ok"] for finding in findings if finding["required"])


def test_what_is_missing_comes_with_its_loss_and_its_cure() -> None:
    ran = run("doctor", PATH="/nowhere")
    lines = ran.stdout.splitlines()
    position = next(number for number, line in enumerate(lines) if line.startswith("missing  nftables"))
    assert "not found: nft" in lines[position]
    assert lines[position + 1].strip() == "lesson 19 loses: address translation and published ports"
    assert lines[position + 2].strip() == "to get it: vagrant/packages.sh, then modprobe nf_tables"
    assert (ran.returncode, lines[-1]) == (0, "The engine can run on this host.")


def test_a_host_that_cannot_run_the_engine_is_exit_code_1() -> None:
    """sysfs can hold no data, so it stands for every filesystem that cannot hold an upper layer."""
    ran = run("--root", "/sys/kernel/minidocker", "doctor")
    assert ran.returncode == 1
    assert any(line.startswith("NEEDED   data root") for line in ran.stdout.splitlines())
    assert ran.stdout.splitlines()[-1] == "The engine cannot run on this host."
    assert "Traceback" not in ran.stderr
