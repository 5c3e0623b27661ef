"""The ingest program: decisions, names and hashes; whole runs against a cloud and a repository in memory.

Real rclone, real restic and real kills: tests/faults/ingest_faults.py.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = ROOT / "roles/ingest/files"
NAMES = ("ingest_parts", "ingest_stores", "ingest_cloud", "mediaserver_ingest")
NOW = 1_800_000_000.0
OLD = "2020-01-02T03:04:05.123456789Z"


def load() -> dict[str, ModuleType]:
    for name in NAMES:
        sys.modules.pop(name, None)
    return {name: importlib.import_module(name) for name in NAMES}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(FILES))
    yield load()
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def parts(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["ingest_parts"]


# --- parts ----------------------------------------------------------------------------------------------------------
def test_hashes_are_those_of_rclone(parts: ModuleType, tmp_path: Path) -> None:
    """Values of `rclone hashsum` 1.60.1; the first three bytes are checked by hand in the backend's own tests too."""
    (tmp_path / "hi").write_bytes(b"hi\n")
    assert parts.digest_file(tmp_path / "hi", *parts.HASHES) == (
        3,
        {
            "sha256": "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4",
            "dropbox": "e9b13fa893a0712888b981c525831b2a700efad1ced964ef391cdd712cd12d36",
            "sha1": "55ca6286e3e4f4fba5d0448333fa99fc5a404a73",
            "md5": "764efa883dda1e11db47671c4a3bbd9e",
            "quickxor": "6848830200000000000000000300000000000000",
        },
    )


@pytest.mark.parametrize("size", [0, 1, 159, 160, 161, 480, 1601, (4 << 20) - 1, 4 << 20, (4 << 20) + 1])
def test_hashes_do_not_depend_on_the_pieces(parts: ModuleType, size: int) -> None:
    dice = random.Random(size)
    data = dice.randbytes(size)
    for make in parts.HASHES.values():
        whole, pieces, at = make(), make(), 0
        whole.update(data)
        while at < size:
            step = dice.randrange(1, max(2, size // 3))
            pieces.update(data[at : at + step])
            at += step
        assert whole.hexdigest() == pieces.hexdigest()


def test_quickxor_is_its_definition(parts: ModuleType) -> None:
    data = random.Random(7).randbytes(1000)
    value = 0
    for index, byte in enumerate(data):
        value ^= (byte << (index * 11 % 160)) & ((1 << 160) - 1) | (byte << (index * 11 % 160)) >> 160
    expected = (value ^ len(data) << 96).to_bytes(20, "little").hex()
    one = parts.QuickXor()
    one.update(data)
    assert one.hexdigest() == expected


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ({}, ("", "")),
        ({"crc32": "1", "mailru": "2", "whirlpool": "3"}, ("", "")),
        ({"md5": "AB", "sha1": "CD"}, ("sha1", "cd")),
        ({"MD5": "ab", "SHA-1": ""}, ("md5", "ab")),
        ({"DropboxHash": "ee"}, ("dropbox", "ee")),
        ({"QuickXorHash": "aa"}, ("quickxor", "aa")),
        ({"sha256": "1", "sha1": "2"}, ("sha256", "1")),
    ],
)
def test_the_best_hash_is_chosen(parts: ModuleType, offered: dict[str, str], chosen: tuple[str, str]) -> None:
    assert parts.choose_hash(offered) == chosen


@pytest.mark.parametrize(
    ("name", "mime", "family"),
    [
        ("a/IMG.JPG", "", "photos"),
        ("a.HEIC", "application/octet-stream", "photos"),
        ("a.MP4", "", "videos"),
        ("a.mov", "image/jpeg", "videos"),
        ("clip", "video/mp4", "videos"),
        ("scan.xyz", "image/x-new", "photos"),
        ("notes.pdf", "application/pdf", "other"),
        ("mp4", "", "other"),
    ],
)
def test_photos_and_videos(parts: ModuleType, name: str, mime: str, family: str) -> None:
    assert parts.family(name, mime) == family


@pytest.mark.parametrize(
    "name",
    [
        "a.mp4.partial",
        "b.part",
        "c.tmp",
        "d.jpg~",
        "e.crdownload",
        "x/.pending-17-a.mp4",
        "~$f.jpg",
        "._g.mov",
        "H.TMP",
    ],
)
def test_unfinished_uploads_are_seen_by_their_names(parts: ModuleType, name: str) -> None:
    assert parts.unfinished(name)
    assert not parts.unfinished("tmp/party.mp4")


def entry(parts: ModuleType, path: str = "a.mp4", size: int = 5, **more: Any) -> Any:
    return parts.Entry(path, path, size, more.pop("modtime", OLD), **{"kind": "sha1", "hash": "ab", **more})


def row(parts: ModuleType, one: Any, state: str, seen: float = 0.0) -> Any:
    return parts.Row(one.identity, seen, state)


