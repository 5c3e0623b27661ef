# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter.rclone_mounts import GUARD, FilterModule
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts_host import set_immutable

rclone_mounts = FilterModule().filters()["rclone_mounts"]


def lines(mount, config="/etc/rclone/rclone.conf"):
    return rclone_mounts([mount], config)["files"][0]["content"].splitlines()


def test_a_mount():
    mount = {"remote": "cloud:my photos", "path": "/mnt/azure-photos/"}
    made = rclone_mounts([mount], "/etc/rclone/rclone.conf", ["/etc/digest"])
    name, path = "rclone-mnt-azure\\x2dphotos.service", "/etc/systemd/system/rclone-mnt-azure\\x2dphotos.service"
    assert made["units"] == [{"name": name, "enabled": True, "files": [path, "/etc/digest"]}]
    assert made["files"][0]["path"] == path
    found = lines(mount)
    assert "Type=notify" in found
    assert 'ExecStopPost=-/usr/bin/fusermount3 -uzq "/mnt/azure-photos"' in found
    start = next(line for line in found if line.startswith("ExecStart="))
    assert start.startswith('ExecStart=/usr/bin/rclone mount "cloud:my photos" "/mnt/azure-photos" "--allow-other"')
    assert '"--vfs-cache-max-size=10G"' in start
    assert "read-only" not in start


def test_it_waits_for_the_far_side_and_comes_back_however_it_ended():
    found = lines({"remote": "azure:photos/originals", "path": "/m", "cache_path": "/mnt/ssd/cache"})
    look = next(line for line in found if "rclone lsf" in line)
    assert look.startswith("ExecStartPre=/bin/sh"), "it may not be ignored"
    assert look.endswith('sh "azure:photos"'), "a bucket knows no empty folders below it"
    assert '\\"$$1\\" >/dev/null' in look
    assert {"Restart=always", 'RequiresMountsFor="/mnt/ssd/cache"', "StartLimitIntervalSec=0"} <= set(found)
    start = next(line for line in found if line.startswith("ExecStart="))
    assert '"--cache-dir=/mnt/ssd/cache/rclone-m"' in start


@pytest.mark.parametrize(
    ("remote", "top"), [("a:", "a:"), ("a:b", "a:b"), ("a:b/c/d", "a:b"), ("sftp:/srv/x", "sftp:/srv/x")]
)
def test_what_must_exist_at_the_far_side(remote, top):
    assert any(line.endswith(f'sh "{top}"') for line in lines({"remote": remote, "path": "/m"}))


def test_everything_belongs_to_one_user():
    mount = {"remote": "a:", "path": "/m", "owner": "1000:1001", "cache_mode": "full"}
    start = next(line for line in lines(mount) if line.startswith("ExecStart="))
    assert '"--uid=1000" "--gid=1001" "--umask=0022"' in start
    assert '"--vfs-cache-mode=full"' in start


def test_options_are_words_for_systemd():
    mount = {"remote": "a:", "path": "/m", "read_only": True, "cache": "1G", "options": ['--volname=5% "$x" \\']}
    start = next(line for line in lines(mount) if line.startswith("ExecStart="))
    assert start.endswith(r'"--read-only" "--volname=5%% \"$$x\" \\"')
    assert '"--vfs-cache-max-size=1G"' in start


@pytest.mark.parametrize(
    "mounts",
    [
        [{"remote": "a", "path": "/m"}],
        [{"remote": "a:", "path": "/"}],
        [{"remote": "a:", "path": "m"}],
        [{"remote": "a:", "path": "/m", "options": ["x\nExecStart=evil"]}],
        [{"remote": "a:", "path": "/m"}, {"remote": "b:", "path": "/m/"}],
    ],
)
def test_mistakes(mounts):
    with pytest.raises(AnsibleFilterError):
        rclone_mounts(mounts, "/etc/rclone/rclone.conf")


def test_the_guard_really_keeps_everybody_out(tmp_path):
    """The unit's own shell line, run; root is kept out where this file system has the flag and root may set it."""
    path = tmp_path / "mnt"
    try:
        for _again in range(2):
            subprocess.run(["/bin/sh", "-c", GUARD, "sh", str(path)], check=True, capture_output=True)
            assert path.stat().st_mode & 0o7777 == 0
        with pytest.raises(PermissionError):
            (path / "stray").write_text("x") if flag_works(tmp_path) or os.getuid() else pytest.skip(
                "no immutable flag"
            )
    finally:
        if path.exists() and os.access(path, os.R_OK):
            set_immutable(path, False)


def flag_works(folder: Path) -> bool:
    """Whether this process may set the immutable flag here."""
    probe = folder / "probe"
    probe.mkdir()
    return os.getuid() == 0 and set_immutable(probe, True) and set_immutable(probe, False)
