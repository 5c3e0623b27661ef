# SPDX-License-Identifier: MIT
"""What a host of role ingest is like after its runs. Reads only."""

from __future__ import annotations

import json

LIBRARY = "/mnt/photos/library/phone"


def test_photos_are_in_both_places_and_nothing_was_overwritten(host):
    assert host.file("/srv/cloud/Camera/a.jpg").content_string == "photo"
    assert host.file(f"{LIBRARY}/a.jpg").content_string == "mine"
    copy = host.file(f"{LIBRARY}/a (2).jpg")
    assert (copy.content_string, copy.mode, copy.uid, copy.gid) == ("photo", 0o644, 1000, 1000)


def test_videos_are_here_only(host):
    assert not host.file("/srv/cloud/Camera/sub/b.mp4").exists
    assert not host.file("/srv/cloud/Camera/d.mov").exists
    assert host.file(f"{LIBRARY}/sub/b.mp4").content_string == "video"
    assert host.file(f"{LIBRARY}/d.mov").content_string == "second"
    age = host.check_output(f"stat -c %Y {LIBRARY}/sub/b.mp4")
    assert int(host.check_output("date +%s")) - int(age) > 86400, "it keeps its time"


def test_an_upload_under_way_is_left_alone(host):
    assert host.file("/srv/cloud/Camera/.pending-1-c.mp4").exists
    assert not host.file(f"{LIBRARY}/.pending-1-c.mp4").exists


def test_every_deletion_stands_in_the_manifest_and_in_the_backup(host):
    path = "/var/lib/mediaserver/ingest/manifest/deleted.jsonl"
    lines = [json.loads(line) for line in host.file(path).content_string.splitlines()]
    assert [line["path"] for line in lines] == ["Camera/sub/b.mp4", "Camera/d.mov"]
    for line in lines:
        snapshot = line["backups"][0]["snapshot"]
        found = host.check_output(f"mediaserver-backup restic dump {snapshot} '{line['local']}' | sha256sum")
        assert found.split()[0] == line["sha256"]


def test_nothing_unfinished_is_left(host):
    assert host.check_output(f"ls {LIBRARY}/.mediaserver-ingest") == "CACHEDIR.TAG"
    files = host.check_output("mediaserver-backup restic ls latest").splitlines()
    assert not [name for name in files if ".mediaserver-ingest/" in name and not name.endswith("CACHEDIR.TAG")]


def test_timer_runs(host):
    assert host.service("mediaserver-ingest.timer").is_running
    assert host.service("mediaserver-ingest.timer").is_enabled
    assert "05:00:00" in host.check_output("systemctl cat mediaserver-ingest.timer")


def test_prometheus_learns_of_it(host):
    lines = host.file("/var/lib/mediaserver/metrics/ingest.prom").content_string.splitlines()
    assert 'mediaserver_ingest_last_run_successful{ingest="phone"} 1' in lines
    assert 'mediaserver_ingest_files_deleted{ingest="phone"} 2' in lines
    assert host.file("/var/lib/mediaserver/metrics/ingest.prom").mode == 0o644
