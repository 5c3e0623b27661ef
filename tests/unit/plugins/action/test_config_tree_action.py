# SPDX-License-Identifier: MIT
"""config_tree as a whole: the real action and the real module, with a stand-in only for what lies between them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.homelab.mediaserver.plugins.action import config_tree as action
from ansible_collections.homelab.mediaserver.plugins.module_utils import _lock, _tree
from ansible_collections.homelab.mediaserver.plugins.modules import config_tree as module

ME = str(os.getuid())
GROUP = str(os.getgid())
SECRET = "planted-secret-value"


class Host:
    """A controller and a host in one folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root / "host", capsys
        self.root.mkdir()
        self.temporary = root / "tmp"
        self.temporary.mkdir()
        self.calls: list[dict] = []
        self.mounts = root / "mountinfo"
        self.mounts.write_text("1 2 8:1 / / rw - ext4 /dev/a rw\n")
        monkeypatch.setattr(_lock, "FOLDER", root / "lock")
        monkeypatch.setattr(_tree, "MANIFESTS", root / "trees")
        monkeypatch.setattr(_tree, "MOUNTS", self.mounts)
        monkeypatch.setattr(action.C, "DEFAULT_LOCAL_TMP", str(self.temporary))

    def file(self, path: str, **more: object) -> dict:
        return {"path": str(self.root / path), "service": "a", "owner": ME, "group": GROUP, **more}

    def execute(self, module_name: str, module_args: dict, task_vars: dict) -> dict:
        self.calls.append(module_args)
        basic._ANSIBLE_ARGS = None
        params = {**module_args, "_ansible_check_mode": self.check, "_ansible_diff": True}
        with patch_module_args(params), pytest.raises(SystemExit):
            module.main()
        return json.loads(self.capsys.readouterr().out.strip().splitlines()[-1])

    def run(self, *files: dict, check: bool = False, **args: object) -> dict:
        self.check, self.calls = check, []
        loader = DataLoader()
        task = MagicMock(args={"name": "t", "files": list(files), **args}, check_mode=check, diff=True, async_val=0)
        connection = MagicMock()
        connection._shell = SimpleNamespace(tmpdir=str(self.temporary), join_path=lambda *parts: "/".join(parts))
        plugin = action.ActionModule(task, connection, MagicMock(), loader, Templar(loader=loader), MagicMock())
        plugin._execute_module = self.execute
        plugin._transfer_file = shutil.copy
        plugin._fixup_perms2 = plugin._remote_chmod = MagicMock()
        plugin._remove_tmp_path = lambda path: None
        plugin.cleanup = lambda force=False: None
        return plugin.run(task_vars={})

    def snapshot(self) -> dict[str, tuple]:
        """Everything that can be compared, with times, so that an unneeded write shows."""
        return {
            str(path.relative_to(self.root.parent)): (path.stat().st_mode, path.stat().st_mtime_ns, path.stat().st_ino)
            for top in (self.root, self.root.parent / "trees")
            for path in top.rglob("*")
        }


@pytest.fixture
def host(tmp_path, monkeypatch, capsys):
    return Host(tmp_path, monkeypatch, capsys)


def test_fresh_check_present_again(host):
    files = [host.file("a/x", content="hello\n"), host.file("a/pw", secret_ref="a.pw", mode="0400")]
    rest = {"secrets": {"a.pw": SECRET}, "projects": {"a": str(host.root / "a")}}
    empty = host.snapshot()
    checked = host.run(*files, check=True, **rest)
    assert checked["changed"]
    assert host.snapshot() == empty
    done = host.run(*files, **rest)
    assert len(host.calls) == 2
    assert (done["steps"], done["diff"], done["digests"]) == (checked["steps"], checked["diff"], checked["digests"])
    assert (host.root / "a/x").read_text() == "hello\n"
    assert (host.root / "a/pw").read_text() == SECRET
    assert (host.root / "a/pw").stat().st_mode & 0o7777 == 0o400
    assert f"MEDIASERVER_DIGEST={done['digests']['a']}\n" in (host.root / "a/.env").read_text()
    written = host.snapshot()
    for check in (True, False):
        again = host.run(*files, check=check, **rest)
        assert not again["changed"]
        assert again["diff"] == []
        assert len(host.calls) == 1, "a run without changes starts one module"
        assert host.snapshot() == written
    assert list(host.temporary.iterdir()) == []


def test_only_what_differs_is_sent_and_only_it_is_written(host):
    host.run(host.file("a/x", content="1"), host.file("a/y", content="2"))
    before = host.snapshot()
    result = host.run(host.file("a/x", content="1"), host.file("a/y", content="3"))
    assert result["steps"] == [f"write {host.root}/a/y"]
    assert {path for path, state in host.snapshot().items() if before[path] != state} == {"host/a/y", "host/a"}


