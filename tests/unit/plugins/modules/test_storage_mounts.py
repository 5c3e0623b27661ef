# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _mounts_host
from ansible_collections.homelab.mediaserver.plugins.modules import storage_mounts
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, files_below, run_module


class Machine(Commands):
    """Disks are files; what is mounted stands in a file like /proc/self/mountinfo."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root, self.mountinfo = root, root / "mountinfo"
        self.mounted: dict[str, str] = {}
        self.signatures: dict[str, str] = {}
        self.refresh()

    def refresh(self) -> None:
        self.mountinfo.write_text("".join(f"1 0 8:1 / {path} rw - x y rw\n" for path in self.mounted))

    def disk(self, name: str, content: bytes = b"", signature: str = "") -> str:
        path = self.root / "dev" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content + bytes(2 << 20))
        if signature:
            self.signatures[str(path)] = signature
        return str(path)

    def call(self, argv):
        if argv[0] == "blkid":
            self.read(*argv)
            return f"TYPE={self.signatures[argv[-1]]}\n" if argv[-1] in self.signatures else (2, "", "")
        if argv[0].startswith("mkfs."):
            self.write(*argv)
            self.signatures[argv[-1]] = argv[0].removeprefix("mkfs.")
            return 0
        if argv[0] in ("resize2fs", "xfs_growfs"):
            self.write(*argv)
            return 0
        return "the journal's reason\n" if argv[0] == "journalctl" else None

    def systemctl(self, words):
        answer = super().systemctl(words)
        unit = self.root / "units" / words[-1]
        wants = self.root / "units/multi-user.target.wants"
        if words[0] == "enable":
            wants.mkdir(exist_ok=True)
            (wants / words[-1]).symlink_to(unit)
        if words[0] in ("start", "restart", "disable"):
            where = next(line[6:] for line in unit.read_text().splitlines() if line.startswith("Where="))
            self.mounted.pop(where, None)
            if words[0] != "disable":
                self.mounted[where] = unit.name
            self.refresh()
        if words[0] == "disable":
            (wants / words[-1]).unlink()
        return answer


@pytest.fixture
def machine(tmp_path, monkeypatch):
    fake = Machine(tmp_path)
    (tmp_path / "units").mkdir()
    host = _mounts_host.Host
    monkeypatch.setattr(
        storage_mounts,
        "Host",
        lambda run: host(run, tmp_path / "units", tmp_path / "stamps", fake.mountinfo),
    )
    monkeypatch.setattr(_mounts_host, "set_immutable", lambda _path, _on: False)
    return fake


@pytest.fixture
def run(machine, monkeypatch):
    def go(*mounts, check=False, **args):
        return run_module(storage_mounts, machine, {"mounts": list(mounts), **args}, monkeypatch, check)

    return go


@pytest.fixture
def media(tmp_path):
    return {"class": "media", "path": f"{tmp_path}/mnt/media", "kind": "virtiofs", "source": "media"}


@pytest.fixture
def database(tmp_path, monkeypatch):
    # disks of the fake are files below a folder of the test
    monkeypatch.setattr(_mounts_host.Host, "grown", lambda *_args: False)
    return lambda device: {"class": "database", "path": f"{tmp_path}/mnt/db", "kind": "disk", "source": device}


@pytest.fixture(autouse=True)
def devices_anywhere(monkeypatch):
    real = storage_mounts.clean

    def clean(items):
        items = [dict(item) for item in items]
        mounts = real([{**i, "source": "/dev/x"} if i["kind"] == "disk" else i for i in items])
        sources = {str(Path(i["path"])): i["source"] for i in items if i["kind"] == "disk"}
        for mount in mounts:
            if mount.path in sources:
                object.__setattr__(mount, "source", sources[mount.path])
        return mounts

    monkeypatch.setattr(storage_mounts, "clean", clean)


def test_missing_arguments(run):
    assert run({"path": "/mnt/x"}).failed
    assert run({"path": "/mnt/x", "kind": "floppy"}).failed


def test_check_create_again_update_purge(run, machine, media, tmp_path):
    before = files_below(tmp_path)
    checked = run(media, check=True)
    assert checked["changed"] and files_below(tmp_path) == before

    created = run(media)
    assert created["steps"] == checked["steps"] and created["diff"] == checked["diff"]
    assert media["path"] in machine.mounted
    assert Path(media["path"]).stat().st_mode & 0o777 == 0, "nobody writes into the bare mount point"

    for check in (True, False):
        again = run(media, check=check)
        assert not again["changed"]
        assert not machine.reads and not machine.writes, "no process at all"

    changed = run({**media, "options": ["noatime"]})
    assert [step.split()[0] for step in changed["steps"]] == ["write", "mount"]
    assert "systemctl restart" in machine.writes[-1]

    stayed = run()
    assert not stayed["changed"] and len(stayed["unlisted"]) == 1
    assert run(purge=True)["changed"] and not machine.mounted
    assert not run(purge=True)["changed"]


def test_blank_disk_is_formatted_once(run, machine, database):
    disk = machine.disk("blank")
    run(database(disk))
    assert f"mkfs.ext4 -q -L database {disk}" in machine.writes
    assert not run(database(disk))["changed"]


def test_disk_that_is_mounted_elsewhere_is_refused(run, machine, database):
    """As the system's own: it holds ext4 too. A bind of one of its folders is no such mount."""
    disk = machine.disk("card", b"", "ext4")  # a file has device number 0:0
    machine.mountinfo.write_text("1 0 0:0 /immich /srv/bound rw - ext4 x rw\n")
    assert run(database(disk), check=True)["changed"]
    machine.mountinfo.write_text("1 0 0:0 / / rw - ext4 x rw\n2 0 0:0 / /boot rw - ext4 x rw\n")
    for check in (True, False):
        result = run(database(disk), check=check)
        assert result.failed and f"{disk} is mounted at /, /boot already" in result["msg"]
    assert not machine.writes


