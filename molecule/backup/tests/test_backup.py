# SPDX-License-Identifier: MIT
"""What a host of role backup is like after its runs. Reads only."""

from __future__ import annotations

import json


def snapshots(host) -> list[dict]:
    return json.loads(host.check_output("mediaserver-backup restic snapshots --json"))


def test_password_is_roots_alone(host):
    for name in ("/etc/restic/passwd", "/etc/restic/environment.json"):
        assert (host.file(name).mode, host.file(name).user) == (0o400, "root")
    assert "molecule-not-secret" not in host.file("/etc/mediaserver/backup.json").content_string


def test_timer_runs(host):
    assert host.service("mediaserver-backup.timer").is_running
    assert host.service("mediaserver-backup.timer").is_enabled
    assert "02:30:00" in host.check_output("systemctl cat mediaserver-backup.timer")


def test_every_job_has_whole_snapshots(host):
    tags = [one["tags"][0] for one in snapshots(host)]
    assert sorted(set(tags)) == ["app-data", "app-live", "app-main", "app-missing"]
    assert {one["hostname"] for one in snapshots(host)} == {"molecule"}


def test_what_was_saved_comes_back(host):
    assert host.check_output("mediaserver-backup restic dump --tag app-data latest /srv/app/note.txt") == "precious"
    dump = host.check_output("mediaserver-backup restic dump --tag app-main latest app-main.sql")
    assert dump == "-- dump by exec 0123456789ab pg_dump --clean --if-exists --username=postgres --dbname=app"


def test_sqlite_in_use_was_dumped_whole(host):
    command = "mediaserver-backup restic dump --tag app-live latest app-live.sqlite"
    dump = host.check_output(f"{command} | tr -cd '[:print:]'")
    assert "SQLite format 3" in dump
    assert "committed" in dump
    assert "pending" not in dump
    files = host.check_output("mediaserver-backup restic ls --tag app-data latest").splitlines()
    assert "/srv/app/note.txt" in files
    assert not [name for name in files if "live.db" in name]
    assert host.file("/srv/app/live.db-wal").user == "nobody"


def test_sqlite_that_never_was_there_is_awaited(host):
    lines = host.file("/var/lib/mediaserver/metrics/backup.prom").content_string.splitlines()
    assert not [line for line in lines if "last_run_successful" in line and "app-later" in line]
    assert [line for line in lines if "due_timestamp" in line and "app-later" in line]


def test_prometheus_learns_of_it(host):
    lines = host.file("/var/lib/mediaserver/metrics/backup.prom").content_string.splitlines()
    for job in ("app-data", "app-main", "app-missing"):
        assert f'mediaserver_backup_last_run_successful{{backup="{job}",service="app"}} 1' in lines
    assert any(line.startswith('mediaserver_backup_last_check_timestamp_seconds{repository="local"}') for line in lines)
    assert host.file("/var/lib/mediaserver/metrics/backup.prom").mode == 0o644
