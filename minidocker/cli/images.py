"""The verbs for images: images (image ls), import, tag, rmi."""

from __future__ import annotations

import fnmatch
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from minidocker.cli import failures
from minidocker.cli.completion import image_names
from minidocker.cli.filters import Filters, check, filter_option, has_label, selected
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.errors import MinidockerError, SpecError

if TYPE_CHECKING:
    from minidocker.engine.images import Image

_HEADERS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}


@verb("images", examples=["images", "images busybox", "images --format '{{.Repository}}:{{.Tag}} {{.Size}}'"])
@click.argument("name", metavar="[REPOSITORY[:TAG]]", required=False)
@click.option("-a", "--all", "_all", is_flag=True, help="Accepted as Docker's: there are no hidden images.")
@click.option("--digests", is_flag=True, help="Show digests.")
@filter_option("Only those: reference=PATTERN, dangling=true, label=NAME[=VALUE].")
@click.option("--format", "layout", metavar="FORMAT", default="", help="table, json, or a template such as '{{.ID}}'.")
@click.option("--no-trunc", is_flag=True, help="Do not shorten ids.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@pass_door
def ls(door: Door, name: str | None, _all: bool, digests: bool, filters: Filters, layout: str, no_trunc: bool, quiet: bool) -> None:
    """List images."""
    from minidocker.cli.format import Table

    check(filters, ("dangling", "label", "reference"))
    with door.engine() as engine:
        images = [image for image in engine.images.list() if selected(filters, _matchers(image))]
    rows = [row for image in images for row in _rows(image, full=no_trunc) if name is None or _called(row, name)]
    if quiet:
        click.echo("".join(f"{identity}\n" for identity in dict.fromkeys(row["ID"] for row in rows)), nl=False)
        return
    columns = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
    click.echo(Table(_HEADERS, columns).render(rows, layout), nl=False)


def _rows(image: Image, *, full: bool) -> list[dict[str, Any]]:
    """One row for each tag of *image*, or one with <none>."""
    from minidocker.engine.phrases import human_duration, human_size, local_time

    created = image.created.timestamp()
    return [
        {
            "Repository": tag.rpartition(":")[0] or "<none>",
            "Tag": tag.rpartition(":")[2] or "<none>",
            "Digest": image.digest,
            "ID": image.id if full else image.short_id,
            "CreatedSince": f"{human_duration(time.time() - created)} ago" if created else "N/A",  # no date: a reproducible image
            "CreatedAt": local_time(created),
            "Size": human_size(image.size),
        }
        for tag in image.tags or [""]
    ]


def _called(row: dict[str, Any], name: str) -> bool:
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    return bool(row["Repository"] == repository and tag in ("", row["Tag"]))


def _matchers(image: Image) -> dict[str, Any]:
    labels = image.config.config.labels
    return {
        "dangling": lambda value: (not image.tags) == (value.lower() in ("true", "1")),
        "label": lambda value: has_label(labels, value),
        "reference": lambda value: any(
            fnmatch.fnmatchcase(tag, value) or fnmatch.fnmatchcase(tag.rpartition(":")[0], value) for tag in image.tags
        ),
    }


@verb("tag", examples=["tag busybox mine:1"])
@click.argument("source", metavar="SOURCE_IMAGE[:TAG]", shell_complete=image_names)
@click.argument("target", metavar="TARGET_IMAGE[:TAG]")
@pass_door
def tag(door: Door, source: str, target: str) -> None:
    """Give an image one more name."""
    with door.engine() as engine:
        engine.images.tag(engine.images.get(source), target)


@verb("rmi", examples=["rmi mine:1", "rmi $(minidocker images -q -f dangling=true)"])
@click.argument("images", metavar="IMAGE [IMAGE...]", nargs=-1, required=True, shell_complete=image_names)
@click.option("-f", "--force", is_flag=True, help="Also when a container was made from it; one that is not there is no error.")
@pass_door
def rmi(door: Door, images: tuple[str, ...], force: bool) -> None:
    """Remove images: take away the name, and with the last name the image."""
    failed = False
    with door.engine() as engine:
        for name in images:
            try:
                _remove(engine, name, force=force)
            except MinidockerError as error:
                failures.report(error)
                failed = True
    if failed and not force:
        raise failures.Failed(1)


def _remove(engine: Any, name: str, *, force: bool) -> None:
    removal = engine.remove_image(name, force=force)
    for gone in removal.untagged:
        click.echo(f"Untagged: {gone}")
    if removal.deleted:
        click.echo(f"Deleted: {removal.deleted}")


@verb(
    "import",
    examples=[
        "import root.tar mine:1",
        "tar -C /srv/root -c . | minidocker import -c 'CMD [\"sh\"]' - mine:2",
    ],
)
@click.argument("file", metavar="FILE|-")
@click.argument("name", metavar="[REPOSITORY[:TAG]]", required=False)
@click.option(
    "-c", "--change", "changes", metavar="INSTRUCTION", multiple=True, help="An instruction as in a Dockerfile, such as 'CMD [\"sh\"]'."
)
@click.option("-m", "--message", metavar="TEXT", help="Accepted as Docker's.")
@pass_door
def import_(door: Door, file: str, name: str | None, changes: tuple[str, ...], message: str | None) -> None:
    """Make an image from a tar of a root filesystem ("-": from stdin)."""
    from minidocker.engine.changes import image_config

    config = image_config(changes)
    if file.startswith(("http://", "https://")):
        raise SpecError("only files can be imported", hint="download it first, or pipe it: curl URL | minidocker import - NAME")
    with door.engine() as engine, nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb") as stream:
        click.echo(engine.images.import_tar(stream, name or "", config=config).id)
