# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs_devices, _zfs_intent
from ansible_collections.homelab.mediaserver.plugins.modules import zfs_pools
from ansible_collections.homelab.mediaserver.tests.unit.fakes.zfs_fake import Runner, ZfsFake


@pytest.fixture(params=["json", "text"])
def zfs(request):
    """`zpool status` speaks JSON since 2.3; before it only had text."""
    return ZfsFake(json_status=request.param == "json")


@pytest.fixture
def lab(zfs, tmp_path, monkeypatch):
    return Runner(zfs, tmp_path, monkeypatch)


@pytest.fixture
def disks(tmp_path):
    """Names in by-id for empty files."""
    (tmp_path / "by-id").mkdir()
    for name in "abcdefgh":
        (tmp_path / f"disk-{name}").write_bytes(b"")
        (tmp_path / "by-id" / name).symlink_to(tmp_path / f"disk-{name}")
    return {name: str(tmp_path / "by-id" / name) for name in "abcdefgh"}


@pytest.fixture
def mirror(disks):
    return {
        "name": "tank",
        "vdevs": [{"type": "mirror", "devices": [disks["a"], disks["b"]]}],
        "properties": {"ashift": 12, "autotrim": True},
        "filesystem_properties": {"compression": "lz4", "atime": False},
        "mountpoint": "/srv/tank",
        "scrub": "monthly",
    }


def test_missing_arguments(lab, mirror):
    assert lab(zfs_pools).failed
    assert "listed twice" in lab(zfs_pools, pools=[mirror, mirror])["msg"]
    assert lab(zfs_pools, pools=[{**mirror, "vdevs": [{"type": "raid5", "devices": ["/x"]}]}]).failed
    assert "no absolute path" in lab(zfs_pools, pools=[{**mirror, "vdevs": [{"devices": ["sda"]}]}])["msg"]


def test_check_create_again_changed(lab, zfs, mirror, tmp_path):
    done = lab.order(zfs_pools, pools=[mirror])
    assert done["steps"] == [
        "create pool tank",
        "enable zfs-scrub-monthly@tank.timer",
        "turn off Debian's own scrub of tank",
    ]
    assert done["diff"]["before"] == {"tank": "absent"}
    assert done["pools"]["tank"]["health"] == "ONLINE"
    by_kernel = {
        **mirror,
        "vdevs": [{"type": "mirror", "devices": [str(tmp_path / "disk-b"), str(tmp_path / "disk-a")]}],
    }
    assert not lab(zfs_pools, pools=[by_kernel])["changed"], "the same disks under other names, in another order"

    changed = {
        **mirror,
        "properties": {"ashift": "12", "autotrim": False, "comment": "two"},
        "scrub": "weekly",
        "filesystem_properties": {"compression": "zstd"},
    }
    done = lab.order(zfs_pools, pools=[changed])
    assert done["steps"] == [
        "set autotrim=off on pool tank",
        "set comment=two on pool tank",
        "set compression=zstd on tank",
        "disable zfs-scrub-monthly@tank.timer",
        "enable zfs-scrub-weekly@tank.timer",
    ]
    before = done["diff"]["before"]["tank"]
    assert (before["autotrim"], before["scrub"]) == ("on", "monthly (Debian: disable)")
    lab.order(zfs_pools, pools=[{**changed, "scrub": "never"}])
    assert zfs.enabled == set()


def test_special_log_cache_and_spares_are_read_back(lab, zfs, mirror, disks):
    pool = {
        **mirror,
        "special": [{"type": "mirror", "devices": [disks["c"], disks["d"]]}],
        "log": [{"devices": [disks["e"]]}],
        "cache": [disks["f"]],
        "spares": [disks["g"]],
    }
    lab.order(zfs_pools, pools=[pool])
    fewer = lab(zfs_pools, pools=[mirror])
    assert not fewer["changed"]
    assert len(lab.warnings) == 4 and all("is not listed; it stays" in text for text in lab.warnings)


