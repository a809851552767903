"""``--filter NAME=VALUE``: several of one name mean "or", of different names "and"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from minidocker.errors import SpecError

_F = TypeVar("_F", bound=Callable[..., Any])
Filters = tuple[tuple[str, str], ...]


def _filter(text: str) -> tuple[str, str]:
    name, equals, wanted = text.partition("=")
    if not equals:
        raise click.BadParameter("bad format of filter (expected name=value)")
    return name.strip().lower(), wanted.strip()


def filter_option(help: str) -> Callable[[_F], _F]:
    """The option -f of a verb that lists."""
    return click.option("-f", "--filter", "filters", metavar="FILTER", type=_filter, multiple=True, help=help)


def check(filters: Filters, known: Iterable[str]) -> None:
    """SpecError for a filter that this verb does not have."""
    for name, _ in filters:
        if name not in known:
            raise SpecError(f"invalid filter '{name}'", hint=f"there are {', '.join(known)}")


def selected(filters: Filters, matchers: Mapping[str, Callable[[str], bool]]) -> bool:
    """Does the thing that *matchers* describe pass all *filters*?"""
    wanted: dict[str, list[bool]] = {}
    for name, value in filters:
        wanted.setdefault(name, []).append(matchers[name](value))
    return all(any(answers) for answers in wanted.values())


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """*wanted* is NAME or NAME=VALUE."""
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
