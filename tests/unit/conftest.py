# SPDX-License-Identifier: MIT
"""Fixtures of the fake Proxmox VE API, for the tests of all that speaks to it."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def cert(tmp_path_factory):
    """A certificate of the fake API; one is enough for all tests."""
    from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

    return harness.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["8.4", "9.1"])
def lab(request, tmp_path, cert):
    """The fake API in both releases, and modules run against it; a test file may fill it in a fixture of its own."""
    from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

    with harness.lab(tmp_path, request.param, cert) as made:
        yield made
