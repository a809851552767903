#!/usr/bin/env python3
"""The course's virtual machine, for real, without KVM: box, vagrant up, lab, engine and lessons in the guest, reload, destroy.

    tests/vm/run.py [--short]      as root; `make test-vm` is the whole, CI runs --short; --minutes N bounds what runs in the guest

Standard library only. All of it happens in a house of its own (house.py) on a copy of the project, as a learner's fresh clone would be,
with the project's Vagrantfile unchanged; the settings of the test (emulation, patience) are in its own $VAGRANT_HOME. VM_DRIVER=kvm
uses hardware virtualization where there is some.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import house

TOP = Path(__file__).resolve().parent.parent.parent
BOX = TOP / "build" / "box" / "minidocker.box"
PLACE = TOP / "build" / "vm"
RUN = PLACE / "run"  # all that a run writes; the next one begins by removing it
PROJECT = RUN / "project"
PORT = 8888
NEEDED = ("vagrant", "libvirtd", "qemu-system-x86_64", "qemu-img", "unshare", "setpriv", "ip")
PYTHON = "/opt/minidocker/venv/bin/python3"
STARTED = time.monotonic()

# What runs in the guest, most telling first: files of tests, then lessons. What the time does not reach is named, too.
TESTS = ["tests/linux", "tests/runtime", "tests/engine", "tests/oci"]
SHORT = ["tests/linux/test_namespaces.py", "tests/linux/cgroups"]
LESSONS = [
    *("10_memory", "06_time_cgroup", "12_pids_io", "11_cpu", "02_pid", "03_uts_ipc", "04_mounts", "05_rootfs"),
    *("20_life", "00_welcome", "01_container"),
]
FACTS = """\
set -eu
uname -r
findmnt --noheadings --output FSTYPE /sys/fs/cgroup
cat /sys/fs/cgroup/cgroup.controllers
test "$(stat --file-system --format=%T /sys/fs/cgroup)" = cgroup2fs
! grep -q '^[^ ]* [^ ]* cgroup ' /proc/mounts
minidocker run --rm --memory 64m --pids-limit 20 --cpus 0.5 busybox sh -c 'echo pid $$; cat /proc/self/cgroup'
"""


class Failed(Exception):
    """A stage did not do what it must; the message says what was seen."""


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"== {name}", flush=True)
    yield
    print(f"== {name}: {time.monotonic() - began:.0f} s (at {time.monotonic() - STARTED:.0f} s)", flush=True)


def shown(command: Sequence[str | Path], **options: object) -> str:
    """Run *command*, print what it says as it says it, without Vagrant's progress lines, and return it. Failed: its exit code was not 0."""
    said = []
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, **pipes, **options) as process:
        for line in process.stdout:
            for part in line.rstrip("\n").split("\r"):
                if "Progress:" not in part:
                    said.append(part)
                    print(f"   {part}", flush=True)
    if process.returncode:
        raise Failed(f"exit code {process.returncode}: {' '.join(map(str, command))[:200]}")
    return "\n".join(said)


def vagrant(*arguments: str, **environment: str) -> str:
    return shown(["vagrant", *arguments], cwd=PROJECT, env=os.environ | environment)


