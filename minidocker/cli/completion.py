"""``minidocker completion SHELL``: what makes the tab key know the verbs, options and names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from minidocker.cli.parsing import verb
from minidocker.cli.program import COMPLETE, PROGRAM, door_of
from minidocker.errors import MinidockerError

if TYPE_CHECKING:
    from minidocker.engine.engine import Engine


@verb(
    "completion",
    examples=[
        "completion bash > /etc/bash_completion.d/minidocker",
        "completion zsh > /usr/local/share/zsh/site-functions/_minidocker",
        "completion fish > ~/.config/fish/completions/minidocker.fish",
    ],
)
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # click has all three
    click.echo(found(ctx.find_root().command, {}, PROGRAM, COMPLETE).source())


def answer(group: click.Command) -> int:
    """Answer a shell's question; *group* is the whole command line."""
    from click.shell_completion import shell_complete

    return shell_complete(group, {}, PROGRAM, COMPLETE, os.environ[COMPLETE])


def container_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of containers that could be meant; none for who may not ask."""
    return _names(ctx, param, incomplete, lambda engine: [one.name for one in engine.containers.list(all=True)])


def image_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of images that could be meant."""
    return _names(ctx, param, incomplete, lambda engine: sorted(tag for image in engine.images.list() for tag in image.tags))


def _names(ctx: click.Context, param: click.Parameter, incomplete: str, ask: Callable[[Engine], list[str]]) -> list[Any]:
    given = ctx.params.get(param.name or "") or ()
    try:
        with door_of(ctx).engine() as engine:
            return [name for name in ask(engine) if name.startswith(incomplete) and name not in given]
    except (MinidockerError, OSError):
        return []
