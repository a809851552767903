"""Children run code apart from the notebook, and tell it everything: output, errors, their end."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from minidocker.course.child import Child, ChildFailed, run


class Said(list[tuple[str, str]]):
    """A sink that remembers."""

    def __call__(self, stream: str, text: str) -> None:
        self.append((stream, text))

    def on(self, wanted: str) -> str:
        return "".join(text for stream, text in self if stream == wanted)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def child(said: Said) -> Iterator[Child]:
    made = Child("left", sink=said)
    yield made
    made.end()


def alive(pid: int) -> bool:
    """Is there a process *pid* that has not ended?"""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_output_goes_to_the_stream_it_was_written_to(said):
    run("import sys\nprint('out')\nprint('err', file=sys.stderr)", sink=said)
    assert (said.on("stdout"), said.on("stderr")) == ("out\n", "err\n")


def test_output_appears_in_the_cell_by_default(capsys):
    run("print('seen')")
    assert capsys.readouterr().out == "seen\n"


def test_output_of_programs_it_starts_is_not_lost(said):
    run("import subprocess\nsubprocess.run(['echo', 'from echo'])", sink=said)
    assert said.on("stdout") == "from echo\n"


def test_a_character_cut_by_the_pipe_arrives_whole(said):
    run("print('é' * 200_001)", sink=said)
    assert said.on("stdout") == "é" * 200_001 + "\n"


def test_bytes_that_are_no_text_are_marked(said):
    run("import os\nos.write(1, b'a\\xffb')", sink=said)
    assert said.on("stdout") == "a\ufffdb"


def test_it_has_one_thread_and_a_session_of_its_own(said):
    code = "import os\nresult = [len(os.listdir('/proc/self/task')), os.getsid(0) == os.getpid(), os.geteuid()]"
    assert run(code, sink=said) == [1, True, 0]


def test_values_go_in_and_a_result_comes_out():
    assert run("result = {'sum': a + b}", {"a": 1, "b": 2}) == {"sum": 3}


def test_a_result_that_json_cannot_carry_is_no_result():
    assert run("result = object()") is None


def test_the_code_does_not_see_how_it_was_started():
    assert run("import sys\nresult = [sys.argv, __name__, [p for p in sys.path if p.endswith('course')]]") == [["child"], "__main__", []]


def test_an_exception_arrives_with_its_number_and_only_the_cells_own_lines(said):
    code = "def look():\n    open('/proc/nothing/here')\n\nlook()"
    with pytest.raises(ChildFailed) as caught:
        run(code, sink=said)
    assert (caught.value.kind, caught.value.errno) == ("FileNotFoundError", errno.ENOENT)
    shown = "\n".join(caught.value._render_traceback_())
    assert shown.count("File ") == 2
    assert "open('/proc/nothing/here')" in shown
    assert "child_main" not in shown
    assert said == []


def test_the_hint_of_our_own_errors_is_shown():
    with pytest.raises(ChildFailed) as caught:
        run("from minidocker.errors import MissingFeature\nraise MissingFeature('no', hint='try this')")
    assert caught.value._render_traceback_()[-1] == "hint: try this"


def test_a_syntax_error_is_an_error_of_the_cell():
    with pytest.raises(ChildFailed, match="SyntaxError"):
        run("this is no python")


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("raise SystemExit(3)", 3, "exit status 3"),
        ("raise SystemExit('a reason')", 1, "exit status 1"),
        ("import os\nos.kill(os.getpid(), 9)", -9, "SIGKILL"),
        ("import os\nos.execvp('sh', ['sh', '-c', 'exit 5'])", 5, "exit status 5"),
    ],
)
def test_a_bad_end_is_an_error(code, status, words, said):
    with pytest.raises(ChildFailed, match=words) as caught:
        run(code, sink=said)
    assert caught.value.status == status


@pytest.mark.parametrize("code", ["raise SystemExit", "raise SystemExit(0)", "import os\nos.execvp('echo', ['echo', 'bye'])"])
def test_a_good_end_is_none(code, said):
    assert run(code, sink=said) is None


def test_what_it_becomes_by_exec_still_writes_to_the_cell(said):
    run("import os\nprint('before')\nos.execvp('echo', ['echo', 'after'])", sink=said)
    assert said.on("stdout") == "before\nafter\n"


def test_a_forked_process_ends_with_the_cell_and_says_each_line_once(said):
    run("import os\npid = os.fork()\nprint('parent' if pid else 'child')\nif pid: os.waitpid(pid, 0)", sink=said)
    assert sorted(said.on("stdout").split()) == ["child", "parent"]


def test_an_error_in_a_forked_process_is_seen_but_is_not_the_cells(said):
    code = "import os\npid = os.fork()\nif not pid: raise ValueError('in the fork')\nresult = os.waitpid(pid, 0)[1] >> 8"
    assert run(code, sink=said) == 1
    assert said.on("stderr").endswith("ValueError: in the fork\n")


def test_a_fork_in_a_new_pid_namespace_does_not_disturb_the_answer(said):
    code = """
    import os
    from minidocker.linux import namespaces
    namespaces.unshare("pid")
    pid = os.fork()
    if pid == 0:
        print("inside", os.getpid())
    else:
        os.waitpid(pid, 0)
        result = "outside"
    """
    assert run(textwrap.dedent(code), sink=said) == "outside"
    assert said.on("stdout") == "inside 1\n"


def test_a_background_process_does_not_hold_the_cell_back(said):
    pid = run("import os, signal\nresult = os.fork()\nif not result: signal.pause()", sink=said)
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_failed_cell_leaves_no_background_process(said):
    with pytest.raises(ChildFailed) as caught:
        run("import os, signal\npid = os.fork()\nif not pid: signal.pause()\nraise RuntimeError(pid)", sink=said)
    pid = int(str(caught.value).rpartition(" ")[2])
    assert not alive(pid)


def test_a_kept_child_keeps_its_variables_and_its_namespaces(child, said):
    child.run("import socket\nfrom minidocker.linux import namespaces, syscalls\nnamespaces.unshare('uts')\nsyscalls.sethostname('left')")
    child.run("print(socket.gethostname())")
    assert said.on("stdout") == "left\n"
    assert os.stat(f"/proc/{child.pid}/ns/uts").st_ino != os.stat("/proc/self/ns/uts").st_ino


def test_a_kept_child_survives_an_error(child):
    with pytest.raises(ChildFailed):
        child.run("1 / 0")
    assert child.alive
    assert child.run("result = 'still here'") == "still here"


def test_what_a_kept_child_writes_between_cells_is_shown_later(child, said):
    child.run("import threading\ngo = threading.Event()\nt = threading.Thread(target=lambda: (go.wait(), print('late')))\nt.start()")
    assert said.on("stdout") == ""
    child.run("go.set()\nt.join()")
    assert said.on("stdout") == "late\n"


def test_end_takes_what_the_child_started_and_may_be_called_twice(child):
    pid = child.run("import os, signal\nresult = os.fork()\nif not result: signal.pause()")
    assert alive(pid)
    child.end()
    child.end()
    assert not child.alive
    assert not alive(pid)


def test_no_code_runs_in_a_child_that_has_ended(child):
    child.end()
    with pytest.raises(ChildFailed, match="has ended"):
        child.run("1")


def test_children_end_when_the_notebook_is_killed():
    """nbval kills the kernel hard: a child learns it from its socket, and takes its forks with it."""
    code = """
    import os, signal
    from minidocker.course.child import Child
    child = Child("left")
    print(child.pid, child.run("import os, signal\\nresult = os.fork()\\nif not result: signal.pause()"), flush=True)
    signal.pause()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout is not None
        pids = [int(word) for word in notebook.stdout.readline().split()]
        pidfds = [os.pidfd_open(pid) for pid in pids]
        notebook.kill()
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], 10)[0], "a child outlived its notebook"
        os.close(pidfd)


def test_an_interrupt_ends_the_child_and_all_it_started(said):
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    code = "import os, signal\npid = os.fork()\nif pid: print(os.getpid(), pid)\nsignal.pause()"
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(code, sink=said)
    finally:
        signal.signal(signal.SIGALRM, before)
    pids = [int(word) for word in said.on("stdout").split()]
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_lines_of_several_processes_do_not_mix(said, monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    run("import os\npid = os.fork()\nfor _ in range(500): print('parent' if pid else 'child')\nif pid: os.waitpid(pid, 0)", sink=said)
    assert sorted(set(said.on("stdout").splitlines())) == ["child", "parent"]
