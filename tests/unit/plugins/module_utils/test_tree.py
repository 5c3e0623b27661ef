# SPDX-License-Identifier: MIT
from __future__ import annotations

import os

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _tree, _tree_write
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._tree import Action, State, Tree, Wanted

NUMBER = {"0": 0, "1000": 1000, "web": 33}.get
DATA = State("file", "0644", 0, 0, "d1")
FOLDER = State("directory", "0755", 0, 0)


def file(path="/o/a/x", digest="d1", **more):
    return Wanted(path, **{"mode": "0644", "owner": "0", "group": "0", "service": "a", "digest": digest, **more})


def folder(path="/o/a", **more):
    return Wanted(path, **{"mode": "0755", "owner": "0", "group": "0", "service": "a", **more})


def verbs(wanted, tree, only=()):
    return [(action.verb, action.path) for action in _tree.plan(wanted, tree, only, NUMBER, NUMBER)]


BASE = {"/o": FOLDER, "/o/a": FOLDER}


@pytest.mark.parametrize(
    ("wanted", "states", "expected"),
    [
        ([file()], {**BASE, "/o/a/x": DATA}, []),
        ([file()], {}, [("directory", "/o"), ("directory", "/o/a"), ("content", "/o/a/x")]),
        ([file(digest="d2")], {**BASE, "/o/a/x": DATA}, [("content", "/o/a/x")]),
        ([file(mode="0600")], {**BASE, "/o/a/x": DATA}, [("attributes", "/o/a/x")]),
        ([file(mode="644")], {**BASE, "/o/a/x": DATA}, []),
        ([file(owner="web")], {**BASE, "/o/a/x": DATA}, [("attributes", "/o/a/x")]),
        ([file(owner="nobody-yet")], {**BASE, "/o/a/x": DATA}, [("attributes", "/o/a/x")]),
        ([file()], {**BASE, "/o/a/x": State("other", "0777", 0, 0)}, [("content", "/o/a/x")]),
        ([folder()], {"/o": FOLDER}, [("directory", "/o/a")]),
        ([folder(), file()], {"/o": FOLDER}, [("directory", "/o/a"), ("content", "/o/a/x")]),
        ([folder(owner="1000")], BASE, [("attributes", "/o/a")]),
        ([folder(owner="1000", mode="0700", keep=True)], BASE, []),
        ([folder("/o/b", keep=True)], BASE, [("directory", "/o/b")]),
        (
            [file("/o/a/.env", "e"), file("/o/a/z", "z")],
            BASE,
            [("content", "/o/a/z"), ("content", "/o/a/.env")],
        ),
    ],
)
def test_plan(wanted, states, expected):
    assert verbs(wanted, Tree(states=dict(states))) == expected


def test_a_killed_runs_rest_is_removed_even_if_the_file_is_right():
    tree = Tree(states={**BASE, "/o/a/x": DATA}, leftovers={"/o/a/.x.mediaserver-tmp"})
    assert verbs([file()], tree) == [("leftover", "/o/a/.x.mediaserver-tmp")]


def tree_of_two():
    return Tree(
        states={**BASE, "/o/b": FOLDER, "/o/a/x": DATA, "/o/b/y": DATA, "/o/b/data": FOLDER},
        manifest={"/o/a/x": {"service": "a"}, "/o/b/y": {"service": "b"}, "/o/b/gone": {"service": "b"}},
        made={"/o": "a", "/o/a": "a", "/o/b": "b"},
        entries={"/o": ["a", "b"], "/o/a": ["x"], "/o/b": ["y"]},
    )


def test_removes_what_it_wrote_and_folders_it_emptied():
    assert verbs([file()], tree_of_two()) == [("remove", "/o/b/y"), ("rmdir", "/o/b")]


def test_keeps_a_folder_in_which_something_else_lies():
    tree = tree_of_two()
    tree.entries["/o/b"].append("by-hand")
    actions = _tree.plan([file()], tree, (), NUMBER, NUMBER)
    assert [(a.verb, a.path) for a in actions] == [("remove", "/o/b/y")]
    assert "/o/b" in _tree.manifest_after([file()], tree, actions, ())["directories"]


def test_with_only_nothing_of_others_is_removed_or_forgotten():
    tree = tree_of_two()
    assert verbs([file()], tree, ["a"]) == []
    assert verbs([], tree, ["a"]) == [("remove", "/o/a/x"), ("rmdir", "/o/a")]
    after = _tree.manifest_after([], tree, _tree.plan([], tree, ["a"]), ["a"])
    assert after["files"] == {"/o/b/gone": {"service": "b"}, "/o/b/y": {"service": "b"}}


def test_data_folders_are_not_remembered_and_so_never_removed():
    wanted = [folder("/m/a", below="/m")]
    tree = Tree(states={"/m": FOLDER})
    actions = _tree.plan(wanted, tree, (), NUMBER, NUMBER)
    assert [(a.verb, a.path) for a in actions] == [("directory", "/m/a")]
    assert _tree.manifest_after(wanted, tree, actions, ())["directories"] == {}


def test_unmounted():
    wanted = [folder("/m/a", below="/m"), folder("/n/a", below="/n"), folder("/x")]
    assert _tree.unmounted(wanted, Tree(mounted={"/n"})) == ["/m"]


def test_mount_points_with_escapes_and_binds():
    text = "1 2 8:1 / / rw - ext4 /dev/a rw\n3 1 8:1 /srv/m /mnt/my\\040media rw shared:1 - ext4 /dev/a rw\n"
    assert _tree.mount_points(text) == {"/", "/mnt/my media"}


def test_fingerprints_differ_from_run_to_run():
    assert _tree.fingerprint(b"x", "key-1") != _tree.fingerprint(b"x", "key-2")


def test_write_atomic_leaves_no_rest_and_sets_everything(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    (tmp_path / ".x.mediaserver-tmp").write_text("half")
    inode = path.stat().st_ino
    _tree_write.write_atomic(str(path), b"new", 0o640, os.getuid(), os.getgid())
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_ino != inode
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("old")

    def broken(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    writer = _tree_write.Writer("t", "", "k")
    wanted = Wanted(str(path), "0644", str(os.getuid()), str(os.getgid()), digest="d")
    writer.contents["d"] = b"new"
    with pytest.raises(Failure, match=r"Unable to write .*/x: No space left on device"):
        writer.apply(Action("content", str(path), wanted))
    assert path.read_text() == "old"


def test_names_the_missing_user(tmp_path):
    writer = _tree_write.Writer("t", "", "k")
    wanted = Wanted(str(tmp_path / "x"), "0644", "nobody-yet", "0", digest="d")
    writer.contents["d"] = b""
    with pytest.raises(Failure, match="there is no user nobody-yet on this host"):
        writer.apply(Action("content", wanted.path, wanted))
