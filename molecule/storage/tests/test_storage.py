# SPDX-License-Identifier: MIT
"""What a host of role storage is like, after side_effect.yml has unmounted, grown and purged. Reads only."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize(("path", "kind"), [("/mnt/postgres", "ext4"), ("/mnt/photos", "xfs")])
def test_disks_are_mounted(host, path, kind):
    mount = host.mount_point(path)
    assert mount.exists
    assert mount.filesystem == kind


def test_what_was_on_the_disk_is_still_there(host):
    assert host.file("/mnt/postgres/precious").exists
    assert not host.file("/mnt/postgres/stray").exists


def test_file_system_fills_the_grown_disk(host):
    size = int(host.check_output("findmnt --bytes --noheadings --output SIZE /mnt/photos"))
    assert size > 330 * 1024 * 1024  # the disk was 320 MiB before


def test_shared_folder_is_read_only(host):
    assert host.file("/mnt/media/library").is_directory
    assert "ro" in host.mount_point("/mnt/media").options
    assert host.run("touch /mnt/media/x").rc != 0


def test_units_come_back_at_boot(host):
    for unit in ("mnt-postgres.mount", "mnt-photos.mount", "mnt-media.mount"):
        assert host.service(unit).is_enabled


def test_purged_class_is_gone_its_data_is_not(host):
    assert not host.mount_point("/mnt/bound").exists
    assert not host.file("/etc/systemd/system/mnt-bound.mount").exists
    assert host.file("/srv/bound").is_directory


def test_plain_directory(host):
    assert host.file("/srv/scratch").is_directory
    assert not host.mount_point("/srv/scratch").exists


def test_mounts_are_looked_after(host):
    assert host.service("mediaserver-mounts.timer").is_running
    assert host.service("mediaserver-mounts.timer").is_enabled
    watched = json.loads(host.file("/etc/mediaserver/mounts.json").content_string)["mounts"]
    assert watched == [{"path": "/mnt/media", "kind": "virtiofs", "unit": "mnt-media.mount"}]


def test_nothing_is_served_any_more_and_the_data_stay(host):
    assert not host.file("/etc/exports.d/mediaserver.exports").exists
    assert host.file("/root/exports-read").content_string == "", "the server has not forgotten them"
    assert host.file("/etc/exports.d/mine.exports").exists
    assert host.file("/srv/served/photos/one.jpg").content_string == "precious"