def test_decisions(parts: ModuleType) -> None:
    def decide(one: Any, known: Any, twins: frozenset[str] = frozenset(), **rules: Any) -> str:
        return str(parts.decide(one, known, parts.Rules(**rules), NOW, twins)[0])

    video, photo = entry(parts), entry(parts, "a.jpg")
    young = datetime.fromtimestamp(NOW - 100, UTC).isoformat()
    assert decide(entry(parts, "a.pdf"), parts.Row()) == "skip"
    assert decide(video, parts.Row(), move=()) == "skip"
    assert decide(entry(parts, "a.mp4.part"), parts.Row()) == "skip", "its ending is no video's"
    assert decide(entry(parts, ".pending-1-a.mp4"), parts.Row()) == "leave"
    assert decide(entry(parts, size=-1), parts.Row()) == "leave"
    assert decide(video, row(parts, video, "copied"), frozenset(["a.mp4"])) == "leave"
    fresh = entry(parts, modtime=young)
    assert decide(fresh, row(parts, fresh, "copied")) == "wait"
    assert decide(video, parts.Row()) == "wait", "never seen before"
    assert decide(video, row(parts, video, "seen", NOW - 59)) == "wait"
    assert decide(video, row(parts, entry(parts, size=6), "copied")) == "wait", "it has changed"
    assert decide(video, row(parts, video, "seen", NOW - 61)) == "copy"
    assert decide(video, row(parts, video, "deleted")) == "copy", "it came back"
    assert decide(photo, row(parts, photo, "copied")) == "done"
    bare = entry(parts, kind="", hash="")
    assert decide(bare, row(parts, bare, "copied")) == "keep"
    assert decide(video, row(parts, video, "copied")) == "move"


def test_names_on_windows_are_as_rclone_makes_them(parts: ModuleType) -> None:
    assert (
        parts.local_name('a:b/"x"?*|<>\\.jpg', True) == "a\uff1ab/\uff02x\uff02\uff1f\uff0a\uff5c\uff1c\uff1e\uff3c.jpg"
    )
    assert (
        parts.local_name("tab\there/end. ./dot.", True)
        == "tab\u2409here/end.\u2420.".replace("\u2420.", " \uff0e") + "/dot\uff0e"
    )
    assert parts.local_name("space /x", True) == "space\u2420/x"
    assert parts.local_name("con/Aux.jpg/console", True) == "_con/_Aux.jpg/console"
    assert parts.local_name("a:b ?.jpg", False) == "a:b ?.jpg"


def test_names_that_no_disk_takes_are_not_fetched(parts: ModuleType) -> None:
    with pytest.raises(parts.Problem, match="longer than names may be"):
        parts.local_name(f"a/{'é' * 130}.mp4", False)
    assert parts.local_name("é" * 100, False)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//b", ".", "a/\0b", ".mediaserver-ingest/x"])
def test_names_that_lead_elsewhere_are_refused(parts: ModuleType, name: str) -> None:
    with pytest.raises(parts.Problem, match="no name that may be written"):
        parts.local_name(name, False)


def test_restic_names_drives_as_folders(parts: ModuleType) -> None:
    assert parts.snapshot_path("D:\\Immich\\library\\a b.mp4") == "/D/Immich/library/a b.mp4"
    assert parts.snapshot_path("/mnt/photos/a.mp4") == "/mnt/photos/a.mp4"
    assert parts.lies_below("D:\\Immich\\a.mp4", "D:\\Immich")
    assert not parts.lies_below("/mnt/photos2/a", "/mnt/photos")


def test_numbers(parts: ModuleType) -> None:
    assert parts.parse_number("1.5G", parts.SIZES) == 1.5 * 2**30
    assert parts.parse_number("2h", parts.TIMES) == 7200
    assert parts.parse_number(60, parts.TIMES) == 60
    with pytest.raises(parts.Problem, match="no number"):
        parts.parse_number("soon", parts.TIMES)


def test_a_name_is_never_taken_from_another_file(parts: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "there").write_text("old")
    assert parts.place(tmp_path / "new", tmp_path / "there") is False
    assert (tmp_path / "there").read_text() == "old"
    assert parts.place(tmp_path / "new", tmp_path / "free") is True
    assert not (tmp_path / "new").exists()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert parts.place(tmp_path / "free", tmp_path / "link") is False


