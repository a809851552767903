"""The verb ``demo`` must say true things, and leave nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_demo(engine_name: str) -> None:
    command = [Path(sys.executable).with_name("minidocker"), "--engine", engine_name, "demo"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = [line.strip() for line in ran.stdout.splitlines()]
    assert "I am process 1 of 1, on host demo" in lines
    assert f"pid     process numbers        host {os.stat('/proc/self/ns/pid').st_ino}" in ran.stdout
    assert sum(line.endswith("its own") for line in lines) >= 6
    assert any(line.startswith("/sys/fs/cgroup/") and line.endswith(" = 67108864") for line in lines)
    assert f"lowerdir=/var/lib/{engine_name}/layers/" in ran.stdout
    assert "in the host's own list of mounts: no trace of it" in lines
    assert "exit code 137: killed by the kernel" in lines
    assert " is gone; " in lines[-1]
    assert os.listdir(f"/var/lib/{engine_name}/containers") == []
