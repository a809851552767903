"""``minidocker run`` and ``create``: a new container from an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from minidocker.cli import failures
from minidocker.cli.attach import BOTH, foreground
from minidocker.cli.completion import image_names
from minidocker.cli.options import container_options, engine_options
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.cli.session import DEFAULT_DETACH_KEYS, DetachKeys
from minidocker.errors import ImageNotFound, MissingFeature, SpecError

if TYPE_CHECKING:
    from minidocker.engine.container import Container
    from minidocker.engine.engine import Engine

_STREAMS = ("stdin", "stdout", "stderr")
_arguments = [
    click.argument("image", metavar="IMAGE", shell_complete=image_names),
    click.argument("command", metavar="[COMMAND] [ARG...]", nargs=-1, type=click.UNPROCESSED),
]


def _new_container(function: Any) -> Any:
    for argument in reversed(_arguments):
        function = argument(function)
    return container_options(function)


@verb(
    "run",
    context_settings={"allow_interspersed_args": False},
    examples=[
        "run --rm busybox echo hello                  print, and leave nothing behind",
        "run -it --rm busybox                         a shell in a new container; ctrl-p ctrl-q leaves it running",
        "run -d --name web -v /srv:/www:ro busybox httpd -f -h /www",
        "run --rm -m 64m --pids-limit 20 busybox sh   with limits",
        "run --rm --explain busybox true              show every kernel step",
    ],
)
@_new_container
@click.option("-d", "--detach", is_flag=True, help="Leave it running in the background and print its id.")
@click.option("--detach-keys", metavar="KEYS", default=DEFAULT_DETACH_KEYS, show_default=True, help="The keys that leave the container.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, show_default=True, help="Pass signals on to the container.")
@pass_door
def run(door: Door, image: str, command: tuple[str, ...], **given: Any) -> int:
    """Create and run a new container from an image.

    What follows IMAGE is the command and its arguments. Exit code: the command's own, 125 if the engine failed, 126 if the command cannot
    be run, 127 if it does not exist.
    """
    streams = _streams(given["attach"])
    if given["detach"] and given["attach"]:
        raise SpecError("conflicting options: cannot specify both --attach and --detach")
    stdin = given["interactive"] and not given["detach"] and (not streams or "stdin" in streams)
    if stdin and given["tty"] and not os.isatty(0):
        failures.say("the input device is not a TTY", "leave out -t when stdin is not a terminal")
        return 1
    keys = DetachKeys(given["detach_keys"])
    with ExitStack() as stack:
        engine = stack.enter_context(door.engine())
        stack.enter_context(_explain(given["explain"]))
        container = _create(engine, image, command, given)
        if given["detach"]:
            with _removed_if_it_fails(container):
                container.start()
            click.echo(container.id)
            return 0
        return foreground(
            container,
            _removed_if_it_fails(container),
            stdin=stdin,
            keys=keys,
            sig_proxy=given["sig_proxy"],
            streams=frozenset(streams) - {"stdin"} if streams else BOTH,
            ours=True,
        )


@verb(
    "create",
    context_settings={"allow_interspersed_args": False},
    examples=["create --name job busybox sh -c 'date; hostname'", "start -a job                 run it and see its output"],
)
@_new_container
@pass_door
def create(door: Door, image: str, command: tuple[str, ...], **given: Any) -> None:
    """Create a new container, which start then runs."""
    _streams(given["attach"])
    with door.engine() as engine, _explain(given["explain"]):
        click.echo(_create(engine, image, command, given).id)


def _explain(wanted: bool) -> AbstractContextManager[object]:
    if not wanted:
        return nullcontext()
    from minidocker.cli.explain import Explain

    return Explain()


def _streams(names: tuple[str, ...]) -> list[str]:
    streams = [name.lower() for name in names]
    if any(name not in _STREAMS for name in streams):
        raise SpecError("valid streams are STDIN, STDOUT and STDERR")
    return streams


def _create(engine: Engine, image: str, command: tuple[str, ...], given: dict[str, Any]) -> Container:
    """The created container, its id in the cidfile."""
    if given["pull"] not in ("always", "missing", "never"):
        raise SpecError(f'invalid pull option: \'{given["pull"]}\': must be one of "always", "missing" or "never"')
    if given["pull"] == "always":
        raise MissingFeature(f"cannot pull {image}: this version has no registry client yet", hint="leave out --pull always")
    options = engine_options(given)
    with _cidfile(given["cidfile"]) as write_id:
        try:
            container = engine.containers.create(image, list(command) or None, **options)
        except ImageNotFound as error:
            raise _not_pulled(error, image, given["pull"]) from error
        except UnicodeEncodeError as error:
            bad = error.object.encode("utf-8", "backslashreplace").decode()
            raise SpecError(
                f"'{bad[:80]}' is not valid UTF-8", hint="a container's configuration is JSON, which can hold nothing else"
            ) from error
        write_id(container.id)
    return container


def _not_pulled(error: ImageNotFound, image: str, pull: str) -> ImageNotFound:
    """What to say when an image is not here, as long as nothing can be pulled."""
    name = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
    if pull == "never":
        return ImageNotFound(f"No such image: {name}", hint=error.hint)
    failures.note(f"Unable to find image '{name}' locally")
    return ImageNotFound(f"cannot pull {name}: this version has no registry client yet", hint=error.hint)


@contextmanager
def _cidfile(path: str | None) -> Iterator[Any]:
    """Make the file first, so that two runs cannot both have it; remove it again if there is no container to name."""
    if path is None:
        yield lambda _id: None
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise SpecError(f"container ID file found, make sure the other container isn't running or delete {path}") from error
    try:
        yield lambda container_id: os.write(fd, container_id.encode())
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


@contextmanager
def _removed_if_it_fails(container: Container) -> Iterator[None]:
    """A run that could not start leaves no container: it is as if it had never been tried."""
    try:
        yield
    except BaseException:
        container.remove(force=True)
        raise