def test_a_torn_line_of_the_manifest_spoils_no_other(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    manifest = modules["ingest_stores"].Manifest(tmp_path / "m/deleted.jsonl")
    manifest.add({"deletion": "1"})
    with manifest.path.open("a") as stream:
        stream.write('{"deletion": "2"')
    manifest.add({"deletion": "3"})
    manifest.add({"deletion": "3"}, again=True)
    manifest.add({"deletion": "4"}, again=True)
    assert manifest.path.read_text().splitlines() == [
        '{"deletion": "1"}',
        '{"deletion": "2"',
        '{"deletion": "3"}',
        '{"deletion": "4"}',
    ]


def test_two_runs_do_not_meet(parts: ModuleType, tmp_path: Path) -> None:
    with parts.Lock(tmp_path / "lock", "another run"), pytest.raises(parts.Problem, match="another run"):
        parts.Lock(tmp_path / "lock", "another run").__enter__()
    with parts.Lock(tmp_path / "lock", "another run"):
        pass


def test_it_loads_without_what_only_linux_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on Windows: no fcntl, locks by msvcrt (a stand-in here), no posix_fadvise, no chown."""
    taken: list[int] = []

    class Msvcrt(ModuleType):
        LK_NBLCK = 2

        @staticmethod
        def locking(handle: int, _mode: int, _length: int) -> None:
            if taken:
                raise OSError("locked")
            taken.append(handle)

    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name in ("fcntl", "pwd", "grp", "resource", "termios"):
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(FILES))
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt("msvcrt"))
    monkeypatch.delitem(sys.modules, "fcntl", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delattr(os, "posix_fadvise")
    monkeypatch.delattr(os, "chown")
    parts = load()["ingest_parts"]
    assert parts.fcntl is None
    with parts.Lock(tmp_path / "lock", "another run"), pytest.raises(parts.Problem, match="another run"):
        parts.Lock(tmp_path / "lock", "another run").__enter__()
    (tmp_path / "a").write_bytes(b"hi\n")
    assert parts.digest_file(tmp_path / "a", "md5") == (3, {"md5": "764efa883dda1e11db47671c4a3bbd9e"})
    parts.give_to(tmp_path / "a", (1, 1))
    for name in NAMES:
        sys.modules.pop(name, None)


# --- whole runs -------------------------------------------------------------------------------------------------------
class Killed(BaseException):
    """Stands for SIGKILL between two calls of other programs."""


class House:
    """A cloud and a repository in memory, a target on the disk, and the program between them.

    ``step`` is called before and after everything that happens outside the program, and may raise Killed.
    """

    def __init__(
        self, modules: dict[str, ModuleType], folder: Path, monkeypatch: pytest.MonkeyPatch, **job: Any
    ) -> None:
        self.modules, self.folder = modules, folder
        self.main = modules["mediaserver_ingest"]
        self.target = folder / "library"
        self.target.mkdir()
        self.files: dict[str, tuple[bytes, str, str]] = {}
        self.remotes: dict[str, Any] = {"cloud": {"type": "onedrive"}}
        self.hash = "sha1"
        self.steps = 0
        self.kill_at = 0
        self.deleted: list[str] = []
        self.answers: dict[str, Callable[[str], subprocess.CompletedProcess[str] | None]] = {}
        self.copies: dict[str, dict[str, bytes]] = {}
        self.checked: set[str] = set()
        self.times: dict[str, float] = {}
        self.reads: list[tuple[str, str]] = []
        self.config = {
            "jobs": [{"name": "phone", "remote": "cloud", "target": str(self.target), "mount": None,
                      "schedule": "daily", "min_free": "0", **job}],
            "rclone_config": "none", "settle": 0, "state_dir": str(folder / "state"),
            "metrics_file": str(folder / "ingest.prom"), "lock_file": str(folder / "lock"),
            "backup_config": str(folder / "backup.json"),
        }  # fmt: skip
        (folder / "backup.json").write_text(json.dumps({
            "state_dir": str(folder), "lock_file": str(folder / "backup.lock"), "environment_file": "/nowhere",
            "repositories": [{"name": "local", "path": "/r"}], "password_file": "/p", "cache_dir": "/c",
        }))  # fmt: skip
        monkeypatch.setattr(modules["ingest_cloud"].Rclone, "call", lambda _self, *argv: self.rclone(*argv))
        monkeypatch.setattr(modules["ingest_stores"].Backups, "snapshots", lambda _self, _repository: self.snapshots())
        monkeypatch.setattr(modules["ingest_stores"].Backups, "read", lambda _self, *argv: self.dump(*argv))
        monkeypatch.setattr(self.main, "CONFIG", folder / "ingest.json")

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed

    def run(self, verb: str = "run", *names: str) -> int:
        (self.folder / "ingest.json").write_text(json.dumps(self.config))
        return int(self.main.main([verb, *names]))

    # the cloud
    def put(self, path: str, data: bytes, modtime: str = OLD, number: str = "") -> None:
        self.files[path] = (data, modtime, number)

    def item(self, path: str, name: str) -> dict[str, Any]:
        data, modtime, number = self.files[path]
        hashes = {self.hash: hashlib.new(self.hash, data).hexdigest()} if self.hash else {}
        return {"Path": name, "Name": name, "Size": len(data), "ModTime": modtime, "IsDir": False, "ID": number,
                "MimeType": "", "Hashes": hashes}  # fmt: skip

    def rclone(self, *argv: str) -> subprocess.CompletedProcess[str]:
        self.step()
        verb = "look" if "--stat" in argv else argv[0]
        answer = self.answers.get(verb, lambda _path: None)(argv[-1].partition(":")[2])
        result = answer or self.do(verb, argv)
        self.step()
        return result

    def do(self, verb: str, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        def done(text: str = "", code: int = 0, error: str = "") -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess(argv, code, text, error)

        if verb == "config":
            return done(json.dumps(self.remotes))
        path = argv[-2 if verb == "copyto" else -1].partition(":")[2]
        if verb == "lsjson":
            names = [name for name in self.files if not path or name.startswith(f"{path}/")]
            cut = len(path) + 1 if path else 0
            return (
                done(json.dumps([self.item(name, name[cut:]) for name in names]))
                if names or not path
                else done("[\n", 3)
            )
        if path not in self.files:
            return done("", 3, "directory not found")
        if verb == "look":
            return done(json.dumps(self.item(path, path.rpartition("/")[2])))
        if verb == "copyto":
            Path(argv[-1]).write_bytes(self.files[path][0])
            return done()
        assert verb == "deletefile"
        self.on_delete(path)
        del self.files[path]
        self.deleted.append(path)
        return done()

    def on_delete(self, path: str) -> None:
        """The oracle: safe here, and in a checked snapshot, at the moment of the deletion."""
        data = self.files[path][0]
        assert data in self.local().values(), f"{path} is deleted without a local copy"
        assert any(data in self.copies[one].values() for one in self.checked), f"{path} is deleted without a backup"

    def local(self) -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in sorted(self.target.rglob("*"))
            if path.is_file() and ".mediaserver-ingest" not in path.parts
        }

    def staging(self) -> list[str]:
        return sorted(path.name for path in (self.target / ".mediaserver-ingest").iterdir())

    # the repository
    def backup(self, check: bool = True, ago: float = 0.0) -> str:
        name = f"snapshot{len(self.copies)}"
        self.copies[name] = self.local()
        self.times[name] = time.time() - ago
        if check:
            self.checked = set(self.copies)
        time.sleep(0.002)
        return name

    def snapshots(self) -> list[dict[str, Any]]:
        self.step()
        return [
            {"id": name, "time": datetime.fromtimestamp(self.times[name], UTC).isoformat(), "paths": [str(self.target)]}
            for name in reversed(self.copies)
            if name in self.checked
        ]

    def dump(self, _repository: Any, snapshot: str, path: str) -> tuple[int, str] | None:
        self.step()
        self.reads.append((snapshot, path))
        data = self.copies[snapshot].get(path)
        return None if data is None else (len(data), hashlib.sha256(data).hexdigest())

    def manifest(self) -> list[dict[str, Any]]:
        path = self.folder / "state/manifest/deleted.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def make(modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., House]:
    def build(**job: Any) -> House:
        folder = tmp_path / f"house{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return House(modules, folder, monkeypatch, **job)

    return build


def test_photos_are_copied_and_videos_moved(make: Callable[..., House]) -> None:
    house = make(paths=["Camera"])
    house.put("Camera/a.jpg", b"photo")
    house.put("Camera/sub/b.mp4", b"video")
    house.put("Camera/c.pdf", b"paper")
    house.put("Other/d.mp4", b"not below the path")
    assert house.run() == 0
    assert house.local() == {str(house.target / "a.jpg"): b"photo", str(house.target / "sub/b.mp4"): b"video"}
    assert house.deleted == []
    house.backup(check=False)
    assert house.run() == 0
    assert house.deleted == [], "no check has looked at the snapshot"
    house.checked = set(house.copies)
    assert house.run() == 0
    assert house.deleted == ["Camera/sub/b.mp4"]
    (line,) = house.manifest()
    assert (line["remote"], line["path"], line["size"]) == ("cloud", "Camera/sub/b.mp4", 5)
    assert line["sha1"] == hashlib.sha1(b"video").hexdigest()
    assert line["sha256"] == hashlib.sha256(b"video").hexdigest()
    assert line["local"] == str(house.target / "sub/b.mp4")
    assert line["backups"] == [{"repository": "local", "snapshot": "snapshot0"}]
    assert house.run() == 0
    assert len(house.manifest()) == 1
    assert house.staging() == ["CACHEDIR.TAG"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_anywhere_it_converges(make: Callable[..., House], after: bool) -> None:
    """Killed at every single call of another program, then run again: the same end, nothing lost, nothing twice."""
    total = 0
    for kill in range(1, 200):
        house = make()
        for name in ("a.jpg", "b.mp4", "c.mov"):
            house.put(name, name.encode() * 9)
        if after:
            house.run()
            house.backup()
            house.steps = 0
        house.kill_at = kill
        try:
            house.run()
            total = kill - 1
            break
        except Killed:
            house.kill_at = 0
        house.run()
        house.backup()
        assert house.run() == 0
        assert sorted(house.deleted) == ["b.mp4", "c.mov"]
        assert sorted(line["path"] for line in house.manifest()) == ["b.mp4", "c.mov"]
        assert sorted(house.local().values()) == [name.encode() * 9 for name in ("a.jpg", "b.mp4", "c.mov")]
        assert house.staging() == ["CACHEDIR.TAG"]
    assert total > 10, "the run was never killed"


def test_an_answer_that_gets_lost_is_looked_for(make: Callable[..., House]) -> None:
    house = make()
    house.put("a.mp4", b"one")
    house.put("b.mp4", b"two")
    house.run()
    house.backup()

    def lost(path: str) -> subprocess.CompletedProcess[str]:
        if path == "a.mp4":
            house.on_delete(path)
            del house.files[path]
        return subprocess.CompletedProcess([], 1, "", "HTTP error 500")

    house.answers["deletefile"] = lost
    assert house.run() == 1, "b.mp4 is still there, and that is told"
    assert [line["path"] for line in house.manifest()] == ["a.mp4"]
    house.answers.clear()
    assert house.run() == 0
    assert [line["path"] for line in house.manifest()] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("when", ["before the listing", "before the last look"])
def test_a_deletion_that_takes_place_after_it_was_looked_for(make: Callable[..., House], when: str) -> None:
    """The remote is slow: it still lists the file when it is asked, and deletes it later. The manifest tells of it."""
    house = make()
    house.put("a.mp4", b"one")
    house.run()
    house.backup()
    house.answers["deletefile"] = lambda _path: subprocess.CompletedProcess([], 1, "", "time-out")
    assert house.run() == 1
    assert house.manifest() == []

    def late(path: str) -> None:
        if path in house.files:
            house.on_delete(path)
            del house.files[path]

    house.answers.clear()
    if when == "before the listing":
        late("a.mp4")
    else:
        house.answers["look"] = late
    house.run()
    assert [line["path"] for line in house.manifest()] == ["a.mp4"]
    assert house.run() == 0
    assert len(house.manifest()) == 1
    assert house.staging() == ["CACHEDIR.TAG"]


@pytest.mark.parametrize("what", ["size", "content", "modtime", "gone"])
def test_a_file_that_changes_at_the_last_moment_stays(make: Callable[..., House], what: str) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    house.backup()
    changed = {
        "size": (b"videos", OLD, ""),
        "content": (b"VIDEO", OLD, ""),
        "modtime": (b"video", "2021-01-01T00:00:00Z", ""),
    }

    def meddle(path: str) -> None:
        house.files.pop(path, None)
        if what in changed:
            house.files[path] = changed[what]

    house.answers["look"] = meddle
    house.run()
    assert house.deleted == [] and house.manifest() == []


@pytest.mark.parametrize("how", ["changed", "missing", "symlink"])
def test_a_local_copy_that_is_not_right_saves_the_clouds(make: Callable[..., House], how: str, tmp_path: Path) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    house.backup()
    copy = house.target / "a.mp4"
    copy.unlink()
    if how == "changed":
        copy.write_bytes(b"VIDEO")
    elif how == "symlink":
        (tmp_path / "elsewhere").write_bytes(b"video")
        copy.symlink_to(tmp_path / "elsewhere")
    assert house.run() == 1
    assert house.deleted == []
    assert house.run() == 0
    assert b"video" in house.local().values(), "it is fetched again"
    if how == "changed":
        assert house.local()[str(copy)] == b"VIDEO", "what somebody put there stays"


def test_a_backup_that_is_not_right_saves_the_clouds(make: Callable[..., House]) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    old = house.backup()
    house.times[old] = time.time() - 10_000
    house.run()
    assert house.deleted == [], "a snapshot from before the copy"
    new = house.backup()
    house.copies[new] = {str(house.target / "a.mp4"): b"vide0"}
    house.run()
    assert house.deleted == [], "another content under the path"
    house.copies[new] = {}
    house.run()
    assert house.deleted == [], "a snapshot without the file"
    house.backup()
    house.run()
    assert house.deleted == ["a.mp4"]


def test_deletions_wait_while_a_backup_runs(make: Callable[..., House], parts: ModuleType) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    house.backup()
    with parts.Lock(house.folder / "backup.lock", "a backup"):
        assert house.run() == 0
    assert house.deleted == []


def test_without_hashes_nothing_is_moved(make: Callable[..., House], capsys: pytest.CaptureFixture[str]) -> None:
    house = make()
    house.hash = ""
    house.put("a.mp4", b"video")
    house.run()
    house.backup()
    assert house.run() == 0
    assert house.local() and house.deleted == []
    assert "the remote gives no hash: it is copied, and never deleted there" in capsys.readouterr().out
    assert 'mediaserver_ingest_files_without_hash{ingest="phone"} 1' in (house.folder / "ingest.prom").read_text()


def test_what_arrives_damaged_is_not_kept(make: Callable[..., House]) -> None:
    house = make()
    house.put("a.mp4", b"video")
    fetch = house.do

    def damaged(verb: str, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        result = fetch(verb, argv)
        if verb == "copyto":
            Path(argv[-1]).write_bytes(b"vide0")
        return result

    house.do = damaged  # type: ignore[method-assign]
    assert house.run() == 1
    assert house.local() == {} and house.staging() == ["CACHEDIR.TAG"]


def test_names_that_are_taken(make: Callable[..., House]) -> None:
    house = make()
    (house.target / "a.mp4").write_bytes(b"mine")
    (house.target / "b.mp4").write_bytes(b"same")
    house.put("a.mp4", b"theirs")
    house.put("b.mp4", b"same")
    house.put("copy/of b.mp4", b"same")
    house.put("copy/of a.mp4", b"theirs")
    house.run()
    assert house.local() == {
        str(house.target / "a.mp4"): b"mine",
        str(house.target / "a (2).mp4"): b"theirs",
        str(house.target / "b.mp4"): b"same",
    }
    house.backup()
    assert house.run() == 0
    assert house.files == {}
    assert len(house.manifest()) == 4


def test_a_lost_journal_costs_no_second_copy(make: Callable[..., House]) -> None:
    house = make()
    (house.target / "b.mp4").write_bytes(b"another")
    house.put("a.mp4", b"video")
    house.put("b.mp4", b"clash")
    house.run()
    before = house.local()
    (house.folder / "state/journal.sqlite").unlink()
    house.run()
    assert house.local() == before


def test_twins_are_left_alone(make: Callable[..., House], capsys: pytest.CaptureFixture[str]) -> None:
    house = make()
    house.put("a.mp4", b"video", number="1")
    do = house.do

    def twice(verb: str, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        result = do(verb, argv)
        if verb == "lsjson":
            items = json.loads(result.stdout)
            result.stdout = json.dumps([*items, {**items[0], "ID": "2"}])
        return result

    house.do = twice  # type: ignore[method-assign]
    house.run()
    assert house.local() == {}
    assert "2 left alone: the remote has several files of this name" in capsys.readouterr().out


def test_the_target_itself_is_no_source(make: Callable[..., House], capsys: pytest.CaptureFixture[str]) -> None:
    house = make()
    house.put(".mediaserver-ingest/CACHEDIR.TAG", b"x")
    house.put("a.mp4", b"video")
    assert house.run() == 1
    assert "it shows the target" in capsys.readouterr().err


def test_a_deletion_that_hits_the_copy_is_undone(
    make: Callable[..., House], capsys: pytest.CaptureFixture[str]
) -> None:
    """A remote that is a part of the target, in a way nobody could see before."""
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    house.backup()

    def both(path: str) -> subprocess.CompletedProcess[str]:
        del house.files[path]
        (house.target / "a.mp4").unlink()
        return subprocess.CompletedProcess([], 0, "", "")

    house.answers["deletefile"] = both
    assert house.run() == 1
    assert "was put back" in capsys.readouterr().err
    assert house.local() == {str(house.target / "a.mp4"): b"video"}


@pytest.mark.parametrize(
    "remotes",
    [
        {"cloud": {"type": "google photos"}},
        {"cloud": {"type": "alias", "remote": "g:album"}, "g": {"type": "google photos"}},
        {"cloud": {"type": "union", "upstreams": "x:a g:b"}, "x": {"type": "drive"}, "g": {"type": "google photos"}},
        {"cloud": {"type": "combine", "upstreams": 'a=x: "b=g:c d"'}, "x": {}, "g": {"type": "google photos"}},
        {"cloud": {"type": "alias", "remote": "my photos:a"}, "my photos": {"type": "google photos"}},
        {"cloud": {"type": "crypt", "remote": "g,read_only=true:a"}, "g": {"type": "google photos"}},
        {"cloud": {"type": "alias", "remote": ":gphotos,token=x:album"}},
    ],
)
def test_google_photos_is_refused(
    make: Callable[..., House], remotes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    house = make()
    house.remotes = remotes
    house.put("a.mp4", b"video")
    assert house.run() == 1
    assert house.run("plan") == 1
    text = capsys.readouterr().err
    for word in ("OneDrive", "Google Drive", "Dropbox", "Takeout", "immich-go"):
        assert word in text
    assert house.local() == {}


def test_quota_and_free_space(make: Callable[..., House], capsys: pytest.CaptureFixture[str]) -> None:
    house = make(quota="12")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        house.put(name, name.encode())
    assert house.run() == 1
    assert len(house.local()) == 2
    assert "the job's quota is used up" in capsys.readouterr().err
    assert 'mediaserver_ingest_room_used_up{ingest="phone"} 1' in (house.folder / "ingest.prom").read_text()
    house = make(min_free="900000T")
    house.put("a.jpg", b"x")
    assert house.run() == 1
    assert house.local() == {}


def test_a_missing_mount_or_folder_stops_the_job(
    make: Callable[..., House], capsys: pytest.CaptureFixture[str]
) -> None:
    house = make()
    house.put("a.jpg", b"x")
    house.config["jobs"][0]["mount"] = str(house.target)  # type: ignore[index]
    assert house.run() == 1
    assert "is not mounted" in capsys.readouterr().err
    house.config["jobs"][0].update(mount=None, target=str(house.folder / "nowhere"))  # type: ignore[index]
    assert house.run() == 1
    assert "there is no such folder" in capsys.readouterr().err


def test_a_listing_that_fails_changes_nothing(make: Callable[..., House]) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    house.backup()
    partial = json.dumps([house.item("a.mp4", "a.mp4")])
    house.answers["lsjson"] = lambda _path: subprocess.CompletedProcess([], 1, partial, "HTTP error 500")
    assert house.run() == 1
    house.answers["lsjson"] = lambda _path: subprocess.CompletedProcess([], 3, partial, "directory not found")
    assert house.run() == 1
    assert house.deleted == []


def test_a_folder_that_is_gone_is_empty(make: Callable[..., House]) -> None:
    house = make(paths=["Camera"])
    assert house.run() == 0


def test_what_was_read_from_a_snapshot_is_read_once(make: Callable[..., House]) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    house.backup()
    house.answers["deletefile"] = lambda _path: subprocess.CompletedProcess([], 1, "", "500")
    house.run()
    house.run()
    assert len(house.reads) == 1
    house.checked = set()
    house.answers.clear()
    house.run()
    assert house.deleted == [], "it no longer counts as checked"


def test_due_plan_and_status(make: Callable[..., House], capsys: pytest.CaptureFixture[str]) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.put("b.jpg", b"photo")
    assert house.run("plan", "phone") == 0
    assert "copy  a.mp4" in capsys.readouterr().out
    assert house.local() == {} and not (house.target / ".mediaserver-ingest").exists()
    assert house.run("due") == 0
    assert len(house.local()) == 2
    house.put("c.jpg", b"more")
    assert house.run("due") == 0
    assert len(house.local()) == 2, "it is not due again yet"
    assert house.run("plan") == 0
    out = capsys.readouterr().out
    assert "move  a.mp4" in out and "in a checked backup" in out and "done  b.jpg" in out
    assert house.run("status") == 0
    assert "1 wait for a checked backup" in capsys.readouterr().out
    assert house.run("run", "phon") == 1
    assert "Unknown job phon; there are: phone" in capsys.readouterr().err
    assert house.run("fetch") == 2


def test_metrics_are_those_of_the_alerts(make: Callable[..., House]) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    lines = (house.folder / "ingest.prom").read_text().splitlines()
    assert 'mediaserver_ingest_files_waiting{ingest="phone"} 1' in lines
    assert 'mediaserver_ingest_last_run_successful{ingest="phone"} 1' in lines
    told = {line.split("{")[0] for line in lines if not line.startswith("#")}
    known = set((Path(__file__).parent / "metrics/node_exporter.txt").read_text().split())
    assert told <= known
    assert {name for name in known if name.startswith("mediaserver_ingest")} == told


def test_immich_is_told_until_it_hears(
    make: Callable[..., House], modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked: list[str] = []

    def scan(_config: Any, name: str) -> None:
        asked.append(name)
        if len(asked) == 1:
            raise OSError("connection refused")

    monkeypatch.setattr(modules["mediaserver_ingest"], "scan_library", scan)
    house = make(library="Photo archive")
    house.config["immich"] = {"url": "http://127.0.0.1:1", "api_key_file": "/nowhere"}
    house.put("a.jpg", b"photo")
    assert house.run() == 0, "only a warning"
    assert "warning: Immich was not told" in capsys.readouterr().out
    house.run()
    house.run()
    assert asked == ["Photo archive"] * 2


def test_immichs_library_is_found_by_its_name(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    seen: list[tuple[str, str, str | None]] = []

    class Immich(BaseHTTPRequestHandler):
        """A stand-in: answers as facts say, a plain list, and 204 to a scan."""

        def log_message(self, *_arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            seen.append(("GET", self.path, self.headers.get("x-api-key")))
            body = json.dumps([{"id": "1", "name": "Archive"}, {"id": "2", "name": "A"}, {"id": "3", "name": "A"}])
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self) -> None:
            seen.append(("POST", self.path, self.headers.get("x-api-key")))
            self.send_response(204)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Immich)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "key").write_text("not-secret\n")
    config = {"immich": {"url": f"http://127.0.0.1:{server.server_port}", "api_key_file": str(tmp_path / "key")}}
    scan = modules["ingest_cloud"].scan_library
    scan(config, "Archive")
    assert seen == [("GET", "/api/libraries", "not-secret"), ("POST", "/api/libraries/1/scan", "not-secret")]
    for name, count in (("A", 2), ("B", 0)):
        with pytest.raises(modules["ingest_parts"].Problem, match=f"Immich has {count} libraries called {name}"):
            scan(config, name)
    server.shutdown()


def test_only_checked_snapshots_of_the_right_folder_and_time_are_read(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restic that only prints: what it is asked, and what of its answers counts."""
    at = datetime.fromtimestamp(NOW, UTC).isoformat()
    listed = [
        {"id": "good", "time": at, "paths": ["/library"]},
        {"id": "unchecked", "time": at, "paths": ["/library"]},
        {"id": "early", "time": "2001-01-01T00:00:00Z", "paths": ["/library"]},
        {"id": "elsewhere", "time": at, "paths": ["/library2"]},
    ]
    (tmp_path / "restic").write_text(f"""#!/bin/sh
echo "$RESTIC_REPOSITORY $RESTIC_PASSWORD_FILE $EXTRA: $*" >>{tmp_path}/asked
case "$2" in snapshots) echo '{json.dumps(listed)}' ;; dump) printf video; exit $(cat {tmp_path}/code) ;; esac
""")
    (tmp_path / "restic").chmod(0o755)
    (tmp_path / "code").write_text("0")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "environment").write_text(json.dumps({"local": {"EXTRA": "credential"}}))
    (tmp_path / "state.json").write_text(
        json.dumps({"checks": {"local": {"snapshots": ["good", "early", "elsewhere"]}}})
    )
    (tmp_path / "backup.json").write_text(json.dumps({
        "state_dir": str(tmp_path), "lock_file": "/nowhere/lock", "environment_file": str(tmp_path / "environment"),
        "repositories": [{"name": "local", "path": "/r"}, {"name": "away", "path": "/a"}],
        "password_file": "/p", "cache_dir": "/c",
    }))  # fmt: skip
    backups = modules["ingest_stores"].Backups(tmp_path / "backup.json")
    row = modules["ingest_parts"].Row(
        copied=NOW - 10, local="/library/a.mp4", sha256=hashlib.sha256(b"video").hexdigest()
    )
    assert backups.may_hold("/library/a.mp4", NOW - 10) == 1
    assert backups.may_hold("/library/a.mp4", NOW + 10) == 0
    found = backups.proofs(row, 5, 1)
    assert [(one["repository"], one["snapshot"]) for one in found] == [("local", "good")]
    assert backups.proofs(row, 6, 1) == [], "another size"
    (tmp_path / "code").write_text("1")
    assert backups.proofs(row, 5, 1) == [], "restic failed after the last byte"
    row.proofs = found
    assert backups.proofs(row, 5, 1) == found, "read once before"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == "/r /p credential: --no-lock snapshots --json"
    assert set(asked[1:]) == {"/r /p credential: --no-lock dump good /library/a.mp4"}
    assert len(asked) == 4


