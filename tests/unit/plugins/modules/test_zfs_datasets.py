# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs_owner
from ansible_collections.homelab.mediaserver.plugins.modules import zfs_datasets
from ansible_collections.homelab.mediaserver.tests.unit.fakes.zfs_fake import RECORDED, Runner, ZfsFake

GONE = {"state": "absent", "destroy": True}


@pytest.fixture
def zfs():
    fake = ZfsFake()
    fake.add_pool("tank")
    return fake


@pytest.fixture
def lab(zfs, tmp_path, monkeypatch):
    return Runner(zfs, tmp_path, monkeypatch)


def test_missing_arguments(lab):
    assert lab(zfs_datasets, datasets=[{}]).failed
    assert lab(zfs_datasets).failed
    assert "listed twice" in lab(zfs_datasets, datasets=[{"name": "tank/a"}, {"name": "tank/a"}])["msg"]


def test_check_create_again_changed_absent_again(lab, zfs):
    films = {"name": "tank/media/films", "properties": {"recordsize": "1M", "userquota@1000": "1G"}}
    media = {"name": "tank/media", "properties": {"quota": "30G", "atime": False, "com.sun:auto-snapshot": False}}
    done = lab.order(zfs_datasets, datasets=[films, media])
    assert done["steps"] == [
        "create file system tank/media",
        "create file system tank/media/films",
        "set userquota@1000=1073741824 on tank/media/films",
    ]
    assert done["diff"]["before"] == {"tank/media": "absent", "tank/media/films": "absent"}
    assert done["diff"]["after"]["tank/media"] == {"quota": "30G", "atime": "off", "com.sun:auto-snapshot": "false"}
    assert zfs.datasets["tank/media"]["local"]["com.sun:auto-snapshot"] == "false"
    assert done["datasets"]["tank/media"]["mountpoint"] == "/tank/media"

    same = {**media, "properties": {"quota": 32212254720, "atime": "off", "com.sun:auto-snapshot": "false"}}
    again = lab(zfs_datasets, datasets=[same, films])
    assert not again["changed"]
    assert [line.split()[1] for line in zfs.reads] == ["get"], "one process for the whole list"

    changed = {**media, "properties": {"quota": "none", "atime": True, "compression": "zstd"}}
    done = lab.order(zfs_datasets, datasets=[changed])
    assert done["steps"] == ["set quota=none, atime=on, compression=zstd on tank/media"]
    assert done["diff"]["before"]["tank/media"] == {"quota": "30G", "atime": "off", "compression": "on"}

    lab.order(zfs_datasets, datasets=[{"name": "tank/media", **GONE}, {"name": "tank/media/films", **GONE}])
    assert list(zfs.datasets) == ["tank"]


def test_pool_that_does_not_exist_yet(lab, zfs):
    datasets = [{"name": "new/a", "properties": {"quota": "1G"}}, {"name": "new"}]
    checked = lab(zfs_datasets, check=True, datasets=datasets)
    assert checked["changed"] and not checked.failed
    failed = lab(zfs_datasets, datasets=datasets[:1])
    assert failed["msg"].startswith("Unable to create file system new/a: cannot create 'new/")
    assert failed["failure"]["done"] == []


def test_host_without_zfs(lab, zfs):
    zfs.installed = False
    assert lab(zfs_datasets, check=True, datasets=[{"name": "tank/a"}])["changed"]
    assert "OpenZFS is not installed" in lab(zfs_datasets, datasets=[{"name": "tank/a"}])["msg"]


def test_unlisted_parents_are_made_with_it(lab, zfs):
    lab.order(zfs_datasets, datasets=[{"name": "tank/x/y/z"}])
    assert "zfs create -p tank/x/y/z" in zfs.writes or "tank/x/y" in zfs.datasets


def test_inheritance_settles_in_one_run(lab, zfs):
    zfs.add("tank/a", compression="lz4")
    zfs.add("tank/a/b")
    done = lab.order(
        zfs_datasets,
        datasets=[
            {"name": "tank/a", "properties": {"compression": "zstd"}},
            {"name": "tank/a/b", "properties": {"compression": "lz4"}},
        ],
    )
    assert done["steps"] == ["set compression=zstd on tank/a", "set compression=lz4 on tank/a/b"]
    lab.order(zfs_datasets, datasets=[{"name": "tank/a/b", "inherit": ["compression"]}])
    assert zfs.value("tank/a/b", "compression") == ("zstd", "inherited from tank/a")
    equal = lab(zfs_datasets, datasets=[{"name": "tank/a/b", "properties": {"compression": "zstd"}}])
    assert not equal["changed"], "what is inherited and as wanted stays inherited"


