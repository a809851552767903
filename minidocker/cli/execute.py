"""``minidocker exec``: one more process in a running container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from minidocker.cli import failures
from minidocker.cli.attach import check_terminal
from minidocker.cli.completion import container_names
from minidocker.cli.options import environment
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.cli.session import DEFAULT_DETACH_KEYS, Detached, DetachKeys, Session, Terminal, TerminalOutput

if TYPE_CHECKING:
    from minidocker.runtime.container import Exec


@verb(
    "exec",
    context_settings={"allow_interspersed_args": False},
    examples=[
        "exec web ps                      see its processes",
        "exec -it web sh                  a shell beside what runs there",
        "exec -u 1000 -w /tmp -e A=1 web env",
    ],
)
@click.argument("container", metavar="CONTAINER", shell_complete=container_names)
@click.argument("command", metavar="COMMAND [ARG...]", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-d", "--detach", is_flag=True, help="Leave it running in the background.")
@click.option("--detach-keys", metavar="KEYS", default=DEFAULT_DETACH_KEYS, show_default=True, help="The keys that leave the command.")
@click.option("-e", "--env", metavar="NAME[=VALUE]", multiple=True, help="Set a variable, or hand on your own.")
@click.option("--env-file", metavar="FILE", multiple=True, help="Set the variables in FILE, one NAME=VALUE a line.")
@click.option("-i", "--interactive", is_flag=True, help="Keep stdin open.")
@click.option("--privileged", is_flag=True, help="All capabilities.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.option("-u", "--user", metavar="USER[:GROUP]", help="The user, by name or number.")
@click.option("-w", "--workdir", metavar="DIR", help="The working directory.")
@pass_door
def execute(door: Door, container: str, command: tuple[str, ...], **given: Any) -> int:
    """Execute a command in a running container. Exit code: the command's, 126 if it cannot be run, 127 if it does not exist."""
    settings: dict[str, Any] = {name: given[name] for name in ("user", "workdir") if given[name] is not None}
    settings |= {"privileged": True} if given["privileged"] else {}
    if given["env"] or given["env_file"]:
        settings["env"] = environment(given["env"], given["env_file"])
    keys = DetachKeys(given["detach_keys"])
    stdin = given["interactive"] and not given["detach"]
    if not given["detach"]:
        check_terminal(stdin=stdin, tty=given["tty"])
    with door.engine() as engine:
        found = engine.containers.get(container)
        if given["detach"]:
            found.exec_start(list(command), detach=True, tty=given["tty"], **settings)
            return 0
        if given["tty"]:
            return _with_terminal(found.exec_start(list(command), tty=True, **settings), keys, stdin=stdin)
        return found.exec_start(list(command), stdin=0 if stdin else -1, stdout=1, stderr=2, **settings).wait()


def _with_terminal(process: Exec, keys: DetachKeys, *, stdin: bool) -> int:
    master = process.fd
    assert master is not None
    output = TerminalOutput(master, process.wait)
    session = Session(output, stdin=master if stdin else None, keys=keys)
    try:
        with Terminal(master, raw=stdin):
            session.run()
    except Detached:
        failures.note("read escape sequence")
        return 1
    return output.exit_code()
