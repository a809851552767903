"""The lists of what to install agree: pyproject.toml, environment.yml, vagrant/packages.sh and what the texts tell a reader."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parent.parent
CONDA_NAMES = {"docker": "docker-py"}  # where conda-forge's name differs from PyPI's
APT_INSTALL = re.compile(r"\bapt(?:-get)? install((?: +[-\w.+]+)+)")
PACKAGES = TOP / "vagrant" / "packages.sh"


def pyproject() -> dict[str, list[str]]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    return {"engine": project["dependencies"], "python": [f"python{project['requires-python']}"], **project["optional-dependencies"]}


def conda_name(requirement: str) -> str:
    name, bound = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()
    return CONDA_NAMES.get(name, name) + bound


def listed(*groups: str) -> set[str]:
    return set(subprocess.run([PACKAGES, "--list", *groups], check=True, capture_output=True, text=True).stdout.split())


def texts() -> dict[str, str]:
    """Everything a reader may copy a command from: documents, lessons, and the hints in the source."""
    found = [*TOP.glob("*.md"), *TOP.glob("notebooks/*.md"), *TOP.glob("minidocker/**/*.py"), *TOP.glob("bench/*")]
    result = {str(path.relative_to(TOP)): path.read_text() for path in found if path.is_file()}
    for path in TOP.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        result[str(path.relative_to(TOP))] = "\n".join("".join(cell["source"]) for cell in cells)
    return result


def test_conda_gets_what_pip_gets() -> None:
    given = yaml.safe_load((TOP / "environment.yml").read_text())["dependencies"]
    from_pip = [entry for part in given if isinstance(part, dict) for entry in part["pip"]]
    plain = [part for part in given if isinstance(part, str)]
    wanted = {conda_name(requirement) for group in pyproject().values() for requirement in group}
    assert {*plain, *map(conda_name, from_pip)} - {"pip", "--editable ."} == wanted
    assert "--editable ." in from_pip


def test_every_dependency_has_a_lower_bound_and_no_upper_one() -> None:
    for requirement in (entry for group in pyproject().values() for entry in group):
        assert re.fullmatch(r"[\w-]+>=[\d.]+", requirement), requirement


def test_unknown_package_group_is_named() -> None:
    ran = subprocess.run([PACKAGES, "bsae"], capture_output=True, text=True)
    assert ran.returncode != 0
    assert "bsae" in ran.stderr and "base test bench" in ran.stderr


def test_every_package_that_a_text_names_is_on_the_list() -> None:
    known = listed("base", "test", "bench")
    for where, text in texts().items():
        for match in APT_INSTALL.finditer(text):
            named = {word for word in match[1].split() if not word.startswith("-")}
            assert named <= known, f"{where} tells to install {sorted(named - known)}, which vagrant/packages.sh does not"


def test_a_fresh_machine_needs_only_what_the_readme_says() -> None:
    """make and git come before packages.sh can run, so the README has to say so; everything else is make's job."""
    commands = APT_INSTALL.findall((TOP / "README.md").read_text())
    assert {word for command in commands for word in command.split() if not word.startswith("-")} == {"git", "make"}


class Machine:
    """A machine on which some commands are replaced by short scripts, which also write down that they were called."""

    def __init__(self, place: Path) -> None:
        self.place, self.log = place, place / "log"
        self.replace("dpkg-query", 'case "${@: -1}" in git|make) echo -n installed ;; *) exit 1 ;; esac')
        self.replace("apt-get", "exit 0")
        self.replace("sleep", "exit 0")

    def replace(self, command: str, script: str) -> None:
        path = self.place / command
        path.write_text(f'#!/bin/bash\necho "{command} $*" >> {self.log}\n{script}\n')
        path.chmod(0o755)

    def install(self, *groups: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.place}:/usr/bin:/bin"
        return subprocess.run([PACKAGES, *groups], env={"PATH": path}, capture_output=True, text=True, timeout=20)

    def called(self, command: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith(command + " ")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    ran = machine.install("base")
    assert ran.returncode == 0, ran.stderr
    update, install = machine.called("apt-get")
    assert update.endswith(" update --quiet --quiet")
    assert set(install.partition("--no-install-recommends ")[2].split()) == listed("base") - {"git", "make"}


def test_when_all_is_there_nothing_is_asked_of_anybody(machine: Machine) -> None:
    machine.replace("dpkg-query", "echo -n installed")
    ran = machine.install("base", "test", "bench")
    assert (ran.returncode, ran.stdout, machine.called("apt-get")) == (0, "", [])


def test_a_package_that_was_removed_but_left_its_settings_is_missing(machine: Machine) -> None:
    machine.replace("dpkg-query", "echo -n config-files")
    machine.install("base")
    assert len(machine.called("apt-get")) == 2


def test_a_dead_mirror_is_tried_three_times_and_then_named(machine: Machine) -> None:
    machine.replace("apt-get", "exit 100")
    ran = machine.install("base")
    assert ran.returncode == 1
    assert [call.endswith("update --quiet --quiet") for call in machine.called("apt-get")] == [True, True, True, False]
    assert "could not install: busybox-static" in ran.stderr and "The package mirror did not answer" in ran.stderr


def test_a_dead_mirror_among_others_stops_nobody(machine: Machine) -> None:
    machine.replace("apt-get", 'case "$*" in *update*) exit 100 ;; esac')
    assert machine.install("base").returncode == 0


def test_who_is_not_root_is_told_so(machine: Machine) -> None:
    machine.replace("id", "echo 1000")
    ran = machine.install("base")
    assert ran.returncode == 1
    assert "needs root" in ran.stderr
    assert machine.called("apt-get") == []


@pytest.mark.parametrize("group", ["base", "test"])
def test_this_machine_has_what_the_tests_need(machine: Machine, group: str) -> None:
    """make test installs both groups before it comes here. apt-get is replaced: a test must not install, and be killed amid it."""
    (machine.place / "dpkg-query").unlink()
    machine.replace("apt-get", "exit 1")
    ran = machine.install(group)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
