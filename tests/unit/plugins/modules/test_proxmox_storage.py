# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_storage
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_storage
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve import storage_config
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.access import state


def stored(lab, name):
    return lab.world.data["storages"][name]


def secrets(lab):
    return {key: value for key, value in state(lab.world)["secrets"].items() if key.startswith("storage ")}


ZFS = {"storage": "tank", "type": "zfspool", "pool": "tank-ssd/postgres"}
PBS = {"storage": "pbs", "type": "pbs", "server": "192.168.1.9", "datastore": "home"}


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_storage, **ZFS, content=["rootdir", "images"], sparse=True, nodes=["pve"], blocksize="16k")
    assert done["steps"] == ["create storage tank"]
    assert stored(lab, "tank") == {
        "type": "zfspool", "pool": "tank-ssd/postgres", "content": "images,rootdir", "sparse": 1, "nodes": "pve",
        "blocksize": "16K", "mountpoint": "/tank-ssd/postgres",
    }  # fmt: skip
    assert done["config"]["pool"] == "tank-ssd/postgres"
    assert "digest" not in done["config"]
    done = lab.order(proxmox_storage, **ZFS, content=["images"], sparse=False, nodes=[], blocksize="", disable=True)
    assert done["steps"] == ["set blocksize, disable, sparse, content, nodes of storage tank"]
    assert stored(lab, "tank") == {"type": "zfspool", "pool": "tank-ssd/postgres", "content": "images", "sparse": 0,
                                   "disable": 1, "mountpoint": "/tank-ssd/postgres"}  # fmt: skip
    lab.world.data["volumes"]["tank:vm-100-disk-0"] = {"size": 1, "format": "raw", "vmid": 100}
    done = lab.order(proxmox_storage, storage="tank", state="absent")
    assert done["steps"] == ["delete the definition of storage tank"]
    assert "tank" not in lab.world.data["storages"]
    assert "tank:vm-100-disk-0" in lab.world.data["volumes"], "data stays"


MINIMAL = {
    "dir": {"path": "/tank/backups"}, "btrfs": {"path": "/btr"}, "nfs": {"server": "nas", "export": "/x"},
    "cifs": {"server": "nas", "share": "x"}, "cephfs": {}, "pbs": {"server": "s", "datastore": "d"},
    "zfspool": {"pool": "tank"}, "lvm": {"vgname": "vg"}, "lvmthin": {"vgname": "vg", "thinpool": "data"}, "rbd": {},
    "iscsi": {"portal": "nas", "target": "iqn.x"},
}  # fmt: skip
WHOLE = {
    "dir": {"content": ["backup"], "prune_backups": {"keep_last": 3}, "is_mountpoint": "yes", "shared": True,
            "content_dirs": {"backup": "dumps"}, "bwlimit": {"clone": 10, "default": 20}, "preallocation": "off",
            "format": "qcow2", "create_base_path": False, "create_subdirs": True, "max_protected_backups": -1},
    "btrfs": {"content": [], "nocow": True, "is_mountpoint": "/btr"},
    "nfs": {"content": ["images", "iso"], "options": "vers=4.2"},
    "cifs": {"username": "u", "domain": "d", "smbversion": "3.11", "subdir": "/a/"},
    "cephfs": {"subdir": "/a", "username": "u", "settings": {"monhost": "10.0.0.1", "fuse": True}},
    "pbs": {"namespace": "n", "port": 8008, "username": "u@pbs!t", "fingerprint": "aa:bb", "prune_backups": {}},
    "zfspool": {"mountpoint": "/mnt/tank/", "content": ["images"]},
    "lvm": {"saferemove": True, "saferemove_throughput": "-1", "tagged_only": True, "shared": False},
    "lvmthin": {"content": ["images"], "disable": True},
    "rbd": {"pool": "p", "namespace": "n", "settings": {"krbd": True, "data-pool": "d"}},
    "iscsi": {"content": []},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(_pve_storage.TYPES))
