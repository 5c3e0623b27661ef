# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

ROOT = "/opt/mediaserver/services"


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_project_runs_what_is_on_disk(host, name):
    environment = host.file(f"{ROOT}/{name}/.env").content_string
    digest = environment.splitlines()[0].partition("=")[2]
    form = '{{.State.Health.Status}} {{index .Config.Labels "mediaserver.digest"}}'
    assert host.check_output(f"docker inspect --format '{form}' {name}-main-1") == f"healthy {digest}"
    assert "MEDIASERVER_CONTAINERS=main\n" in environment, "the container that ends by itself is not waited for"


@pytest.mark.parametrize("name", ["one", "two"])
def test_systemd_owns_it(host, name):
    unit = host.service(f"mediaserver-{name}.service")
    assert unit.is_enabled
    assert unit.is_running


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_container_reads_its_secret_and_its_file_and_nobody_else_the_secret(host, name):
    read = "/bin/busybox cat /run/secrets/password /etc/app/app.conf"
    assert host.check_output(f"docker exec {name}-main-1 {read}") == f"planted-{name}-passwordhello {name}"
    secret = host.file(f"{ROOT}/{name}/secrets/main/password")
    assert (secret.uid, secret.mode) == (1000, 0o400)
    assert f"planted-{name}-password" not in host.check_output(f"docker inspect {name}-main-1")


def test_the_shared_network_has_its_addresses(host):
    form = "{{(index .IPAM.Config 0).Subnet}}"
    assert host.check_output(f"docker network inspect --format '{form}' mediaserver-shared") == "172.28.7.0/24"


def test_nothing_is_left_over(host):
    assert host.check_output(f"find {ROOT} -name '*mediaserver-tmp' -o -name .stale") == ""


def test_the_journal_knows_no_secret(host):
    assert host.run("journalctl --no-pager | grep -c 'planted-[a-z]*-password'").stdout.strip() == "0"