def test_vdevs_are_added_on_request_only(lab, zfs, mirror, disks):
    lab(zfs_pools, pools=[mirror])
    more = {
        **mirror,
        "cache": [disks["c"]],
        "vdevs": [*mirror["vdevs"], {"type": "mirror", "devices": [disks["d"], disks["e"]]}],
    }
    assert "say add_vdevs: true" in lab(zfs_pools, check=True, pools=[more])["msg"]
    lab.order(zfs_pools, pools=[{**more, "add_vdevs": True}])
    assert zfs.pools["tank"]["vdevs"][-2:] == [
        ("", "mirror", [disks["d"], disks["e"]]),
        ("cache", "disk", [disks["c"]]),
    ]


def test_vdevs_are_never_rebuilt(lab, zfs, mirror, disks):
    lab(zfs_pools, pools=[mirror])
    for devices in ([disks["a"], disks["c"]], [disks["a"], disks["b"], disks["c"]]):
        wrong = {**mirror, "add_vdevs": True, "vdevs": [{"type": "mirror", "devices": devices}]}
        assert "use zpool attach, replace" in lab(zfs_pools, pools=[wrong])["msg"]
        assert not zfs.writes


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("TYPE=ext4\nLABEL=data", "it carries ext4 data"),
        ("TYPE=zfs_member\nLABEL=other", "it carries zfs_member other"),
        ("TYPE=LVM2_member", "it carries LVM2_member"),
        ("TYPE=linux_raid_member", "it carries linux_raid_member"),
        ("TYPE=swap", "it carries swap"),
        ("PTTYPE=gpt", "it carries a partition table (gpt)"),
    ],
)
def test_devices_that_carry_something(lab, zfs, mirror, tmp_path, signature, text):
    zfs.signatures[str(tmp_path / "disk-b")] = signature
    for check in (True, False):
        result = lab(zfs_pools, check=check, pools=[mirror])
        assert text in result["msg"] and "Nothing is overwritten" in result["msg"]
        assert not zfs.writes


def test_devices_that_are_none(lab, mirror, disks, tmp_path):
    missing = {**mirror, "vdevs": [{"devices": [str(tmp_path / "by-id/none")]}]}
    assert "there is no such device" in lab(zfs_pools, check=True, pools=[missing])["msg"]
    folder = {**mirror, "vdevs": [{"devices": [str(tmp_path)]}]}
    assert "it is no disk, partition or file" in lab(zfs_pools, pools=[folder])["msg"]
    twice = {**mirror, "vdevs": [{"type": "mirror", "devices": [disks["a"], str(tmp_path / "disk-a")]}]}
    assert "are one device" in lab(zfs_pools, pools=[twice])["msg"]


def test_partition_of_the_system_disk(lab, zfs, mirror, tmp_path):
    """blkid tells where a partition lies; that is nothing it carries."""
    zfs.signatures[str(tmp_path / "disk-a")] = "PART_ENTRY_SCHEME=gpt\nPART_ENTRY_NUMBER=4"
    lab.order(zfs_pools, pools=[mirror])


def exported(zfs, disks, **more):
    zfs.exported["tank"] = {
        "id": "123",
        "health": "ONLINE",
        "states": {},
        "properties": {"ashift": "12"},
        "vdevs": [("", "mirror", [disks["a"], disks["b"]])],
        **more,
    }


def test_import_instead_of_create(lab, zfs, mirror, disks):
    exported(zfs, disks)
    assert "say import: true" in lab(zfs_pools, pools=[{**mirror, "import": False}])["msg"]
    done = lab.order(zfs_pools, pools=[mirror])
    assert done["steps"] == ["import pool tank", "bring pool tank to what is listed"]
    assert zfs.datasets["tank"]["local"]["compression"] == "lz4", "brought to what is listed in the same run"


def test_import_of_a_pool_in_use_elsewhere(lab, zfs, mirror, disks):
    exported(zfs, disks, foreign=True)
    for check in (True, False):
        result = lab(zfs_pools, check=check, pools=[mirror])
        assert "last accessed by another system" in result["msg"] and "force_import: true" in result["msg"]
    lab.order(zfs_pools, pools=[{**mirror, "force_import": True}])


def test_import_of_what_cannot_be_imported(lab, zfs, mirror, disks):
    exported(zfs, disks, health="UNAVAIL")
    assert "zpool import finds 123 UNAVAIL" in lab(zfs_pools, check=True, pools=[mirror])["msg"]