def test_a_new_upload_under_the_name_of_a_file_whose_deletion_was_interrupted(make: Callable[..., House]) -> None:
    house = make()
    house.put("a.mp4", b"video")
    house.run()
    house.backup()

    def killed(path: str) -> None:
        house.on_delete(path)
        del house.files[path]
        raise Killed

    house.answers["deletefile"] = killed
    with pytest.raises(Killed):
        house.run()
    house.answers.clear()
    house.put("a.mp4", b"another", modtime="2021-01-01T00:00:00Z")
    failing = subprocess.CompletedProcess([], 1, "", "HTTP error 500")
    house.answers["look"] = lambda _path: failing
    house.run()
    house.answers.clear()
    assert house.run() == 0
    assert [line["sha256"] for line in house.manifest()] == [hashlib.sha256(b"video").hexdigest()]
    assert sorted(house.local().values()) == [b"another", b"video"]
    house.backup()
    assert house.run() == 0
    assert len(house.manifest()) == 2 and house.files == {}
    assert house.staging() == ["CACHEDIR.TAG"]


def test_several_repositories_may_be_wanted(make: Callable[..., House]) -> None:
    house = make(copies=2)
    house.put("a.mp4", b"video")
    house.run()
    house.backup()
    assert house.run() == 0
    assert house.deleted == [], "there is one repository"
    known = json.loads((house.folder / "backup.json").read_text())
    known["repositories"].append({"name": "away", "path": "/a"})
    (house.folder / "backup.json").write_text(json.dumps(known))
    assert house.run() == 0
    assert house.deleted == ["a.mp4"]
    assert [one["repository"] for one in house.manifest()[0]["backups"]] == ["local", "away"]


def test_a_remote_repository_is_asked_with_its_options_and_environment(make: Callable[..., House]) -> None:
    """As mediaserver-backup asks it: limits, SSH's files, what is not secret, and the credentials."""
    house = make()
    backups = importlib.import_module("ingest_stores").Backups(house.folder / "backup.json")
    environments = house.folder / "environment.json"
    environments.write_text(json.dumps({"away": {"AWS_SECRET_ACCESS_KEY": "s"}}))
    backups.config["environment_file"] = str(environments)
    away = {"name": "away", "path": "s3:x/y", "options": ["--limit-download=5"], "environment": {"AWS_REGION": "eu"}}
    argv, environment = backups.command(away, "snapshots")
    assert argv == ["restic", "--no-lock", "--limit-download=5", "snapshots"]
    assert (environment["AWS_REGION"], environment["AWS_SECRET_ACCESS_KEY"]) == ("eu", "s")
