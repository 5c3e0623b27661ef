# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_dir_mapping

MEDIA = {"id": "media", "node": "pve", "path": "/tank-hdd/media"}


def test_check_create_again_changed_absent_again(lab):
    (lab.root / "tank-hdd/media").mkdir(parents=True)
    (lab.root / "tank-hdd/films").mkdir(parents=True)
    done = lab.order(proxmox_dir_mapping, **MEDIA)
    assert done["map"] == ["node=pve,path=/tank-hdd/media"]
    assert done["problems"] == []
    lab.order(proxmox_dir_mapping, **{**MEDIA, "path": "/tank-hdd/films"})
    lab.order(proxmox_dir_mapping, id="media", node="pve", state="absent")
    assert lab.world.data["mappings"]["dir"] == {}


def test_missing_directory_is_told(lab):
    done = lab.run(proxmox_dir_mapping, **MEDIA)
    assert done["problems"] == ["Invalid configuration: Path /tank-hdd/media does not exist"]
    assert done["warnings"] == [f"dir mapping media of node pve: {done['problems'][0]}"]
    again = lab.run(proxmox_dir_mapping, check=True, **MEDIA)
    assert not again["changed"]
    assert again["warnings"] == done["warnings"], "as long as it is so"


def test_path_is_required(lab):
    assert "path" in lab.run(proxmox_dir_mapping, id="media", node="pve")["msg"]


def test_changed_by_somebody_else_in_between(lab):
    lab.run(proxmox_dir_mapping, **MEDIA)

    def fault(method, path):
        if method == "PUT":
            lab.world.data["mappings"]["dir"]["other"] = {"map": ["node=pve,path=/x"]}

    lab.service.fault = fault
    result = lab.run(proxmox_dir_mapping, **{**MEDIA, "path": "/tank-hdd/films"})
    assert result["msg"] == "Unable to update dir mapping media: checksum mismatch (file change by other user?)"