def test_host_without_zfs(lab, zfs, mirror, tmp_path):
    zfs.installed = False
    assert lab(zfs_pools, check=True, pools=[mirror])["steps"][0] == "create pool tank"
    zfs.signatures[str(tmp_path / "disk-a")] = "TYPE=zfs_member\nLABEL=tank"
    assert lab(zfs_pools, check=True, pools=[mirror])["steps"][0] == "import pool tank"
    assert "OpenZFS is not installed" in lab(zfs_pools, pools=[mirror])["msg"]


def test_pool_of_that_name_on_other_devices(lab, zfs, mirror, disks):
    lab(zfs_pools, pools=[mirror])
    other = {**mirror, "add_vdevs": True, "vdevs": [{"type": "mirror", "devices": [disks["c"], disks["d"]]}]}
    assert "has none of the listed devices" in lab(zfs_pools, check=True, pools=[other])["msg"]


def test_degraded_pool(lab, zfs, mirror, disks):
    lab(zfs_pools, pools=[mirror])
    zfs.pools["tank"].update(health="DEGRADED", states={disks["b"]: "FAULTED"})
    result = lab(zfs_pools, pools=[mirror])
    assert not result["changed"]
    assert result["problems"] == [f"pool tank is DEGRADED: {disks['b']} FAULTED"] == lab.warnings


def test_ashift_is_chosen_once(lab, zfs, mirror):
    lab(zfs_pools, pools=[mirror])
    nine = {**mirror, "properties": {"ashift": 9}}
    result = lab(zfs_pools, check=True, pools=[nine])
    assert "Unable to set ashift of pool tank: its vdevs have 12, wanted is 9" in result["msg"]
    zfs.pools["tank"]["properties"]["ashift"] = "0"
    zfs.pools["tank"]["real_ashift"] = "9"
    assert not lab(zfs_pools, pools=[nine])["changed"], "ZFS chose it"
    assert "its vdevs have 9" in lab(zfs_pools, pools=[mirror])["msg"]


def test_features_that_are_active_are_enabled(lab, zfs, mirror):
    lab(zfs_pools, pools=[mirror])
    zfs.pools["tank"]["properties"]["feature@lz4_compress"] = "active"
    more = {**mirror, "properties": {"feature@lz4_compress": "enabled"}}
    assert not lab(zfs_pools, pools=[more])["changed"]


def test_error_paths(lab, zfs, mirror):
    zfs.fail["zpool create -n"] = "cannot create 'tank': pool name is reserved"
    assert lab(zfs_pools, check=True, pools=[mirror])["msg"] == (
        "Unable to create pool tank: cannot create 'tank': pool name is reserved"
    )
    zfs.fail = {"zpool get": "permission denied"}
    assert lab(zfs_pools, pools=[mirror])["msg"] == "Unable to read the pools: permission denied"
    zfs.fail = {}
    lab(zfs_pools, pools=[mirror])
    assert "invalid property 'autotrimm'" in lab(zfs_pools, pools=[{**mirror, "properties": {"autotrimm": 1}}])["msg"]
    zfs.fail = {"zpool status": "internal error"}
    assert lab(zfs_pools, pools=[mirror])["msg"] == "Unable to read the pools: internal error"


def test_killed_between_two_writes(lab, zfs, mirror):
    for stop in range(3):
        zfs.pools.clear()
        zfs.datasets.clear()
        zfs.signatures.clear()
        zfs.enabled.clear()
        zfs.kill_after = stop
        with pytest.raises(KeyboardInterrupt):
            lab(zfs_pools, pools=[mirror])
        zfs.kill_after = None
        assert not lab(zfs_pools, pools=[mirror]).failed
        assert not lab(zfs_pools, check=True, pools=[mirror])["changed"]


ZPOOL_PARTS = {1: "6a898cc3-1dd2-11b2-99a6-080020736631", 9: "6a945a3b-1dd2-11b2-99a6-080020736631"}


