"""The program's name and version, and the door to the engine that the global options chose."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from minidocker.engine.engine import Engine

_R = TypeVar("_R")
PROGRAM = "minidocker"
COMPLETE = "_MINIDOCKER_COMPLETE"  # set by a shell that asks what could be typed next
VERSION = "0.1.0"  # a constant because importlib.metadata costs more than the whole start; a test compares it with pyproject.toml


class Door:
    """Which engine the global options chose; opened when a verb asks for it."""

    def __init__(self, name: str, root: str | None, *, debug: bool) -> None:
        self.name, self.root, self.debug = name, root, debug

    def engine(self) -> Engine:
        """The engine, to be used in a ``with``."""
        from minidocker.engine.engine import Engine

        gc.freeze()  # what was imported stays until the end: neither collections nor the end need look at it
        gc.enable()
        return Engine(self.name, root=self.root)


def door_of(ctx: click.Context) -> Door:
    """The door for completion, which runs no verb: only the global options are known."""
    given = ctx.find_root().params
    return Door(given.get("name") or PROGRAM, given.get("root"), debug=False)


def pass_door(function: Callable[..., _R]) -> Callable[..., _R]:
    """Give the verb the Door as its first argument."""
    return click.make_pass_decorator(Door)(function)
