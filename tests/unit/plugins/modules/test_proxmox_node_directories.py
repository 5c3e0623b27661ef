# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules.proxmox_node_directories import dataset_of, problems

POOLS = {
    "tank-hdd": {"kind": "zfs", "path": "/tank-hdd", "datasets": {"media": "250G", "logs": None}},
    "plain": {"kind": "directory", "path": "/plain"},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tank-hdd/media", ("tank-hdd/media", "250G")),
        ("/tank-hdd/media/films", ("tank-hdd/media", "250G")),
        ("/tank-hdd/logs", ("tank-hdd/logs", "")),
        ("/tank-hdd", ("tank-hdd", "")),
        ("/tank-hdd2/media", None),
        ("/plain/media", None),
    ],
)
def test_dataset_of(path, expected):
    assert dataset_of(path, POOLS) == expected


def check(path, directories=(), mounts=()):
    return problems([{"id": "media", "path": path}], POOLS, directories.__contains__, mounts.__contains__)


def test_a_bare_mount_point_is_no_dataset():
    found = check("/tank-hdd/media", directories=("/tank-hdd/media",))
    assert found == [
        "media is to share /tank-hdd/media, but dataset tank-hdd/media is not mounted at /tank-hdd/media: run "
        "`zfs create -o quota=250G -o mountpoint=/tank-hdd/media tank-hdd/media` (or `zfs mount tank-hdd/media` if it "
        "exists)"
    ]


def test_folder_inside_a_mounted_dataset_must_exist():
    path = "/tank-hdd/media/films"
    assert "run `mkdir -p /tank-hdd/media/films`" in check(path, mounts=("/tank-hdd/media",))[0]
    assert check(path, directories=(path,), mounts=("/tank-hdd/media",)) == []


def test_plain_directory_needs_no_mount():
    assert check("/plain/media", directories=("/plain/media",)) == []
    assert "which is no directory" in check("/plain/media")[0]