@pytest.fixture
def fails(zfs, tmp_path, monkeypatch):
    """zpool create that fails after it has partitioned the disks a and b; what blkid says is recorded from 2.3.9."""
    real, files = zfs.zpool_create, [str(tmp_path / f"disk-{name}") for name in "ab"]

    def create(words):
        if "-n" in words:
            return 0
        for path in files:
            zfs.signatures[path] = "PTTYPE=gpt"
            for number, kind in ZPOOL_PARTS.items():
                name = "PART_ENTRY_NAME=zfs-10687eaeea665d72" if number == 1 else ""
                zfs.signatures[f"{path}{number}"] = f"PART_ENTRY_SCHEME=gpt\nPART_ENTRY_TYPE={kind}\n{name}"
        return 1, "", "cannot create 'tank': 'compression' must be one of 'on | off'\n"

    def partitions(real):
        return {name for name in zfs.signatures if name.startswith(real) and name != real}

    monkeypatch.setattr(_zfs_devices.Disks, "partitions", staticmethod(partitions))
    zfs.zpool_create = create
    yield
    zfs.zpool_create = real


@pytest.fixture
def half_made(lab, zfs, mirror, fails, tmp_path):
    """The disks after that, and a zpool that works again."""
    assert "'compression' must be one of" in lab(zfs_pools, pools=[mirror])["msg"]
    assert (tmp_path / "intent/tank.json").stat().st_mode & 0o777 == 0o600
    zfs.zpool_create = ZfsFake.zpool_create.__get__(zfs)
    return mirror


def test_create_that_failed_converges(lab, zfs, half_made, tmp_path):
    done = lab.order(zfs_pools, pools=[half_made])
    assert done["steps"][0] == "create pool tank"
    assert not (tmp_path / "intent/tank.json").exists()


@pytest.mark.parametrize("what", ["no record", "other pool", "size", "file system", "third partition", "label", "name",
                                  "type", "boot", "malformed record"])  # fmt: skip
def test_half_made_disks_that_may_hold_data(lab, zfs, half_made, tmp_path, monkeypatch, what):
    first, ninth, record = str(tmp_path / "disk-a1"), str(tmp_path / "disk-a9"), tmp_path / "intent/tank.json"
    if what == "no record":
        record.unlink()
    elif what == "malformed record":
        record.write_text('{"devices": []}')
    elif what == "other pool":
        half_made["name"] = "other"
    elif what == "size":
        (tmp_path / "disk-a").write_bytes(b"x")
    elif what == "file system":
        zfs.signatures[first] += "\nTYPE=ext4"
    elif what == "label":
        zfs.signatures[first] += "\nTYPE=zfs_member\nLABEL=tank"
    elif what == "third partition":
        zfs.signatures[str(tmp_path / "disk-a2")] = "PART_ENTRY_SCHEME=gpt"
    elif what == "name":
        zfs.signatures[first] = zfs.signatures[first].replace("zfs-", "data-")
    elif what == "type":
        zfs.signatures[ninth] = zfs.signatures[ninth].replace(ZPOOL_PARTS[9], ZPOOL_PARTS[1])
    elif what == "boot":
        monkeypatch.setattr(_zfs_intent, "unstable", list)
        record.write_text(record.read_text().replace('"boot": "', '"boot": "other'))
    for check in (True, False):
        result = lab(zfs_pools, check=check, pools=[half_made])
        assert "disk-a" in result["msg"] or "/by-id/a: it carries a partition table (gpt)" in result["msg"]
        assert "Nothing is overwritten" in result["msg"] and not zfs.writes


def test_record_of_a_pool_that_was_made_after_all(lab, zfs, mirror, tmp_path):
    lab(zfs_pools, pools=[mirror])
    (tmp_path / "intent/tank.json").write_text("{}")
    done = lab.order(zfs_pools, pools=[mirror])
    assert done["steps"] == ["forget that pool tank was about to be made"]


def test_names_that_are_none(lab, zfs, mirror):
    for name in ("../x", "tank/a", "1tank", ""):
        assert "this is no name of a pool" in lab(zfs_pools, check=True, pools=[{**mirror, "name": name}])["msg"]


def test_unstable_names_are_told(lab, zfs, mirror, monkeypatch):
    from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_devices import Disks

    monkeypatch.setattr(Disks, "carries", lambda _self, _path: None)
    monkeypatch.setattr(Disks, "exists", staticmethod(lambda _path: False))
    lab(zfs_pools, check=True, pools=[{**mirror, "vdevs": [{"devices": ["/dev/sdb"]}]}])
    assert lab.warnings == [
        "pool tank: /dev/sdb may be another disk after the next boot; use its name in /dev/disk/by-id"
    ]