def test_every_type(lab, kind):
    lab.order(proxmox_storage, storage="x1", type=kind, **MINIMAL[kind])
    lab.order(proxmox_storage, storage="x1", type=kind, **MINIMAL[kind], **WHOLE[kind])
    lab.order(proxmox_storage, storage="x2", type=kind, **MINIMAL[kind], **WHOLE[kind])
    lab.order(proxmox_storage, storage="x1", state="absent")


@pytest.mark.parametrize("kind", sorted(_pve_storage.TYPES))
def test_options_of_the_types_are_those_of_the_plugins(kind):
    """The fake's table and the module's were written apart, from the same source."""
    required, fixed, known = storage_config.options(kind, "9.1")
    mine = _pve_storage.options(kind)
    assert {name for name, is_fixed in mine.items() if is_fixed} == fixed
    assert set(mine) == known - {"mkdir"}
    assert required <= set(mine)


def test_what_is_not_given_stays(lab):
    lab.order(proxmox_storage, storage="local", type="dir", prune_backups={"keep_last": 3, "keep_weekly": 4})
    assert stored(lab, "local")["prune-backups"] == "keep-last=3,keep-weekly=4"
    assert stored(lab, "local")["content"] == "iso,vztmpl,backup,import,snippets,images"
    lab.order(proxmox_storage, storage="local", type="dir", prune_backups={"keep_all": True})
    lab.order(proxmox_storage, storage="local", type="dir", prune_backups={})
    assert "prune-backups" not in stored(lab, "local")


def test_what_means_the_same_is_no_change(lab):
    lab.run(proxmox_storage, storage="x", type="dir", path="/tank/x", content=["iso", "backup"], nodes=["b", "a"])
    for same in (
        {"path": "/tank//x/"}, {"content": ["backup", "iso", "iso"]}, {"nodes": ["a", "b"]}, {"disable": False},
        {"create_base_path": True}, {"is_mountpoint": "no"}, {"shared": False}, {"bwlimit": {}}, {"format": ""},
    ):  # fmt: skip
        assert not lab.run(proxmox_storage, storage="x", type="dir", **same)["changed"], same


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"path": "/b"}, "path is /a, wanted is /b"),
        ({"type": "btrfs"}, "type is dir, wanted is btrfs"),
        ({"path": ""}, "path is /a, wanted is none"),
    ],
)
def test_fixed_options_say_so(lab, changed, text):
    given = {"storage": "x", "type": "dir", "path": "/a"}
    lab.run(proxmox_storage, **given)
    for check in (True, False):
        result = lab.run(proxmox_storage, check=check, **{**given, **changed, "content": ["iso"]})
        assert result["msg"] == (
            "Unable to update storage x: what is fixed when a storage is defined differs: "
            f"{text}. Remove the definition first (state=absent keeps the data), then define it anew"
        )
        assert result["failure"]["fixed"] == [next(iter(changed))]
    assert not [call for call in lab.service.requests if call[0] != "GET"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"type": "zfspool", "path": "/x"}, "Unable to define storage x: a storage of type zfspool has no path"),
        ({"type": "zfspool", "pool": "x", "content": ["iso"]}, "a storage of type zfspool cannot hold iso"),
        ({"type": "dir"}, "Unable to create storage x: missing value for required option 'path'"),
        ({"type": "dir", "path": "relative"}, "illegal path for directory storage: relative"),
        ({"type": "zfspool", "pool": "x", "content": []}, "storage does not support content type 'none'"),
        ({"type": "dir", "settings": {"path": "/x"}}, "give path as options of the module, not in settings"),
        ({"type": "dir", "path": "/x", "settings": {"frob": 1}}, "frob: property is not defined in schema"),
        ({"type": "dir", "path": "/x", "prune_backups": {"keep_all": True, "keep_last": 1}}, "keep_all cannot stand"),
        ({}, "state is present but all of the following are missing: type"),
    ],
)
def test_mistakes(lab, arguments, message):
    result = lab.run(proxmox_storage, storage="x", **arguments)
    assert message in result["msg"]
    assert "x" not in lab.world.data["storages"]