def test_create_only_properties(lab, zfs):
    zfs.add("tank/a")
    for prop, value in (("casesensitivity", "mixed"), ("encryption", "on"), ("normalization", "formD")):
        result = lab(zfs_datasets, check=True, datasets=[{"name": "tank/a", "properties": {prop: value}}])
        assert f"Unable to set {prop} of tank/a" in result["msg"]
        assert result["failure"]["property"] == prop
    assert not lab(zfs_datasets, datasets=[{"name": "tank/a", "properties": {"encryption": False}}])["changed"]


def test_volumes_grow_only(lab, zfs):
    volume = {"name": "tank/disk", "size": "1G", "sparse": True, "properties": {"volblocksize": "16K"}}
    lab.order(zfs_datasets, datasets=[volume])
    lab.order(zfs_datasets, datasets=[{**volume, "size": "2G"}])
    assert "Unable to shrink volume tank/disk from 2G" in lab(zfs_datasets, datasets=[volume])["msg"]
    assert "it is a volume" in lab(zfs_datasets, datasets=[{"name": "tank/disk"}])["msg"]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"type": "volume"}, "a volume needs a size"),
        ({"type": "filesystem", "size": "1G"}, "only a volume has a size"),
        ({"size": "big"}, "big is no size"),
        ({"size": "1G", "properties": {"volsize": "1G"}}, "given by size"),
        ({"properties": {"atime": True}, "inherit": ["atime"]}, "set and inherited at once"),
        ({"renamed_from": "other/x"}, "in another pool"),
        ({"mode": "rwx"}, "no octal number"),
        ({"properties": {"encryption": "on"}, "encryption": {"key_file": "/k"}}, "not by properties"),
        ({"size": "1G", "owner": "0"}, "a volume has no owner"),
        ({"properties": {"quota": None}}, "use inherit"),
    ],
)
def test_contradictions(lab, item, text):
    assert text in lab(zfs_datasets, check=True, datasets=[{"name": "tank/a", **item}])["msg"]


@pytest.mark.parametrize("name", ["tank/a@one", "-r", "/tank/a", "tank/", "tank//a", "tank/-a", "tank/ä"])
def test_names_that_are_none(lab, zfs, name):
    for more in ({}, GONE):
        assert "this is no name of a dataset" in lab(zfs_datasets, datasets=[{"name": name, **more}])["msg"]
    assert not zfs.writes


def test_encryption(lab, zfs):
    secret = {"name": "tank/secret", "encryption": {"key_file": "/etc/zfs/key"}}
    done = lab.order(zfs_datasets, datasets=[secret, {"name": "tank/secret/inner"}])
    assert done["diff"]["after"]["tank/secret"] == {"encryption": "aes-256-gcm"}
    zfs.keys.clear()
    for name in ("tank/secret", "tank/secret/inner"):
        zfs.datasets[name]["mounted"] = False
    done = lab.order(zfs_datasets, datasets=[secret, {"name": "tank/secret/inner"}])
    assert done["steps"] == ["load the key of tank/secret", "mount tank/secret", "mount tank/secret/inner"]
    assert "holds its key" in lab(zfs_datasets, datasets=[{**secret, "name": "tank/secret/inner"}])["msg"]
    zfs.add("tank/plain")
    assert "Unable to set encryption" in lab(zfs_datasets, datasets=[{**secret, "name": "tank/plain"}])["msg"]
    zfs.keys.clear()
    zfs.datasets["tank/secret/inner"]["mounted"] = False
    locked = lab(zfs_datasets, datasets=[{"name": "tank/secret/inner"}])
    assert not locked["changed"]
    assert lab.warnings == ["tank/secret/inner is locked and so not mounted: the key of tank/secret is not loaded"]


def test_mounted(lab, zfs):
    zfs.add("tank/a", canmount="noauto")
    assert not lab(zfs_datasets, datasets=[{"name": "tank/a"}])["changed"], "noauto is somebody's choice"
    lab.order(zfs_datasets, datasets=[{"name": "tank/b", "mounted": False}])
    assert not zfs.datasets["tank/b"]["mounted"]
    lab.order(zfs_datasets, datasets=[{"name": "tank/b"}])
    lab.order(zfs_datasets, datasets=[{"name": "tank/b", "mounted": False}])


