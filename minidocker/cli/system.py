"""The verbs about the engine itself: version, info, doctor, system setup, system prune."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

import click

from minidocker.cli.lifecycle import confirmed, show_removed
from minidocker.cli.parsing import verb
from minidocker.cli.program import VERSION, Door, pass_door

_layout = click.option("-f", "--format", "layout", metavar="FORMAT", default="", help="json, or a template such as '{{.Server.Version}}'.")


def _show(value: dict[str, Any], layout: str, text: str) -> None:
    """*value* as *layout* says, or *text* for people."""
    from minidocker.cli.format import Template, go_json

    if layout:
        text = (go_json(value) if layout == "json" else Template(layout).render(value)) + "\n"
    click.echo(text, nl=False)


@verb("version", examples=["version", "version --format '{{.Server.Version}}'"])
@_layout
def version(layout: str) -> None:
    """Show the version of minidocker and of what it stands on."""
    machine = os.uname()
    parts = {"Version": VERSION, "PythonVersion": platform.python_version(), "KernelVersion": machine.release}
    parts |= {"Os": "linux", "Arch": machine.machine}
    text = (
        f"minidocker\n Version:         {VERSION}\n Python version:  {parts['PythonVersion']}\n"
        f" Kernel version:  {parts['KernelVersion']}\n OS/Arch:         linux/{machine.machine}\n"
    )
    _show({"Client": parts, "Server": parts}, layout, text)


@verb("info", examples=["info", "info --format '{{.ContainersRunning}}'"])
@_layout
@pass_door
def info(door: Door, layout: str) -> None:
    """Show what the engine has and where."""
    from minidocker.engine.docker_json import system_info

    with door.engine() as engine:
        facts = engine.info()
    text = (
        f"Containers: {facts['containers']}\n Running: {facts['running']}\n Paused: {facts['paused']}\n Stopped: {facts['stopped']}\n"
        f"Images: {facts['images']}\nEngine: {facts['name']}\nVersion: {VERSION}\nStorage Driver: {facts['storage_driver']}\n"
        f"Cgroups: {facts['cgroup_mode']}\nKernel Version: {facts['kernel_version']}\nArchitecture: {facts['architecture']}\n"
        f"CPUs: {facts['cpus']}\nTotal Memory: {facts['memory'] / 2**30:.4g}GiB\nName: {facts['host']}\n"
        f"Root Dir: {facts['root']}\nRuntime Dir: {facts['run']}\n"
    )
    _show(system_info(facts) | {"ServerVersion": VERSION}, layout, text)


@verb("doctor", examples=["doctor", "doctor --json"])
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@pass_door
def doctor(door: Door, as_json: bool) -> int:
    """Say what this host can do for the engine and the lessons, what is missing, and how to get it. Exit code 1: the engine cannot run."""
    from minidocker.engine import doctor as engine_doctor
    from minidocker.paths import Paths

    findings = engine_doctor.examine(Paths(door.name, door.root))
    able = engine_doctor.can_run(findings)
    if as_json:
        click.echo(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            verdict = "ok" if finding.ok else "NEEDED" if finding.required else "missing"
            click.echo(f"{verdict:<8} {finding.name:<{width}}  {finding.detail}")
            if not finding.ok:
                click.echo(f"{'':<{width + 11}}{finding.needed_by} loses: {finding.lost}\n{'':<{width + 11}}to get it: {finding.fix}")
        click.echo("The engine can run on this host." if able else "The engine cannot run on this host.")
    return 0 if able else 1


@verb("setup", examples=["system setup"])
@pass_door
def setup(door: Door) -> None:
    """Make the base image busybox:latest from this machine's busybox."""
    with door.engine() as engine:
        image = engine.images.make_base()
        engine.snapshots.lower_dirs(image)  # unpacked now, so that the first run need not wait for it
    click.echo(f"{image.tags[0]}  {image.id}")


@verb("prune", examples=["system prune", "system prune -f        without asking"])
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_door
def prune(door: Door, force: bool) -> None:
    """Remove stopped containers, and whatever a killed engine left behind."""
    if not force and not confirmed("This will remove all stopped containers and all leftovers of killed ones."):
        return
    with door.engine() as engine:
        show_removed("Deleted Containers", [one.id for one in engine.containers.prune()])
        for kind, names in engine.prune().items():
            show_removed(f"Deleted {kind}", names)