def test_local_is_always_there(lab):
    result = lab.run(proxmox_storage, check=True, storage="local", state="absent")
    assert result["msg"].startswith("Unable to delete storage local: Proxmox VE always has it")
    result = lab.run(proxmox_storage, storage="local", type="dir", nodes=["pve"])
    assert "Proxmox VE has it on every node" in result["msg"]


def test_password_is_written_on_creation_and_when_asked(lab):
    cifs = {"storage": "nas", "type": "cifs", "server": "nas", "share": "x", "username": "u"}
    done = lab.order(proxmox_storage, **cifs, password="planted-one")
    assert "planted-one" not in str({**done, "invocation": None})
    assert not lab.run(proxmox_storage, **cifs, password="planted-two")["changed"]
    assert secrets(lab) == {"storage nas password": "planted-one"}
    for check in (True, False):
        again = {**cifs, "password": "planted-two", "update_password": "always"}
        done = lab.run(proxmox_storage, check=check, **again)
        assert done["steps"] == ["set password of storage nas"]
    assert secrets(lab) == {"storage nas password": "planted-two"}
    assert "password" not in stored(lab, "nas")


def test_encryption_key_is_neither_replaced_nor_lost_unasked(lab):
    lab.order(proxmox_storage, **PBS)
    lab.order(proxmox_storage, **PBS, encryption_key="autogen", master_pubkey="UEVN")
    other = '{"data": "x", "fingerprint": "11:22"}'
    same = '{"data": "x", "fingerprint": "aa:bb:cc:dd"}'
    for unchanged in (
        {"encryption_key": other}, {"encryption_key": same, "update_password": "always"},
        {"encryption_key": "autogen", "update_password": "always"},
    ):  # fmt: skip
        assert not lab.run(proxmox_storage, **PBS, **unchanged)["changed"], unchanged
    result = lab.run(proxmox_storage, check=True, storage="pbs", state="absent")
    assert "keep a copy of /etc/pve/priv/storage/pbs.enc" in result["msg"].replace("Keep", "keep")
    assert lab.run(proxmox_storage, **PBS, encryption_key=other, update_password="always")["changed"]
    lab.order(proxmox_storage, storage="pbs", state="absent", remove_encryption_key=True)
    assert secrets(lab) == {}


def test_changed_by_somebody_else_in_between(lab):
    lab.run(proxmox_storage, **ZFS)

    def fault(method, path):
        if method == "PUT":
            lab.world.data["storages"]["other"] = {"type": "dir", "path": "/x"}

    lab.service.fault = fault
    result = lab.run(proxmox_storage, **ZFS, sparse=True)
    assert result["msg"].startswith("Unable to set sparse of storage tank: update storage failed: detected modified")


def test_what_the_api_drops_is_told(lab):
    lab.run(proxmox_storage, **ZFS)
    lab.service.fault = lambda method, path: b'{"data": null}' if method == "PUT" else None
    result = lab.run(proxmox_storage, **ZFS, sparse=True)
    assert result["msg"] == "Unable to define storage tank: Proxmox VE did not take sparse as given"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("content", "none", "none"),
        ("content", ["iso", "backup"], "backup,iso"),
        ("prune-backups", "keep-weekly=4,keep-last=3,keep-daily=0", "keep-last=3,keep-weekly=4"),
        ("prune-backups", {"keep_last": 0, "keep_all": None}, "keep-all=1"),
        ("prune-backups", {"keep_all": None}, ""),
        ("content-dirs", {"iso": "a", "backup": "b"}, "backup=b,iso=a"),
        ("content-dirs", "iso=a,backup=b", "backup=b,iso=a"),
        ("is_mountpoint", "True", "yes"),
        ("is_mountpoint", "off", ""),
        ("is_mountpoint", "/x", "/x"),
        ("blocksize", "131072", "128K"),
        ("path", "/", "/"),
        ("path", "/a//b/", "/a/b"),
        ("sparse", None, "0"),
        ("create-subdirs", None, "1"),
        ("fingerprint", "ab:cd", "AB:CD"),
        ("port", 8007, "8007"),
        ("username", None, ""),
    ],
)
def test_canonical_forms(key, value, text):
    assert _pve_storage.canonical(key, value) == text
