# SPDX-License-Identifier: MIT
"""Each module of Immich works with just the permissions that its documentation names, and names one that it misses."""

from __future__ import annotations

import re

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import PERMISSIONS, QUEUES
from ansible_collections.homelab.mediaserver.plugins.modules import (
    immich_config,
    immich_info,
    immich_libraries,
    immich_users,
)
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import VERSIONS, ImmichFake

ADMIN = "admin@example.org"
# arguments with which a module uses every route it ever uses; a key with `all` may do one more
WORK = {
    immich_config: {"config": {"trash": {"days": 9}}},
    immich_info: {"statistics": True},
    immich_libraries: {
        "libraries": [
            {"name": "New", "owner": ADMIN, "paths": ["/new"]},
            {"name": "Old", "owner": ADMIN, "exclude": ["x"]},
        ],
        "purge": True,
    },
    immich_users: {
        "users": [
            {"email": "new@example.org", "password": "pw"},
            {"email": "gone@example.org", "name": "Back"},
            {"email": "old@example.org", "state": "absent"},
        ]
    },
}


def documented(module, version):
    found = set(re.findall(r"C\(([a-zA-Z]+\.[a-z]+)\)", module.DOCUMENTATION))
    return sorted(found - {"job.read" if version >= QUEUES else "queue.read"})


def make(version, permissions):
    fake = ImmichFake(version)
    fake.add_library("Old", fake.users[0]["id"], ["/old"])
    fake.add_library("Unlisted", fake.users[0]["id"], ["/unlisted"])
    fake.add_user("old@example.org", "pw")
    fake.add_user("gone@example.org", "pw", deletedAt="2026-11-21T00:00:00.000Z", status="deleted")
    fake.add_key("ansible", permissions, "s3cret")
    return fake


@pytest.fixture
def run(monkeypatch):
    def call(module, fake):
        with no_sleep(monkeypatch):
            return run_module(module, fake, {"api_key": "s3cret", **WORK[module]}, monkeypatch=monkeypatch)

    return call


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("module", WORK)
def test_documented_permissions_are_enough(run, module, version):
    fake = make(version, documented(module, version))
    assert not run(module, fake).get("msg")
    assert not run(module, fake)["changed"]


CASES = [(module, version, name) for module in WORK for version in VERSIONS for name in documented(module, version)]


@pytest.mark.parametrize(("module", "version", "name"), CASES)
def test_one_less_is_named(run, module, version, name):
    fake = make(version, sorted({*documented(module, version)} - {name}) or ["asset.read"])
    assert f"Missing required permission: {name} (HTTP 403)" in run(module, fake)["msg"]


@pytest.mark.parametrize("version", VERSIONS)
def test_key_made_by_immich_setup_suits_all_modules(version):
    wanted = {name for module in WORK for name in documented(module, version)}
    assert wanted == {*PERMISSIONS, "queue.read" if version >= QUEUES else "job.read"}
