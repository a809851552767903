"""The command ``minidocker``: global options, the list of verbs, and the one place where an error becomes an exit code.

    main(["run", "--rm", "busybox", "true"]) -> exit code

A verb's module is imported when the verb is used, and the engine when a verb needs it: a short command stays short.
"""

from __future__ import annotations

import gc
import io
import os
import sys

import click

from minidocker.cli import failures
from minidocker.cli.parsing import Verbs, verb_of
from minidocker.cli.program import COMPLETE, PROGRAM, VERSION, Door

_CONTAINER_VERBS = {
    "attach": "attach:attach",
    "create": "create:create",
    "exec": "execute:execute",
    "inspect": "inspect:inspect_container",
    "kill": "lifecycle:kill",
    "logs": "logs:logs",
    "pause": "resources:pause",
    "ls": "ps:ps",
    "prune": "lifecycle:prune",
    "rename": "lifecycle:rename",
    "restart": "lifecycle:restart",
    "rm": "lifecycle:rm",
    "run": "create:run",
    "start": "attach:start",
    "stats": "stats:stats",
    "stop": "lifecycle:stop",
    "top": "resources:top",
    "unpause": "resources:unpause",
    "update": "resources:update",
    "wait": "lifecycle:wait",
}
_IMAGE_VERBS = {"import": "images:import_", "inspect": "inspect:inspect_image", "ls": "images:ls", "rm": "images:rmi", "tag": "images:tag"}
_SYSTEM_VERBS = {"events": "events:events", "info": "system:info", "prune": "system:prune", "setup": "system:setup"}
_TOP_VERBS = {name: where for name, where in _CONTAINER_VERBS.items() if name not in ("ls", "prune", "inspect")} | {
    "completion": "completion:completion",
    "container": "main:container",
    "demo": "demo:demo",
    "doctor": "system:doctor",
    "events": "events:events",
    "image": "main:image",
    "images": "images:ls",
    "import": "images:import_",
    "info": "system:info",
    "inspect": "inspect:inspect",
    "ps": "ps:ps",
    "rmi": "images:rmi",
    "system": "main:system",
    "tag": "images:tag",
    "version": "system:version",
}


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"{PROGRAM} version {VERSION}")
        ctx.exit()


@click.group(
    PROGRAM,
    cls=Verbs,
    verbs=_TOP_VERBS,
    options_metavar="[OPTIONS]",
    context_settings={"help_option_names": ["--help"], "max_content_width": 120},
)
@click.option("--engine", "--name", "name", metavar="NAME", envvar="MINIDOCKER_ENGINE", default=PROGRAM, help="Which engine to use.")
@click.option("--root", metavar="DIR", envvar="MINIDOCKER_ROOT", help="Where the engine keeps its data (default /var/lib/NAME).")
@click.option("-D", "--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("-v", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version.")
@click.pass_context
def cli(ctx: click.Context, name: str, root: str | None, debug: bool) -> None:
    """A small, real container engine: Docker's verbs on plain kernel features."""
    ctx.obj = Door(name, root, debug=debug)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


cli.examples = (
    "run --rm busybox echo hello        run a command in a new container",
    "run --rm --explain busybox true    the same, and show what the kernel is asked to do",
    "ps -a                              list all containers",
    "system setup                       make the base image busybox:latest",
)


container = Verbs(
    "container",
    verbs=_CONTAINER_VERBS,
    hidden_verbs={"list": "ps:ps", "ps": "ps:ps", "remove": "lifecycle:rm"},
    help="Manage containers.",
)
image = Verbs("image", verbs=_IMAGE_VERBS, hidden_verbs={"list": "images:ls", "remove": "images:rmi"}, help="Manage images.")
system = Verbs("system", verbs=_SYSTEM_VERBS, help="Manage the engine.")


def _finish(error: BaseException, context: click.Context | None) -> int:
    """Report *error*; the exit code."""
    if context is not None and context.params.get("debug"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains when it flushes stdout at its end
    failures.report(error)
    return failures.exit_code(error, verb_of(context) if context is not None else "")


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (sys.argv by default) and return its exit code."""
    gc.disable()  # until all is imported: with Door.engine's freeze this is a seventh of a short command's time
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    finally:
        gc.enable()


def _open_stdio() -> None:
    """Who was started with a closed stdin, stdout or stderr gets /dev/null there, before any other file gets that number."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:  # the number is in use after all, by what Python opened
                os.dup2(null, fd, inheritable=True)
                os.close(null)
            setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w", closefd=False))


def _main(arguments: list[str]) -> int:
    _open_stdio()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # names and arguments are bytes to the kernel: pass them on
    if COMPLETE in os.environ:
        from minidocker.cli import completion

        return completion.answer(cli)
    context: click.Context | None = None
    try:
        context = cli.make_context(PROGRAM, arguments)
        with context:
            code = cli.invoke(context)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except failures.Failed as failed:
        return failed.exit_code
    except click.UsageError as error:
        return failures.report_usage(error)
    except (Exception, KeyboardInterrupt) as error:  # the last line of defence: whatever it is, no user sees a traceback
        return _finish(error, context)
