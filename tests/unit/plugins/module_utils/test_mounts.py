# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
import struct
import subprocess

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts import (
    MIB,
    clean,
    file_system_size,
    has_grown,
    mount_points,
    parse_blkid,
    unit_name,
    xfs_log_size,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts_host import set_immutable
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

NAMES = ["/mnt/media", "/mnt/my-media/x y", "/", "/srv/.hidden/.x", "/mnt/größe", "/a//b/", "/mnt/a_b.c:d"]


@pytest.mark.parametrize(
    ("path", "name"),
    list(
        zip(
            NAMES,
            [
                "mnt-media.mount",
                "mnt-my\\x2dmedia-x\\x20y.mount",
                "-.mount",
                "srv-.hidden-.x.mount",
                "mnt-gr\\xc3\\xb6\\xc3\\x9fe.mount",
                "a-b.mount",
                "mnt-a_b.c:d.mount",
            ],
            strict=True,
        )
    ),
)
def test_unit_names(path, name):
    assert unit_name(path) == name


@pytest.mark.skipif(not shutil.which("systemd-escape"), reason="no systemd here")
@pytest.mark.parametrize("path", NAMES)
def test_unit_names_are_systemd_s(path):
    argv = ["systemd-escape", "--path", "--suffix=mount", path]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == unit_name(path)


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        (
            {"class": "media", "path": "/mnt/media", "kind": "virtiofs", "source": "media", "read_only": True},
            ["What=media", "Where=/mnt/media", "Type=virtiofs", "Options=ro"],
        ),
        (
            {"path": "/mnt/db/", "kind": "disk", "source": "/dev/sdb", "options": ["noatime"]},
            ["What=/dev/sdb", "Where=/mnt/db", "Type=ext4", "Options=noatime"],
        ),
        (
            {"path": "/mnt/n", "kind": "nfs", "source": "nas:/x%y"},
            ["After=network-online.target", "What=nas:/x%%y", "Type=nfs4"],
        ),
        ({"path": "/mnt/b", "kind": "local", "source": "/srv/b"}, ["What=/srv/b", "Type=none", "Options=bind"]),
    ],
)
def test_units(item, lines):
    (mount,) = clean([item])
    text = mount.unit_text().splitlines()
    assert [line for line in lines if line not in text] == []
    assert "WantedBy=multi-user.target" in text, "a disk that is away must not stop the boot"


def test_local_without_a_source_is_a_directory():
    for source in (None, "", "/srv/x/"):
        (mount,) = clean([{"path": "/srv/x", "kind": "local", "source": source}])
        assert not mount.mounted


def test_outer_before_inner():
    items = [{"path": path, "kind": "local"} for path in ("/mnt/a/b", "/mnt/a", "/mnt")]
    assert [mount.path for mount in clean(items)] == ["/mnt", "/mnt/a", "/mnt/a/b"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"path": "mnt", "kind": "local"}, "no absolute path"),
        ({"path": "/", "kind": "local"}, "no absolute path"),
        ({"path": "/mnt/x", "kind": "virtiofs"}, "needs a source"),
        ({"path": "/mnt/x", "kind": "local", "source": "pool"}, "is a path, not pool"),
        ({"path": "/mnt/x", "kind": "disk", "source": "sdb"}, "below /dev"),
        ({"path": "/mnt/x", "kind": "disk", "source": "/dev/sdb", "fstype": "ntfs"}, "none of ext4, xfs"),
    ],
)
def test_mounts_that_cannot_be(item, message):
    with pytest.raises(Failure, match=message):
        clean([item])


def test_two_at_one_place():
    with pytest.raises(Failure, match="twice at /mnt/x"):
        clean([{"path": "/mnt/x", "kind": "local"}, {"path": "/mnt/x/", "kind": "local"}])


def test_mount_points():
    info = (
        "36 35 98:0 / / rw,noatime - ext4 /dev/sda rw\n40 36 0:30 / /mnt/with\\040space ro,relatime - ext4 /dev/b rw\n"
    )
    assert mount_points(info) == {"/": {"rw", "noatime"}, "/mnt/with space": {"ro", "relatime"}}


@pytest.mark.parametrize(
    ("code", "out", "found"),
    [(0, "DEVNAME=/dev/b\nTYPE=ext4\nUUID=1=2\n", {"DEVNAME": "/dev/b", "TYPE": "ext4", "UUID": "1=2"}), (2, "", None)],
)
def test_what_is_on_a_device(code, out, found):
    assert parse_blkid(code, out) == found


@pytest.mark.parametrize(("code", "out"), [(8, "ambivalent"), (4, ""), (2, "odd"), (127, "")])
def test_anything_unclear_about_a_device_fails(code, out):
    with pytest.raises(Failure, match="Unable to tell"):
        parse_blkid(code, out)


@pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="no mkfs.ext4 here")
@pytest.mark.parametrize("size", [20, 300])
def test_size_of_a_real_ext4(tmp_path, size):
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(size * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    head = image.read_bytes()[:4096]
    assert file_system_size(head) == size * MIB
    assert not has_grown(size * MIB, file_system_size(head))
    assert has_grown((size + 20) * MIB, file_system_size(head))
    assert xfs_log_size(head) == 0


def test_size_of_xfs():
    head = bytearray(4096)
    struct.pack_into(">4sIQ", head, 0, b"XFSB", 4096, 81920)
    struct.pack_into(">Q", head, 48, 7)
    struct.pack_into(">I", head, 96, 1368)
    assert file_system_size(bytes(head)) == 320 * MIB
    assert xfs_log_size(bytes(head)) == 1368 * 4096


def test_unknown_file_system_never_grows():
    assert file_system_size(bytes(4096)) is None
    assert not has_grown(1 << 40, None)


def test_immutable_directory_takes_no_file(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    if not set_immutable(folder, True):
        pytest.skip("this file system or confinement has no immutable flag")
    try:
        with pytest.raises(PermissionError):
            (folder / "x").touch()
    finally:
        assert set_immutable(folder, False)
    (folder / "x").touch()