def test_a_secret_is_shown_nowhere(host):
    file = host.file("a/pw", secret_ref="a.pw")
    results = [host.run(file, secrets={"a.pw": SECRET}), host.run(file, secrets={"a.pw": "another-planted-value"})]
    sent = json.dumps(host.calls)
    results.append(host.run(host.file("a/pw", content="now public"), secrets={}))
    text = json.dumps(results)
    assert SECRET not in text + sent
    assert "another-planted-value" not in text + sent
    assert "secret, differs" in text


def test_the_diff_shows_plain_files(host):
    host.run(host.file("a/x", content="1\n"))
    diff = host.run(host.file("a/x", content="2\n"), check=True)["diff"][1]
    assert (diff["before"], diff["after"]) == ("1\n", "2\n")


def test_removed_files_go_with_their_folders(host):
    host.run(host.file("a/deep/x", content="1"), host.file("b/y", content="2", service="b"))
    assert host.run(host.file("a/deep/x", content="1"), check=True)["changed"]
    assert (host.root / "b/y").exists()
    host.run(host.file("a/deep/x", content="1"))
    assert sorted(path.name for path in host.root.rglob("*")) == ["a", "deep", "x"]
    assert not host.run(host.file("a/deep/x", content="1"))["changed"]


def test_only_leaves_others_alone(host):
    both = [host.file("a/x", content="1"), host.file("b/y", content="2", service="b")]
    host.run(*both)
    changed = [host.file("a/x", content="9"), host.file("b/y", content="9", service="b")]
    host.run(*changed, only=["a"])
    assert ((host.root / "a/x").read_text(), (host.root / "b/y").read_text()) == ("9", "2")
    host.run(only=["a"])
    assert not (host.root / "a").exists()
    assert (host.root / "b/y").exists()


