# SPDX-License-Identifier: MIT
"""What a host of role rclone is like, after side_effect.yml has killed, stopped and forgotten mounts. Reads only."""

from __future__ import annotations


def test_remotes_are_for_root_alone(host):
    file = host.file("/etc/rclone/rclone.conf")
    assert (file.mode, file.user) == (0o600, "root")
    assert "AbCdEfGhIjKlMnOpQrStUvWxYz012345" not in file.content_string


def test_rclone_reads_them(host):
    assert host.check_output("rclone --config /etc/rclone/rclone.conf listremotes").split() == ["cloud:", "vault:"]
    assert host.check_output("rclone --config /etc/rclone/rclone.conf cat vault:file") == "precious"


def test_films_are_mounted_read_only(host):
    assert host.mount_point("/mnt/films").filesystem == "fuse.rclone"
    assert "ro" in host.mount_point("/mnt/films").options
    assert host.check_output("cat /mnt/films/one.mkv") == "a film"
    assert host.service("rclone-mnt-films.service").is_enabled


def test_the_forgotten_mount_is_gone_its_data_is_not(host):
    assert not host.mount_point("/mnt/vault-of-all").exists
    assert host.check_output("ls /etc/systemd/system").count("rclone-") == 1
    assert len(host.check_output("ls /srv/cloud/vault").split()) == 1
