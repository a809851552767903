"""Capabilities: names and masks against capsh(1), and what a process keeps after giving some up."""

from __future__ import annotations

import os
import subprocess

import fresh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import SpecError, SyscallError
from minidocker.linux import capabilities


def test_names_are_in_the_kernels_order() -> None:
    for number, name in enumerate(capabilities.NAMES):
        decoded = subprocess.run(["capsh", f"--decode={1 << number:016x}"], capture_output=True, text=True, check=True).stdout
        if f"cap_{number}" not in decoded.split("="):  # else this capsh is older than the capability
            assert decoded.strip().endswith(f"=cap_{name.lower()}")
    assert capabilities.last() < len(capabilities.NAMES)


def test_the_default_is_dockers_without_mknod() -> None:
    docker = "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap"
    assert set(capabilities.DEFAULT) == {name.upper() for name in docker.split()} - {"MKNOD"}
    assert set(capabilities.DEFAULT) < set(capabilities.NAMES)


@given(st.sets(st.integers(0, 63)))
def test_a_mask_is_its_names(bits: set[int]) -> None:
    mask = sum(1 << bit for bit in bits)
    names = capabilities.names(mask)
    assert len(names) == len(bits)
    known = [name for name in names if name in capabilities.NAMES]
    assert capabilities.mask(known) == mask & (1 << len(capabilities.NAMES)) - 1


def test_names_in_any_form() -> None:
    assert capabilities.mask(["CAP_NET_ADMIN", "net_admin", "Cap_Net_Admin", "NET_ADMIN"]) == 1 << 12
    for name in ("", "CAP_", "ALL", "NET-ADMIN", "CAP_CAP_KILL"):
        with pytest.raises(SpecError, match="no capability is called") as caught:
            capabilities.bit(name)
        assert caught.value.hint


def test_sets_are_what_proc_says() -> None:
    found = capabilities.sets()
    assert set(found) == {"inheritable", "permitted", "effective", "bounding", "ambient"}
    lines = dict(line.split(":\t") for line in open_status(os.getpid()).splitlines() if line.startswith("Cap"))
    assert found == {
        "inheritable": int(lines["CapInh"], 16),
        "permitted": int(lines["CapPrm"], 16),
        "effective": int(lines["CapEff"], 16),
        "bounding": int(lines["CapBnd"], 16),
        "ambient": int(lines["CapAmb"], 16),
    }
    with pytest.raises(SyscallError):
        capabilities.sets(2**22)


def open_status(pid: int) -> str:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return file.read()


def test_what_is_given_up_does_not_come_back_with_an_exec() -> None:
    said = fresh.run(
        """
        import ctypes, subprocess
        from minidocker.errors import SyscallError
        from minidocker.linux import capabilities, syscalls
        keep = capabilities.mask(["CHOWN", "SETPCAP", "NET_RAW"])
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
        effective, permitted, _ = syscalls.capget()
        syscalls.capset(effective, permitted, 1)
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, 0)
        print("before", capabilities.sets()["ambient"])
        capabilities.drop_bounding(keep)
        capabilities.set_to(keep)
        for name, mask in capabilities.sets().items():
            print(name, ",".join(capabilities.names(mask)))
        print(subprocess.run(["grep", "Cap", "/proc/self/status"], capture_output=True, text=True).stdout)
        try: capabilities.set_to(keep | 1 << 21)
        except SyscallError as error: print(error.errno)
        """
    )
    lines = said.splitlines()
    assert lines[:6] == [
        "before 1",
        "inheritable ",
        "permitted CHOWN,SETPCAP,NET_RAW",
        "effective CHOWN,SETPCAP,NET_RAW",
        "bounding CHOWN,SETPCAP,NET_RAW",
        "ambient ",
    ]
    kept = f"{1 << 0 | 1 << 8 | 1 << 13:016x}"
    assert [line.split("\t")[1] for line in lines[6:11]] == ["0" * 16, kept, kept, kept, "0" * 16]
    assert lines[-1] == "1"  # EPERM


def test_the_high_half_of_the_masks() -> None:
    said = fresh.run(
        """
        from minidocker.linux import capabilities, syscalls
        mask = capabilities.mask(["CHOWN", "BPF", "SETPCAP", "CHECKPOINT_RESTORE"]) & syscalls.capget()[1]
        capabilities.set_to(mask)
        print(syscalls.capget() == (mask, mask, 0), mask >> 32 > 0, capabilities.sets()["effective"] == mask)
        """
    )
    assert said == "True True True"
