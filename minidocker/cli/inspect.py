"""``minidocker inspect``: everything about a container or an image, as Docker's API tells it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from minidocker.cli import failures
from minidocker.cli.completion import container_names, image_names
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.errors import ContainerNotFound, MinidockerError, NotFound, SpecError

if TYPE_CHECKING:
    from minidocker.engine.engine import Engine

Look = Callable[["Engine", str], dict[str, Any]]
_layout = click.option("-f", "--format", "layout", metavar="FORMAT", default="", help="json, or a template such as '{{.State.Pid}}'.")


def _container(engine: Engine, name: str) -> dict[str, Any]:
    from minidocker.engine.docker_json import container_inspect

    container = engine.containers.get(name)
    return container_inspect(container.record, container, engine.paths)


def _image(engine: Engine, name: str) -> dict[str, Any]:
    from minidocker.engine.docker_json import image_inspect

    return image_inspect(engine.images.get(name))


def _either(engine: Engine, name: str) -> dict[str, Any]:
    try:
        return _container(engine, name)
    except ContainerNotFound:
        try:
            return _image(engine, name)
        except (NotFound, SpecError) as error:
            raise NotFound(f"No such object: {name[:100]}", hint="minidocker ps -a and minidocker images list what there is") from error


_LOOKS: dict[str, Look] = {"": _either, "container": _container, "image": _image}


@verb("inspect", examples=["inspect web", "inspect -f '{{.State.Status}} {{.State.Pid}}' web", "inspect --type image busybox"])
@click.argument("names", metavar="NAME|ID [NAME|ID...]", nargs=-1, required=True, shell_complete=container_names)
@_layout
@click.option("--type", "kind", metavar="TYPE", default="", help="Only look for a container or an image.")
@pass_door
def inspect(door: Door, names: tuple[str, ...], layout: str, kind: str) -> None:
    """Show everything about containers or images."""
    if kind not in _LOOKS:
        raise SpecError(f'unknown type: "{kind}": must be one of "container", "image"')
    _show(door, names, layout, _LOOKS[kind])


@verb("inspect", examples=["container inspect web"])
@click.argument("names", metavar="CONTAINER [CONTAINER...]", nargs=-1, required=True, shell_complete=container_names)
@_layout
@pass_door
def inspect_container(door: Door, names: tuple[str, ...], layout: str) -> None:
    """Show everything about containers."""
    _show(door, names, layout, _container)


@verb("inspect", examples=["image inspect busybox"])
@click.argument("names", metavar="IMAGE [IMAGE...]", nargs=-1, required=True, shell_complete=image_names)
@_layout
@pass_door
def inspect_image(door: Door, names: tuple[str, ...], layout: str) -> None:
    """Show everything about images."""
    _show(door, names, layout, _image)


def _show(door: Door, names: tuple[str, ...], layout: str, look: Look) -> None:
    """Print what was found, then tell what was not. Failed(1) if anything was not."""
    found: list[dict[str, Any]] = []
    missing: list[MinidockerError] = []
    with door.engine() as engine:
        for name in names:
            try:
                found.append(look(engine, name))
            except MinidockerError as error:
                missing.append(error)
    click.echo(_text(found, layout), nl=False)
    for reason in missing:
        failures.report(reason)
    if missing:
        raise failures.Failed(1)


def _text(found: list[dict[str, Any]], layout: str) -> str:
    from minidocker.cli.format import Template, go_json

    if layout == "":
        return json.dumps(found, indent=4, ensure_ascii=False) + "\n"
    if layout == "json":
        return go_json(found) + "\n"
    template = Template(layout)
    return "".join(template.render(one) + "\n" for one in found)
