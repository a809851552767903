"""Paths: the engine's name decides where everything lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from minidocker.errors import SpecError
from minidocker.paths import Paths


def test_defaults_follow_the_name() -> None:
    paths = Paths()
    assert (paths.root, paths.run) == (Path("/var/lib/minidocker"), Path("/run/minidocker"))
    other = Paths("mdlab")
    assert other.images == Path("/var/lib/mdlab/images")
    assert other.layers == Path("/var/lib/mdlab/layers")
    assert other.containers == Path("/var/lib/mdlab/containers")
    assert other.db == Path("/var/lib/mdlab/engine.db")
    assert other.run_containers == Path("/run/mdlab/containers")


def test_given_directories_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = Paths("x", root="state", run=tmp_path / "run")
    assert paths.root == tmp_path / "state"
    assert paths.run == tmp_path / "run"


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a" * 16, "a/b", "..", "a b", "a\0", "a\n", "ä"])
def test_a_name_that_cannot_be_a_directory_is_refused(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        Paths(name)
    assert caught.value.hint
