"""The lab: what a notebook needs around its lesson.

lab.start("02")       check the host, remove what an earlier run left, make %%child, check and hint ready; one stable line
lab.stop()            end what the lesson started; LeftBehind names a process, mount, cgroup or link that is still there
lab.engine            the lesson's own container engine, with the busybox image in it
lab.dir               an empty directory of the lesson's own
lab.child("left")     a child that %%child --keep left behind
lab.figure("idea")    a drawing of this lesson, from figures/lesson_NN.py
lab.source(thing)     the real source of a function, class or module
lab.trace()           a context in which each step of the engine is printed, with the equivalent shell command
lab.observe(pid)      how a process's view of the machine differs from ours
lab.table([...], rows) a small table
lab.watch(web)        a live plot of what the kernel counts for a running container (watch.py)
lab.slider("memory.max, MiB", 8, 64, value=32, action=set_limit)   a slider that acts on the kernel when it is moved
lab.host("text")      a line about this host only, which tests do not compare
lab.at_end(function)  call it when the lesson ends, after its containers: for what must be undone in a certain order
lab.keep(function)    save the learner's function for the last lesson
"""

from __future__ import annotations

import importlib.util
import inspect
import linecache
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidocker.course import leftovers
from minidocker.course.child import Child
from minidocker.course.lessons import NOTEBOOKS, lesson
from minidocker.errors import MinidockerError, MissingFeature
from minidocker.linux import namespaces

if TYPE_CHECKING:
    from minidocker.course.plots import Picture
    from minidocker.course.tables import Comparison, Source, Table
    from minidocker.course.watch import Watch
    from minidocker.course.widgets import Slider
    from minidocker.engine.container import Container
    from minidocker.engine.engine import Engine


LONG_ID = re.compile(r"\b[0-9a-f]{64}\b")


class LabError(MinidockerError):
    """The lab was used in a way that cannot work; the message says what to do."""


class LeftBehind(MinidockerError):
    """A lesson ended and something of it is still on the machine."""