def test_mounted_by_set_already(lab, zfs):
    """zfs mounts by itself what gets a path after `none`."""
    zfs.add("tank/a", mountpoint="none")["mounted"] = False
    real = zfs.zfs_set

    def set_and_mount(words):
        zfs.datasets[words[-1]]["mounted"] = True
        return real(words)

    zfs.zfs_set = set_and_mount
    lab.order(zfs_datasets, datasets=[{"name": "tank/a", "properties": {"mountpoint": "/srv/a"}}])


def test_owner_of_the_mount_point(lab, zfs, monkeypatch):
    monkeypatch.setattr(_zfs_owner, "give", lambda path, want: lab.has(path).update(want))
    dataset = {"name": "tank/a", "owner": "1000", "mode": "750"}
    done = lab.order(zfs_datasets, datasets=[dataset])
    assert done["steps"] == ["create file system tank/a", "give tank/a owner 1000 mode 0750"]
    assert lab.owners["/tank/a"] == {"owner": "1000", "group": "0", "mode": "0750"}
    done = lab.order(zfs_datasets, datasets=[{**dataset, "group": "root", "mode": "2770"}])
    assert done["diff"]["before"]["tank/a"] == {"owner": "1000", "group": "0", "mode": "0750"}
    zfs.datasets["tank/a"]["mounted"] = False
    assert not lab(zfs_datasets, datasets=[{**dataset, "mounted": False}])["changed"]
    assert lab.warnings == ["tank/a is not mounted: owner, group and mode are left alone"]


def test_delegation(lab, zfs):
    allow = [
        {"user": "backup", "permissions": ["send", "hold"]},
        {"group": "media", "permissions": ["mount"], "scope": "local"},
    ]
    lab.order(zfs_datasets, datasets=[{"name": "tank/a", "allow": allow}])
    zfs.datasets["tank/a"]["allow"]["-d", "user other"] = {"clone"}
    done = lab.order(
        zfs_datasets, datasets=[{"name": "tank/a", "allow": [{"user": "backup", "permissions": ["send"]}]}]
    )
    assert done["steps"] == ["unallow user backup hold on tank/a"]
    assert done["diff"]["before"]["tank/a"] == {"allow": ["user backup (both): hold, send"]}
    assert zfs.datasets["tank/a"]["allow"]["-d", "user other"] == {"clone"}
    # the same in two parts, which zfs shows as one; what was given more goes
    zfs.datasets["tank/a"]["allow"]["-l", "user backup"] |= {"mount"}
    allow = [{"user": "backup", "permissions": ["send"], "scope": scope} for scope in ("local", "descendent")]
    done = lab.order(zfs_datasets, datasets=[{"name": "tank/a", "allow": allow}])
    assert done["steps"] == ["unallow user backup mount on tank/a"]
    none = {"name": "tank/a", "allow": [{"user": "backup", "permissions": [], "scope": "local"}]}
    lab.order(zfs_datasets, datasets=[none])
    assert not zfs.datasets["tank/a"]["allow"]["-d", "user backup"], "who is named has exactly what is named"


def test_rename(lab, zfs):
    zfs.add("tank/old")
    zfs.add("tank/old/inner")
    wanted = [
        {"name": "tank/new/inner", "properties": {"quota": "1G"}},
        {"name": "tank/new", "renamed_from": "tank/old"},
    ]
    done = lab.order(zfs_datasets, datasets=wanted)
    assert done["steps"] == ["rename tank/old to tank/new", "set quota=1073741824 on tank/new/inner"]
    assert done["diff"]["before"]["tank/new"] == {"name": "tank/old"}
    zfs.add("tank/old")
    assert not lab(zfs_datasets, datasets=wanted)["changed"], "both exist: nothing is moved"


def test_rename_that_contradicts_the_list(lab, zfs):
    zfs.add("tank/old")
    new = {"name": "tank/new", "renamed_from": "tank/old"}
    for other, text in (
        ({"name": "tank/old"}, "it is listed itself"),
        ({"name": "tank/more", "renamed_from": "tank/old"}, "the former name of more than one"),
    ):
        for check in (True, False):
            assert text in lab(zfs_datasets, check=check, datasets=[new, other])["msg"]
    lab.order(zfs_datasets, datasets=[new])
    done = lab.order(zfs_datasets, datasets=[new, {"name": "tank/old"}])
    assert done["steps"] == ["create file system tank/old"], "the name may be used again"


