"""What the user is told when something fails, and the exit code that a script sees.

    code = report(error, verb="run", program="minidocker run")

Docker's codes: 125 the engine could not do it (run), 126 the command cannot be run, 127 it does not exist, else the command's own;
every other verb exits 1; a switch that cannot be understood 125, a wrong number of arguments or an unknown verb 1.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable

import click

from minidocker.cli.parsing import UnknownCommand, _Readable
from minidocker.errors import MinidockerError, SyscallError

ENGINE_FAILED, CANNOT_RUN, NOT_FOUND = 125, 126, 127
BROKEN_PIPE, INTERRUPTED = 141, 130

_RUNNING_VERBS = frozenset(["run", "exec"])  # whose exit code is that of the command in the container
_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (  # the first class that fits; 125 becomes 1 for verbs that run nothing
    (BrokenPipeError, BROKEN_PIPE),
    (KeyboardInterrupt, INTERRUPTED),
    (Exception, ENGINE_FAILED),
)


class Failed(Exception):
    """End with *exit_code*: what there was to say has been said."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def exit_code(error: BaseException, verb: str) -> int:
    """The exit code of *verb* when it ends with *error*."""
    if isinstance(error, SyscallError) and error.syscall == "execve" and verb in _RUNNING_VERBS:
        return NOT_FOUND if error.errno == errno.ENOENT else CANNOT_RUN
    if isinstance(error, SyscallError) and verb == "exec":
        return CANNOT_RUN  # the container runs: it is this command that cannot
    code = next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)
    return 1 if code == ENGINE_FAILED and verb != "run" else code


def say(message: str, hint: str = "") -> None:
    """One error on stderr, with what can be done about it."""
    sys.stdout.flush()
    sys.stderr.write(f"minidocker: {message}\n" + (f"hint: {hint}\n" if hint else ""))
    sys.stderr.flush()


def report(error: BaseException) -> None:
    """Tell the user of *error*."""
    if isinstance(error, (BrokenPipeError, KeyboardInterrupt)) and not isinstance(error, MinidockerError):
        return
    if isinstance(error, SyscallError) and error.syscall == "execve":
        say(*_about_command(str(error.filename), error.errno or 0, error.hint))
    elif isinstance(error, OSError) and not isinstance(error, MinidockerError):
        say(f"open {error.filename}: {error.strerror}" if error.filename else str(error))
    elif isinstance(error, MinidockerError):
        say(error.message, error.hint)
    else:
        say(f"internal error: {type(error).__name__}: {error}", "this is a bug of minidocker; --debug shows where")


def _about_command(command: str, number: int, hint: str) -> tuple[str, str]:
    """Why *command* cannot be executed in the container, in Docker's words."""
    if number != errno.ENOENT:
        return f'exec: "{command}": {os.strerror(number).lower()}', hint
    if "/" in command:
        return f'exec: "{command}": no such file or directory', hint
    return f'exec: "{command}": executable file not found in $PATH', hint or "what follows IMAGE is the command; options come before IMAGE"


def report_usage(error: click.UsageError) -> int:
    """Tell the user what is wrong with the command line; the exit code."""
    message, code = _usage_message(error)
    context = error.ctx
    if context is None:
        say(message)
        return code
    usage = f"\n{context.command.usage_line(context)}\n" if isinstance(context.command, _Readable) else ""
    say(message)
    sys.stderr.write(f"{usage}\nRun '{context.command_path} --help' for more information\n")
    return code


def _usage_message(error: click.UsageError) -> tuple[str, int]:
    parameter = getattr(error, "param", None)
    if isinstance(error, UnknownCommand):
        return error.message, 1
    if isinstance(error, click.NoSuchOption):
        guesses = sorted(error.possibilities or ())
        return f"unknown flag: {error.option_name}" + (f" (did you mean {' or '.join(guesses)}?)" if guesses else ""), ENGINE_FAILED
    if isinstance(error, click.BadOptionUsage):
        return f"flag needs an argument: {error.option_name}", ENGINE_FAILED
    if isinstance(parameter, click.Option) and isinstance(error, click.BadParameter):
        return f'invalid value for "{", ".join(parameter.opts)}": {error.message}', ENGINE_FAILED
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        return error.message, 1
    return _count_message(error.ctx) if error.ctx is not None else error.message, 1


def _count_message(context: click.Context) -> str:
    arguments = [p for p in context.command.params if isinstance(p, click.Argument)]
    least = sum(1 for argument in arguments if argument.required)
    open_end = any(argument.nargs == -1 for argument in arguments)
    number = least if open_end or least == len(arguments) else len(arguments)
    kind = "at least " if open_end else "at most " if least < len(arguments) else ""
    count = f"{kind}{number} argument{'' if number == 1 else 's'}" if arguments else "no arguments"
    return f"'{context.command_path}' {'requires' if arguments else 'accepts'} {count}"


def for_each(names: Iterable[str], action: Callable[[str], object], *, echo: bool = True) -> None:
    """Do *action* with every name and print the name; a failure is told and does not stop the others. Failed(1) at the end then."""
    failed = False
    for name in names:
        try:
            action(name)
        except MinidockerError as error:
            report(error)
            failed = True
        else:
            if echo:
                click.echo(name)
    if failed:
        raise Failed(1)


def note(message: str) -> None:
    """Something to know on stderr, which is no error."""
    sys.stdout.flush()
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