class Lab:
    """One lesson at a time in this notebook. The module's `lab` is the one everybody uses."""

    def __init__(self) -> None:
        self.number = ""
        self._children: dict[str, Child] = {}
        self._watches: dict[str, Watch] = {}
        self._undo: list[Callable[[], object]] = []
        self._engine: Engine | None = None
        self._lock: socket.socket | None = None

    @property
    def name(self) -> str:
        """The name that marks everything of this lesson on the machine, such as mdl02. MINIDOCKER_LAB changes the first part,
        so that several learners can share a machine."""
        return os.environ.get("MINIDOCKER_LAB", "mdl") + self._started()

    @property
    def dir(self) -> Path:
        """A directory for the lesson's own files, empty at the start and gone after lab.stop()."""
        path = Path(f"/var/lib/{self.name}.lab")
        path.mkdir(exist_ok=True)
        return path

    @property
    def variables(self) -> Mapping[str, Any]:
        """The notebook's variables."""
        shell = get_shell()
        return shell.user_ns if shell else vars(sys.modules["__main__"])

    def _started(self) -> str:
        if not self.number:
            raise LabError("no lesson has been started in this notebook", hint='run the cell with lab.start("NN") first')
        return self.number

    def start(self, number: str) -> None:
        """Begin lesson *number*: check the host, remove an earlier run's leftovers, and say in one stable line what there is."""
        if self.number:
            self._end()
        lesson(number)
        if os.geteuid() != 0:
            raise MissingFeature("the lessons act on the kernel and need root", hint="start JupyterLab as root: make lab")
        self.number = number
        self._take_lock()
        self._remove_containers()
        leftovers.sweep(self.name)
        if found := leftovers.find(self.name):
            raise LeftBehind(f"an earlier run left what this one cannot remove: {', '.join(map(str, found))}")
        os.environ[leftovers.TAG] = self.name
        if shell := get_shell():
            from minidocker.course import magics

            magics.register(self, shell)
        if importlib.util.find_spec(f"minidocker.course.checks.lesson_{number}"):
            importlib.import_module(f"minidocker.course.checks.lesson_{number}")
        here = sum(Path(f"/proc/self/ns/{name}").exists() for name in namespaces.NAMES)
        print(f"lesson {number} ready: root yes, namespaces {here} of {len(namespaces.NAMES)}, machine clean")
        self._say_what_is_missing(lesson(number).needs)

    def _say_what_is_missing(self, needs: Sequence[str]) -> None:
        """Ask the doctor about what this lesson needs beyond the engine, and say visibly what this host cannot show."""
        if not needs:
            return
        from minidocker.engine import doctor
        from minidocker.paths import Paths

        for finding in doctor.examine(Paths(self.name)):
            if finding.name in needs and not finding.ok:
                self.host(f"no {finding.name} ({finding.detail}). Lost: {finding.lost}. To get it: {finding.fix}")

    def stop(self) -> None:
        """End the lesson: its children, containers and engine. LeftBehind: something else of it is still there."""
        number, name = self._started(), self.name
        self._end(release=False)
        if found := leftovers.find(name):
            hint = f'lab.start("{number}") removes it, with all else of the lesson'
            raise LeftBehind(f"lesson {number} left behind: {', '.join(map(str, found))}", hint=hint)
        leftovers.sweep(name)
        self._release()
        print(f"lesson {number} ended: nothing left behind")

    def _end(self, *, release: bool = True) -> None:
        for child in self._children.values():
            child.end()
        self._children.clear()
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()
        self._remove_containers()
        while self._undo:
            self._undo.pop()()
        if release:
            self._release()

    def _take_lock(self) -> None:
        """One notebook per lesson: a second one would remove the first one's containers as leftovers.

        The lock is a socket's abstract name (unix(7)): it leaves no file, and the kernel frees it with the process, however that ends."""
        self._lock = socket.socket(socket.AF_UNIX)
        try:
            self._lock.bind(f"\0{self.name}.lab")
        except OSError as error:
            number, self.number = self.number, ""
            self._lock.close()
            hint = "shut that notebook's kernel down, then run this cell again"
            raise LabError(f"lesson {number} is open in another notebook on this machine", hint=hint) from error

    def _release(self) -> None:
        if self._lock:
            self._lock.close()
        self._lock, self.number = None, ""

    @property
    def engine(self) -> Engine:
        """The lesson's own engine, apart from any other on this machine. It is started when first asked for."""
        if self._engine is None:
            from minidocker.engine.engine import Engine

            self._engine = Engine(name=self.name)
            self._engine.images.make_base()
        return self._engine

    def _remove_containers(self) -> None:
        """Remove the containers of this lesson's engine, this run's or an earlier one's, and shut the engine down."""
        if self._engine is None and not any(path.exists() for path in leftovers.directories(self.name)[1:]):
            return
        from minidocker.engine.engine import Engine

        engine, self._engine = self._engine or Engine(name=self.name), None
        try:
            for container in engine.containers.list(all=True):
                container.remove(force=True)
            engine.prune()
        finally:
            engine.shutdown()
            engine.close()

    def keep_child(self, name: str) -> Child:
        """A fresh child called *name*, which stays until lab.stop(); one of the same name is ended first."""
        if name in self._children:
            self._children.pop(name).end()
        self._children[name] = Child(name, tag=self.name)
        return self._children[name]

    def child(self, name: str) -> Child:
        """The kept child called *name*. LabError: there is none, or it has ended."""
        found = self._children.get(name)
        if found is None or not found.alive:
            raise LabError(f"no child called {name!r} is running", hint=f"run the cell that begins with %%child --keep {name}")
        found.show_output()
        return found

    def figure(self, name: str) -> Picture:
        """This lesson's drawing called *name*: a function in minidocker/course/figures/lesson_NN.py."""
        module = importlib.import_module(f"minidocker.course.figures.lesson_{self._started()}")
        drawn: Picture = getattr(module, name)()
        return drawn

    def source(self, thing: object) -> Source:
        """The real source of *thing*, read from the file that is running."""
        from minidocker.course.tables import Source

        return Source(thing)

    @contextmanager
    def trace(self, *words: str) -> Iterator[None]:
        """Print each step that the engine takes in this block, with the shell command that would do the same.

        With *words*, only the steps that hold one of them: what a container's start looks like in full depends on the host."""
        logger, handler = logging.getLogger("minidocker.trace"), TraceHandler(words)
        level, propagate = logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

    def observe(self, pid: int, *, against: int | str = "self") -> Comparison:
        """Compare what process *pid* sees and may do with what *against* (this notebook) does."""
        from minidocker.course.tables import Comparison

        return Comparison(pid, against)

    def watch(self, *containers: Container, show: Sequence[str] = ("memory.current", "memory.max"), hz: float = 10.0) -> Watch:
        """A live plot of running containers, as the value of a cell. One that this cell, when it was run before, began is stopped.

        *show*: names in watch.QUANTITIES that have one unit. *hz*: samples a second."""
        from minidocker.course.watch import Watch

        cell = cell_id() or " ".join([*show, *(container.name for container in containers)])
        if cell in self._watches:
            self._watches.pop(cell).stop()
        self._watches[cell] = Watch(containers, show, hz=hz)
        return self._watches[cell]

    def slider(self, label: str, low: int, high: int, *, value: int, action: Callable[[int], object]) -> Slider:
        """A slider that calls *action* with each value it is moved to, and shows what the kernel answers if it refuses."""
        from minidocker.course.widgets import Slider

        return Slider(label, low, high, value=value, action=action)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
        """A small table for the end of a cell."""
        from minidocker.course.tables import Table

        return Table(headers, rows)

    def host(self, text: str) -> None:
        """Print a line that is true on this host and may differ on another. Tests leave such lines out of the comparison."""
        for line in text.splitlines():
            print(f"this host: {line}")

    def at_end(self, function: Callable[[], object]) -> None:
        """Call *function* when the lesson ends, once its children and containers are gone; the last that came first."""
        self._undo.append(function)

    def keep(self, function: Any) -> None:
        """Save the cell that defines *function* as notebooks/kept/NN_name.py, from where the last lesson takes it."""
        folder = Path(os.environ.get("MINIDOCKER_KEPT", NOTEBOOKS / "kept"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._started()}_{function.__name__}.py"
        path.write_text(cell_source(function), encoding="utf-8")
        print(f"kept for the last lesson: kept/{path.name}")


class TraceHandler(logging.Handler):
    """Prints the records that hold one of *words*: the step, below it its shell command, if it has one; and ID for a long id."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        super().__init__()
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        step, shell = record.getMessage(), getattr(record, "shell", "")
        if self._words and not any(word in step for word in self._words):
            return
        print(LONG_ID.sub("ID", step))
        if shell:
            print(f"    $ {LONG_ID.sub('ID', shell)}")


def cell_source(function: Any) -> str:
    """The whole cell in which *function* was defined: its imports stand there."""
    filename = inspect.unwrap(function).__code__.co_filename
    return "".join(linecache.getlines(filename)) or inspect.getsource(function)


def cell_id() -> str:
    """The name of the cell that is being run; "" where the front end does not tell."""
    shell = get_shell()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str((parent or {}).get("metadata", {}).get("cellId", ""))


def get_shell() -> Any:
    """The IPython shell of this notebook, or None outside one."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    return get_ipython()


lab = Lab()