def test_nothing_is_destroyed_unasked(lab, zfs):
    for name in ("a", "a/b", "snapped"):
        zfs.add(f"tank/{name}")
    zfs.datasets["tank/snapped"]["snapshots"] = ["one", "two"]
    for item, text in (
        ({"name": "tank/a/b", "state": "absent"}, "say destroy: true"),
        ({"name": "tank/a", **GONE}, "tank/a/b below it is not listed as absent"),
        ({"name": "tank", **GONE}, "pools are never destroyed"),
        ({"name": "tank/snapped", **GONE}, "it has 2 snapshots; say destroy_snapshots: true"),
    ):
        for check in (True, False):
            assert text in lab(zfs_datasets, check=check, datasets=[item])["msg"]
            assert not zfs.writes
    below = [{"name": "tank/a", **GONE}, {"name": "tank/a/b"}]
    assert "tank/a/b below it is wanted" in lab(zfs_datasets, datasets=below)["msg"]
    assert not lab(zfs_datasets, datasets=[{"name": "tank/none", "state": "absent"}])["changed"]
    done = lab.order(zfs_datasets, datasets=[{"name": "tank/snapped", **GONE, "destroy_snapshots": True}])
    assert done["steps"] == ["destroy the snapshots of tank/snapped", "destroy tank/snapped"]


PURGED = [
    "a",
    "b",
    "b/c",
    "listed",
    "listed/old",
    "vm-100-disk-0",
    "keep",
    "keep/subvol-1-disk-0",
    "snapped",
    "up",
    "up/listed",
]


@pytest.mark.parametrize(
    ("options", "gone", "kept"),
    [
        ({}, {"a", "listed/old"}, {"b", "vm-100-disk-0", "keep", "snapped"}),
        ({"snapshots": True}, {"a", "listed/old", "snapped"}, {"b", "vm-100-disk-0", "keep"}),
        ({"children": True}, {"a", "b", "b/c", "listed/old"}, {"vm-100-disk-0", "keep", "snapped"}),
    ],
)
def test_purge(lab, zfs, options, gone, kept):
    for name in PURGED:
        zfs.add(f"tank/{name}")
    zfs.datasets["tank/snapped"]["snapshots"] = ["one"]
    datasets = [{"name": "tank/listed"}, {"name": "tank/up/listed"}]
    assert not lab(zfs_datasets, datasets=datasets)["changed"], "nothing without purge"
    done = lab.order(zfs_datasets, datasets=datasets, purge={"below": ["tank"], **options})
    assert set(done["kept"]) == {f"tank/{name}" for name in kept}
    assert set(zfs.datasets) == {"tank", *(f"tank/{name}" for name in PURGED if name not in gone)}


def test_nothing_is_lost_for_a_run_that_fails(lab, zfs):
    zfs.add("tank/old")
    datasets = [{"name": "tank/old", **GONE}, {"name": "tank/a"}, {"name": "none/x"}]
    assert lab(zfs_datasets, datasets=datasets).failed
    assert "tank/old" in zfs.datasets


def test_error_paths(lab, zfs):
    zfs.add("tank/a")
    failed = lab(zfs_datasets, datasets=[{"name": "tank/a", "properties": {"compression": "x"}}])
    assert failed["msg"].startswith("Unable to set compression=x on tank/a: cannot set property for 'tank/a'")
    failed = lab(zfs_datasets, datasets=[{"name": "tank/a", "properties": {"quotta": "x"}}])
    assert failed["msg"] == "Unable to read the datasets: bad property list: invalid property 'quotta'"
    zfs.fail["zfs get"] = "cannot open 'tank/a': I/O error"
    assert lab(zfs_datasets, datasets=[{"name": "tank/a"}])["msg"].endswith("I/O error")
    assert RECORDED["inherit quota"]["rc"] != 0