@pytest.mark.parametrize(
    ("content", "signature", "found"),
    [
        (b"", "xfs", "holds xfs"),
        (b"", "LVM2_member", "holds LVM2_member"),
        (b"\0" * 5000 + b"secret", "", "holds data"),
    ],
)
def test_disk_that_holds_anything_is_never_formatted(run, machine, database, content, signature, found):
    disk = machine.disk("full", content, signature)
    for check in (True, False):
        result = run(database(disk), check=check)
        assert found in result["msg"] and "not formatted" in result["msg"]
        assert machine.writes == []


def test_disk_with_the_wanted_file_system_is_used_as_it_is(run, machine, database):
    disk = machine.disk("old", b"\1", "ext4")
    run(database(disk))
    assert not any(line.startswith("mkfs") for line in machine.writes)


def test_disk_that_got_content_since_it_was_read_is_not_formatted(run, machine, database, monkeypatch):
    disk = machine.disk("raced")
    real = _mounts_host.Host.content
    answers = iter([None])
    monkeypatch.setattr(_mounts_host.Host, "content", lambda self, device: next(answers, real(self, device)))
    machine.signatures[disk] = "zfs_member"
    assert "holds zfs_member" in run(database(disk))["msg"]
    assert machine.writes == []


def test_blank_disk_with_format_never(run, machine, database):
    assert "format is never" in run(database(machine.disk("blank")), format="never")["msg"]


def test_disk_that_is_not_attached(run, database, tmp_path):
    gone = f"{tmp_path}/dev/gone"
    assert not run(database(gone), check=True).failed, "in a dry run the guest may not exist yet"
    assert "Is the disk attached?" in run(database(gone))["msg"]


def test_directory_that_holds_something_is_not_mounted_over(run, machine, media):
    Path(media["path"]).mkdir(parents=True)
    (Path(media["path"]) / "film.mkv").touch()
    result = run(media)
    assert "holds film.mkv" in result["msg"] and result["failure"]["entries"] == ["film.mkv"]
    assert machine.writes == []


def test_run_killed_between_writing_and_mounting_converges(run, machine, media, tmp_path):
    run(media)
    machine.fail["systemctl restart"] = "killed"
    assert run({**media, "options": ["noatime"]}).failed
    machine.fail.clear()
    result = run({**media, "options": ["noatime"]})
    assert "systemctl restart" in machine.writes[-1] and result["changed"]
    assert not run({**media, "options": ["noatime"]})["changed"]


def test_mount_that_fails_says_why(run, machine, media):
    machine.fail["systemctl start"] = "Job failed"
    assert run(media)["msg"] == f"Unable to mount media at {media['path']}: the journal's reason"


def test_grown_disk(run, machine, database, monkeypatch):
    disk = machine.disk("disk")
    run(database(disk))
    monkeypatch.setattr(_mounts_host.Host, "grown", lambda *_args: True)
    result = run(database(disk))
    assert machine.writes == [f"resize2fs {disk}"]
    assert result["diff"]["before"][database(disk)["path"]]["fills_disk"] is False


def test_plain_directory(run, machine, tmp_path):
    local = {"path": f"{tmp_path}/srv/x", "kind": "local"}
    assert run(local)["changed"]
    assert not run(local)["changed"]
    assert not machine.mounted