def test_modes_are_set_without_sending_anything(host):
    host.run(host.file("a/x", content="1"))
    result = host.run(host.file("a/x", content="1", mode="0600"))
    assert result["steps"] == [f"set mode and owner of {host.root}/a/x"]
    assert (host.root / "a/x").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_is_there_can_be_left_as_it_is(host):
    (host.root / "theirs").mkdir(mode=0o775)
    (host.root / "theirs").chmod(0o775)
    who = {"owner": ME, "group": GROUP, "mode": "0755", "keep": True}
    folders = [{"path": f"{host.root}/{name}", **who} for name in ("theirs", "new")]
    assert host.run(directories=folders)["steps"][-1] == f"make directory {host.root}/new"
    assert ((host.root / "theirs").stat().st_mode & 0o777, (host.root / "new").stat().st_mode & 0o777) == (0o775, 0o755)
    assert not host.run(directories=folders)["changed"]
    (host.root / "new").chmod(0o700)
    assert not host.run(directories=folders)["changed"], "nor is one that it made itself"
    assert host.run(directories=[{**folder, "keep": False} for folder in folders])["changed"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_kept(host):
    target = host.root / "target"
    target.write_text("1")
    (host.root / "x").symlink_to(target)
    host.run(host.file("x", content="2"))
    assert (target.read_text(), (host.root / "x").read_text(), (host.root / "x").is_symlink()) == ("1", "2", False)


def test_a_restored_file_marks_its_project(host):
    files, projects = [host.file("a/x", content="1")], {"a": str(host.root / "a")}
    host.run(*files, projects=projects)
    (host.root / "a/x").write_text("by hand")
    checked = host.run(*files, projects=projects, check=True)
    assert checked["stale"] == ["a"]
    host.run(*files, projects=projects)
    assert (host.root / "a/.stale").exists()
    assert (host.root / "a/x").read_text() == "1"


def test_nothing_is_written_below_a_mount_that_is_away(host):
    away = str(host.root / "mnt")
    folder = {"path": f"{away}/a", "service": "a", "owner": ME, "group": GROUP, "below": away}
    before = host.snapshot()
    with pytest.raises(AnsibleActionFail, match=r"Unable to write below .*/mnt: not mounted. Nothing was written"):
        host.run(host.file("a/x", content="1"), directories=[folder])
    assert host.snapshot() == before
    assert "not mounted yet" in host.run(directories=[folder], check=True)["warnings"][0]
    host.mounts.write_text(f"1 2 8:1 / {away} rw - ext4 /dev/a rw\n")
    host.run(directories=[folder])
    assert Path(away, "a").is_dir()
    assert not host.run(directories=[])["changed"], "folders with data are never removed"


def test_check_mode_knows_no_user_yet(host):
    result = host.run(host.file("a/x", content="1", owner="nobody-yet"), check=True)
    assert result["diff"][0]["after"][f"{host.root}/a/x"]["owner"] == "nobody-yet"


def test_templates_see_their_variables_and_undefined_ones_name_file_and_template(host, tmp_path):
    template = tmp_path / "t.j2"
    template.write_text("{{ service }} {{ settings.x }} {{ site.name }}\n")
    file = host.file("a/x", template=str(template), variables={"settings": {"x": 1}})
    host.run(file, variables={"site": {"name": trust_as_template("home{{ 1 + 1 }}")}})
    assert (host.root / "a/x").read_text() == "a 1 home2\n"
    with pytest.raises(AnsibleActionFail, match=rf"Unable to render .*/a/x: template {template}: .*site"):
        host.run(file)


def test_values_are_never_templates(host, tmp_path):
    template = tmp_path / "t.j2"
    template.write_text("{{ settings.x }}")
    file = host.file("a/x", template=str(template), variables={"settings": {"x": "{{ 1 + 1 }}"}})
    host.run(file, host.file("a/y", content="{{ 1 + 1 }}"))
    assert {(host.root / "a" / name).read_text() for name in "xy"} == {"{{ 1 + 1 }}"}


def test_templates_of_secret_files_only_see_secrets(host, tmp_path):
    template = tmp_path / "t.j2"
    template.write_text("{{ secrets['a.pw'] }}")
    result = host.run(host.file("a/x", template=str(template), secret=True), secrets={"a.pw": SECRET})
    assert (host.root / "a/x").read_text() == SECRET
    assert SECRET not in json.dumps(result)
    with pytest.raises(AnsibleActionFail, match="secrets"):
        host.run(host.file("a/y", template=str(template)), secrets={"a.pw": SECRET})


def test_late_values(host):
    data = {"group_add": [{"$late": "gid"}], "devices": [{"$late": "gpu"}], "empty": {"$late": "none"}, "n": "012"}
    host.run(host.file("a/x.json", yaml=data), late={"gid": "104", "gpu": ["/dev/1", "/dev/2"], "none": ""})
    assert json.loads((host.root / "a/x.json").read_text()) == {
        "group_add": ["104"],
        "devices": ["/dev/1", "/dev/2"],
        "n": "012",
    }


def test_all_mistakes_are_told_at_once(host):
    wrong = [
        host.file("1", content="x", copy="/etc/hostname"),
        host.file("2"),
        host.file("3", yaml={"$late": "nothing"}),
        host.file("4", yaml={"$secret": "nothing"}, secret=True),
        host.file("5", yaml={"x": {"$secret": "a.pw"}}),
        host.file("6", copy="/nowhere/at/all"),
        host.file("7.json", content="{"),
        host.file("8.yml", content=f"{SECRET}: [\n"),
        host.file("9", content="x", mode=644),
        {**host.file("10", content="x"), "path": "relative"},
        host.file("11", content="x"),
        host.file("11", content="y"),
    ]
    with pytest.raises(AnsibleActionFail) as caught:
        host.run(*wrong, secrets={"a.pw": SECRET})
    lines = str(caught.value).splitlines()
    expected = [
        "not content and copy", "not none", "no late value nothing", "no secret nothing", "must say secret: true",
        "unable to read /nowhere/at/all: No such file", "no valid JSON", "no valid YAML", "octal digits",
        "must be absolute", "declared twice",
    ]  # fmt: skip
    assert len(lines) == len(expected)
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith("Unable to render ")
        assert text in line
    assert SECRET not in str(caught.value)
    assert host.calls == []


def test_unknown_parameters_are_refused(host):
    with pytest.raises(AnsibleActionFail, match="Unsupported parameters for config_tree: purge"):
        host.run(purge=True)


def test_a_run_killed_at_any_write_converges(host, monkeypatch):
    """Break off after each write in turn: the next run ends in the same state as one that was never broken off."""
    from ansible_collections.homelab.mediaserver.plugins.module_utils import _tree_write

    old = [host.file("a/x", content="1"), host.file("a/gone", content="2"), host.file("b/y", content="3", service="b")]
    new = [host.file("a/x", content="9"), host.file("a/new/z", content="4", mode="0600")]
    projects = {"a": str(host.root / "a")}

    def contents() -> dict[str, object]:
        found = {p: (p.stat().st_mode, p.read_bytes() if p.is_file() else None) for p in host.root.rglob("*")}
        return {str(p): value for p, value in found.items() if p.name != ".stale"}

    host.run(*old, projects=projects)
    count = len(host.run(*new, projects=projects)["steps"])
    whole, manifest = contents(), (host.root.parent / "trees/t.json").read_text()
    real = _tree_write.Writer.apply
    for limit in range(count):
        host.run(*old, projects=projects)
        left = [limit]

        def breaking(self, wanted, left=left):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            real(self, wanted)

        monkeypatch.setattr(_tree_write.Writer, "apply", breaking)
        try:
            host.run(*new, projects=projects)
        except KeyboardInterrupt:
            host.capsys.readouterr()
        monkeypatch.setattr(_tree_write.Writer, "apply", real)
        host.run(*new, projects=projects)
        assert contents() == whole, f"broken off after {limit} writes"
        assert json.loads((host.root.parent / "trees/t.json").read_text()) == json.loads(manifest)
        assert not host.run(*new, projects=projects)["changed"]