def test_killed_between_two_writes(lab, zfs):
    datasets = [
        {"name": "tank/a", "properties": {"userquota@1": "1G"}},
        {"name": "tank/b", "allow": [{"user": "x", "permissions": ["send"]}]},
        {"name": "tank/c", "encryption": {"key_file": "/k"}},
    ]
    total = len(lab(zfs_datasets, check=True, datasets=datasets)["steps"])
    assert total == 5
    for stop in range(total):
        zfs.datasets = {"tank": zfs.datasets["tank"]}
        zfs.keys.clear()
        zfs.kill_after = stop
        with pytest.raises(KeyboardInterrupt):
            lab(zfs_datasets, datasets=datasets)
        zfs.kill_after = None
        assert not lab(zfs_datasets, datasets=datasets).failed
        assert not lab(zfs_datasets, check=True, datasets=datasets)["changed"]


def test_version_before_2_3_prints_xattr_in_another_way(lab, zfs, tmp_path):
    (tmp_path / "version").write_text("2.1.11-1\n")
    zfs.add("tank/a", xattr="on")
    done = lab(zfs_datasets, check=True, datasets=[{"name": "tank/a", "properties": {"xattr": "sa"}}])
    assert done["steps"] == ["set xattr=sa on tank/a"], "there, on means dir"
    (tmp_path / "version").write_text("2.3.9-0+deb13u1\n")
    assert not lab(zfs_datasets, datasets=[{"name": "tank/a", "properties": {"xattr": "sa"}}])["changed"]


def test_other_names_of_properties(lab, zfs):
    zfs.add("tank/a")
    given = {"compress": "zstd", "recsize": "1M", "rdonly": "Yes", "refreserv": 0, "atime": "OFF"}
    done = lab.order(zfs_datasets, datasets=[{"name": "tank/a", "properties": given}])
    assert done["steps"] == ["set compression=zstd, recordsize=1048576, readonly=on, atime=off on tank/a"]
    done = lab.order(zfs_datasets, datasets=[{"name": "tank/a", "inherit": ["compress"]}])
    assert done["steps"] == ["inherit compression on tank/a"]
    twice = {"name": "tank/a", "properties": {"compress": "zstd", "compression": "lz4"}}
    assert "compression of tank/a: it is given twice" in lab(zfs_datasets, datasets=[twice])["msg"]


@pytest.mark.parametrize("prop", ["quota", "refreserv", "canmount", "snapshot_limit", "casesensitivity", "userquota@1"])
def test_what_cannot_be_inherited(lab, zfs, prop):
    """zfs refuses it, too, but only after check mode had promised it."""
    zfs.add("tank/a", quota="1")
    assert (
        "cannot be inherited" in lab(zfs_datasets, check=True, datasets=[{"name": "tank/a", "inherit": [prop]}])["msg"]
    )


def test_properties_of_the_other_kind(lab, zfs):
    zfs.add("tank/disk", "volume", volsize="1073741824")
    disk = {"name": "tank/disk", "size": "1G", "properties": {"recordsize": "1M"}}
    assert (
        "recordsize of tank/disk: a volume has no such property"
        in lab(zfs_datasets, check=True, datasets=[disk])["msg"]
    )
    zfs.add("tank/a")
    wrong = {"name": "tank/a", "properties": {"volblocksize": "16K"}}
    assert "a filesystem has no such property" in lab(zfs_datasets, check=True, datasets=[wrong])["msg"]


def test_automatic_reservation_of_a_volume(lab, zfs):
    zfs.add("tank/disk", "volume", volsize="104857600", refreservation="108789760")
    disk = {"name": "tank/disk", "size": "100M", "properties": {"refreservation": "auto"}}
    again = lab(zfs_datasets, check=True, datasets=[disk])
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    zfs.datasets["tank/disk"]["local"]["refreservation"] = "0"
    assert lab(zfs_datasets, check=True, datasets=[disk])["steps"] == ["set refreservation=auto on tank/disk"]
    zfs.add("tank/a")
    wrong = {"name": "tank/a", "properties": {"refreservation": "auto"}}
    assert lab(zfs_datasets, check=True, datasets=[wrong])["changed"], "zfs says that only volumes can have it"


def test_user_property_that_is_a_dash_is_not_one_that_is_unset(lab, zfs):
    zfs.add("tank/a")
    dash = {"name": "tank/a", "properties": {"x:y": "-", "x:empty": "", "x:odd": "a=b 'c' \"d\" \\ % ü\u2028 -o"}}
    assert lab(zfs_datasets, datasets=[dash])["changed"]
    assert not lab(zfs_datasets, datasets=[dash])["changed"]


