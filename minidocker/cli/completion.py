"""``minidocker completion SHELL``: what makes the tab key know the verbs, options and names."""

from __future__ import annotations

import os
from typing import Any

import click

from minidocker.cli.parsing import verb
from minidocker.cli.program import COMPLETE, PROGRAM, door_of


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


def containers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of containers; none for who may not ask."""
    from minidocker.errors import MinidockerError

    try:
        with door_of(ctx).engine() as engine:
            return [one.name for one in engine.containers.list(all=True) if one.name.startswith(incomplete)]
    except (MinidockerError, OSError):
        return []
