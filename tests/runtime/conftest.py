"""Plain OCI bundles: a directory with busybox in it and a config.json, no engine and no overlay.

    def test_x(bundle): box = bundle("echo", "hello"); box.run() == (0, b"hello\\n", b"")
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import new_name

from minidocker.errors import MinidockerError
from minidocker.linux import capabilities, cgroups
from minidocker.oci import spec
from minidocker.runtime import hire, log
from minidocker.runtime.container import Handle, Runtime


class Bundle:
    """One container of *runtime*, below the directory *home*. `config` may be changed until `create`."""

    def __init__(self, runtime: Runtime, name: str, home: Path, command: list[str]) -> None:
        self.runtime, self.home, self.path = runtime, home, str(home)
        self.id = secrets.token_hex(32)
        self.cgroup = f"{name}/{self.id}"
        self.rootfs = home / "rootfs"
        process = spec.process(
            command, env=[spec.DEFAULT_PATH], cwd="/", user="", terminal=False, capabilities=list(capabilities.DEFAULT)
        )
        self.config: dict[str, Any] = spec.runtime_spec(
            process=process,
            hostname="bundle",
            mounts=spec.default_mounts(),
            namespaces=spec.namespaces({}, set()),
            cgroup=self.cgroup,
            unified={},
            read_only=False,
            annotations={},
            poststop=[],
        )

    @property
    def process(self) -> dict[str, Any]:
        found: dict[str, Any] = self.config["process"]
        return found

    def create(self, **options: Any) -> Handle:
        if not (self.home / "config.json").exists():
            self.write()
        return self.runtime.create(self.id, self.path, **options)

    def write(self) -> None:
        (self.home / "config.json").write_text(json.dumps(self.config))

    def run(self) -> tuple[int, bytes, bytes]:
        """Its exit code, and what it wrote to both streams."""
        handle = self.create(start=True)
        code = handle.wait()
        handle.close()
        assert code is not None
        return code, self.output("stdout"), self.output("stderr")

    def says(self) -> str:
        """What it wrote to stdout; it must end well and say nothing else."""
        code, output, errors = self.run()
        assert (code, errors) == (0, b"")
        return output.decode().removesuffix("\n")

    def output(self, stream: str = "stdout") -> bytes:
        return b"".join(data for name, data, _ in log.Reader(f"{self.path}/{log.NAME}").records() if name == stream)

    def state(self) -> dict[str, Any]:
        return self.runtime.state(self.id, self.path)

    def status(self) -> str:
        return str(self.state()["status"])

    def kill(self, number: int = 9) -> None:
        self.runtime.kill(self.id, self.path, number)

    def end(self) -> None:
        """However it fares: afterwards it is gone."""
        try:
            handle = self.runtime.connect(self.id)
            self.kill()
            handle.wait()
            handle.close()
        except MinidockerError:
            pass


@pytest.fixture(scope="session")
def busybox(base_store: Path) -> Path:
    """A root filesystem to copy."""
    (layer,) = [path for path in (base_store / "layers").iterdir() if path.is_dir()]
    return layer


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    name = new_name()
    found = Runtime(f"/run/{name}")
    yield found
    hire.stop(found.run)
    cgroups.open_cgroup(name).remove()
    shutil.rmtree(found.run, ignore_errors=True)


@pytest.fixture
def bundle(runtime: Runtime, busybox: Path, tmp_path: Path) -> Iterator[Callable[..., Bundle]]:
    made: list[Bundle] = []

    def make(*command: str) -> Bundle:
        home = tmp_path / f"bundle{len(made)}"
        home.mkdir()
        subprocess.run(["cp", "-a", str(busybox), str(home / "rootfs")], check=True)
        made.append(Bundle(runtime, os.path.basename(runtime.run), home, list(command)))
        return made[-1]

    yield make
    for one in made:
        one.end()