def test_not_mounted_where_there_is_no_path(lab, zfs):
    zfs.datasets["tank"]["local"]["mountpoint"] = "none"
    datasets = [
        {"name": "tank/a", "owner": "1000"},
        {"name": "tank/b", "properties": {"canmount": "off"}, "owner": "1000"},
        {"name": "tank/c", "properties": {"mountpoint": "legacy"}, "owner": "1000"},
        {"name": "tank/d", "properties": {"mountpoint": "/srv/d"}},
    ]
    done = lab(zfs_datasets, check=True, datasets=datasets)
    assert done["steps"] == [f"create file system tank/{name}" for name in "abcd"]
    assert [text.split()[0] for text in lab.warnings] == ["tank/a", "tank/b", "tank/c"]


@pytest.mark.parametrize("props", [{"mountpoint": "none"}, {"mountpoint": "legacy"}])
def test_what_loses_its_path_keeps_its_owner(lab, zfs, props):
    zfs.add("tank/a")
    zfs.add("tank/a/b")
    datasets = [{"name": "tank/a", "properties": props, "owner": "1000"}, {"name": "tank/a/b", "owner": "1000"}]
    done = lab(zfs_datasets, check=True, datasets=datasets)
    assert done["steps"] == [f"set mountpoint={props['mountpoint']} on tank/a"]
    assert [text.split()[0] for text in lab.warnings] == ["tank/a", "tank/a/b"]


def test_a_moved_dataset_inherits_at_its_new_place(lab, zfs):
    zfs.add("tank/lz4", compression="lz4")
    zfs.add("tank/lz4/old")
    zfs.add("tank/lz4/old/inner")
    zfs.add("tank/zstd", compression="zstd")
    props = {"compression": "lz4"}
    datasets = [
        {"name": "tank/zstd/new", "renamed_from": "tank/lz4/old", "properties": props},
        {"name": "tank/zstd/new/inner", "properties": props},
    ]
    done = lab.order(zfs_datasets, datasets=datasets)
    assert done["steps"] == ["rename tank/lz4/old to tank/zstd/new", "set compression=lz4 on tank/zstd/new"]


def test_purge_spares_what_somebody_wants(lab, zfs):
    for name in ("held", "origin", "clone", "subvol-100-disk-0", "subvol-100-disk-0/inner", "old", "new"):
        zfs.add(f"tank/{name}")
    zfs.datasets["tank/held"].update(snapshots=["s"], holds=["s"])
    zfs.datasets["tank/origin"].update(snapshots=["s"])
    zfs.datasets["tank/clone"].update(origin="tank/origin@s")
    datasets = [{"name": "tank/clone"}, {"name": "tank/new", "renamed_from": "tank/old"}]
    every = {"below": ["tank", "tank/subvol-100-disk-0"], "snapshots": True, "children": True}
    done = lab(zfs_datasets, datasets=datasets, purge=every)
    assert not done["changed"], "the former name, too, may hold the only copy"
    assert done["kept"] == {
        "tank/held": "a snapshot of tank/held is held",
        "tank/origin": "tank/clone is a clone of a snapshot of tank/origin",
        "tank/subvol-100-disk-0": "Proxmox VE's own",
    }
    done = lab.order(zfs_datasets, datasets=datasets[1:], purge=every)
    assert done["steps"] == ["destroy tank/clone", "destroy the snapshots of tank/origin", "destroy tank/origin"]


def test_absent_but_wanted_by_others(lab, zfs):
    zfs.add("tank/a")["snapshots"] = ["s"]
    zfs.add("tank/clone")["origin"] = "tank/a@s"
    gone = {"name": "tank/a", **GONE, "destroy_snapshots": True}
    assert "tank/clone is a clone of a snapshot of tank/a" in lab(zfs_datasets, check=True, datasets=[gone])["msg"]
    done = lab.order(zfs_datasets, datasets=[gone, {"name": "tank/clone", **GONE}])
    assert done["steps"] == ["destroy tank/clone", "destroy the snapshots of tank/a", "destroy tank/a"]
    zfs.add("tank/b").update(snapshots=["s"], holds=["s"])
    held = {"name": "tank/b", **GONE, "destroy_snapshots": True}
    assert "a snapshot of tank/b is held" in lab(zfs_datasets, check=True, datasets=[held])["msg"]
