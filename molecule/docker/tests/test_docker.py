# SPDX-License-Identifier: MIT
from __future__ import annotations

import json


def test_the_daemon_runs_with_its_settings(host):
    info = json.loads(host.check_output("docker info --format '{{json .}}'"))
    assert info["LoggingDriver"] == "json-file"
    assert info["LiveRestoreEnabled"] is True
    assert "https://mirror.example.org/" in info["RegistryConfig"]["Mirrors"]
    assert info["RegistryConfig"]["IndexConfigs"]["10.9.8.7:5000"]["Secure"] is False
    assert info["DefaultAddressPools"] == [{"Base": "172.29.0.0/16", "Size": 24}]


def test_compose_is_there(host):
    assert host.check_output("docker compose version --short").startswith("2.")


def test_the_daemon_starts_at_boot_after_the_storage(host):
    assert host.service("docker").is_enabled
    assert r"mnt-app\\x2ddata.mount" in host.check_output("systemctl show --property=After docker.service")


def test_settings_were_there_before_the_first_start(host):
    starts = host.check_output("journalctl --unit=docker.service --output=cat --no-pager | grep -c 'Started docker'")
    assert starts == "1"
