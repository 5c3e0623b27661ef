# SPDX-License-Identifier: MIT
from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.homelab.mediaserver.plugins.modules import service_images
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import tree_render

COMPOSE = {
    "name": "app",
    "services": {
        "web": {"image": "10.77.1.5:5000/docker.io/a/web:1.2@sha256:00", "environment": {"image": "no"}},
        "9base": {"command": ["image: no"], "image": "docker.io/a/base:14"},
    },
    "networks": {"image": {"image": "no"}},
}


def write(folder, name, text):
    (folder / name).mkdir(parents=True)
    (folder / name / "compose.yaml").write_text(text)


def test_reads_what_config_tree_writes(tmp_path):
    write(tmp_path, "app", tree_render.HEADER + tree_render.to_yaml(COMPOSE))
    write(tmp_path, ".next", "services: {}\n")
    found = service_images.work(SimpleNamespace(params={"root": str(tmp_path)}))
    assert found == {
        "changed": False,
        "images": {"app": {"web": "10.77.1.5:5000/docker.io/a/web:1.2@sha256:00", "9base": "docker.io/a/base:14"}},
    }


def test_a_fresh_host_has_none(tmp_path):
    found = service_images.work(SimpleNamespace(params={"root": str(tmp_path / "absent")}))
    assert found["images"] == {}
