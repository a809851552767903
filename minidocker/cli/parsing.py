"""How minidocker's commands read their arguments and explain themselves: as Docker's do.

    @command("stop", cls=Verb, examples=["stop web", "stop -t 3 web db"])        a verb
    Verbs("container", {"ls": "containers_list:ps", ...})                        a group that imports a verb when it is used

Options stop at the first argument of ``run`` and ``exec``; switches may be written ``--rm=false``; every help text ends in examples.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

_VERB = "minidocker.verb"
_TRUE = frozenset(["1", "t", "T", "true", "TRUE", "True"])
_FALSE = frozenset(["0", "f", "F", "false", "FALSE", "False"])


def _switch(option: click.Option, spelling: str, value: str) -> list[str]:
    """``--rm=false`` in click's words: the switch, its opposite, or nothing."""
    if value in _TRUE:
        return [spelling]
    if value in _FALSE:
        return option.secondary_opts[:1]
    raise click.BadParameter(f"{value!r} is neither true nor false", param=option)


def _rewrite_short(options: dict[str, click.Option], cluster: str) -> tuple[list[str], bool]:
    """``-it``, ``-t=false``, ``-e=A=1``, ``-eA=1``: (the same for click, whether the next argument is the value)."""
    for at in range(1, len(cluster)):
        option = options.get("-" + cluster[at])
        if option is None:
            break
        rest = cluster[at + 1 :]
        if not option.is_flag:
            return [cluster[: at + 1] + rest.removeprefix("=")], not rest
        if rest.startswith("="):
            before = [cluster[:at]] if at > 1 else []
            return before + _switch(option, "-" + cluster[at], rest[1:]), False
    return [cluster], False


def _rewrite(command: click.Command, context: click.Context, arguments: list[str]) -> list[str]:
    """*arguments* with Docker's spellings that click does not know put into click's."""
    options = {spelling: p for p in command.params if isinstance(p, click.Option) for spelling in (*p.opts, *p.secondary_opts)}
    result: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            result.append(argument)
            break
        if argument == "-" or not argument.startswith("-"):
            result.append(argument)
            if not context.allow_interspersed_args:
                break
            continue
        name, equals, value = argument.partition("=")
        if not argument.startswith("--"):
            words, wants_value = _rewrite_short(options, argument)
        elif name in options and options[name].is_flag and equals:
            words, wants_value = _switch(options[name], name, value), False
        else:
            words, wants_value = [argument], name in options and not options[name].is_flag and not equals
        result += words
        if wants_value:
            result += [value for value in [next(rest, None)] if value is not None]
    return result + list(rest)


class _Readable(click.Command):
    """Usage and help in Docker's layout, with examples at the end."""

    examples: tuple[str, ...] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_VERB] = self.name
        try:
            return super().parse_args(ctx, _rewrite(self, ctx, args))
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser knows of no verb
            raise

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(self.usage_line(ctx) + "\n")

    def usage_line(self, ctx: click.Context) -> str:
        """``Usage:  minidocker stop [OPTIONS] CONTAINER [CONTAINER...]``"""
        return f"Usage:  {ctx.command_path} {' '.join(self.collect_usage_pieces(ctx))}"

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            formatter.write("\nExamples:\n" + "".join(f"  {ctx.find_root().command_path} {example}\n" for example in self.examples))


class Verb(_Readable):
    """A command. *examples* are shown below its options, without the program's name."""

    def __init__(self, *args: Any, examples: tuple[str, ...] | list[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["--help"]})
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)


@click.pass_context
def _help_if_alone(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


class Verbs(_Readable, click.Group):
    """A group of verbs, each named as "module:attribute" below minidocker.cli and imported only when it is called."""

    def __init__(self, *args: Any, verbs: dict[str, str], hidden_verbs: dict[str, str] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("callback", _help_if_alone)
        kwargs.setdefault("subcommand_metavar", "COMMAND")
        kwargs["invoke_without_command"] = True
        super().__init__(*args, **kwargs)
        self.verbs, self.hidden_verbs = verbs, hidden_verbs or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = self.verbs.get(cmd_name) or self.hidden_verbs.get(cmd_name)
        if where is None:
            return None
        module, _, attribute = where.partition(":")
        command: click.Command = getattr(import_module(f"minidocker.cli.{module}"), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None:
            raise UnknownCommand(f"unknown command: {ctx.command_path} {args[0]}", ctx=ctx)
        return args[0], command, args[1:]


class UnknownCommand(click.UsageError):
    """There is no verb of this name."""


def verb(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Verb]:
    """``@verb("stop", examples=[...])``: click's decorator for a Verb."""
    return click.command(name, cls=Verb, options_metavar="[OPTIONS]", **settings)


def verb_of(ctx: click.Context) -> str:
    """The verb that the command line named, "" if it did not come that far."""
    return str(ctx.meta.get(_VERB) or "")