def in_guest(script: str, *, patience: float = 600) -> str:
    """Run *script* as root in the guest. Failed: its exit code was not 0, 124 when it took longer than *patience* seconds."""
    ssh = ["ssh", "-F", str(RUN / "ssh-config"), "learner1", "--", "sudo", "timeout", str(int(patience)), "bash", "-s"]
    (RUN / "script").write_text(script)
    with open(RUN / "script", "rb") as file:
        done = subprocess.run(ssh, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    print("\n".join(f"   {line}" for line in text.splitlines()), flush=True)
    if done.returncode:
        raise Failed(f"exit code {done.returncode} in the guest of: {script.strip()[-200:]}")
    return text


def output(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def copy_project() -> None:
    for name in filter(None, output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=TOP).split("\0")):
        if (TOP / name).exists():  # removed, but not yet committed so
            (PROJECT / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, PROJECT / name, follow_symlinks=False)
    (PROJECT / "build" / "box").mkdir(parents=True)
    os.link(BOX, PROJECT / "build" / "box" / BOX.name)


def prepare_vagrant() -> None:
    home = RUN / "vagrant"
    home.mkdir()
    driver = os.environ.get("VM_DRIVER", "qemu")
    (home / "Vagrantfile").write_text(
        'Vagrant.configure("2") do |config|\n  config.vm.boot_timeout = 600\n  config.vm.box_check_update = false\n'
        f'  config.vm.provider "libvirt" do |libvirt|\n    libvirt.driver = "{driver}"\n  end\nend\n'
    )
    stub = RUN / "bin"
    stub.mkdir()
    (stub / "VBoxManage").write_text("#!/bin/sh\necho 7.0.20r163906\n")
    (stub / "VBoxManage").chmod(0o755)
    os.environ |= {"VAGRANT_HOME": str(home), "VAGRANT_DEFAULT_PROVIDER": "libvirt", "VAGRANT_CHECKPOINT_DISABLE": "1", "PORT": str(PORT)}
    for name in ("BOX", "BOX_VERSION", "MEMORY", "CPUS", "LEARNERS", "MAKEFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)


def validate() -> None:
    vagrant("validate")
    stubbed = f"{RUN / 'bin'}:{os.environ['PATH']}"
    vagrant("validate", VAGRANT_DEFAULT_PROVIDER="virtualbox", PATH=stubbed)
    vagrant("validate", VAGRANT_DEFAULT_PROVIDER="virtualbox", PATH=stubbed, LEARNERS="3")


def ask(path: str, token: str = "", body: object = None) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://localhost:{PORT}{path}", method="PUT" if body else "GET")
    request.data = json.dumps(body).encode() if body else None
    if token:
        request.add_header("Authorization", f"token {token}")
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def must(seen: object, wanted: object, what: str) -> None:
    if seen != wanted:
        raise Failed(f"{what}: {seen!r}, wanted {wanted!r}")
    print(f"   ok: {what}: {seen!r}", flush=True)


def check_lab(token: str) -> None:
    must(ask("/api/contents", token)[0], 200, "HTTP status of the lessons with the token")
    must(ask("/api/contents")[0], 403, "HTTP status without the token")
    must(ask("/api/contents", "wrong")[0], 403, "HTTP status with a wrong token")
    names = [entry["name"] for entry in json.loads(ask("/api/contents", token)[1])["content"]]
    must([lesson for lesson in LESSONS[:3] if f"{lesson}.ipynb" not in names], [], "lessons that the lab does not list")
    listening = subprocess.run(["ss", "-Hltn", f"sport = :{PORT}"], check=True, capture_output=True, text=True).stdout.split()
    must(listening[3:4], [f"127.0.0.1:{PORT}"], "the host's end of the port")


def save_notebook(token: str) -> None:
    """As a learner does: change a lesson in the browser and save it."""
    status, text = ask("/api/contents/02_pid.ipynb", token)
    must(status, 200, "HTTP status of a notebook")
    notebook = json.loads(text)["content"]
    notebook["cells"][0]["source"] += "\n\nmy own words"
    saved = {"type": "notebook", "format": "json", "content": notebook}
    must(ask("/api/contents/02_pid.ipynb", token, saved)[0], 200, "HTTP status of saving it")


def link_in(text: str) -> str:
    """The token in the link that `vagrant up` printed at its end."""
    found = re.findall(rf"http://localhost:{PORT}/lab\?token=([0-9a-f]{{32}})", text)
    if not found:
        raise Failed("vagrant printed no link to the lab")
    return found[-1]


def run_tests(names: Sequence[str], left: float) -> None:
    present = [name for name in names if (PROJECT / name).exists()]
    if left < 60:
        raise Failed(f"{left:.0f} s are left for the tests: this machine is too slow, or --minutes too few")
    print(f"   tests in the guest: {' '.join(present)}", flush=True)
    options = "-q --color=no -p no:cacheprovider --timeout=600 -n 2 --dist=loadfile --durations=30"
    in_guest(f"cd /vagrant && {PYTHON} -m pytest {options} {' '.join(present)}", patience=left)


def run_lessons(deadline: float) -> None:
    """Under nbval, two at a time, while there is time for two more."""
    waiting = [lesson for lesson in LESSONS if (PROJECT / "notebooks" / f"{lesson}.ipynb").exists()]
    longest = 60.0
    while waiting and time.monotonic() + longest < deadline:
        now, waiting = waiting[:1], waiting[1:]
        began = time.monotonic()
        names = " ".join(f"notebooks/{lesson}.ipynb" for lesson in now)
        options = "--nbval --nbval-cell-timeout=300 --nbval-sanitize-with=tests/notebooks/sanitize.cfg"
        in_guest(f"cd /vagrant && {PYTHON} -m pytest -q --color=no -c tests/notebooks/nbval.ini --rootdir notebooks {options} {names}")
        longest = max(longest, time.monotonic() - began)
        print(f"   lesson {' '.join(now)}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"   lessons for which the time did not suffice: {' '.join(waiting) or 'none'}", flush=True)


def inside(short: bool, deadline: float) -> None:
    with stage("libvirt in a house of its own"), contextlib.ExitStack() as stack:
        copy_project()
        prepare_vagrant()
        stack.enter_context(house.libvirt(RUN / "libvirt"))
        staying = stack.pop_all()
    with staying:
        with stage("vagrant validate: libvirt, VirtualBox, VirtualBox with three learners"):
            validate()
        with stage("vagrant up --provider=libvirt"):
            token = link_in(vagrant("up", "--provider=libvirt"))
        (RUN / "ssh-config").write_text(output("vagrant", "ssh-config", cwd=PROJECT))
        with stage("the lab answers, to who has the token only"):
            check_lab(token)
        with stage("pure cgroup v2, and a container on it"):
            in_guest(FACTS)
        with stage("the engine's tests in the guest"):
            run_tests(SHORT if short else TESTS, deadline - time.monotonic())
        with stage("lessons in the guest"):
            run_lessons(deadline)
        if not short:
            keeps_the_work(token)
        with stage("vagrant destroy"):
            vagrant("destroy", "--force")
            must([line for line in output("virsh", "list", "--all", "--name", cwd=RUN).split() if line], [], "machines in virsh list")
            volumes = output("virsh", "vol-list", "default", cwd=RUN).splitlines()
            must([line for line in volumes if "learner" in line], [], "the machine's disks in virsh vol-list")


def keeps_the_work(token: str) -> None:
    with stage("a learner's change"):
        save_notebook(token)
        must("my own words" in (PROJECT / "notebooks" / "02_pid.ipynb").read_text(), True, "the change is in the host's folder")
    with stage("vagrant provision, a second time"):
        must(link_in(vagrant("provision")), token, "the token stays")
    with stage("vagrant reload"):
        must(link_in(vagrant("reload")), token, "the token stays")
        check_lab(token)
        must("my own words" in json.dumps(json.loads(ask("/api/contents/02_pid.ipynb", token)[1])), True, "the learner's change survived")


def outside(arguments: Sequence[str]) -> int:
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        print(f"tests/vm/run.py: not installed here: {' '.join(missing)}\n  vagrant/packages.sh vm installs them.", file=sys.stderr)
        return 1
    PLACE.mkdir(parents=True, exist_ok=True)
    with open(PLACE / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"tests/vm/run.py: another run is at work here ({PLACE / 'lock'} is locked)", file=sys.stderr)
            return 1
        if RUN.exists():
            print("removing what an earlier run left", flush=True)
            shutil.rmtree(RUN)
        RUN.mkdir()
        with stage("box"):
            shown([TOP / "vagrant" / "box.sh", BOX])
        code = house.enter([sys.executable, __file__, "--inside", *arguments])
        if code:
            print(f"== failed with exit code {code}; libvirt's and Vagrant's files are in {RUN}", flush=True)
        else:
            shutil.rmtree(RUN)
    left = house.traces()
    print("== left on this machine: " + ("; ".join(left) or "nothing"), flush=True)
    return code or int(bool(left))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--minutes", type=float, default=0, help="for the tests and lessons in the guest, vagrant up included")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.inside:
        return outside(sys.argv[1:])
    minutes = given.minutes or (8 if given.short else 45)
    try:
        inside(given.short, STARTED + minutes * 60)
    except Failed as error:
        print(f"== FAILED: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
