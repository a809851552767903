"""Side by side: minidocker, runc, docker and podman, on this machine, in one run.

    .venv/bin/python bench/run.py [--rounds 20] [--many 40] [--only minidocker,runc]

The engines take turns, round by round, so that whatever else the machine does meets all of them; each tidies up before the next.
Prints medians and how many times minidocker is faster, and writes every single measurement to bench/results/. Nothing here is asserted:
machines differ, ratios less.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import engines
import host
from rich.console import Console
from rich.table import Table

from minidocker.engine.images import Images
from minidocker.paths import Paths

RESULTS = Path(__file__).parent / "results"
Samples = dict[str, dict[str, list[float]]]  # row -> column -> measurements

API = "start to exit of `true`, Python API"
READY = "  the same, from a bundle that is ready"
LIMITED = "  the same, with limits of every kind"
COMMAND = "start to exit of `true`, whole command"
STARTS = "{} detached starts at once, from Python"
REMOVALS = "rm -f of the {}"
COST = "memory kept per waiting container (PSS)"
COST_OF_ONE = "  the same, of a single one"


def timed(action: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = action(*arguments)
    return time.perf_counter() - started, result


def one_by_one(ready: dict[str, Any], rounds: int, samples: Samples, progress: Callable[[str], None]) -> None:
    """Rows of single containers. What docker, podman and runc offer is a command, so it stands beside both our rows."""
    for contestant in ready.values():
        contestant.start_to_exit()  # warm
    names = list(ready)
    for number in range(rounds):
        progress(f"single containers, round {number + 1} of {rounds}")
        for name in names[number % len(names) :] + names[: number % len(names)]:  # nobody always follows the same one
            contestant = ready[name]
            seconds, _ = timed(contestant.start_to_exit)
            add(samples, API, name, seconds)
            if isinstance(contestant, engines.Minidocker):
                kinds = [(READY, {}), (LIMITED, engines.LIMITS)]
                for row, limits in kinds[:: 1 if number % 2 else -1]:  # neither always comes first
                    container = contestant.ready(**limits)
                    seconds, _ = timed(contestant.start_ready, container)
                    container.remove()
                    add(samples, row, name, seconds)
                add(samples, COMMAND, name, timed(contestant.command)[0])
            else:
                add(samples, READY, name, seconds)
                add(samples, COMMAND, name, seconds)
            contestant.settle()


def all_at_once(ready: dict[str, Any], rounds: int, many: int, samples: Samples, progress: Callable[[str], None]) -> None:
    """Rows of many containers, of those engines that have an API for it."""
    for number in range(rounds):
        progress(f"{many} containers at once, round {number + 1} of {rounds}")
        for name, contestant in ready.items():
            if not hasattr(contestant, "start_many"):
                continue
            single = contestant.start_many(1)
            add(samples, COST_OF_ONE, name, *contestant.waiting_cost(single))
            contestant.remove_many(single)
            seconds, containers = timed(contestant.start_many, many)
            add(samples, STARTS.format(many), name, seconds)
            add(samples, COST, name, *contestant.waiting_cost(containers))
            seconds, _ = timed(contestant.remove_many, containers)
            add(samples, REMOVALS.format(many), name, seconds)
            contestant.settle()


def add(samples: Samples, row: str, column: str, *values: float) -> None:
    samples[row].setdefault(column, []).extend(values)


def shown(row: str, value: float) -> str:
    return f"{value / (1 << 20):.2f} MiB" if row in (COST, COST_OF_ONE) else f"{value * 1000:.1f} ms"


def table(samples: Samples, columns: Sequence[str]) -> Table:
    """Medians; in brackets how many times ours is faster or smaller."""
    result = Table(title="medians; × says how many times minidocker is faster or smaller")
    result.add_column("")
    for column in columns:
        result.add_column(column, justify="right", no_wrap=True)
    for row, measured in samples.items():
        medians = {column: statistics.median(values) for column, values in measured.items()}
        cells = []
        for column in columns:
            if column not in medians:
                cells.append("–")
                continue
            ratio = f"  ×{medians[column] / medians['minidocker']:.1f}" if column != "minidocker" and "minidocker" in medians else ""
            cells.append(shown(row, medians[column]) + ratio)
        result.add_row(row, *cells)
    return result


def write(directory: Path, samples: Samples, versions: dict[str, str], absent: dict[str, str]) -> Path:
    now = datetime.datetime.now(datetime.UTC)
    system = os.uname()
    facts = {"kernel": system.release, "machine": system.machine, "cpus": os.cpu_count(), "python": sys.version.split()[0]}
    directory.mkdir(exist_ok=True)
    path = directory / f"{now:%Y-%m-%dT%H%M%S}.json"
    content = {"date": now.isoformat(), "host": facts, "versions": versions, "absent": absent, "units": "seconds; PSS in bytes"}
    path.write_text(json.dumps({**content, "samples": samples}, indent=1) + "\n")
    return path


def base_rootfs(workplace: Path) -> Path:
    """The root that all engines run, as a tar file: the layer of the base image."""
    images = Images(Paths(engines.NAME, root=workplace / "images"))
    return images.blobs.path(images.make_base().layers[0].digest)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="measurements of each single start")
    parser.add_argument("--many", type=int, default=40, help="how many containers at once")
    parser.add_argument("--many-rounds", type=int, default=3)
    parser.add_argument("--only", help="names of engines, with commas between them")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    wanted = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: containers need root; use sudo", file=sys.stderr)
        return 1
    console = Console(width=max(140, Console().width) if not sys.stdout.isatty() else None)

    def progress(text: str) -> None:
        print(f"\r{text:<60}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    names = wanted.only.split(",") if wanted.only else ["minidocker", "runc", "docker", "podman"]
    rows = (API, READY, LIMITED, COMMAND, STARTS.format(wanted.many), REMOVALS.format(wanted.many), COST, COST_OF_ONE)
    samples: Samples = {row: {} for row in rows}
    absent: dict[str, str] = {}
    versions: dict[str, str] = {}
    # /var/lib and not /tmp: that may be a tmpfs, and the engines are to be compared where they live.
    workplace = Path(tempfile.mkdtemp(prefix="mdbench-", dir="/var/lib"))
    with host.kept(), contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, workplace)
        rootfs = base_rootfs(workplace)
        ready = {}
        for kind in (engines.Minidocker, engines.Runc, engines.Docker, engines.Podman):
            contestant = kind(workplace, rootfs)
            if contestant.name not in names:
                absent[contestant.name] = "not asked for"
            elif contestant.missing:
                absent[contestant.name] = contestant.missing
            else:
                progress(f"making {contestant.name} ready")
                ready[contestant.name] = stack.enter_context(contestant)
                versions[contestant.name] = contestant.version()
        one_by_one(ready, wanted.rounds, samples, progress)
        all_at_once(ready, wanted.many_rounds, wanted.many, samples, progress)
    console.print(table(samples, list(versions)))
    for name, text in versions.items():
        console.print(f"{name}: {text}", highlight=False)
    for name, reason in absent.items():
        console.print(f"{name} is absent: {reason}", highlight=False)
    console.print(f"every measurement: {os.path.relpath(write(wanted.results, samples, versions, absent))}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
