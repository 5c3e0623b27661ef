# SPDX-License-Identifier: MIT
"""The kernel's command line in the files of both boot loaders."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _boot

INSTALLER = """# If you change this file, run 'update-grub' afterwards to update
GRUB_DEFAULT=0
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR=`( . /etc/os-release && echo ${NAME} )`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""
"""


@pytest.mark.parametrize(
    ("current", "wanted", "absent", "result"),
    [
        ("quiet", ["iommu=pt"], [], "quiet iommu=pt"),
        ("quiet iommu=pt", ["iommu=pt"], [], "quiet iommu=pt"),
        ("iommu=soft quiet", ["iommu=pt"], [], "quiet iommu=pt"),
        ("quiet splash", ["quiet"], ["splash"], "quiet"),
        ("video=efifb:off video=simplefb:off a=1", [], ["video=efifb:off"], "video=simplefb:off a=1"),
        ("video=efifb:off a=1", [], ["video"], "a=1"),
        ("console=tty0 console=ttyS0", ["console=tty0", "console=ttyS0"], [], "console=tty0 console=ttyS0"),
        ('dyndbg="file a.c +p" x', ["y"], [], 'dyndbg="file a.c +p" x y'),
        ("", ["a", "b=1"], [], "a b=1"),
    ],
)
def test_tokens_are_merged(current: str, wanted: list[str], absent: list[str], result: str) -> None:
    once = _boot.merged(_boot.tokens(current), wanted, absent)
    assert " ".join(once) == result
    assert _boot.merged(once, wanted, absent) == once


@pytest.mark.parametrize(
    ("running", "wanted", "absent", "reasons"),
    [
        ("BOOT_IMAGE=/vmlinuz quiet iommu=pt", ["iommu=pt"], [], []),
        ("quiet", ["iommu=pt", "quiet"], [], ["without iommu=pt"]),
        ("iommu=pt iommu=off", ["iommu=pt"], [], ["without iommu=pt"]),
        ("quiet nomodeset", [], ["nomodeset"], ["with nomodeset"]),
        ("video=efifb:off", [], ["video"], ["with video=efifb:off"]),
    ],
)
def test_a_running_kernel_is_compared(running: str, wanted: list[str], absent: list[str], reasons: list[str]) -> None:
    assert _boot.lacks(_boot.tokens(running), wanted, absent) == reasons


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ('GRUB_CMDLINE_LINUX_DEFAULT="quiet"', 'GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"'),
        ("GRUB_CMDLINE_LINUX_DEFAULT='quiet'", "GRUB_CMDLINE_LINUX_DEFAULT='quiet iommu=pt'"),
        ("GRUB_CMDLINE_LINUX_DEFAULT=quiet", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"'),
        ("GRUB_CMDLINE_LINUX_DEFAULT=", 'GRUB_CMDLINE_LINUX_DEFAULT="iommu=pt"'),
        ('  export GRUB_CMDLINE_LINUX_DEFAULT="a" # why', '  export GRUB_CMDLINE_LINUX_DEFAULT="a iommu=pt" # why'),
        (
            r'GRUB_CMDLINE_LINUX_DEFAULT="dyndbg=\"file a.c +p\" quiet"',
            r'GRUB_CMDLINE_LINUX_DEFAULT="dyndbg=\"file a.c +p\" quiet iommu=pt"',
        ),
        (
            'GRUB_CMDLINE_LINUX_DEFAULT="old"\nGRUB_CMDLINE_LINUX_DEFAULT="new"',
            'GRUB_CMDLINE_LINUX_DEFAULT="old"\nGRUB_CMDLINE_LINUX_DEFAULT="new iommu=pt"',
        ),
        ("GRUB_TIMEOUT=5", 'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="iommu=pt"'),
        ('#GRUB_CMDLINE_LINUX_DEFAULT="x"', '#GRUB_CMDLINE_LINUX_DEFAULT="x"\nGRUB_CMDLINE_LINUX_DEFAULT="iommu=pt"'),
        ('GRUB_CMDLINE_LINUX="iommu=pt"', 'GRUB_CMDLINE_LINUX="iommu=pt"'),
    ],
)
def test_grubs_file_keeps_its_form(line: str, result: str) -> None:
    once = _boot.grub_text(line + "\n", ["iommu=pt"], [])
    assert once == result + "\n"
    assert _boot.grub_text(once, ["iommu=pt"], []) == once
    # read by a shell, as GRUB's own scripts read it
    script = f'{once}printf "%s %s" "${{GRUB_CMDLINE_LINUX-}}" "${{GRUB_CMDLINE_LINUX_DEFAULT-}}"'
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split().count("iommu=pt") == 1


def test_the_installers_file_changes_in_one_line() -> None:
    text = _boot.grub_text(INSTALLER, ["intel_iommu=on", "iommu=pt"], [])
    assert text == INSTALLER.replace('"quiet"', '"quiet intel_iommu=on iommu=pt"')
    assert _boot.grub_text(text, [], ["intel_iommu", "iommu"]) == INSTALLER


def test_systemd_boots_file_is_one_line() -> None:
    text = "root=ZFS=rpool/ROOT/pve-1 boot=zfs\n"
    once = _boot.cmdline_text(text, "", ["iommu=pt"], [])
    assert once == "root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt\n"
    assert _boot.cmdline_text(once, "", ["iommu=pt"], []) == once
    assert _boot.cmdline_text("a b", "", ["a"], []) == "a b"


def test_a_missing_file_begins_with_what_runs() -> None:
    running = r"initrd=\EFI\proxmox\6.8.12-4-pve\initrd.img root=ZFS=rpool/ROOT/pve-1 boot=zfs"
    assert _boot.cmdline_text(None, running, ["iommu=pt"], []) == "root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt\n"


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        ({_boot.GRUB: INSTALLER}, [_boot.GRUB]),
        ({_boot.GRUB: INSTALLER, _boot.ESPS: "\n"}, [_boot.GRUB]),
        ({_boot.GRUB: INSTALLER, _boot.ESPS: "1234-ABCD\n"}, [_boot.GRUB, _boot.SYSTEMD_BOOT]),
        ({_boot.ESPS: "1234-ABCD\n", _boot.SYSTEMD_BOOT: "quiet\n"}, [_boot.SYSTEMD_BOOT]),
        ({}, []),
    ],
)
def test_the_loaders_of_a_machine(files: dict[str, str], paths: list[str]) -> None:
    assert list(_boot.desired(files, "", ["iommu=pt"], [])) == paths


def test_a_part_that_sets_the_variable_anew_is_told() -> None:
    parts = {
        "a.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
        "b.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="${GRUB_CMDLINE_LINUX_DEFAULT} x"\n',
        "c.cfg": 'GRUB_CMDLINE_LINUX="root=ZFS=rpool/ROOT/pve-1 boot=zfs"\n',
    }
    assert _boot.overriding(parts) == ["a.cfg"]
