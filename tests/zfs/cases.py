# SPDX-License-Identifier: MIT
"""The modules against real OpenZFS. Runs as root in the machine of machine.sh, never elsewhere: it empties disks.

Each case begins with four empty disks and no pool. A module is run in check mode (nothing may have changed after it),
for real, and both once more, which must change nothing.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _reconcile, _zfs
from ansible_collections.homelab.mediaserver.plugins.modules import zfs_datasets, zfs_pools

BY_ID = "/dev/disk/by-id/virtio-"
SSD0, SSD1, HDD0, HDD1 = (BY_ID + name for name in ("ssd0", "ssd1", "hdd0", "hdd1"))
Result = dict[str, Any]


def sh(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stderr}{done.stdout}"
    return done.stdout


def run(module: ModuleType, check: bool = False, **arguments: Any) -> Result:
    """What the module answers; its commands are in ``ran``."""
    output, warnings, ran = io.StringIO(), [], []
    real = _command.execute

    def note(argv: list[str]) -> Any:
        ran.append(" ".join([argv[0].rpartition("/")[2], *argv[1:]]))
        return real(argv)

    with (
        patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
        mock.patch.object(AnsibleModule, "warn", lambda _self, text, **_more: warnings.append(text)),
        mock.patch.object(_command, "execute", note),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        _reconcile.main(AnsibleModule(argument_spec=module.SPEC, supports_check_mode=True), module.work)
    return {**json.loads(output.getvalue()), "warned": warnings, "ran": ran}


def picture() -> str:
    """All that a module may change."""
    return "\n".join(
        sh(*argv, check=False)
        for argv in (
            ("zpool", "status", "-P"),
            ("zfs", "get", "-Hp", "-s", "local,received,temporary", "all"),
            ("zfs", "list", "-Hp", "-t", "all", "-o", "name,mounted,keystatus,volsize"),
            ("zpool", "get", "-Hp", "ashift,autotrim,autoexpand,comment,failmode"),
        )
    )


def order(module: ModuleType, **arguments: Any) -> Result:
    """Check, run, check again, run again."""
    before = picture()
    checked = run(module, check=True, **arguments)
    assert not checked.get("failed"), checked
    assert checked["changed"], checked
    assert picture() == before, "something changed in check mode"
    done = run(module, **arguments)
    assert not done.get("failed"), done
    assert (done["steps"], done["diff"]) == (checked["steps"], checked["diff"]), (checked, done)
    for check in (True, False):
        again = run(module, check=check, **arguments)
        assert not again.get("failed"), again
        assert not again["changed"], again["steps"]
        assert again["diff"]["before"] == again["diff"]["after"], again["diff"]
    return done


def refused(module: ModuleType, text: str, **arguments: Any) -> Result:
    """The module fails with this text, in check mode too, and nothing has changed."""
    before = picture()
    for check in (True, False):
        result = run(module, check=check, **arguments)
        assert result.get("failed"), result
        assert text in result["msg"], result["msg"]
    assert picture() == before
    return result


def patient(*argv: str) -> None:
    """For what udev keeps busy for a moment after a pool went away."""
    for _attempt in range(10):
        if subprocess.run(argv, capture_output=True).returncode == 0:
            return
        sh("udevadm", "settle")
        time.sleep(1)
    sh(*argv)


def clean() -> None:
    shutil.rmtree("/var/lib/mediaserver/zfs", ignore_errors=True)
    for name in sh("zpool", "list", "-H", "-o", "name").split():
        if sh("zpool", "destroy", "-f", name, check=False) or name in sh("zpool", "list", "-H", "-o", "name").split():
            # a mount that hides another one
            for mount in [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " zfs " in line]:
                sh("umount", "-l", mount, check=False)
            sh("zpool", "destroy", "-f", name)
    sh("swapoff", "-a")
    for path in (SSD0, SSD1, HDD0, HDD1):
        real = os.path.realpath(path)
        sh("umount", "-q", real, f"{real}1", f"{real}2", check=False)
        for part in sorted(Path("/dev").glob(f"{Path(real).name}[0-9]*")):
            sh("wipefs", "-qa", str(part))
        patient("wipefs", "-qa", real)
        sh("blkdiscard", "-q", "-f", real, check=False)
        sh("blockdev", "--rereadpt", real, check=False)
    sh("udevadm", "settle")


def value(prop: str, name: str) -> str:
    return sh("zfs", "get", "-Hp", "-o", "value", prop, name).rstrip("\n")


def make(name: str = "tank", *devices: str) -> None:
    sh("zpool", "create", "-o", "ashift=12", name, *(devices or (SSD0,)))


# --- pools ------------------------------------------------------------------------------------------------------------
MIRROR: Result = {
    "name": "tank",
    "vdevs": [{"type": "mirror", "devices": [HDD0, HDD1]}],
    "properties": {"ashift": 12, "autotrim": True},
    "filesystem_properties": {"compression": "lz4", "atime": False, "acltype": "posixacl", "xattr": "sa"},
    "mountpoint": "/srv/tank",
    "scrub": "monthly",
}


def case_pool_of_a_mirror() -> None:
    done = order(zfs_pools, pools=[MIRROR])
    assert done["pools"]["tank"]["health"] == "ONLINE"
    assert "mirror-0" in sh("zpool", "status", "tank")
    assert value("mountpoint", "tank") == "/srv/tank"
    assert sh("systemctl", "is-enabled", "zfs-scrub-monthly@tank.timer").strip() == "enabled"
    assert value("org.debian:periodic-scrub", "tank") == "disable"
    changed = {**MIRROR, "scrub": "weekly", "properties": {"ashift": "12", "autotrim": "off", "comment": "two disks"}}
    changed["filesystem_properties"] = {"compression": "zstd"}
    order(zfs_pools, pools=[changed])
    assert sh("zpool", "get", "-H", "-o", "value", "autotrim", "tank").strip() == "off"
    order(zfs_pools, pools=[{**changed, "scrub": "never"}])
    assert sh("systemctl", "is-enabled", "zfs-scrub-weekly@tank.timer", check=False).strip() == "disabled"


def case_pool_with_special_log_cache_and_spare() -> None:
    for path, sizes in ((SSD0, (",2G", ",2G", ",2G")), (SSD1, (",2G", ",2G", ",2G"))):
        subprocess.run(["sfdisk", "-q", path], input="label: gpt\n" + "\n".join(sizes) + "\n", text=True, check=True)
    sh("udevadm", "settle")
    pool = {
        "name": "tank",
        "vdevs": [{"type": "mirror", "devices": [HDD0, HDD1]}],
        "special": [{"type": "mirror", "devices": [f"{SSD0}-part1", f"{SSD1}-part1"]}],
        "log": [{"type": "mirror", "devices": [f"{SSD0}-part2", f"{SSD1}-part2"]}],
        "cache": [f"{SSD0}-part3"],
        "spares": [],
    }
    order(zfs_pools, pools=[pool])
    # the same by the kernel's names, and read back without them being listed as new
    real = json.loads(json.dumps(pool).replace(BY_ID, "BY"))
    for word, path in (("ssd0", SSD0), ("ssd1", SSD1), ("hdd0", HDD0), ("hdd1", HDD1)):
        kernel = os.path.realpath(path)
        real = json.loads(json.dumps(real).replace(f"BY{word}-part", kernel).replace(f"BY{word}", kernel))
    again = run(zfs_pools, pools=[real])
    assert not again.get("failed") and not again["changed"], again
    more = {**pool, "cache": [f"{SSD0}-part3", f"{SSD1}-part3"]}
    refused(zfs_pools, "say add_vdevs: true", pools=[more])
    order(zfs_pools, pools=[{**more, "add_vdevs": True}])
    fewer = run(zfs_pools, pools=[{**pool, "special": [], "cache": []}])
    assert not fewer["changed"] and len(fewer["warned"]) == 3, fewer
    wrong = {**pool, "vdevs": [{"type": "mirror", "devices": [HDD0, SSD1]}]}
    refused(zfs_pools, "use zpool attach, replace", pools=[wrong])


def case_vdev_added_on_request_and_zfs_judges() -> None:
    make("tank", "mirror", HDD0, HDD1)
    two: Result = {"name": "tank", "vdevs": [MIRROR["vdevs"][0], {"devices": [SSD0]}], "add_vdevs": True}
    refused(zfs_pools, "mismatched replication level", pools=[two])
    two["vdevs"][1] = {"type": "mirror", "devices": [SSD0, SSD1]}
    order(zfs_pools, pools=[two])
    assert "mirror-1" in sh("zpool", "status", "tank")


def case_pool_on_a_partition_of_a_used_disk() -> None:
    """Reference system 1: the pool lies on a partition of the system disk, beside a mounted one."""
    subprocess.run(["sfdisk", "-q", SSD0], input="label: gpt\n,2G\n,\n", text=True, check=True)
    sh("udevadm", "settle")
    sh("mkfs.ext4", "-q", f"{SSD0}-part1")
    sh("mount", f"{SSD0}-part1", "/mnt")
    try:
        pool = {"name": "tank-ssd", "vdevs": [{"devices": [f"{SSD0}-part2"]}], "properties": {"ashift": 12}}
        refused(zfs_pools, "it carries ext4", pools=[{**pool, "vdevs": [{"devices": [f"{SSD0}-part1"]}]}])
        refused(zfs_pools, "it carries a partition table (gpt)", pools=[{**pool, "vdevs": [{"devices": [SSD0]}]}])
        order(zfs_pools, pools=[pool])
        refused(zfs_pools, "it carries zfs_member tank-ssd", pools=[{**pool, "name": "other"}])
    finally:
        sh("umount", "/mnt")


def case_devices_that_carry_something() -> None:
    pool = {"name": "tank", "vdevs": [{"devices": [SSD0]}]}
    refused(zfs_pools, "there is no such device", pools=[{**pool, "vdevs": [{"devices": [f"{BY_ID}none"]}]}])
    refused(zfs_pools, "are one device", pools=[{**pool, "vdevs": [{"devices": [SSD0, os.path.realpath(SSD0)]}]}])
    sh("mkswap", SSD0)
    refused(zfs_pools, "it carries swap", pools=[pool])
    sh("wipefs", "-qa", SSD0)
    sh("mkfs.ext4", "-q", "-L", "data", SSD0)
    refused(zfs_pools, "it carries ext4 data", pools=[pool])
    sh("wipefs", "-qa", SSD0)
    make("other", SSD0)
    refused(zfs_pools, "zfs_member other", pools=[pool])
    sh("zpool", "export", "other")
    refused(zfs_pools, "zfs_member other", pools=[pool])
    loose = run(zfs_pools, check=True, pools=[{**pool, "vdevs": [{"devices": [os.path.realpath(SSD1)]}]}])
    assert any("may be another disk after the next boot" in text for text in loose["warned"]), loose


def case_import_instead_of_create() -> None:
    make("tank", "mirror", HDD0, HDD1)
    sh("zfs", "create", "tank/kept")
    sh("zpool", "export", "tank")
    pool = {**MIRROR, "filesystem_properties": {"compression": "lz4"}}
    refused(zfs_pools, "say import: true", pools=[{**pool, "import": False}])
    done = order(zfs_pools, pools=[pool])
    assert done["steps"][0] == "import pool tank", done["steps"]
    assert value("type", "tank/kept") == "filesystem"
    assert HDD0 in sh("zpool", "status", "-P", "tank"), "it keeps its names in by-id"
    # another machine had it last
    sh("zpool", "export", "tank")
    sh("zpool", "import", "-d", "/dev/disk/by-id", "tank")
    before = Path("/etc/hostid").read_bytes()
    sh("zpool", "destroy", "tank")
    refused(zfs_pools, "zfs_member tank", pools=[pool])
    assert Path("/etc/hostid").read_bytes() == before


def case_degraded_pool() -> None:
    make("tank", "mirror", HDD0, HDD1)
    sh("zpool", "offline", "-f", "tank", HDD1)
    pool = {"name": "tank", "vdevs": MIRROR["vdevs"]}
    result = run(zfs_pools, pools=[pool])
    assert not result["changed"] and "pool tank is DEGRADED" in result["problems"][0], result
    # the disk is gone and another takes its place
    sh("zpool", "export", "tank")
    sh("zpool", "labelclear", "-f", f"{HDD1}-part1", check=False)
    sh("wipefs", "-qa", f"{HDD1}-part1", HDD1)
    sh("dd", "if=/dev/zero", f"of={HDD1}", "bs=1M", "count=8", "conv=fsync")
    sh("zpool", "import", "-d", "/dev/disk/by-id", "tank")
    result = run(zfs_pools, pools=[pool])
    assert not result.get("failed") and not result["changed"] and "DEGRADED" in result["problems"][0], result


def case_ashift_and_its_like() -> None:
    sh("zpool", "create", "-o", "ashift=9", "tank", SSD0)
    pool = {"name": "tank", "vdevs": [{"devices": [SSD0]}], "properties": {"ashift": 12}}
    refused(zfs_pools, "Unable to set ashift of pool tank: its vdevs have 9, wanted is 12", pools=[pool])
    clean()
    sh("zpool", "create", "tank", SSD0)
    refused(zfs_pools, "its vdevs have 9", pools=[pool])
    ok = run(zfs_pools, pools=[{**pool, "properties": {"ashift": 9}}])
    assert not ok.get("failed") and not ok["changed"], ok
    refused(zfs_pools, "invalid property 'autotrimm'", pools=[{**pool, "properties": {"autotrimm": True}}])
    clean()
    # the dry run of zpool does not look at properties of file systems
    wrong = run(zfs_pools, pools=[{**pool, "filesystem_properties": {"compression": "x"}}])
    assert wrong["failed"] and "'compression' must be one of" in wrong["msg"], wrong


def case_pools_of_files_and_raidz() -> None:
    for number in range(5):
        sh("truncate", "-s", "128M", f"/var/tmp/vdev{number}")
    files = [f"/var/tmp/vdev{number}" for number in range(5)]
    pool = {"name": "tank", "vdevs": [{"type": "raidz1", "devices": files[:3]}], "spares": [files[3]]}
    order(zfs_pools, pools=[pool])
    sh("zpool", "replace", "tank", files[0], files[4])
    state = run(zfs_pools, pools=[pool])
    assert state.get("failed") or not state["changed"], state
    sh("zpool", "destroy", "tank")
    for path in files:
        Path(path).unlink()


def case_create_that_failed_converges() -> None:
    """zpool partitions whole disks before it looks at the properties."""
    record = Path("/var/lib/mediaserver/zfs/tank.json")
    pool: Result = {"name": "tank", "vdevs": MIRROR["vdevs"]}
    wrong = {**pool, "filesystem_properties": {"compression": "x"}}

    def fail() -> None:
        clean()
        result = run(zfs_pools, pools=[wrong])
        assert "'compression' must be one of" in result["msg"], result
        sh("udevadm", "settle")

    fail()
    assert record.exists()
    refused(zfs_pools, "it carries a partition table (gpt)", pools=[{**pool, "name": "other"}])
    order(zfs_pools, pools=[pool])
    assert not record.exists()
    fail()
    sh("mkfs.ext4", "-q", f"{HDD0}-part1")
    refused(zfs_pools, "its first partition ext4", pools=[pool])
    fail()
    record.unlink()
    refused(zfs_pools, "it carries a partition table (gpt)", pools=[pool])


def case_create_that_failed_between_two_labels() -> None:
    """The first of two devices has labels of a pool that never was, as the second has no room for them."""
    sh("mkdir", "-p", "/tiny")
    sh("mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", "/tiny")
    try:
        files = ["/tiny/a", "/tiny/b"]
        sh("truncate", "-s", "100M", *files)
        pool = {"name": "tank", "vdevs": [{"type": "mirror", "devices": files}]}
        failed = run(zfs_pools, pools=[pool])
        assert failed.get("failed") and "out of space" in failed["msg"], failed
        assert "name: 'tank'" in sh("zdb", "-l", files[0], check=False)
        sh("mount", "-o", "remount,size=300m", "/tiny")
        order(zfs_pools, pools=[pool])
        sh("zpool", "destroy", "tank")
    finally:
        sh("umount", "-l", "/tiny")


# --- datasets ---------------------------------------------------------------------------------------------------------
def case_datasets_in_human_units() -> None:
    checked = run(zfs_datasets, check=True, datasets=[{"name": "tank/a", "properties": {"quota": "1G"}}])
    assert checked["changed"] and not checked.get("failed"), "a pool that is not there yet"
    make()
    datasets: list[Result] = [
        {"name": "tank/media/films", "properties": {"recordsize": "1M", "quota": "1.5G"}},
        {"name": "tank", "properties": {"compression": True, "atime": False, "xattr": "sa", "acltype": "posixacl"}},
        {"name": "tank/media", "properties": {"quota": "30G", "refquota": "none", "com.sun:auto-snapshot": False}},
        {"name": "tank/limits", "properties": {"snapshot_limit": 10, "filesystem_limit": "none", "reservation": "10M",
                                               "userquota@1000": "1G", "groupquota@1000": "none", "copies": 2,
                                               "special_small_blocks": 0, "canmount": "noauto", "volmode": "geom",
                                               "aclinherit": "secure", "dedup": False, "sync": "disabled"}},
    ]  # fmt: skip
    del datasets[3]["properties"]["volmode"]
    done = order(zfs_datasets, datasets=datasets)
    assert done["datasets"]["tank/media"]["mounted"] == "yes"
    assert value("quota", "tank/media") == str(30 * 1024**3)
    assert value("com.sun:auto-snapshot", "tank/media") == "false"
    datasets[2]["properties"] = {"quota": 32212254720, "refquota": 0, "com.sun:auto-snapshot": "false"}
    datasets[1]["properties"].update(acltype="posix", compression="on", atime="off")
    for check in (True, False):
        same = run(zfs_datasets, check=check, datasets=datasets)
        assert not same["changed"], same["steps"]
        assert [line.split()[1] for line in same["ran"]] == ["get"], same["ran"]
    datasets[2]["properties"]["quota"] = "none"
    order(zfs_datasets, datasets=datasets)
    assert value("quota", "tank/media") == "0"


def case_aliases_read_back_as_written() -> None:
    make()
    names = {"compression": ("gzip", "gzip-6", "gzip-9", "zstd", "zstd-3", "zstd-9", "zstd-fast", "zstd-fast-1", "off",
                             "on", "lz4", "zle"),
             "checksum": ("on", "off", "sha256", "fletcher4", "blake3"), "xattr": ("sa", "dir", "on", "off"),
             "acltype": ("off", "noacl", "posix", "posixacl", "nfsv4"), "aclinherit": ("secure", "restricted"),
             "snapdir": ("hidden", "visible"), "dnodesize": ("auto", "legacy", "1k", "1K"), "relatime": ("on", "off"),
             "aclmode": ("discard", "groupmask"), "redundant_metadata": ("most", "all", "some", "none"),
             "dedup": ("on", "off", "verify", "sha256", "sha256,verify"), "logbias": ("latency", "throughput"),
             "sync": ("standard", "always"), "primarycache": ("metadata", "all"), "devices": (True, False),
             "exec": ("off", "on"), "setuid": (False,), "sharenfs": ("off", "on"), "special_small_blocks": ("64K", 0),
             "recordsize": (16384, "1M", "128K"), "copies": (2, 1), "refreservation": ("none", "1M", 0),
             "canmount": ("on", "off"), "readonly": (True, False), "overlay": ("on",), "snapdev": ("visible",),
             "secondarycache": ("none", "metadata"), "nbmand": ("off",), "prefetch": ("all", "none")}  # fmt: skip
    sh("zfs", "create", "tank/a")
    wrong = []
    for prop, values in names.items():
        for wanted in values:
            arguments: Result = {"datasets": [{"name": "tank/a", "properties": {prop: wanted}}]}
            first = run(zfs_datasets, **arguments)
            assert not first.get("failed"), first["msg"]
            if run(zfs_datasets, check=True, **arguments)["changed"]:
                wrong.append(f"{prop}={wanted} reads {value(prop, 'tank/a')}")
    assert not wrong, wrong


def case_inheritance_settles_in_one_run() -> None:
    make()
    sh("zfs", "create", "tank/a")
    sh("zfs", "create", "tank/a/b")
    sh("zfs", "set", "compression=lz4", "tank/a")
    # b inherits what it wants, but its parent is about to change
    wanted = [
        {"name": "tank/a", "properties": {"compression": "zstd", "mountpoint": "/srv/a", "x:y": "1"}},
        {"name": "tank/a/b", "properties": {"compression": "lz4", "mountpoint": "/srv/b", "x:y": "2"}},
    ]
    order(zfs_datasets, datasets=wanted)
    back = [
        {"name": "tank/a", "inherit": ["x:y", "mountpoint"]},
        {"name": "tank/a/b", "inherit": ["compression", "x:y"]},
    ]
    order(zfs_datasets, datasets=back)
    assert value("compression", "tank/a/b") == "zstd" and value("x:y", "tank/a/b") == "-"
    assert value("mountpoint", "tank/a") == "/tank/a"
    order(zfs_datasets, datasets=[{"name": "tank/a/b", "mounted": False}])
    assert value("mounted", "tank/a/b") == "no"
    order(zfs_datasets, datasets=[{"name": "tank/a/b"}])
    sh("zfs", "set", "mountpoint=none", "tank/a/b")
    order(zfs_datasets, datasets=[{"name": "tank/a/b", "properties": {"mountpoint": "/srv/b"}}])
    assert value("mounted", "tank/a/b") == "yes"


def case_volumes_grow_only() -> None:
    make()
    volume = {"name": "tank/disk", "size": "100M", "properties": {"volblocksize": "16K", "compression": "lz4"}}
    order(zfs_datasets, datasets=[volume, {"name": "tank/thin", "size": "1G", "sparse": True}])
    assert value("refreservation", "tank/thin") == "0" and value("refreservation", "tank/disk") != "0"
    order(zfs_datasets, datasets=[{**volume, "size": "200M"}])
    assert value("volsize", "tank/disk") == str(200 * 1024**2)
    refused(zfs_datasets, "Unable to shrink volume tank/disk", datasets=[{**volume, "size": "100M"}])
    refused(
        zfs_datasets,
        "Unable to set volblocksize",
        datasets=[{**volume, "size": "200M", "properties": {"volblocksize": 8192}}],
    )
    refused(zfs_datasets, "it is a volume", datasets=[{"name": "tank/disk"}])
    order(zfs_datasets, datasets=[{"name": "tank/odd", "size": "100000001"}])


def case_encryption_with_a_key_file() -> None:
    make()
    key = Path("/root/key")
    key.write_bytes(os.urandom(32))
    datasets: list[Result] = [
        {"name": "tank/secret", "encryption": {"key_file": str(key)}, "properties": {"compression": "lz4"}},
        {"name": "tank/secret/inner"},
    ]
    order(zfs_datasets, datasets=datasets)
    assert value("encryption", "tank/secret") == "aes-256-gcm" and value("keyformat", "tank/secret") == "raw"
    sh("zfs", "unmount", "tank/secret")
    sh("zfs", "unload-key", "-r", "tank/secret")
    done = order(zfs_datasets, datasets=datasets)
    assert "load the key of tank/secret" in done["steps"] and done["datasets"]["tank/secret/inner"]["mounted"] == "yes"
    key.rename("/root/key2")
    moved = [{**datasets[0], "encryption": {"key_file": "/root/key2"}}]
    order(zfs_datasets, datasets=moved)
    plain = {"name": "tank/plain"}
    sh("zfs", "create", "tank/plain")
    refused(
        zfs_datasets,
        "Unable to set encryption of tank/plain",
        datasets=[{**plain, "encryption": {"key_file": "/root/key2"}}],
    )
    refused(zfs_datasets, "tank/secret holds its key",
            datasets=[{"name": "tank/secret/inner", "encryption": {"key_file": "/root/key2"}}])  # fmt: skip
    lost = run(zfs_datasets, datasets=[{"name": "tank/lost", "encryption": {"key_file": "/root/none"}}])
    assert "Unable to create file system tank/lost" in lost["msg"], lost
    assert "tank/lost" not in sh("zfs", "list", "-H", "-o", "name")


def case_owner_and_delegation() -> None:
    make()
    sh("useradd", "-u", "1500", "backup-user", check=False)
    dataset: Result = {
        "name": "tank/media", "owner": "backup-user", "group": "1500", "mode": "2770",
        "allow": [{"user": "backup-user", "permissions": ["send", "hold", "snapshot"]},
                  {"group": "1500", "permissions": ["mount"], "scope": "local"},
                  {"everyone": True, "permissions": ["diff"], "scope": "descendent"}],
    }  # fmt: skip
    order(zfs_datasets, datasets=[dataset])
    info = os.stat("/tank/media")  # noqa: PTH116
    assert (info.st_uid, info.st_gid, oct(info.st_mode & 0o7777)) == (1500, 1500, "0o2770")
    sh("zfs", "allow", "root", "clone", "tank/media")
    dataset["allow"][0]["permissions"] = ["send", "receive"]
    order(zfs_datasets, datasets=[dataset])
    shown = sh("zfs", "allow", "tank/media")
    assert "user backup-user receive,send" in shown and "user root clone" in shown, shown
    dataset["allow"] = [{"user": "backup-user", "permissions": []}]
    order(zfs_datasets, datasets=[{**dataset, "mode": "0750"}])
    assert "user backup-user" not in sh("zfs", "allow", "tank/media")


def case_rename() -> None:
    make()
    sh("zfs", "create", "-p", "tank/old/inner")
    Path("/tank/old/inner/file").write_text("x")
    wanted = [
        {"name": "tank/new", "renamed_from": "tank/old", "properties": {"quota": "1G"}},
        {"name": "tank/new/inner"},
    ]
    done = order(zfs_datasets, datasets=wanted)
    assert done["steps"] == ["rename tank/old to tank/new", "set quota=1073741824 on tank/new"], done["steps"]
    assert Path("/tank/new/inner/file").read_text() == "x"


def case_nothing_is_destroyed_unasked() -> None:
    make()
    for name in ("a", "a/b", "c", "vm-100-disk-0", "keep", "keep/vm-101-disk-0", "snapped", "listed"):
        sh("zfs", "create", f"tank/{name}")
    sh("zfs", "snapshot", "tank/snapped@one")
    gone = {"name": "tank/c", "state": "absent"}
    refused(zfs_datasets, "say destroy: true", datasets=[gone])
    refused(zfs_datasets, "pools are never destroyed", datasets=[{"name": "tank", "state": "absent", "destroy": True}])
    refused(
        zfs_datasets,
        "tank/a/b below it is not listed as absent",
        datasets=[{"name": "tank/a", "state": "absent", "destroy": True}],
    )
    refused(
        zfs_datasets,
        "say destroy_snapshots: true",
        datasets=[{"name": "tank/snapped", "state": "absent", "destroy": True}],
    )
    order(zfs_datasets, datasets=[{**gone, "destroy": True}, {"name": "tank/new"}])
    listed = [{"name": "tank/listed"}]
    done = run(zfs_datasets, datasets=listed, purge={"below": ["tank"]})
    assert done["steps"] == ["destroy tank/new"], done
    assert set(done["kept"]) == {"tank/a", "tank/vm-100-disk-0", "tank/keep", "tank/snapped"}, done["kept"]
    done = order(zfs_datasets, datasets=listed, purge={"below": ["tank"], "children": True, "snapshots": True})
    assert set(done["kept"]) == {"tank/vm-100-disk-0", "tank/keep"}, done["kept"]
    names = sh("zfs", "list", "-H", "-o", "name").split()
    assert names == ["tank", "tank/keep", "tank/keep/vm-101-disk-0", "tank/listed", "tank/vm-100-disk-0"], names


def case_killed_between_two_writes() -> None:
    make()
    key = Path("/root/key")
    key.write_bytes(os.urandom(32))
    datasets = [
        {"name": "tank/a", "properties": {"quota": "1G", "userquota@1000": "1G"}, "owner": "1000", "mode": "0750"},
        {"name": "tank/b", "encryption": {"key_file": str(key)}},
        {"name": "tank/c", "size": "100M", "allow": [{"user": "root", "permissions": ["send"]}]},
    ]
    real, writes = _zfs.Zfs.write, 0
    total = len(run(zfs_datasets, check=True, datasets=datasets)["steps"])
    for stop in range(1, total + 1):
        writes = 0

        def killed(self: _zfs.Zfs, command: _zfs.Command, stop: int = stop) -> Any:
            nonlocal writes
            writes += 1
            if writes > stop:
                raise _reconcile.Failure("Unable to go on: killed")
            return real(self, command)

        with mock.patch.object(_zfs.Zfs, "write", killed):
            run(zfs_datasets, datasets=datasets)
        done = run(zfs_datasets, datasets=datasets)
        assert not done.get("failed"), done
        assert not run(zfs_datasets, check=True, datasets=datasets)["changed"]
        for name in ("a", "b", "c"):
            sh("zfs", "destroy", "-r", f"tank/{name}")


def case_two_hundred_datasets_read_by_one_process() -> None:
    make()
    datasets = [
        {"name": f"tank/d{number:03}", "properties": {"compression": "lz4", "quota": "1G"}} for number in range(40)
    ]
    run(zfs_datasets, datasets=datasets)
    again = run(zfs_datasets, datasets=datasets)
    assert not again["changed"] and len(again["ran"]) == 1, again["ran"]


# --- what people write, and what else there is on a host --------------------------------------------------------------
def case_names_and_words_that_people_write() -> None:
    make()
    dataset: Result = {
        "name": "tank/two words/inner set",
        "properties": {"compress": "zstd", "recsize": "64 KiB", "rdonly": "Off", "atime": "FALSE", "reserv": "none",
                       "mountpoint": "/srv/two words/", "x:odd": "a=b 'c' \"d\" \\ % ü\u2028 $x\tlast\n-o end ",
                       "x:empty": "", "x:dash": "-", "x:y": False},
        "allow": [{"user": "root", "permissions": ["send"], "scope": "local"},
                  {"user": "root", "permissions": ["send", "hold"], "scope": "descendent"}],
        "owner": "1000",
    }  # fmt: skip
    done = order(zfs_datasets, datasets=[dataset])
    assert done["datasets"][dataset["name"]]["mountpoint"] == "/srv/two words/", done
    assert value("x:odd", dataset["name"]) == dataset["properties"]["x:odd"].rstrip("\n")
    assert value("recordsize", dataset["name"]) == "65536"
    shown = sh("zfs", "allow", dataset["name"])
    assert "Local+Descendent permissions:\n\tuser root send" in shown and "\tuser root hold" in shown, shown
    order(zfs_datasets, datasets=[{**dataset, "allow": [{"user": "root", "permissions": ["hold"]}]}])
    order(zfs_datasets, datasets=[{"name": dataset["name"], "inherit": ["compress", "x:odd", "mountpoint"]}])
    assert value("x:odd", dataset["name"]) == "-"
    order(zfs_datasets, datasets=[{"name": dataset["name"], "state": "absent", "destroy": True}])


def case_no_promise_that_zfs_does_not_keep() -> None:
    make()
    sh("zfs", "create", "tank/a")
    sh("zfs", "create", "-V", "100M", "tank/disk")
    disk: Result = {"name": "tank/disk", "size": "100M"}
    for item, text in (
        ({"name": "tank/a", "inherit": ["quota"]}, "quota cannot be inherited"),
        ({"name": "tank/a", "inherit": ["canmount"]}, "canmount cannot be inherited"),
        ({"name": "tank/a", "properties": {"volblocksize": "16K"}}, "a filesystem has no such property"),
        ({**disk, "properties": {"recordsize": "1M"}}, "a volume has no such property"),
        ({**disk, "properties": {"quota": "1G"}}, "a volume has no such property"),
        ({"name": "tank/a", "properties": {"compress": "lz4", "compression": "off"}}, "it is given twice"),
        ({"name": "tank/a", "properties": {"Upper:case": "x"}}, "invalid property"),
    ):
        refused(zfs_datasets, text, datasets=[item])
    for prop in ("copies", "sync", "dedup", "checksum", "readonly", "volmode", "snapdev", "primarycache", "logbias"):
        same = run(zfs_datasets, datasets=[{**disk, "properties": {prop: value(prop, "tank/disk")}}])
        assert not same.get("failed") and not same["changed"], same


def case_reservation_of_a_volume() -> None:
    make()
    disk: Result = {"name": "tank/disk", "size": "100M", "properties": {"refreservation": "auto"}}
    order(zfs_datasets, datasets=[disk])
    order(zfs_datasets, datasets=[{**disk, "size": "300M"}])
    assert int(value("refreservation", "tank/disk")) >= 300 * 1024**2
    order(zfs_datasets, datasets=[{**disk, "size": "300M", "properties": {"refreservation": "none"}}])
    order(zfs_datasets, datasets=[{**disk, "size": "300M"}])
    thin = {"name": "tank/thin", "size": "1T", "sparse": True, "properties": {"reservation": "1M"}}
    order(zfs_datasets, datasets=[thin])
    order(zfs_datasets, datasets=[{**thin, "size": "2T"}])
    assert value("refreservation", "tank/thin") == "0"


def case_mount_points_of_every_kind() -> None:
    make()
    datasets: list[Result] = [
        {"name": "tank/none", "properties": {"mountpoint": "none"}},
        {"name": "tank/none/child", "owner": "1000"},
        {"name": "tank/none/path", "properties": {"mountpoint": "/srv/path"}, "mode": "0700"},
        {"name": "tank/legacy", "properties": {"mountpoint": "legacy"}},
        {"name": "tank/off", "properties": {"canmount": "off"}, "owner": "1000"},
        {"name": "tank/off/child", "mode": "0711"},
    ]
    order(zfs_datasets, datasets=datasets)
    mounted = {name: value("mounted", name) for name in (item["name"] for item in datasets)}
    assert [name for name, state in mounted.items() if state == "yes"] == ["tank/none/path", "tank/off/child"], mounted
    datasets[0]["properties"] = {"mountpoint": "/srv/none"}
    datasets[3]["properties"] = {"mountpoint": "/srv/legacy"}
    order(zfs_datasets, datasets=datasets)
    assert [item["name"] for item in datasets if value("mounted", item["name"]) != "yes"] == ["tank/off"]
    datasets[0]["properties"] = {"mountpoint": "legacy"}
    order(zfs_datasets, datasets=datasets)
    assert value("mounted", "tank/none/child") == "no" and value("mounted", "tank/none/path") == "yes"


def case_encrypted_children_and_passphrases() -> None:
    make()
    for name, text in (("hex", os.urandom(32).hex()), ("phrase", "correct horse battery\n")):
        Path(f"/root/{name}").write_text(text)
    datasets: list[Result] = [
        {"name": "tank/a", "encryption": {"key_file": "/root/hex", "key_format": "hex", "algorithm": "aes-128-gcm"}},
        {"name": "tank/a/same", "properties": {"compression": "lz4"}},
        {"name": "tank/a/own", "encryption": {"key_file": "/root/phrase", "key_format": "passphrase"}},
        {"name": "tank/a/own/disk", "size": "50M"},
        {"name": "tank/b", "properties": {"encryption": True, "keyformat": "hex", "keylocation": "file:///root/hex"}},
    ]
    order(zfs_datasets, datasets=datasets)
    assert [value("encryptionroot", name) for name in ("tank/a/same", "tank/a/own", "tank/a/own/disk")] == [
        "tank/a", "tank/a/own", "tank/a/own"]  # fmt: skip
    sh("zfs", "unmount", "tank/a")
    for name in ("tank/a/own", "tank/a"):
        sh("zfs", "unload-key", name)
    only = run(zfs_datasets, datasets=[{"name": "tank/a/same", "properties": {"compression": "lz4"}}])
    assert not only["changed"] and "is locked" in only["warned"][0], only
    done = order(zfs_datasets, datasets=datasets)
    assert [step for step in done["steps"] if "key" in step] == ["load the key of tank/a", "load the key of tank/a/own"]
    wrong = {**datasets[0], "encryption": {"key_file": "/root/hex", "key_format": "hex"}}
    refused(zfs_datasets, "Unable to set encryption of tank/a: it is aes-128-gcm", datasets=[wrong])


def case_rename_to_another_parent() -> None:
    make()
    for name in ("lz4", "lz4/old", "lz4/old/inner", "zstd"):
        sh("zfs", "create", *(["-o", f"compression={name}"] if "/" not in name else []), f"tank/{name}")
    listed: list[Result] = [
        {"name": "tank/zstd/new", "renamed_from": "tank/lz4/old", "properties": {"compression": "lz4"}},
        {"name": "tank/zstd/new/inner", "properties": {"compression": "lz4", "mountpoint": "/tank/zstd/new/inner"}},
    ]
    done = order(zfs_datasets, datasets=listed)
    assert done["steps"] == ["rename tank/lz4/old to tank/zstd/new", "set compression=lz4 on tank/zstd/new"], done
    # the former name is there again: it may be the only copy
    sh("zfs", "create", "tank/lz4/old")
    spared = run(zfs_datasets, datasets=listed, purge={"below": ["tank/lz4"]})
    assert not spared["changed"], spared
    order(zfs_datasets, datasets=[{"name": "tank/far/away/new", "renamed_from": "tank/zstd/new"}])


def case_purge_spares_clones_and_holds() -> None:
    make()
    for name in ("held", "origin", "subvol-100-disk-0", "subvol-100-disk-0/inner", "plain"):
        sh("zfs", "create", f"tank/{name}")
    sh("zfs", "snapshot", "tank/held@s", "tank/origin@s")
    sh("zfs", "hold", "tag", "tank/held@s")
    sh("zfs", "clone", "tank/origin@s", "tank/clone")
    every = {"below": ["tank", "tank/subvol-100-disk-0"], "snapshots": True, "children": True}
    gone = {"name": "tank/origin", "state": "absent", "destroy": True, "destroy_snapshots": True}
    refused(zfs_datasets, "tank/clone is a clone of a snapshot of tank/origin", datasets=[gone])
    done = order(zfs_datasets, datasets=[{"name": "tank/clone"}], purge=every)
    assert done["steps"] == ["destroy tank/plain"], done
    assert set(done["kept"]) == {"tank/held", "tank/origin", "tank/subvol-100-disk-0"}, done["kept"]
    done = order(zfs_datasets, datasets=[], purge=every)
    assert done["steps"][0] == "destroy tank/clone" and done["steps"][-1] == "destroy tank/origin", done


def case_check_mode_of_a_whole_tree() -> None:
    """Parents, children, volumes and permissions that the same list makes, in any order."""
    make()
    listed: list[Result] = [
        {"name": "tank/b/c/d", "properties": {"quota": "1G"}, "owner": "1000", "mode": "0750"},
        {"name": "tank/b/c/disk", "size": "10M", "sparse": True},
        {"name": "tank/b", "properties": {"compression": "zstd", "mountpoint": "/srv/b"}},
        {"name": "tank/b/c", "inherit": ["compression"], "properties": {"x:y": "1"},
         "allow": [{"everyone": True, "permissions": ["diff"]}]},
        {"name": "tank/made/on/the/way", "properties": {"atime": False}},
    ]  # fmt: skip
    order(zfs_datasets, datasets=listed)
    assert value("mountpoint", "tank/b/c/d") == "/srv/b/c/d" and value("compression", "tank/b/c") == "zstd"


def main() -> int:
    cases = {name: case for name, case in globals().items() if name.startswith("case_") and inspect.isfunction(case)}
    chosen = sys.argv[1:] or [name.removeprefix("case_") for name in cases]
    print(sh("zfs", "version").replace("\n", " "), flush=True)
    failed = []
    for name in chosen:
        clean()
        begun = time.monotonic()
        try:
            cases[f"case_{name}"]()
            verdict = "passed"
        except Exception as error:
            import traceback

            verdict = f"FAILED: {error!r}"[:3000]
            failed.append(name)
            traceback.print_exc(limit=-3)
        print(f"{name.replace('_', ' ')}: {verdict} ({time.monotonic() - begun:.0f} s)", flush=True)
    clean()
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if Path("/etc/hostname").read_text().strip() != "zfs-machine":
        sys.exit("This empties disks: it only runs in the machine of tests/zfs/machine.sh.")
    sys.exit(main())
