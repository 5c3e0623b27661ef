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
    wanted = "pg_dump --clean --if-exists --username=postgres --dbname=app --snapshot=0000-1"
    assert dump == f"-- dump by exec 0123456789ab {wanted}"


def test_sqlite_in_use_was_dumped_whole(host):
    command = "mediaserver-backup restic dump --tag app-live latest app-live.sqlite"
    dump = host.check_output(f"{command} | tr -cd '[:print:]'")
    assert "SQLite format 3" in dump
    assert "committed" in dump
    assert "pending" not in dump
    files = host.check_output("mediaserver-backup restic ls --tag app-data latest").splitlines()
    assert "/srv/app/note.txt" in files
    assert not [name for name in files if "live.db" in name]


def test_restore_brought_the_service_back(host):
    note = host.file("/srv/app/note.txt")
    assert (note.content_string, note.mode, note.user) == ("precious\n", 0o600, "root")
    assert (host.file("/srv/app").user, host.file("/srv/app").mode) == ("nobody", 0o750)
    assert not host.file("/srv/app/later.txt").exists
    assert host.file("/srv/app/.marker").exists, "left out of the backup, carried over from the old state"
    program = """
import sqlite3
print(sqlite3.connect("file:/srv/app/live.db?mode=ro", uri=True).execute("SELECT v FROM t").fetchall())
"""
    assert host.check_output(f"python3 -c '{program}'") == "[('committed',)]"
    assert host.file("/srv/app/live.db").user == "nobody"
    assert host.service("live").is_running


def test_restore_kept_the_old_state(host):
    (kept,) = host.check_output("ls -d /srv/app.before-*").splitlines()
    assert host.file(f"{kept}/note.txt").content_string == "ruined\n"
    assert host.file(f"{kept}/later.txt").content_string == "new\n"
    assert host.check_output("find /srv /var/lib/mediaserver -name '*restoring*'") == ""


def test_restore_loads_the_dump_before_it_exchanges_the_databases(host):
    told = host.file("/srv/psql.log").content_string
    last = told[told.rindex("compose --project-directory /srv up") :]
    marks = [
        "up --detach --wait",
        'DROP DATABASE IF EXISTS "app_restoring"',
        'CREATE DATABASE "app_restoring"',
        "-- dump by",
        "ANALYZE",
        'ALTER DATABASE "app" RENAME TO "app_before_',
        'ALTER DATABASE "app_restoring" RENAME TO "app"; COMMIT;',
    ]
    places = [last.index(mark) for mark in marks]
    assert places == sorted(places)


def test_sqlite_that_never_was_there_is_awaited(host):
    lines = host.file("/var/lib/mediaserver/metrics/backup.prom").content_string.splitlines()
    assert not [line for line in lines if "last_run_successful" in line and "app-later" in line]
    assert [line for line in lines if "due_timestamp" in line and "app-later" in line]


def test_prometheus_learns_of_it(host):
    lines = host.file("/var/lib/mediaserver/metrics/backup.prom").content_string.splitlines()
    for job, service in (("app-data", "app"), ("app-main", "app"), ("app-missing", "other")):
        labels = f'backup="{job}",repository="local",service="{service}"'
        assert f"mediaserver_backup_last_run_successful{{{labels}}} 1" in lines
    assert any(line.startswith('mediaserver_backup_last_check_timestamp_seconds{repository="local"}') for line in lines)
    assert host.file("/var/lib/mediaserver/metrics/backup.prom").mode == 0o644


def test_drill_left_its_result_and_nothing_else(host):
    lines = host.file("/var/lib/mediaserver/metrics/backup.prom").content_string.splitlines()
    for service in ("app", "other"):
        assert f'mediaserver_drill_last_run_successful{{repository="local",service="{service}"}} 1' in lines
    assert host.service("mediaserver-drill.timer").is_enabled
    assert not host.file("/var/lib/mediaserver/backup/drill").exists
