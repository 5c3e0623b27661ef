# SPDX-License-Identifier: MIT
"""What is sent from a cache before a mount: whole new files, and nothing that would harm what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.tests.unit.fakes import program

PROGRAM = Path(__file__).parents[3] / "roles/rclone/files/mediaserver_rescue.py"


@pytest.fixture
def rescue() -> Any:
    return program.load(PROGRAM)


def item(cache: Path, name: str, content: bytes = b"12345", **more: Any) -> None:
    about = {"Size": len(content), "Rs": [{"Pos": 0, "Size": len(content)}], "Dirty": True, **more}
    for folder, data in (("vfs", content), ("vfsMeta", json.dumps(about, indent="\t").encode())):
        path = cache / folder / "azure/photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_whole_files_that_were_not_sent(rescue: Any, tmp_path: Path) -> None:
    item(tmp_path, "new/a b.jpg")
    item(tmp_path, "empty", b"", Rs=[])
    item(tmp_path, "sent.jpg", Dirty=False)
    item(tmp_path, "hole.jpg", Rs=[{"Pos": 3, "Size": 2}])
    item(tmp_path, "short.jpg", Size=9, Rs=[{"Pos": 0, "Size": 9}])
    item(tmp_path, "torn.jpg")
    (tmp_path / "vfsMeta/azure/photos/torn.jpg").write_text("{")
    assert rescue.waiting(tmp_path, "azure:photos") == ["empty", "new/a b.jpg"]
    assert rescue.waiting(tmp_path, "azure:photos/new/") == ["a b.jpg"]
    assert rescue.waiting(tmp_path, "other:") == []


def test_nothing_is_started_when_nothing_waits(rescue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["rescue", str(tmp_path), "azure:photos"])
    monkeypatch.setattr(rescue.subprocess, "run", lambda *_a, **_k: pytest.fail("rclone was started"))
    assert rescue.main() == 0


def test_what_is_there_is_not_written_over(rescue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item(tmp_path, "new/a.jpg")
    calls: list[Any] = []
    done = type("Done", (), {"returncode": 0})
    monkeypatch.setattr(rescue.subprocess, "run", lambda argv, **more: calls.append((argv, more["input"])) or done)
    monkeypatch.setattr("sys.argv", ["rescue", str(tmp_path), "azure:photos"])
    assert rescue.main() == 0
    [(argv, names)] = calls
    assert "--ignore-existing" in argv and argv[-2:] == [f"{tmp_path}/vfs/azure/photos", "azure:photos"]
    assert names == "new/a.jpg\n"
