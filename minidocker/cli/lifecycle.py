"""The verbs that move containers through their life: stop, restart, kill, wait, rm, rename, prune."""

from __future__ import annotations

import click

from minidocker.cli import failures
from minidocker.cli.completion import container_names
from minidocker.cli.options import integer
from minidocker.cli.parsing import verb
from minidocker.cli.program import Door, pass_door
from minidocker.errors import NotFound

_some_containers = click.argument("containers", metavar="CONTAINER [CONTAINER...]", nargs=-1, required=True, shell_complete=container_names)
_timeout = click.option("-t", "--timeout", "--time", "timeout", metavar="SECONDS", type=integer, help="How long to wait before the kill.")
_signal = click.option("-s", "--signal", metavar="SIGNAL", help="The signal to send, by name or number.")


@verb("stop", examples=["stop web", "stop -t 1 web db        give them one second to end"])
@_some_containers
@_timeout
@_signal
@pass_door
def stop(door: Door, containers: tuple[str, ...], timeout: int | None, signal: str | None) -> None:
    """Stop running containers: ask with a signal, then kill."""
    with door.engine() as engine:
        failures.for_each(containers, lambda name: engine.containers.get(name).stop(timeout=timeout, signal=signal))


@verb("restart", examples=["restart web", "restart -t 0 web        without waiting for it to end"])
@_some_containers
@_timeout
@_signal
@pass_door
def restart(door: Door, containers: tuple[str, ...], timeout: int | None, signal: str | None) -> None:
    """Stop containers if they run, and start them."""
    with door.engine() as engine:
        failures.for_each(containers, lambda name: engine.containers.get(name).restart(timeout=timeout, signal=signal))


@verb("kill", examples=["kill web", "kill -s HUP web         make it read its configuration again"])
@_some_containers
@click.option("-s", "--signal", metavar="SIGNAL", default="KILL", show_default=True, help="The signal to send, by name or number.")
@pass_door
def kill(door: Door, containers: tuple[str, ...], signal: str) -> None:
    """Send a signal to running containers."""
    with door.engine() as engine:
        failures.for_each(containers, lambda name: engine.containers.get(name).kill(signal))


@verb("wait", examples=["wait job                prints its exit code when it ends"])
@_some_containers
@pass_door
def wait(door: Door, containers: tuple[str, ...]) -> None:
    """Wait until containers have stopped, then print their exit codes."""
    with door.engine() as engine:
        failures.for_each(containers, lambda name: click.echo(engine.containers.get(name).wait()), echo=False)


@verb("rm", examples=["rm job", "rm -f web               end it first if it runs", "rm $(minidocker ps -aq -f status=exited)"])
@_some_containers
@click.option("-f", "--force", is_flag=True, help="Kill a container that still runs; one that is not there is no error.")
@click.option("-v", "--volumes", is_flag=True, help="Accepted as Docker's: there are no anonymous volumes yet.")
@pass_door
def rm(door: Door, containers: tuple[str, ...], force: bool, volumes: bool) -> None:
    """Remove containers."""

    def remove(name: str) -> None:
        try:
            engine.containers.get(name).remove(force=force)
        except NotFound as error:
            if not force:
                raise
            failures.report(error)
        else:
            click.echo(name)

    with door.engine() as engine:
        failures.for_each(containers, remove, echo=False)


@verb("rename", examples=["rename web old-web"])
@click.argument("container", metavar="CONTAINER", shell_complete=container_names)
@click.argument("new_name", metavar="NEW_NAME")
@pass_door
def rename(door: Door, container: str, new_name: str) -> None:
    """Rename a container."""
    with door.engine() as engine:
        engine.containers.get(container).rename(new_name)


@verb("prune", examples=["container prune -f"])
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_door
def prune(door: Door, force: bool) -> None:
    """Remove all stopped containers."""
    if not force and not confirmed("This will remove all stopped containers."):
        return
    with door.engine() as engine:
        show_removed("Deleted Containers", [one.id for one in engine.containers.prune()])


def confirmed(warning: str) -> bool:
    """Ask; no answer is a no."""
    click.echo(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ", nl=False)
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        click.echo()
        return False


def show_removed(title: str, names: list[str]) -> None:
    """What has been removed, one a line, if anything."""
    if names:
        click.echo(f"{title}:\n" + "".join(f"{name}\n" for name in names))
