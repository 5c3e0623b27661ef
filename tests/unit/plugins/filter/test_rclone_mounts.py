# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter.rclone_mounts import FilterModule

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
