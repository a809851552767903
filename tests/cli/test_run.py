"""``run`` and ``create`` through the real command: what comes out, what stays, and what cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.driver import Cli


def test_a_command_sees_itself_alone(cli: Cli) -> None:
    done = cli("run", "--rm", "busybox", "sh", "-c", "echo $$; hostname; ls /proc | grep -c '^[0-9]'; echo oops >&2; exit 7", code=7)
    pid, hostname, processes = done.stdout.decode().split()
    assert (pid, len(hostname), done.stderr) == ("1", 12, b"oops\n")
    assert int(processes) <= 3  # sh, ls, grep
    assert cli.containers() == []


def test_without_rm_it_stays(cli: Cli) -> None:
    cli("run", "--name", "stays", "busybox", "sh", "-c", "exit 3", code=3)
    assert cli.field("stays", "{{.State.Status}} {{.State.ExitCode}} {{.Name}}") == "exited 3 /stays"


def test_detached(cli: Cli) -> None:
    container_id = cli.text("run", "-d", "--name", "bg", "busybox", "sh", "-c", "echo out; echo err >&2; exec sleep 100")
    assert len(container_id) == 64
    assert cli.field("bg", "{{.Id}} {{.State.Status}}") == f"{container_id} running"
    pid = int(cli.field("bg", "{{.State.Pid}}"))
    assert Path(f"/proc/{pid}/cmdline").read_bytes() in (b"sleep\x00100\x00", b"sh\x00-c\x00echo out; echo err >&2; exec sleep 100\x00")
    assert cli.text("rm", "-f", "bg") == "bg"
    assert not Path(f"/proc/{pid}").exists()


def test_detached_with_rm_goes_at_its_end(cli: Cli) -> None:
    container_id = cli.text("run", "-d", "--rm", "busybox", "cat", "/dev/null")
    cli("wait", container_id, code=None)
    deadline = time.monotonic() + 20
    while cli.containers() and time.monotonic() < deadline:  # its monitor removes it: no event tells us
        time.sleep(0.05)
    assert cli.containers() == []


def test_stdin_reaches_it_only_with_i(cli: Cli) -> None:
    data = bytes(range(256)) * 2000
    assert cli("run", "-i", "--rm", "busybox", "cat", stdin=data).stdout == data
    assert cli("run", "--rm", "busybox", "cat", stdin=b"hello").stdout == b""


def test_end_of_stdin_is_passed_on_while_output_goes_on(cli: Cli) -> None:
    assert cli("run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo end", stdin=b"a\n").stdout == b"a\nend\n"


def test_a_command_may_close_its_stdin_early(cli: Cli) -> None:
    assert cli("run", "-i", "--rm", "busybox", "sh", "-c", "exec <&-; echo closed", stdin=b"x" * 300_000).stdout == b"closed\n"


def test_bad_utf8_and_nul_come_out_unharmed(cli: Cli) -> None:
    assert cli("run", "--rm", "busybox", "printf", r"\377\376\000\303x").stdout == b"\xff\xfe\0\xc3x"


def test_arguments_arrive_as_they_are(cli: Cli) -> None:
    long = "x" * 5000
    assert cli("run", "--rm", "busybox", "echo", long, "--rm", "é", "a b").stdout.decode() == f"{long} --rm é a b\n"


def test_an_argument_that_is_no_utf8_is_refused(cli: Cli) -> None:
    for arguments in ([b"busybox", b"echo", b"\xff\xc3"], [b"-e", b"A=\xff\xc3", b"busybox"], [b"-l", b"a=\xff\xc3", b"busybox"]):
        said = cli.fails("run", *arguments, code=125)
        assert "is not valid UTF-8" in said
        assert "hint: " in said
    assert cli.containers() == []


def test_only_the_streams_that_were_asked_for(cli: Cli) -> None:
    done = cli("run", "--rm", "-a", "stdout", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"")
    done = cli("run", "--rm", "-a", "STDERR", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"", b"err\n")


def test_environment_user_directory_entrypoint_hostname(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=file\n  B=from file \nC\nMINE\n")
    script = "echo $A/$B/$C/$MINE/${NOPE-unset}; id -u; pwd; hostname"
    done = cli(
        *["run", "--rm", "--env-file", str(file), "-e", "A=option", "-e", "NOPE", "-u", "1000", "-w", "/tmp", "-h", "box"],
        *["--entrypoint", "sh", "busybox", "-c", script],
        env={**os.environ, "MINE": "ours"},
    )
    assert done.stdout.decode() == "option/from file //ours/unset\n1000\n/tmp\nbox\n"


def test_labels(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=file\nb=file\n")
    cli("create", "--name", "labelled", "--label-file", str(file), "-l", "a=option", "-l", "bare", "busybox")
    assert cli.field("labelled", "{{json .Config.Labels}}") == '{"a":"option","b":"file","bare":""}'
    assert cli.field("labelled", "{{.State.Status}}") == "created"


def test_mounts_tmpfs_read_only(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    script = "cat /data/file; echo x > /data/new; for f in /root/x /ro/y /t/z; do touch $f 2>/dev/null && echo $f; done"
    options = [
        "-v",
        f"{tmp_path}:/data",
        "--mount",
        f"type=bind,source={tmp_path},target=/ro,readonly",
        "--tmpfs",
        "/t:size=1m",
        "--read-only",
    ]
    assert cli("run", "--rm", *options, "busybox", "sh", "-c", script).stdout == b"host/t/z\n"
    assert (tmp_path / "new").read_text() == "x\n"


def test_cidfile(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    container_id = cli.text("run", "-d", "--cidfile", str(file), "busybox", "true")
    assert file.read_text() == container_id
    assert "container ID file found" in cli.fails("run", "--cidfile", str(file), "busybox", "true", code=125)
    assert file.read_text() == container_id
    assert len(cli.containers()) == 1
    gone = tmp_path / "gone"
    cli.fails("run", "--cidfile", str(gone), "nosuchimage", code=125)
    cli.fails("run", "--cidfile", str(tmp_path / "no" / "dir"), "busybox", code=125)
    assert not gone.exists()


def test_limits_reach_the_kernel(cli: Cli) -> None:
    cli("run", "-d", "--name", "small", "-m", "64m", "--pids-limit", "20", "--cpus", "0.5", "busybox", "sleep", "100")
    assert cli.field("small", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}}") == "67108864 20 500000000"
    pid = cli.field("small", "{{.State.Pid}}")
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if "memory" in groups:
        limit = Path("/sys/fs/cgroup/memory" + groups["memory"], "memory.limit_in_bytes")
    else:
        limit = Path("/sys/fs/cgroup" + groups[""], "memory.max")
    assert limit.read_text().strip() == "67108864"
    cli("rm", "-f", "small")


def test_explain_shows_each_step_with_its_command(cli: Cli) -> None:
    done = cli("run", "--rm", "--explain", "busybox", "echo", "hello")
    assert done.stdout == b"hello\n"
    text = done.stderr.decode()
    for step in ("# ID=", "unshare --fork", "mount -t overlay", "pivot_root", "mount -t proc", "execve"):
        assert step in text
    assert {line.split()[0] for line in text.splitlines() if not line.startswith(" ")} == {"engine", "monitor", "init"}
    commands = [line.index("# ") for line in text.splitlines() if "# " in line]
    assert len(set(commands)) == 1, "all commands stand in one column"
    assert cli("run", "--rm", "busybox", "true").stderr == b""


# -- signals -----------------------------------------------------------------------------------------------------------


def wait_for_line(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == line


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 42), (signal.SIGINT, 43), (signal.SIGUSR1, 44), (signal.SIGHUP, 45)])
def test_signals_are_passed_on(cli: Cli, number: signal.Signals, code: int) -> None:
    script = "trap 'exit 42' TERM; trap 'exit 43' INT; trap 'exit 44' USR1; trap 'exit 45' HUP; echo ready; while :; do sleep 0.05; done"
    with cli.start("run", "--rm", "busybox", "sh", "-c", script) as process:
        wait_for_line(process, b"ready\n")
        process.send_signal(number)
        assert process.wait(timeout=20) == code
    assert cli.containers() == []


def test_without_sig_proxy_only_we_end(cli: Cli) -> None:
    with cli.start("run", "--name", "on", "--sig-proxy=false", "busybox", "sh", "-c", "echo ready; exec sleep 100") as process:
        wait_for_line(process, b"ready\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert cli.field("on", "{{.State.Status}}") == "running"
    cli("rm", "-f", "on")


def test_three_interrupts_end_us_all_the_same(cli: Cli) -> None:
    with cli.start("run", "--name", "deaf", "busybox", "sh", "-c", "echo ready; exec sleep 100") as process:
        wait_for_line(process, b"ready\n")
        assert process.stderr is not None
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)  # three that arrive at once are one to the kernel
        assert process.wait(timeout=20) == 1
        assert b"forcefully exiting" in process.stderr.read()
    cli("rm", "-f", "deaf")


def test_killed_by_a_signal_is_128_and_more(cli: Cli) -> None:
    with cli.start("run", "--rm", "--name", "victim", "busybox", "sh", "-c", "echo ready; exec sleep 100") as process:
        wait_for_line(process, b"ready\n")
        cli("kill", "victim")
        assert process.wait(timeout=20) == 137


def test_a_reader_that_leaves_ends_the_run(cli: Cli) -> None:
    with cli.start("run", "--rm", "busybox", "yes") as process:
        wait_for_line(process, b"y\n")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=20) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert cli.containers() == []


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["nosuch"], 125, "Unable to find image 'nosuch:latest' locally", "import"),
        (["--pull", "never", "nosuch:1"], 125, "No such image: nosuch:1", "hint: "),
        (["--pull", "always", "busybox"], 125, "cannot pull busybox", "hint: "),
        (["--pull", "perhaps", "busybox"], 125, "invalid pull option", ""),
        (["Bad"], 125, "minidocker: ", "hint: "),
        (["busybox:a:b"], 125, "minidocker: ", "hint: "),
        (["--name", "a/b", "busybox"], 125, "Invalid container name", "hint: "),
        (["--name", "x", "busybox"], 125, "Invalid container name", "hint: "),
        (["busybox", "nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH', "hint: "),
        (["busybox", "/no/such"], 127, 'exec: "/no/such": no such file or directory', ""),
        (["busybox", "/etc/passwd"], 126, 'exec: "/etc/passwd": permission denied', ""),
        (["busybox", "/etc"], 126, 'exec: "/etc": permission denied', ""),
        (["busybox", "x" * 5000], 127, "exec: ", ""),
        (["--mount", "type=bind,source=/no/such,target=/x", "busybox"], 125, "/no/such", ""),
        (["--mount", "nonsense", "busybox"], 125, "nonsense", "hint: "),
        (["-v", "/a:b", "busybox"], 125, "must be absolute", "hint: "),
        (["-w", "relative", "busybox"], 125, "needs to be an absolute path", ""),
        (["-u", "nobodyhere", "busybox"], 125, "nobodyhere", ""),
        (["-m", "1k", "busybox"], 125, "Minimum memory limit", "hint: "),
        (["-m", "much", "busybox"], 125, "invalid size", "hint: "),
        (["--network", "bridge", "busybox"], 125, "network", "bridges"),
        (["--pid", "container:nosuch", "busybox"], 125, "No such container: nosuch", ""),
        (["--cap-add", "NOSUCH", "busybox"], 125, "NOSUCH", ""),
        (["--stop-signal", "NOSUCH", "busybox"], 125, "Invalid signal: NOSUCH", "hint: "),
        (["-h", "a" * 70, "busybox"], 125, "invalid hostname", "hint: "),
        (["-e", "=x", "busybox"], 125, "invalid environment variable: =x", "hint: "),
        (["-l", "=x", "busybox"], 125, "invalid label", "hint: "),
        (["--env-file", "/no/such", "busybox"], 125, "open /no/such: No such file or directory", ""),
        (["-a", "stdfoo", "busybox"], 125, "valid streams are STDIN, STDOUT and STDERR", ""),
        (["-d", "-a", "stdout", "busybox"], 125, "conflicting options", ""),
        (["--detach-keys", "foo", "busybox"], 125, "invalid detach keys", "hint: "),
        (["-it", "busybox"], 1, "the input device is not a TTY", "hint: "),
        (["--entrypoint", "", "busybox"], 125, "no command specified", "hint: "),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_run_says_why_and_leaves_nothing(cli: Cli, arguments: list[str], code: int, message: str, hint: str) -> None:
    said = cli.fails("run", *arguments, code=code)
    assert message in said
    assert hint in said
    assert cli.containers() == []
    assert not any(Path("/var/lib", cli.name, "containers").glob("*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A=1\n=c\n", "no variable name on line '=c'"),
        (b"A b=1", "variable 'A b' contains whitespaces"),
        (b"ok=1\n\xff=1", "invalid utf8 bytes at line 2"),
        (b"A=\0", "NUL byte at line 1"),
    ],
)
def test_bad_env_files(cli: Cli, tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    said = cli.fails("run", "--env-file", str(file), "busybox", code=125)
    assert f"invalid env file ({file}): {message}" in said


def test_a_taken_name(cli: Cli) -> None:
    cli("create", "--name", "taken", "busybox")
    said = cli.fails("run", "--name", "taken", "busybox", "true", code=125)
    assert 'The container name "/taken" is already in use' in said
    assert "hint: " in said
    assert cli.containers() == ["taken"]


def test_create_fails_with_1_as_docker(cli: Cli) -> None:
    said = cli.fails("create", "nosuch", code=1)
    assert "Unable to find image 'nosuch:latest' locally" in said
    assert "minidocker: cannot pull nosuch:latest" in said


def test_not_root(cli: Cli) -> None:
    # The interpreter may lie where only root can read, so it becomes somebody else when it has read everything.
    script = "import os, sys, minidocker.engine.engine, minidocker.cli.create; from minidocker.cli.main import main; "
    script += "os.setuid(65534); sys.exit(main())"
    line = [sys.executable, "-c", script, "--engine", cli.name, "run", "busybox"]
    done = subprocess.run(line, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr.startswith(b"minidocker: minidocker must run as root\nhint: ")


def test_debug_shows_the_traceback(cli: Cli) -> None:
    done = subprocess.run(cli.line("--debug", "run", "busybox", "nosuch"), capture_output=True, timeout=30)
    assert done.returncode == 127
    assert b"Traceback (most recent call last)" in done.stderr
    assert b'minidocker: exec: "nosuch"' in done.stderr
