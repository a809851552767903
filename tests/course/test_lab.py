"""lab.start and lab.stop: one stable line each, nothing of an earlier run before, nothing of this one after; what stays is named."""

from __future__ import annotations

import linecache
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minidocker.course import leftovers
from minidocker.course.lab import Lab, LabError, LeftBehind, TraceHandler
from minidocker.course.lessons import LESSONS
from minidocker.engine import doctor
from minidocker.errors import MissingFeature
from minidocker.linux import mounts, syscalls

READY = "lesson 02 ready: root yes, namespaces 8 of 8, machine clean\n"
ENDED = "lesson 02 ended: nothing left behind\n"


@pytest.fixture
def started(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Lab:
    lab.start("02")
    capsys.readouterr()
    return lab


def test_start_and_stop_say_one_stable_line_each(lab, capsys):
    lab.start("02")
    assert capsys.readouterr().out == READY
    lab.stop()
    assert capsys.readouterr().out == ENDED


def test_a_lesson_can_be_started_again_and_after_another_one(lab, capsys):
    lab.start("02")
    lab.start("02")
    lab.start("03")
    lab.stop()
    assert capsys.readouterr().out == READY * 2 + READY.replace("02", "03") + ENDED.replace("02", "03")


def test_an_unknown_lesson_is_refused_with_the_list(lab):
    with pytest.raises(KeyError, match="no lesson '77'; there are 00, 01"):
        lab.start("77")


@pytest.mark.parametrize("use", [lambda lab: lab.stop(), lambda lab: lab.dir, lambda lab: lab.engine, lambda lab: lab.figure("x")])
def test_before_start_nothing_works_and_the_message_says_why(lab, use):
    with pytest.raises(LabError, match="no lesson has been started") as caught:
        use(lab)
    assert "lab.start" in caught.value.hint


def test_two_notebooks_cannot_have_the_same_lesson(started):
    other = Lab()
    with pytest.raises(LabError, match="open in another notebook") as caught:
        other.start("02")
    assert "shut that notebook's kernel down" in caught.value.hint
    assert other.number == ""


def test_a_killed_notebook_does_not_keep_its_lesson(lab):
    code = "import signal\nfrom minidocker.course import lab\nlab.start('02')\nprint('x', flush=True)\nsignal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout is not None
        assert [notebook.stdout.readline(), notebook.stdout.readline()] == [READY, "x\n"]
        notebook.kill()
    lab.start("02")


def test_the_directory_is_the_lessons_own_and_goes_with_it(started):
    (started.dir / "file").write_text("x")
    path = started.dir
    assert path.name == f"{os.environ['MINIDOCKER_TEST']}02.lab"
    started.stop()
    assert not path.exists()


def test_kept_children_end_with_the_lesson(started):
    child = started.keep_child("left")
    assert started.child("left") is child
    started.stop()
    assert not child.alive


def test_what_is_to_be_undone_is_undone_once_in_reverse_order(started):
    done: list[str] = []
    started.at_end(lambda: done.append("first"))
    started.at_end(lambda: done.append("second"))
    started.stop()
    started.start("02")
    started.stop()
    assert done == ["second", "first"]


def test_a_second_child_of_the_same_name_replaces_the_first(started):
    first = started.keep_child("left")
    second = started.keep_child("left")
    assert not first.alive
    assert started.child("left") is second


def test_an_unknown_child_is_an_error_with_a_hint(started):
    with pytest.raises(LabError, match="no child called 'right'") as caught:
        started.child("right")
    assert caught.value.hint == "run the cell that begins with %%child --keep right"


def test_stop_names_a_process_that_is_left_and_start_removes_it(started, capsys):
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as sleep:
        with pytest.raises(LeftBehind, match=rf"lesson 02 left behind: process {sleep.pid} \(sleep 60\)"):
            started.stop()
        started.start("02")
        assert sleep.wait(10) == -signal.SIGKILL
    capsys.readouterr()
    started.stop()
    assert capsys.readouterr().out == ENDED


def test_stop_names_a_mount_that_is_left_and_start_removes_it(started):
    place = started.dir / "with space"
    place.mkdir()
    syscalls.mount("tmpfs", str(place), "tmpfs")
    (place / "file").write_text("x")
    with pytest.raises(LeftBehind, match=f"mount {place}"):
        started.stop()
    started.start("02")
    assert str(place) not in [entry.target for entry in mounts.mountinfo()]


def test_what_is_mounted_below_the_lessons_directory_is_never_deleted_through_it(started, tmp_path):
    (tmp_path / "precious").write_text("x")
    place = started.dir / "window"
    place.mkdir()
    mounts.bind(str(tmp_path), str(place))
    with pytest.raises(LeftBehind):
        started.stop()
    leftovers.remove_directories(started.name)
    assert (place / "precious").exists()
    started.start("02")
    assert (tmp_path / "precious").exists()
    assert not place.exists()


def test_start_removes_what_a_killed_run_left(lab, tmp_path):
    name = os.environ["MINIDOCKER_TEST"] + "02"
    directory = Path(f"/var/lib/{name}.lab/deep")
    directory.mkdir(parents=True)
    syscalls.mount("tmpfs", str(directory), "tmpfs")
    environment = {leftovers.TAG: name}
    with subprocess.Popen(["sleep", "60"], start_new_session=True, env=environment) as sleep:
        lab.start("02")
        assert sleep.wait(10) == -signal.SIGKILL
    assert not directory.exists()


def test_processes_of_another_lesson_are_left_alone(lab):
    environment = {leftovers.TAG: os.environ["MINIDOCKER_TEST"] + "03"}
    with subprocess.Popen(["sleep", "60"], start_new_session=True, env=environment) as sleep:
        lab.start("02")
        assert sleep.poll() is None
        sleep.kill()


def test_without_root_it_says_what_to_do(lab, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(MissingFeature, match="need root") as caught:
        lab.start("02")
    assert caught.value.hint == "start JupyterLab as root: make lab"


def test_host_lines_are_marked(lab, capsys):
    lab.host("kernel 6.18\ncgroups hybrid")
    assert capsys.readouterr().out == "this host: kernel 6.18\nthis host: cgroups hybrid\n"


def test_trace_prints_steps_and_shell_commands_only_inside_the_block(lab, capsys):
    logger = logging.getLogger("minidocker.trace")
    with lab.trace():
        logger.debug("init: mount /proc", extra={"shell": "mount -t proc proc /proc"})
        logger.debug("init: wait")
    logger.debug("not seen")
    assert capsys.readouterr().out == "init: mount /proc\n    $ mount -t proc proc /proc\ninit: wait\n"
    assert not any(isinstance(handler, TraceHandler) for handler in logger.handlers)


def test_keep_saves_the_function_with_its_imports(started, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINIDOCKER_KEPT", str(tmp_path / "kept"))
    source = "import os\n\n\ndef mine():\n    return os.getpid()\n"
    linecache.cache["<cell>"] = (len(source), None, source.splitlines(keepends=True), "<cell>")
    space: dict[str, object] = {}
    exec(compile(source, "<cell>", "exec"), space)
    started.keep(space["mine"])
    assert (tmp_path / "kept" / "02_mine.py").read_text() == source
    assert capsys.readouterr().out == "kept for the last lesson: kept/02_mine.py\n"


def test_trace_can_be_narrowed_to_steps_with_a_word_and_shortens_ids(lab, capsys):
    logger = logging.getLogger("minidocker.trace")
    with lab.trace("mount", "pivot"):
        logger.debug("init: mount /x/%s", "a" * 64, extra={"shell": f"mount /x/{'a' * 64}"})
        logger.debug("init: wait", extra={"shell": "mount is not the step"})
        logger.debug("init: pivot_root")
    assert capsys.readouterr().out == "init: mount /x/ID\n    $ mount /x/ID\ninit: pivot_root\n"


def test_the_engine_has_the_base_image_and_leaves_with_the_lesson(started):
    engine = started.engine
    assert engine is started.engine
    assert engine.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    left_running = engine.containers.run("busybox", ["sleep", "60"], detach=True)
    pid = left_running.pid
    started.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert [path for path in leftovers.directories(f"{os.environ['MINIDOCKER_TEST']}02") if path.exists()] == []


def test_containers_of_a_killed_notebook_are_gone_at_the_next_start(lab):
    code = """
import os, signal
from minidocker.course import lab
lab.start("02")
print(lab.engine.containers.run("busybox", ["sleep", "60"], detach=True, name="left").pid, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout is not None
        notebook.stdout.readline()
        pid = int(notebook.stdout.readline())
        notebook.kill()
    assert Path(f"/proc/{pid}/stat").read_text().split()[1] == "(sleep)"
    lab.start("02")
    assert not Path(f"/proc/{pid}").exists()
    assert lab.engine.containers.list(all=True) == []


def test_a_lesson_that_was_interrupted_in_the_middle_of_its_end_can_be_ended_again(started):
    started.keep_child("left")
    started._end(release=False)
    started.stop()


@pytest.mark.parametrize("number", ["03", "05"])
def test_the_figures_of_a_lesson_are_found_by_name(lab, number):
    lab.start(number)
    assert repr(lab.figure("idea"))


def test_what_the_host_lacks_for_the_lesson_is_said_visibly(lab, capsys, monkeypatch):
    lost = doctor.Finding("time namespace", False, False, "lesson 06", "Invalid argument", "clocks of its own", "use Linux 5.6")
    other = doctor.Finding("pressure", False, False, "lesson 10", "", "", "")
    monkeypatch.setattr(doctor, "examine", lambda paths: [lost, other])
    lab.start("06")
    assert capsys.readouterr().out == READY.replace("02", "06") + (
        "this host: no time namespace (Invalid argument). Lost: clocks of its own. To get it: use Linux 5.6\n"
    )


def test_every_need_of_a_lesson_is_one_that_the_doctor_knows():
    assert {need for entry in LESSONS for need in entry.needs} <= set(doctor.NEEDS)
