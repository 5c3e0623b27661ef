# SPDX-License-Identifier: MIT
"""After the role: what is installed, who is in the group. A real GPU is not here."""

from __future__ import annotations


def test_the_probe_is_installed(host):
    assert host.package("vainfo").is_installed


def test_no_driver_of_a_maker_who_is_not_here(host):
    assert not host.package("intel-media-va-driver-non-free").is_installed
    assert not host.file("/etc/apt/sources.list.d/mediaserver-nonfree.sources").exists


def test_the_administrator_is_in_the_group(host):
    assert "render" in host.user("ops").groups
