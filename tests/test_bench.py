"""The benchmark runs, names who is absent, and leaves nothing. How fast anybody is, is not for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def test_bench_without_the_other_engines(tmp_path: Path) -> None:
    before = {path for top in ("/var/lib", "/run") for path in os.listdir(top) if path.startswith("mdbench")}
    command = [sys.executable, TOP / "bench" / "run.py", "--rounds", "2", "--many", "3", "--many-rounds", "1", "--results", tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": "/nowhere"}, timeout=100)
    assert ran.returncode == 0, ran.stderr
    for engine in ("runc", "docker", "podman"):
        assert f"{engine} is absent: " in ran.stdout
    (path,) = tmp_path.glob("*.json")
    told = json.loads(path.read_text())
    assert set(told["absent"]) == {"runc", "docker", "podman"}
    samples = told["samples"]
    assert [len(columns["minidocker"]) for columns in samples.values()] == [2, 2, 2, 2, 1, 1, 3, 1]
    assert "rm -f of the 3" in ran.stdout
    assert {path for top in ("/var/lib", "/run") for path in os.listdir(top) if path.startswith("mdbench")} == before
