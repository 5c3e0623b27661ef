# SPDX-License-Identifier: MIT
"""OpenZFS's own words (recorded from 2.3.9 by tests/zfs/record.py) and ours."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs, _zfs_allow, _zfs_devices, _zfs_pools
from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs_status as status
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.tests.unit.fakes.zfs_fake import RECORDED

BY_ID = "/dev/disk/by-id/virtio-"


def out(name: str) -> str:
    assert RECORDED[name]["rc"] == 0, RECORDED[name]
    return RECORDED[name]["out"]


@pytest.mark.parametrize(
    ("prop", "values", "canonical"),
    [
        ("quota", ["30G", "30GiB", "30gb", 32212254720, "32212254720", "30720M"], "32212254720"),
        ("quota", ["none", 0, "0", "-"], "0"),
        ("recordsize", ["1M", 1048576, "1024K"], "1048576"),
        ("quota", ["1.5G"], "1610612736"),
        ("userquota@anna", ["1G"], "1073741824"),
        ("refreservation", ["auto"], "auto"),
        ("snapshot_limit", ["none", 18446744073709551615], "none"),
        ("filesystem_limit", [10, "10"], "10"),
        ("atime", [False, "off"], "off"),
        ("compression", [True, "on"], "on"),
        ("compression", ["gzip", "gzip-6"], "gzip"),
        ("copies", [2, "2"], "2"),
        ("acltype", ["posixacl", "posix"], "posix"),
        ("xattr", ["sa", "on", True], "sa"),
        ("encryption", ["on", True, "aes-256-gcm"], "aes-256-gcm"),
        ("com.sun:auto-snapshot", [False, "false"], "false"),
        ("x:size", ["30G"], "30G"),
        ("x:count", [3], "3"),
        ("readonly", ["Yes", "ON", "True", True], "on"),
        ("comment", ["Yes"], "Yes"),
        ("mountpoint", ["no"], "no"),
        ("dedup_table_quota", ["1G", 1073741824], "1073741824"),
        ("dedup_table_quota", ["auto"], "auto"),
        ("defaultuserquota", ["1G"], "1073741824"),
        ("defaultgroupobjquota", ["none", 0], "0"),
    ],
)
def test_one_canonical_form(prop, values, canonical):
    assert {_zfs.canonical(prop, value) for value in values} == {canonical}


@pytest.mark.parametrize(
    ("prop", "value"),
    [
        ("quota", "lots"),
        ("recordsize", "none"),
        ("quota", "30X"),
    ],
)
def test_no_size(prop, value):
    with pytest.raises(Failure, match="is no size"):
        _zfs.canonical(prop, value)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_no_value(value):
    with pytest.raises(Failure, match="Unable to read property quota of tank/a"):
        _zfs.canonical_all({"quota": value}, "tank/a")


@pytest.mark.parametrize(
    ("prop", "value", "shown"),
    [
        ("quota", "32212254720", "30G"),
        ("quota", "1610612736", "1536M"),
        ("quota", "1000", "1000"),
        ("quota", "0", "none"),
        ("special_small_blocks", "0", "0"),
        ("compression", "lz4", "lz4"),
        ("x:y", "1024", "1024"),
    ],
)
def test_shown_to_people(prop, value, shown):
    assert _zfs.show(prop, value) == shown


def test_zero_is_none_where_zfs_refuses_it():
    assert "use 'none' to disable" in RECORDED["quota zero"]["err"]
    assert _zfs.argument("quota", "0") == "quota=none"
    assert _zfs.argument("special_small_blocks", "0") == "special_small_blocks=0"


def test_values_with_tabs_and_line_breaks():
    found = _zfs.parse_get(out("user property with line breaks"), ["x:lines", "quota"])
    assert found["tank/a"]["x:lines"] == ("one\ttwo\nthree\tfour", "local")
    assert found["tank/a"]["quota"] == ("0", "default")
    assert found["tank"]["x:lines"] == ("-", "-")


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_line_ends_that_zfs_does_not_know(mark):
    found = _zfs.parse_get(f"tank\tx:y\ta{mark}b\tlocal\ntank\tquota\t0\tdefault\n", ["x:y", "quota"])
    assert found["tank"] == {"x:y": (f"a{mark}b", "local"), "quota": ("0", "default")}


def test_missing_datasets_are_a_narrow_case():
    answer = RECORDED["missing datasets"]

    def run(_argv):
        return answer["rc"], answer["out"], answer["err"]

    assert answer["rc"] == 1
    assert list(_zfs.Zfs(run).get(["none/x", "tank/none", "tank/a"], ["quota"])) == ["tank/a"]
    answer = {**answer, "err": answer["err"] + "cannot open 'tank/b': permission denied\n"}
    with pytest.raises(Failure, match="permission denied"):
        _zfs.Zfs(run).get(["tank/a"], ["quota"])


def test_errors_without_the_usage():
    assert _zfs.short(RECORDED["unknown property"]["err"]) == "bad property list: invalid property 'quotta'"


def shape(vdevs: list[status.Vdev]) -> list[tuple[str, str, list[str]]]:
    return [(vdev.group, vdev.kind, [device.path for device in vdev.devices]) for vdev in vdevs]


@pytest.mark.parametrize("kind", ["full", "faulted", "missing", "raidz"])
def test_status_as_text_and_as_json_say_the_same(kind):
    from_json, from_text = status.parse_json(out(f"{kind} status json")), status.parse_text(out(f"{kind} status"))
    assert sorted(shape(from_json["tank"])) == sorted(shape(from_text["tank"]))
    states = [
        sorted((device.path, device.state) for vdev in found["tank"] for device in vdev.devices)
        for found in (from_json, from_text)
    ]
    assert states[0] == states[1]


def test_status_with_every_group():
    assert sorted(shape(status.parse_text(out("full status"))["tank"])) == sorted(
        [
            ("", "mirror", [f"{BY_ID}hdd0-part1", f"{BY_ID}hdd1-part1"]),
            ("special", "mirror", [f"{BY_ID}ssd0-part1", f"{BY_ID}ssd1-part1"]),
            ("dedup", "mirror", [f"{BY_ID}ssd0-part4", f"{BY_ID}ssd1-part4"]),
            ("log", "mirror", [f"{BY_ID}ssd0-part2", f"{BY_ID}ssd1-part2"]),
            ("cache", "disk", [f"{BY_ID}ssd0-part3"]),
            ("spare", "disk", [f"{BY_ID}ssd1-part3"]),
        ]
    )


def test_missing_device_is_known_by_its_old_name():
    # not recorded, as every recorded pool still found its disk: a number in place of the name, and what it was
    number = "4551012374121332846            "
    text = out("missing status").replace("/dev/disk/by-id/virtio-hdd1-part1  FAULTED", f"{number}  UNAVAIL")
    (vdev,) = status.parse_text(text.replace("external device fault", f"was {BY_ID}hdd1-part1"))["tank"]
    assert [device.missing for device in vdev.devices] == [False, True]
    assert vdev.devices[1].path == f"{BY_ID}hdd1-part1"
    assert _zfs_devices.is_device(f"{BY_ID}hdd1", vdev.devices[1], lambda path: path)


def test_disk_that_is_being_replaced_counts_with_both():
    (vdev,) = status.parse_text(out("raidz status"))["tank"]
    assert vdev.kind == "raidz1"
    assert {device.path for device in vdev.devices} >= {f"/var/tmp/record{number}" for number in (0, 2, 3)}


@pytest.mark.parametrize("text", ["", "{}", '{"pools": {"tank": {}}}', '{"pools": [1]}', "[]"])
def test_malformed_json(text):
    with pytest.raises(Failure, match="Unable to read the pools"):
        status.parse_json(text)


def test_text_without_devices():
    with pytest.raises(Failure, match="shows no devices"):
        status.parse_text("  pool: tank\n state: ONLINE\n")


def test_pools_to_import():
    (found,) = status.parse_import(out("one to import"))
    assert found["name"] == "tank" and found["id"].isdigit() and found["state"] == "ONLINE"
    (degraded,) = status.parse_import(out("degraded to import"))
    assert degraded["state"] == "DEGRADED" and degraded["status"].startswith("One or more devices")
    assert RECORDED["nothing to import"]["rc"] == 0
    assert "no pools available to import" in RECORDED["nothing to import"]["err"]


@pytest.mark.parametrize(
    ("wanted", "known", "same"),
    [
        (f"{BY_ID}ssd0", f"{BY_ID}ssd0-part1", True),
        (f"{BY_ID}ssd0", "/dev/vda1", True),
        ("/dev/vda", f"{BY_ID}ssd0-part1", True),
        ("/dev/nvme0n1", "/dev/nvme0n1p1", True),
        (f"{BY_ID}ssd0-part4", f"{BY_ID}ssd0-part4", True),
        (f"{BY_ID}ssd0-part4", "/dev/vda4", True),
        (f"{BY_ID}ssd0", f"{BY_ID}ssd0-part4", False),
        (f"{BY_ID}ssd0", f"{BY_ID}ssd1-part1", False),
        ("/dev/sda", "/dev/sda11", False),
        ("/var/tmp/file", "/var/tmp/file", True),
    ],
)
def test_one_device_under_many_names(wanted, known, same):
    def resolve(path: str) -> str:
        disks = {"ssd0-part": "/dev/vda", "ssd0": "/dev/vda", "ssd1-part": "/dev/vdb"}
        name = next((name for name in disks if path.startswith(BY_ID + name)), None)
        return disks[name] + path.removeprefix(BY_ID + name) if name else path

    assert _zfs_devices.is_device(wanted, status.Device(known, "ONLINE", False), resolve) is same


def vdev(group: str, kind: str, *paths: str) -> status.Vdev:
    return status.Vdev(group, kind, tuple(status.Device(path, "ONLINE", False) for path in paths))


def test_argv_of_zpool_create():
    item = {
        "name": "tank",
        "vdevs": [{"type": "mirror", "devices": ["/d/1", "/d/2"]}, {"type": "disk", "devices": ["/d/3", "/d/4"]}],
        "special": [{"type": "mirror", "devices": ["/d/5", "/d/6"]}],
        "log": [{"type": "disk", "devices": ["/d/7"]}],
        "cache": ["/d/8"],
        "spares": ["/d/9"],
        "properties": {"ashift": 12, "autotrim": True},
        "filesystem_properties": {"atime": False, "quota": "1G"},
        "mountpoint": "/srv",
    }
    command = _zfs_pools.create_command(item, _zfs_pools.wanted_vdevs(item))
    assert " ".join(command.argv) == (
        "zpool create -o ashift=12 -o autotrim=on -O atime=off -O quota=1073741824 -m /srv tank "
        "mirror /d/1 /d/2 /d/3 /d/4 special mirror /d/5 /d/6 log /d/7 cache /d/8 spare /d/9"
    )


@pytest.mark.parametrize(
    ("wanted", "current", "lacking", "others"),
    [
        ([vdev("", "mirror", "/a", "/b")], [vdev("", "mirror", "/b", "/a")], 0, 0),
        ([vdev("cache", "disk", "/a")], [], 1, 0),
        ([vdev("", "disk", "/a")], [vdev("", "disk", "/a"), vdev("cache", "disk", "/c")], 0, 1),
        ([vdev("", "mirror", "/a", "/b")], [vdev("", "mirror", "/a", "/b", "/c")], 0, 0),
    ],
)
def test_vdevs_compared(wanted, current, lacking, others):
    found = _zfs_pools.compare("tank", wanted, current, lambda path: path)
    assert (len(found[0]), len(found[1])) == (lacking, others)


@pytest.mark.parametrize(
    "current",
    [
        vdev("", "mirror", "/a", "/c"),
        vdev("", "disk", "/a"),
        vdev("log", "mirror", "/a", "/b"),
        vdev("", "raidz1", "/a", "/b"),
    ],
)
def test_vdevs_are_not_rebuilt(current):
    with pytest.raises(Failure, match="use zpool attach, replace, detach or remove by hand"):
        _zfs_pools.compare("tank", [vdev("", "mirror", "/a", "/b")], [current], lambda path: path)


@pytest.mark.parametrize(("kind", "count"), [("mirror", 1), ("raidz1", 1), ("raidz2", 2), ("raidz3", 3), ("disk", 0)])
def test_too_few_devices(kind, count):
    item = {"name": "tank", "vdevs": [{"type": kind, "devices": [f"/d/{number}" for number in range(count)]}]}
    with pytest.raises(Failure, match="devices or more"):
        _zfs_pools.wanted_vdevs(item)


def test_permissions_as_recorded():
    found = _zfs_allow.parse(out("allow"), "tank/a")
    assert found == {
        (("group", "backup-user"), "local"): frozenset({"diff"}),
        (("everyone", ""), "descendent"): frozenset({"hold"}),
        (("user", "4242"), "local"): frozenset({"send", "receive", "@set"}),
        (("user", "4242"), "descendent"): frozenset({"send", "receive", "@set"}),
    }
    above = _zfs_allow.parse(out("allow"), "tank")
    names = frozenset({"create", "mount", "send"})
    assert above == {(("user", "backup-user"), part): names for part in ("local", "descendent")}
    assert _zfs_allow.parse(out("allow nothing"), "tank/odd") == {}


def test_permissions_compared():
    items = [
        {"user": "anna", "permissions": ["send", "hold"], "scope": "both"},
        {"everyone": True, "permissions": ["diff"], "scope": "local"},
        {"group": "media", "permissions": [], "scope": "descendent"},
    ]
    text = (
        "---- Permissions on tank/two words -----------------------------------\n"
        "Local permissions:\n\tuser anna clone\n"
        "Descendent permissions:\n\tgroup media create\n"
        "Local+Descendent permissions:\n\tuser anna hold,mount\n\tuser other send\n"
        "---- Permissions on tank ----------------------------------------------\n"
        "Local+Descendent permissions:\n\tuser anna send\n"
    )
    current = _zfs_allow.parse(text, "tank/two words")
    grants = _zfs_allow.wanted(items, "tank/a", lambda _kind, name: name)
    commands = _zfs_allow.commands("tank/a", grants, current)
    assert [" ".join(command.argv) for command in commands] == [
        "zfs allow -l -e diff tank/a",
        "zfs unallow -d -g media create tank/a",
        "zfs allow -u anna send tank/a",
        "zfs unallow -u anna mount tank/a",
        "zfs unallow -l -u anna clone tank/a",
    ]
    assert _zfs_allow.view(grants) == ["everyone (local): diff", "user anna (both): hold, send"]
    with pytest.raises(Failure, match="exactly one"):
        _zfs_allow.wanted([{"permissions": ["send"], "scope": "both"}], "tank/a", lambda _kind, name: name)


@pytest.mark.parametrize(
    ("code", "output", "found"),
    [
        (2, "", None),
        (0, "DEVNAME=/d\nTYPE=ext4\nLABEL=data\n", "ext4 data"),
        (0, "PTTYPE=gpt\n", "a partition table (gpt)"),
        (0, "PART_ENTRY_SCHEME=gpt\n", None),
        (8, "", "more than one signature"),
        (0, "TYPE=LVM2_member\n", "LVM2_member"),
    ],
)
def test_signatures(code, output, found):
    assert _zfs_devices.Disks(lambda _argv: (code, output, "")).signature("/d") == found


def test_blkid_that_fails_is_no_empty_disk():
    with pytest.raises(Failure, match="Unable to look at /d: input/output error"):
        _zfs_devices.Disks(lambda _argv: (4, "", "input/output error\n")).signature("/d")
