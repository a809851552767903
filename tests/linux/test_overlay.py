"""Overlay mounts, in a child of their own: what is merged, from how many layers, under which names."""

from __future__ import annotations

from pathlib import Path

import fresh
import pytest

SETUP = """
from minidocker.linux import mounts, namespaces, overlay
base = sys.argv[1]
namespaces.unshare("mnt"); mounts.make_private("/", recursive=True)
def layer(path, **files):
    os.makedirs(path)
    for name, text in files.items():
        with open(f"{path}/{name}", "w") as file: file.write(text)
    return path
def read(path):
    with open(path) as file: return file.read()
"""


def test_the_top_layer_wins_and_changes_go_to_upper(tmp_path: Path) -> None:
    said = fresh.run(
        SETUP
        + """
lower = [layer(f"{base}/top", same="top", a="1"), layer(f"{base}/bottom", same="bottom", b="2")]
upper, work, target = layer(f"{base}/upper"), layer(f"{base}/work"), layer(f"{base}/target")
overlay.mount_overlay(lower, upper, work, target)
print(sorted(os.listdir(target)), read(f"{target}/same"))
layer(f"{target}/new"); os.unlink(f"{target}/b")
print(sorted(os.listdir(upper)), sorted(os.listdir(f"{base}/bottom")), os.stat(f"{upper}/b").st_rdev)
(mount,) = [one for one in mounts.mountinfo() if one.target == target]
print(mount.fstype, f"lowerdir={lower[0]}:{lower[1]},upperdir={upper},workdir={work}" in mount.super_options)
""",
        str(tmp_path),
    )
    assert said.splitlines() == ["['a', 'b', 'same'] top", "['b', 'new'] ['b', 'same'] 0", "overlay True"]


@pytest.mark.parametrize("count", [1, 30, 128, 495])
def test_more_layers_than_a_page_of_options_has_room_for(tmp_path: Path, count: int) -> None:
    """Names of 64 letters, as layers have. The working directory and all descriptors are as before."""
    said = fresh.run(
        SETUP
        + """
lower = [layer(f"{base}/layers/{number:064d}", same=str(number), **{f"only{number}": ""}) for number in range(int(sys.argv[2]))]
upper, work, target = layer(f"{base}/upper"), layer(f"{base}/work"), layer(f"{base}/target")
os.chdir(base)
before = os.listdir("/proc/self/fd")
overlay.mount_overlay(lower, upper, work, "target")
print(len(os.listdir(target)), read(f"{target}/same"), os.getcwd() == base, os.listdir("/proc/self/fd") == before)
""",
        str(tmp_path),
        str(count),
    )
    assert said == f"{count + 1} 0 True True"


@pytest.mark.parametrize("name", ["co:lon", "com,ma", "back\\slash", "sp ace", "all:of,them\\ here", "\\:", "x=y", "trailing\\"])
@pytest.mark.parametrize("count", [2, 90])
def test_names_that_mean_something_in_mount_options(tmp_path: Path, name: str, count: int) -> None:
    said = fresh.run(
        SETUP
        + """
name = sys.argv[2]
lower = [layer(f"{base}/{name}/{number:040d}", same=str(number)) for number in range(int(sys.argv[3]))]
upper, work, target = (layer(f"{base}/{name} {kind}") for kind in ("upper", "work", "target"))
overlay.mount_overlay(lower, upper, work, target)
layer(f"{target}/new")
print(read(f"{target}/same"), os.listdir(upper))
""",
        str(tmp_path),
        name,
        str(count),
    )
    assert said == "0 ['new']"


def test_what_cannot_be(tmp_path: Path) -> None:
    said = fresh.run(
        SETUP
        + """
upper, work, target = layer(f"{base}/upper"), layer(f"{base}/work"), layer(f"{base}/target")
os.chdir(base)
before = os.listdir("/proc/self/fd")
for lower in ([f"{base}/missing"], [f"{base}/{'x' * 60}{number}" for number in range(90)]):
    try: overlay.mount_overlay(lower, upper, work, target)
    except OSError as error: print(error.errno, error.syscall)
os.mkdir("l")
try: overlay.mount_overlay([f"{base}/l"] * 600, upper, work, target)
except OSError as error: print(error.errno)
print(os.listdir("/proc/self/fd") == before, os.getcwd() == base, [one for one in mounts.mountinfo() if one.target == target])
""",
        str(tmp_path),
    )
    assert said.splitlines() == ["2 mount", "2 open", "22", "True True []"]
